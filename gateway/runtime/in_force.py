"""The effective settings, as commands show them: of the configuration that a gateway serves, or of a file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.admin.configuration import (
    Authority,
    AuthorityCertificate,
    NamedFiles,
    Negotiation,
    Override,
    Service,
    Settings,
)
from gateway.certs.blocks import MAX_BYTES
from gateway.certs.describe import fingerprint, is_ca
from gateway.config import environment
from gateway.config.kinds import is_inline_pem, source_of
from gateway.config.material import Material, Purpose, key
from gateway.errors import CertificateError
from gateway.routing.policies import towards_clients
from gateway.runtime.adjusting import PREFIX
from gateway.store import file_status
from gateway.store.upstream_sources import authorities as read_authorities
from gateway.tls.policy import GROUPS
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration
    from gateway.config.settings import Settings as Configured

_RESUMPTION = "tickets, on every worker and across certificate swaps; never on another host"
_SECRET = ("secret", "pass", "-----BEGIN ")
_SHOWN = ("http_server_options.", "listen_", "control_api_port", "gateway.workers", "hostname", "app_path")


def negotiated(settings: Configured) -> Negotiation:
    """Return what is negotiated with clients of hosts that have no rules of their own."""
    policy = towards_clients(settings)[0]
    return Negotiation(
        enabled=settings.http_server_options.use_ssl,
        minimum=policy.minimum.label,
        maximum=policy.maximum.label,
        suites=policy.suites if policy.maximum >= TlsVersion.TLS1_3 else (),
        ciphers=policy.ciphers if policy.minimum < TlsVersion.TLS1_3 else (),
        order="server" if policy.server_preference else "client",
        groups=GROUPS,
        resumption=_RESUMPTION,
    )


def listed(settings: Configured) -> Settings:
    """Return the settings of TLS towards clients. Of files the names are told and not where they are."""
    options = settings.http_server_options
    return Settings(
        enabled=options.use_ssl,
        protocols=f"{TlsVersion(options.min_version).label} to {TlsVersion(options.max_version).label}",
        ciphers=options.ssl_ciphers,
        certificates=tuple(
            NamedFiles(
                domain=one.domain_name,
                cert_file=one.cert_file.name,
                key_file=one.key_file.name,
                chain_file=one.chain_file.name if one.chain_file else "",
            )
            for one in options.certificates
        ),
        references=tuple(Path(source_of(name)).name for name in options.ssl_certificates),
    )


def authorities(configuration: Configuration) -> tuple[Authority, ...]:
    """Return the authorities of one's own, with what was found of each."""
    return tuple(
        _authority(name, reference, configuration.material.get(Purpose.AUTHORITIES, reference))
        for name, reference in configuration.settings.gateway.ca_certificates.items()
    )


def with_authorities(configuration: Configuration) -> Configuration:
    """Return a configuration with what the authorities' files hold, as far as they can be read."""
    found = {}
    for reference in configuration.settings.gateway.ca_certificates.values():
        with contextlib.suppress(OSError, CertificateError):
            pem = "".join(one.public_bytes(Encoding.PEM).decode() for one in read_authorities(_content(reference)))
            found[key(Purpose.AUTHORITIES, reference)] = pem
    return configuration.model_copy(update={"material": Material(found=found)})


def _content(reference: str) -> bytes:
    return reference.encode() if is_inline_pem(reference) else file_status.read(reference, MAX_BYTES + 1)[0]


def _why(reference: str) -> str:
    """Say why what an authority is named by cannot be had."""
    try:
        read_authorities(_content(reference))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except CertificateError as error:
        return str(error)
    return "it could not be read when it was last looked at: gateway reload"


def _authority(name: str, reference: str, pem: str | None) -> Authority:
    found: tuple[AuthorityCertificate, ...] = ()
    problem = "" if pem else _why(reference)
    try:
        found = tuple(
            AuthorityCertificate(
                subject=one.subject.rfc4514_string(),
                issuer=one.issuer.rfc4514_string(),
                not_after=one.not_valid_after_utc,
                fingerprint=fingerprint(one),
                is_ca=is_ca(one),
            )
            for one in (read_authorities(pem.encode()) if pem else ())
        )
    except CertificateError as error:
        problem = str(error)
    source = "inline PEM" if is_inline_pem(reference) or reference.startswith("(inline PEM") else reference
    return Authority(name=name, file=source, certificates=found, problem=problem)


def services(configuration: Configuration) -> tuple[Service, ...]:
    """Return the services that `gateway upstream` put behind the gateway."""
    return tuple(_service(api) for api in configuration.apis if api.api_id.startswith(PREFIX))


def _service(api: ApiDefinition) -> Service:
    basic, authority = api.upstream_auth.basic_auth, api.gateway.upstream_tls.ca_file
    connect = api.gateway.timeouts.connect
    return Service(
        name=api.api_id.removeprefix(PREFIX),
        type=api.proxy.target_url.partition("://")[0],
        target=api.proxy.target_url,
        clients=api.listen_port or f"{api.domain}{api.proxy.listen_path}",
        username=basic.username or None,
        certificate=Path(source_of(authority)).name if authority else None,
        connect_timeout_ms=round(connect * 1000) if connect else None,
    )


def overrides(environ: Mapping[str, str], surroundings: Mapping[str, str]) -> Iterator[Override]:
    """Yield what wins over the file. ``surroundings`` are the variables without those that flags stand for."""
    for variable, keys in environment.variables().items():
        if value := environ.get(variable):
            place = ".".join(keys)
            hidden = any(word in f"{place} {value}" for word in _SECRET) or not place.startswith(_SHOWN)
            yield Override(
                key=place, variable=variable, flag=surroundings.get(variable) != value, value=None if hidden else value
            )
