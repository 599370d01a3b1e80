"""``gateway upstream``: a service behind the gateway in one command, as Tableau's ``maestro-tabpy-ssl`` has them.

Each is an API definition in the main file, whose id begins with ``upstream-``: an HTTP upstream with credentials and an
authority of its own (TabPy), or a raw TCP one, with or without TLS (Rserve).
"""

from __future__ import annotations

import json as json_module
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand
from typing_extensions import override

from gateway.cli import ca
from gateway.cli.admin_client import AdminError
from gateway.cli.configuration_file import ConfigOption  # noqa: TC001 - typer reads it
from gateway.cli.connected import JsonOption  # noqa: TC001 - typer reads it
from gateway.cli.layout import table
from gateway.cli.rewriting import ConfigurationFile, rewriting, shown
from gateway.cli.secret_files import SecretFile
from gateway.config import document
from gateway.config.edit import Change, Verb, append, put
from gateway.config.plain import plain
from gateway.config.problems import Findings
from gateway.errors import CertificateError
from gateway.tls.names import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

group = typer.Typer(no_args_is_help=True, help="Services behind the gateway, such as TabPy and Rserve.")

_PREFIX = "upstream-"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A connection type: the scheme of its target, whether it is HTTP, and what is meant when it is not said."""

    scheme: str
    is_http: bool
    name: str
    port: int | None

    @property
    def is_secure(self) -> bool:
        """Whether the upstream is spoken to in TLS."""
        return self.scheme in {"https", "tls"}


KINDS = {
    "tabpy": Kind("http", is_http=True, name="tabpy", port=9004),
    "tabpy-secure": Kind("https", is_http=True, name="tabpy", port=9004),
    "rserve": Kind("tcp", is_http=False, name="rserve", port=6311),
    "rserve-secure": Kind("tls", is_http=False, name="rserve", port=4912),
    "http": Kind("http", is_http=True, name="", port=80),
    "https": Kind("https", is_http=True, name="", port=443),
    "tcp": Kind("tcp", is_http=False, name="", port=None),
    "tls": Kind("tls", is_http=False, name="", port=None),
}


TypeOption = Annotated[
    str,
    typer.Option(
        "--connection-type", metavar="TYPE", help=f"{', '.join(KINDS)}; also as Tableau has it: maestro-tabpy-secure."
    ),
]
HostOption = Annotated[
    str,
    typer.Option("--host", "--tabpy-host", "--rserve-host", metavar="HOST", help="Where it runs."),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        "--tabpy-port",
        "--rserve-port",
        min=1,
        max=65535,
        metavar="PORT",
        help="Its port. Default: 9004 of TabPy, 6311 of Rserve (with TLS 4912), 80 and 443.",
    ),
]
UsernameOption = Annotated[
    str | None,
    typer.Option(
        "--username", "--tabpy-username", "--rserve-username", metavar="NAME", help="The name of basic credentials."
    ),
]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        "--password",
        "--tabpy-password",
        "--rserve-password",
        metavar="TEXT",
        help="Their password, kept in a file that only the gateway reads; - asks for it.",
    ),
]
ConnectTimeoutOption = Annotated[
    int | None,
    typer.Option(
        "--connect-timeout-ms",
        "--tabpy-connect-timeout-ms",
        "--rserve-connect-timeout-ms",
        min=1,
        metavar="MS",
        help="Longest time for a connection, TLS included.",
    ),
]
CertFileOption = Annotated[
    Path | None,
    typer.Option(
        "--cert-file",
        "-cf",
        metavar="FILE",
        help="Its authority's certificate or its own, PEM or DER: nothing else is trusted. Default: the system's.",
    ),
]
ServerNameOption = Annotated[
    str, typer.Option("--server-name", metavar="NAME", help="The name in its certificate, if that is not the host.")
]
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="What it is called here. Default: by its type, or its host.")
]
ListenPathOption = Annotated[
    str, typer.Option("--listen-path", metavar="PATH", help="HTTP: where clients find it. Default: /NAME/.")
]
DomainOption = Annotated[
    str, typer.Option("--domain", metavar="HOST", help="HTTP: the host by which clients ask for it. Default: any.")
]
ListenPortOption = Annotated[
    int | None,
    typer.Option("--listen-port", min=1, max=65535, metavar="PORT", help="TCP: where clients find it. Default: PORT."),
]


class _AsInTableau(TyperCommand):
    """Takes ``-cfFILE`` in one word, as Tableau's page writes it."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        split = [[one[:3], one[3:]] if re.match("-cf.", one) else [one] for one in args]
        return super().parse_args(ctx, [part for parts in split for part in parts])


