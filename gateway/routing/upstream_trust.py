"""TLS towards the upstreams of an API, put together from what the settings and its definition say."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.kinds import as_copied
from gateway.config.material import Material, Purpose, password_reference, sends_password
from gateway.config.upstream_trust import best_match
from gateway.routing.policies import towards_upstreams
from gateway.tls.upstream import UpstreamTls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.definitions import ApiDefinition
    from gateway.config.settings import Settings


class Trust(NamedTuple):
    """``trouble`` is why nothing may be sent there: a protection that was asked for cannot be had. "" for nothing."""

    tls: UpstreamTls
    trouble: str


class _MissingError(Exception):
    """What is named cannot be had."""


def trust(settings: Settings, api: ApiDefinition, material: Material, host: str, port: int) -> Trust:
    """Return how the gateway meets an https upstream of ``api``.

    Raises:
        ValueError: the versions leave nothing.
    """
    transport, own = api.proxy.transport, api.gateway.upstream_tls
    trouble = ""
    identity, pins, authorities = "", frozenset[str](), ""
    try:
        identity = _identity(settings, api, material, host, port)
        pins = _pins(settings, api, material, host, port)
        authorities = _authorities(settings, own.ca_file, material)
    except _MissingError as error:
        trouble = str(error)
    tls = UpstreamTls(
        policy=towards_upstreams(settings, transport)[0],
        verify=not (settings.proxy_ssl_insecure_skip_verify or transport.ssl_insecure_skip_verify),
        check_common_name=settings.ssl_force_common_name_check or transport.ssl_force_common_name_check,
        server_name=own.server_name,
        authorities=authorities,
        exclusive=own.ca_file is not None,
        identity=identity,
        pins=pins,
        renegotiates=not settings.proxy_ssl_disable_renegotiation,
    )
    return Trust(tls, trouble)


def credentials(api: ApiDefinition, material: Material) -> tuple[tuple[str, str] | None, str]:
    """Return the header field with which an API's targets are sent credentials, or why there is none that should be."""
    if not sends_password(api):
        return None, ""
    basic = api.upstream_auth.basic_auth
    password = material.get(Purpose.PASSWORD, password_reference(api))
    if password is None:
        return None, "the password for the upstream cannot be had"
    plain = f"{basic.username}:{password}".encode(errors="surrogateescape")
    name = basic.header.name if basic.header.enabled else "Authorization"
    return (name, f"Basic {b64encode(plain).decode()}"), ""


def _identity(settings: Settings, api: ApiDefinition, material: Material, host: str, port: int) -> str:
    if api.upstream_certificates_disabled:
        return ""
    if own := api.gateway.upstream_tls.certificate:
        return _required(material, Purpose.IDENTITY, own)
    for named in (api.upstream_certificates, settings.security.certificates.upstream):
        if (pattern := best_match(named, host, port)) is not None:
            return _required(material, Purpose.IDENTITY, named[pattern])
    return ""


def _pins(settings: Settings, api: ApiDefinition, material: Material, host: str, port: int) -> frozenset[str]:
    if api.certificate_pinning_disabled:
        return frozenset()
    tables: tuple[Mapping[str, tuple[str, ...]], ...] = api.pinned_public_keys, settings.security.pinned_public_keys
    for named in tables:
        if (pattern := best_match(named, host, port)) is not None:
            found = [material.get(Purpose.PIN, reference) for reference in named[pattern]]
            pins = frozenset(" ".join(filter(None, found)).split())
            if not pins:  # those that can be had are enough, and none would be no protection
                raise _MissingError(f"none of the public keys that are pinned for {pattern} can be had")
            return pins
    return frozenset()


def _authorities(settings: Settings, own: str | None, material: Material) -> str:
    if own:
        return _required(material, Purpose.AUTHORITIES, own)
    named = settings.gateway.ca_certificates.values()
    return _joined(tuple(filter(None, (material.get(Purpose.AUTHORITIES, reference) for reference in named))))


@lru_cache(4)
def _joined(parts: tuple[str, ...]) -> str:
    """All upstreams share one text, however many authorities are in it."""
    return "".join(parts)


def _required(material: Material, purpose: Purpose, reference: str) -> str:
    found = material.get(purpose, reference)
    if found is None:
        raise _MissingError(f"the {purpose} for the upstream cannot be had: {as_copied(reference)}")
    return found
