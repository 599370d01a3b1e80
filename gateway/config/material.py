"""What is named towards upstreams and kept elsewhere: which files and ids these are, and what was found there.

What was found is part of the configuration, which is sealed at rest: whoever serves a generation has all of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.kinds import as_copied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.config.definitions import ApiDefinition
    from gateway.config.settings import Settings


class Purpose(StrEnum):
    """What something is wanted for, which decides how it is read."""

    IDENTITY = "certificate"
    AUTHORITIES = "authorities"
    PIN = "public key"
    PASSWORD = "password"  # noqa: S105 - a word


class Wanted(NamedTuple):
    """``reference`` is named at ``place`` of the configuration."""

    purpose: Purpose
    reference: str
    place: str


class Material(BaseModel):
    """What was found. It holds private keys and passwords, and is never to be shown.

    An identity is PEM, chain and key; authorities are PEM; a pin is the SHA-256 of a public key (SubjectPublicKeyInfo)
    in hex, or several with spaces between.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    found: dict[str, str] = Field({}, repr=False)

    def get(self, purpose: Purpose, reference: str) -> str | None:
        """Return what a reference stands for; None when it could not be had."""
        return self.found.get(key(purpose, reference))


def key(purpose: Purpose, reference: str) -> str:
    """By what something is found: the same for a reference as it was written and as copies have it."""
    return f"{purpose} {as_copied(reference)}"


def wanted(settings: Settings, apis: Iterable[ApiDefinition]) -> Iterator[Wanted]:
    """Everything that has to be found."""
    for name, reference in settings.gateway.ca_certificates.items():
        yield Wanted(Purpose.AUTHORITIES, reference, f"gateway.ca_certificates.{name}")
    yield from _named("security.certificates.upstream", settings.security.certificates.upstream)
    yield from _pinned("security.pinned_public_keys", settings.security.pinned_public_keys)
    for api in apis:
        place = f"apis[{api.api_id}]"
        tls = api.gateway.upstream_tls
        if not api.upstream_certificates_disabled:
            yield from _named(f"{place}.upstream_certificates", api.upstream_certificates)
            if tls.certificate:
                yield Wanted(Purpose.IDENTITY, tls.certificate, f"{place}.gateway.upstream_tls.certificate")
        if not api.certificate_pinning_disabled:
            yield from _pinned(f"{place}.pinned_public_keys", api.pinned_public_keys)
        if tls.ca_file:
            yield Wanted(Purpose.AUTHORITIES, tls.ca_file, f"{place}.gateway.upstream_tls.ca_file")
        if sends_password(api) and (file := api.upstream_auth.basic_auth.password_file):
            yield Wanted(Purpose.PASSWORD, str(file), f"{place}.upstream_auth.basic_auth.password_file")


def sends_password(api: ApiDefinition) -> bool:
    """Whether the targets of an API get basic credentials."""
    return api.upstream_auth.enabled and api.upstream_auth.basic_auth.enabled


def password_reference(api: ApiDefinition) -> str:
    """What the password of an API is found by: its file, or the place where it is written."""
    file = api.upstream_auth.basic_auth.password_file
    return str(file) if file else f"(of {api.api_id})"


def _named(place: str, named: dict[str, str]) -> Iterator[Wanted]:
    for host, reference in named.items():
        yield Wanted(Purpose.IDENTITY, reference, f"{place}.{host}")


def _pinned(place: str, named: dict[str, tuple[str, ...]]) -> Iterator[Wanted]:
    for host, references in named.items():
        for reference in references:
            yield Wanted(Purpose.PIN, reference, f"{place}.{host}")
