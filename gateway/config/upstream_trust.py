"""Whom the gateway trusts as an upstream, and as whom it shows itself to one; and the names that choose among these."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic evaluates it
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, Field

from gateway.config.header_kinds import HeaderName  # noqa: TC001 - pydantic evaluates it
from gateway.config.kinds import (
    CertificateReference,
    CommaSeparated,
    Secret,
    Section,
    TrustReference,
    host_pattern,
    refuse,
)
from gateway.config.networks import bracketed
from gateway.config.tyk_names import DEFINITION, MAIN_FILE, names

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")


def _patterns(named: dict[str, _T]) -> dict[str, _T]:
    """Refuse what `best_match` could never find: a promise of protection that nothing would keep."""
    for pattern in named:
        rest = pattern[2:] if pattern.startswith("*.") else "" if pattern == "*" else pattern
        if "*" in rest or "/" in rest or "{" in rest or any(map(str.isspace, pattern)) or not pattern:
            refuse(
                f"{pattern[:80]!r} is not a host that this is for",
                "write *, *.example.com, api.example.com, or one of the last two with a port",
            )
    return named


PinnedKeys = Annotated[
    dict[str, Annotated[tuple[CertificateReference, ...], CommaSeparated()]], AfterValidator(_patterns)
]
ShownCertificates = Annotated[dict[str, CertificateReference], AfterValidator(_patterns)]


def best_match(named: Mapping[str, _T], host: str, port: int) -> str | None:
    """The pattern of ``named`` that is for a host, if there is one.

    Tyk's order, the later wins: ``*``, ``*.rest``, ``*.rest:port``, ``host``, ``host:port``; names in any case.
    """
    rest = host.partition(".")[2]
    wanted = [f"{one}:{port}" for one in (bracketed(host), host)] + [bracketed(host), host]
    wanted += [f"*.{rest}:{port}", f"*.{rest}"] if rest else []
    known = {pattern.lower(): pattern for pattern in named}
    return next((known[pattern] for pattern in (*wanted, "*") if pattern in known), None)


def _one_host(text: str) -> str:
    if "*" in host_pattern(text) or "{" in text:
        refuse("is a pattern", "write one name, such as db.internal")
    return text


HostName = Annotated[str, AfterValidator(_one_host)]


class CertificatesOfSecurity(Section):
    """Certificates by what they are for."""

    tyk_only: ClassVar[frozenset[str]] = names(MAIN_FILE, "security.certificates")

    apis: tuple[TrustReference, ...] = Field(
        (), repr=False, description="client certificates and CAs that every API with `use_mutual_tls_auth` accepts"
    )
    control_api: tuple[TrustReference, ...] = Field(
        (), repr=False, description="client certificates and CAs that `control_api_use_mutual_tls` lets in"
    )
    upstream: ShownCertificates = Field(
        {},
        repr=False,
        description="certificates shown to upstreams, with their keys, by host: `*`, `*.rest`, `host:port`",
    )


class BasicAuthHeader(Section):
    """The field that carries the credentials, where that is not Authorization."""

    enabled: bool = Field(default=False, description="use `name`")
    name: HeaderName = Field("Authorization", description="the field's name")


class BasicAuth(Section):
    """Basic credentials for the upstream."""

    enabled: bool = Field(default=False, description="send them, in place of what the client sent")
    username: str = Field("", description="the name; a colon cannot be part of it")
    password: Secret = Field(None, description="the password; better kept in `password_file`")
    password_file: Path | None = Field(None, description="file whose first line is the password")
    header: BasicAuthHeader = Field(BasicAuthHeader(), description="another field for them")


class UpstreamAuth(Section):
    """What the gateway proves to an upstream about itself, beyond TLS."""

    tyk_only: ClassVar[frozenset[str]] = names(DEFINITION, "upstream_auth")

    enabled: bool = Field(default=False, description="whether any of it is done")
    basic_auth: BasicAuth = Field(BasicAuth(), description="a name and a password")


class UpstreamTls(Section):
    """TLS towards the targets of one API, beyond Tyk's keys."""

    ca_file: CertificateReference | None = Field(
        None,
        description="trust these authorities and no others: a file (PEM or DER), inline PEM, or an id of the store",
    )
    server_name: HostName = Field(
        "", description="the name that is asked for (SNI) and that the certificate must have; empty: the target's"
    )
    certificate: CertificateReference | None = Field(
        None, repr=False, description="certificate to show, with its key; goes before `upstream_certificates`"
    )