@group.command(cls=_AsInTableau)
@rewriting
def enable(  # noqa: PLR0913, PLR0917 - typer's options are parameters
    file: ConfigurationFile,
    connection_type: TypeOption,
    host: HostOption,
    port: PortOption = None,
    username: UsernameOption = None,
    upstream_password: PasswordOption = None,  # `password` is the administrator's
    connect_timeout_ms: ConnectTimeoutOption = None,
    cert_file: CertFileOption = None,
    server_name: ServerNameOption = "",
    name: NameOption = "",
    listen_path: ListenPathOption = "",
    domain: DomainOption = "",
    listen_port: ListenPortOption = None,
) -> list[Change]:
    """Put a service behind the gateway, or change the one of that name. TLS and credentials are the gateway's part."""
    kind = KINDS.get(connection_type.lower().removeprefix("maestro-"))
    if kind is None:
        raise AdminError(f"{connection_type!r} is no connection type; use one of {', '.join(KINDS)}", exit_code=2)
    port = port or kind.port
    if port is None:
        raise AdminError(f"a {connection_type} upstream has no usual port; name it with --port", exit_code=2)
    name = name or kind.name or host
    if not _NAME.fullmatch(name):
        raise AdminError("a name is of letters, digits, dots, - and _; choose one with --name", exit_code=2)
    try:
        canonical(host)
    except ValueError as error:  # a URL or a path would lead somewhere else
        raise AdminError(f"--host: {error}", exit_code=2) from error
    target = f"{kind.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    definition: dict[str, Any] = {"api_id": f"{_PREFIX}{name}", "name": name, "use_keyless": True}
    if kind.is_http:
        if domain:
            definition["domain"] = domain
        path = f"/{stripped}/" if (stripped := (listen_path or name).strip("/")) else "/"
        definition["proxy"] = {"listen_path": path, "target_url": f"{target}/", "strip_listen_path": True}
        definition |= _credentials(file, name, username, _asked(upstream_password))
    else:
        definition |= {"protocol": "tcp", "listen_port": listen_port or port}
        definition["proxy"] = {"listen_path": "/", "target_url": target}
        file.secrets.append(_secret(file, name))  # of an HTTP upstream of that name: it goes
        if username or upstream_password:
            said = "its clients log in themselves, in a protocol that passes through: the credentials are not kept"
            typer.echo(f"note: {said}", err=True)
    if own := _own(file, kind, connect_timeout_ms, cert_file, server_name):
        definition["gateway"] = own
    return _placed(file, definition)


@group.command()
@rewriting
def disable(
    file: ConfigurationFile,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `gateway upstream list` has it.")],
) -> list[Change]:
    """Take a service away from behind the gateway, and forget its credentials. Requests under way finish."""
    place = _places(file).get(f"{_PREFIX}{name}")
    if place is None:
        raise AdminError(f"there is no upstream {name!r} in {file.path}; see: gateway upstream list")
    file.secrets.append(_secret(file, name))
    return [Change(Verb.REMOVE, ("apis", place))]


