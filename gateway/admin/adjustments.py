"""The settings of the main file that an administrator may change: TLS, authorities, services behind the gateway.

The list is closed, so that a caller cannot reach other keys, or files that are not meant for the gateway.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from gateway.admin.declarations import Model
from gateway.config.connection_types import KINDS, Kind
from gateway.config.kinds import is_inline_pem
from gateway.config.networks import unbracketed
from gateway.tls.ciphers import select
from gateway.tls.names import canonical
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r"PRIVATE KEY-----")


def _version(text: str) -> str:
    return TlsVersion.parse(text).label


def _ciphers(names: tuple[str, ...]) -> tuple[str, ...]:
    if warnings := select(names).warnings:
        raise ValueError("; ".join(warning.removesuffix("; it is left out") for warning in warnings))
    return names


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a name is of letters, digits, dots, - and _")
    return name


def _host(text: str) -> str:
    text = unbracketed(text)
    canonical(text)  # a URL or a path would lead somewhere else
    return text


def _kind(text: str) -> str:
    word = text.lower().removeprefix("maestro-")
    if word not in KINDS:
        raise ValueError(f"{text!r} is no connection type; use one of {', '.join(KINDS)}")
    return word


def _reference(text: str) -> str:
    if _KEY.search(text):
        raise ValueError("there is a private key in it; an authority is certificates alone")
    return text


def _password(text: str) -> str:
    if re.search(r"[\r\n\x00]", text):
        raise ValueError("a password has one line")
    return text


def _username(text: str) -> str:
    if ":" in text:
        raise ValueError("a username has no colon (RFC 7617)")
    return text


Version = Annotated[str, AfterValidator(_version)]
Name = Annotated[str, AfterValidator(_named)]
Reference = Annotated[str, StringConstraints(min_length=1), AfterValidator(_reference)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Upstream(Model):
    """A service behind the gateway; what is left out is what its type has. ``authority`` is all that is trusted."""

    connection_type: Annotated[str, AfterValidator(_kind)] = Field(description=f"{', '.join(KINDS)}")
    host: Annotated[str, AfterValidator(_host)] = Field(description="where it runs")
    port: Port | None = None
    username: Annotated[str, StringConstraints(min_length=1), AfterValidator(_username)] | None = None
    password: Annotated[str, StringConstraints(min_length=1), AfterValidator(_password)] | None = Field(
        None, repr=False, description="kept in a file that only the gateway reads"
    )
    connect_timeout_ms: Annotated[int, Field(ge=1)] | None = None
    authority: Reference | None = Field(None, description="PEM of its authority, or of its own certificate")
    server_name: str = ""
    listen_path: str = Field("", description="HTTP: where clients find it; default: /NAME/")
    domain: str = Field("", description="HTTP: the host by which clients ask for it; default: any")
    listen_port: Port | None = Field(None, description="TCP: where clients find it; default: `port`")

    @property
    def kind(self) -> Kind:
        """Its type."""
        return KINDS[self.connection_type]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.port is None and self.kind.port is None:
            raise ValueError(f"a {self.connection_type} upstream has no usual port; name it")
        if (self.authority or self.server_name) and not self.kind.is_secure:
            raise ValueError("a certificate and a server name are for connections in TLS; use the secure type")
        if self.kind.is_http and (self.username is None) != (self.password is None):
            raise ValueError("credentials are a name and a password: write both")
        return self


class Adjustment(Model):
    """The changes to make. Settings that are not named stay as they are. In a map, null removes an entry."""

    use_ssl: bool | None = None
    min_version: Version | None = Field(None, description="1.0, 1.1, 1.2 or 1.3")
    max_version: Version | None = Field(None, description="1.0, 1.1, 1.2 or 1.3")
    ssl_ciphers: Annotated[tuple[str, ...], Field(max_length=_MOST), AfterValidator(_ciphers)] | None = None
    authorities: Annotated[dict[Name, Reference | None], Field(max_length=_MOST)] = Field(
        {}, description="`gateway.ca_certificates` by name: PEM of certificates"
    )
    upstreams: Annotated[dict[Name, Upstream | None], Field(max_length=_MOST)] = Field(
        {}, description="services behind the gateway by name"
    )

    def without_paths(self, read: Callable[[Path], str]) -> Self:
        """Return the same with what is in the files that it names, which ``read`` returns as PEM."""

        def pem(reference: str | None) -> str | None:
            return reference if reference is None or is_inline_pem(reference) else read(Path(reference))

        found: dict[str, object] = {}
        if self.authorities:
            found["authorities"] = {name: pem(one) for name, one in self.authorities.items()}
        upstreams = {
            name: one.model_copy(update={"authority": pem(one.authority)}) if one and one.authority else one
            for name, one in self.upstreams.items()
        }
        return self.model_copy(update={**found, **({"upstreams": upstreams} if upstreams else {})})

    def paths(self) -> Iterator[str]:
        """Yield where this names a file, which only somebody on the gateway's host may do."""
        for name, authority in self.authorities.items():
            if authority and not is_inline_pem(authority):
                yield f"authorities.{name}"
        for name, upstream in self.upstreams.items():
            if upstream and upstream.authority and not is_inline_pem(upstream.authority):
                yield f"upstreams.{name}.authority"
