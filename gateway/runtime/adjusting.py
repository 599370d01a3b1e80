"""The translation of an administrator's request into changes of the main file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config.edit import Change, Verb, append, put
from gateway.config.kinds import is_inline_pem
from gateway.config.networks import bracketed
from gateway.errors import ConflictError, NotFoundError
from gateway.runtime.secret_files import SecretFile
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from gateway.admin.adjustments import Adjustment, Upstream
    from gateway.runtime.main_file import MainFile

PREFIX = "upstream-"
"""The prefix of the ids of definitions made here."""

OPTIONS = "http_server_options"
_AUTHORITIES = ("gateway", "ca_certificates")
_OPEN = "its clients need no credentials now; say who may come, as with gateway.allowed_networks of the definition"
_PASSES = "its clients log in themselves, in a protocol that passes through: the credentials are not kept"
_AT_ROOT = "TabPy's own client asks at the root of a host, for /evaluate and /query/: for it give --domain HOST"


@dataclass(slots=True)
class Edits:
    """The changes, the files of secrets that the new text names, and what a careful person would want to know."""

    changes: list[Change] = field(default_factory=list)
    secrets: list[SecretFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def edits(wanted: Adjustment, file: MainFile) -> Edits:
    """Return what to do to the file. Raises NotFoundError and ConflictError."""
    found = Edits()
    options = file.settings.http_server_options
    if wanted.use_ssl is not None:
        found.changes.append(put(f"{OPTIONS}.use_ssl", value=wanted.use_ssl))
    lowest = TlsVersion.parse(wanted.min_version) if wanted.min_version else None
    highest = TlsVersion.parse(wanted.max_version) if wanted.max_version else None
    if lowest and highest is None and lowest > options.max_version:
        highest = lowest
    for key, version in (("min_version", lowest), ("max_version", highest)):
        if version:
            found.changes.append(_version(file, key, version))
    if wanted.ssl_ciphers is not None:
        found.changes.append(put(f"{OPTIONS}.ssl_ciphers", list(wanted.ssl_ciphers)))
    for name, reference in wanted.authorities.items():
        found.changes.append(_authority(file, name, reference))
    for name, upstream in wanted.upstreams.items():
        _upstream(file, name, upstream, found)
    return found


def _version(file: MainFile, key: str, version: TlsVersion) -> Change:
    """Set a version as it is usually written: by its number in tyk.conf's JSON, else as people say it."""
    return put(f"{OPTIONS}.{key}", int(version) if file.is_json else float(version.label))


def _authority(file: MainFile, name: str, reference: str | None) -> Change:
    there = name in file.settings.gateway.ca_certificates
    if reference is None:
        if not there:
            raise NotFoundError(f"there is no authority {name!r}; see: gateway ca list")
        return Change(Verb.REMOVE, (*_AUTHORITIES, name))
    if there:
        raise ConflictError(f"there is an authority {name!r} already; first: gateway ca delete --name {name}")
    return Change(Verb.SET, (*_AUTHORITIES, name), _written(file, reference))


def _written(file: MainFile, reference: str) -> str:
    """Return a reference as the file has it: PEM as it is, a path relative to the file."""
    return reference if is_inline_pem(reference) else file.named(Path(reference))


def _upstream(file: MainFile, name: str, upstream: Upstream | None, found: Edits) -> None:
    places = {str(one.get("api_id")): place for place, one in enumerate(file.definitions)}
    place = places.get(f"{PREFIX}{name}")
    secret = SecretFile.new(file.data_dir, f"upstream-{name}", _password(upstream))
    found.secrets.append(secret)  # without a password: the one from before goes
    if upstream is None:
        if place is None:
            raise NotFoundError(f"there is no upstream {name!r} in {file.path}; see: gateway upstream list")
        found.changes.append(Change(Verb.REMOVE, ("apis", place)))
        return
    definition = _definition(file, name, upstream, file.named(secret.path))
    if upstream.username or upstream.password:
        found.notes.append(_OPEN if upstream.kind.is_http else _PASSES)
    if upstream.kind.name == "tabpy" and _path(name, upstream).strip("/"):
        found.notes.append(_AT_ROOT)
    if place is not None:
        found.changes.append(Change(Verb.SET, ("apis", place), definition))
        return
    found.changes.append(append("apis", definition))
    if not file.definitions and file.settings.app_path is None and (file.path.absolute().parent / "apps").is_dir():
        found.changes.append(put("app_path", "apps"))  # which would not be read any more beside definitions in the file


def _path(name: str, upstream: Upstream) -> str:
    """Return where clients find it: on a host of its own at the root."""
    return upstream.listen_path or ("/" if upstream.domain else name)


def _password(upstream: Upstream | None) -> str | None:
    return upstream.password if upstream and upstream.kind.is_http else None


def _definition(file: MainFile, name: str, upstream: Upstream, password_file: str) -> dict[str, Any]:
    kind, port = upstream.kind, upstream.port or upstream.kind.port
    target = f"{kind.scheme}://{bracketed(upstream.host)}:{port}"
    definition: dict[str, Any] = {"api_id": f"{PREFIX}{name}", "name": name, "use_keyless": True}
    if kind.is_http:
        if upstream.domain:
            definition["domain"] = upstream.domain
        path = f"/{stripped}/" if (stripped := _path(name, upstream).strip("/")) else "/"
        definition["proxy"] = {"listen_path": path, "target_url": f"{target}/", "strip_listen_path": True}
        if upstream.password:
            basic = {"enabled": True, "username": upstream.username, "password_file": password_file}
            definition["upstream_auth"] = {"enabled": True, "basic_auth": basic}
    else:
        definition |= {"protocol": "tcp", "listen_port": upstream.listen_port or port}
        definition["proxy"] = {"listen_path": "/", "target_url": target}
    tls: dict[str, Any] = {}
    if upstream.authority:
        tls["ca_file"] = _written(file, upstream.authority)
    if upstream.server_name:
        tls["server_name"] = upstream.server_name
    own = {"upstream_tls": tls} if tls else {}
    if upstream.connect_timeout_ms:
        own["timeouts"] = {"connect": upstream.connect_timeout_ms / 1000}
    return definition | ({"gateway": own} if own else {})