@group.command("list")
def list_(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """List the services that were enabled: of credentials the name, of files the name and not the place."""
    answer = [_shown(one) for one in _definitions(shown(config)) if str(one.get("api_id", "")).startswith(_PREFIX)]
    if json:
        typer.echo(json_module.dumps(answer, indent=2))
        return
    heads = ("name", "type", "target", "clients", "username", "certificate", "connect timeout")
    rows = [tuple("" if value is None else str(value) for value in one.values()) for one in answer]
    typer.echo("\n".join(table([heads, *rows])) if rows else "no upstreams; see: gateway upstream enable --help")


def _asked(password: str | None) -> str | None:
    if password != "-":  # noqa: S105 - a word of the command line
        return password
    return str(typer.prompt("Password", hide_input=True, err=True))


def _credentials(
    file: ConfigurationFile, name: str, username: str | None, password: str | None
) -> dict[str, dict[str, Any]]:
    """The section for basic credentials, and the file for the password, which becomes one when all is checked."""
    secret = _secret(file, name, password)
    file.secrets.append(secret)  # without a password: the one from before goes
    if username is None and password is None:
        return {}
    if not username or not password:
        raise AdminError("credentials are a name and a password: write both --username and --password", exit_code=2)
    if re.search(r"[\r\n\x00]", password) or ":" in username:
        raise AdminError("a password has one line, and a name no colon (RFC 7617)", exit_code=2)
    said = "its clients need no credentials now; say who may come, as with gateway.allowed_networks of the definition"
    typer.echo(f"note: {said}", err=True)
    basic = {"enabled": True, "username": username, "password_file": file.named(secret.path)}
    return {"upstream_auth": {"enabled": True, "basic_auth": basic}}


def _secret(file: ConfigurationFile, name: str, content: str | None = None) -> SecretFile:
    data_dir = file.path.absolute().parent / file.settings.gateway.data_dir
    return SecretFile.new(data_dir, f"upstream-{name}", content)


def _own(
    file: ConfigurationFile, kind: Kind, connect_timeout_ms: int | None, cert_file: Path | None, server_name: str
) -> dict[str, Any]:
    own: dict[str, Any] = {}
    tls: dict[str, Any] = {}
    if (cert_file or server_name) and not kind.is_secure:
        raise AdminError("--cert-file and --server-name are for connections in TLS; use the secure type", exit_code=2)
    if cert_file:
        try:
            ca.read(cert_file)
        except (OSError, CertificateError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise AdminError(f"{cert_file}: {reason}") from error
        tls["ca_file"] = file.named(cert_file)
    if server_name:
        tls["server_name"] = server_name
    if tls:
        own["upstream_tls"] = tls
    if connect_timeout_ms:
        own["timeouts"] = {"connect": connect_timeout_ms / 1000}
    return own


def _placed(file: ConfigurationFile, definition: dict[str, Any]) -> list[Change]:
    place = _places(file).get(definition["api_id"])
    if place is not None:
        return [Change(Verb.SET, ("apis", place), definition)]
    changes = [append("apis", definition)]
    if not _definitions(file) and file.settings.app_path is None and (file.path.absolute().parent / "apps").is_dir():
        changes.append(put("app_path", "apps"))  # which would not be read any more beside definitions in the file
    return changes


def _places(file: ConfigurationFile) -> dict[str, int]:
    return {str(one.get("api_id")): place for place, one in enumerate(_definitions(file))}


def _definitions(file: ConfigurationFile) -> Sequence[Mapping[str, Any]]:
    """The definitions in the file itself, as they are written but for the case of their keys."""
    root = document.read(file.path, str(file.path), Findings())
    members = root.value if root and isinstance(root.value, dict) else {}
    inline = next((node.value for key, node in members.items() if key.lower() == "apis"), None)
    return [_lower(plain(node)) for node in inline] if isinstance(inline, list) else []


def _lower(value: Any) -> Any:
    if not isinstance(value, dict):
        return {} if value is None else value
    return {key.lower(): _lower(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}


def _shown(definition: Mapping[str, Any]) -> dict[str, Any]:
    proxy, own = definition.get("proxy", {}), definition.get("gateway", {})
    target = str(proxy.get("target_url", ""))
    basic = definition.get("upstream_auth", {}).get("basic_auth", {})
    connect = own.get("timeouts", {}).get("connect")
    authority = own.get("upstream_tls", {}).get("ca_file")
    clients = definition.get("listen_port") or f"{definition.get('domain', '')}{proxy.get('listen_path', '')}"
    return {
        "name": str(definition.get("api_id", "")).removeprefix(_PREFIX),
        "type": urlsplit(target).scheme,
        "target": target,
        "clients": clients,
        "username": basic.get("username"),
        "certificate": Path(authority).name if authority else None,
        "connect_timeout_ms": round(float(connect) * 1000) if connect else None,
    }
