"""The TLS policies that a configuration asks for, and what is odd about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.definitions import Transport
from gateway.config.problems import Problem, Severity
from gateway.tls.policy import TlsPolicy, server_policy, upstream_policy
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.load import Configuration
    from gateway.config.settings import Settings

PolicyAndWarnings = tuple[TlsPolicy, tuple[str, ...]]


def towards_clients(settings: Settings) -> PolicyAndWarnings:
    """Return the policy of the HTTPS listener, and warnings."""
    options = settings.http_server_options
    return server_policy(
        TlsVersion(options.min_version),
        TlsVersion(options.max_version),
        options.ssl_ciphers,
        server_preference=options.prefer_server_ciphers,
    )


def towards_upstreams(settings: Settings, transport: Transport) -> PolicyAndWarnings:
    """Return the policy towards https upstreams, and warnings; what the API says goes before ``settings``."""
    minimum = transport.ssl_min_version or settings.proxy_ssl_min_version
    maximum = transport.ssl_max_version or settings.proxy_ssl_max_version
    return upstream_policy(
        TlsVersion(minimum) if minimum else None,
        TlsVersion(maximum) if maximum else None,
        transport.ssl_ciphers or settings.proxy_ssl_ciphers,
    )


def problems(configuration: Configuration) -> tuple[Problem, ...]:
    """Warn of unknown ciphers and old versions, each where it was asked for."""
    return tuple(
        Problem(Severity.WARNING, path, "", warning)
        for path, (_, warnings) in _policies(configuration)
        for warning in warnings
    )


def _policies(configuration: Configuration) -> Iterator[tuple[str, PolicyAndWarnings]]:
    settings = configuration.settings
    nothing = Transport()
    if settings.http_server_options.use_ssl:
        yield "http_server_options", towards_clients(settings)
    yield "proxy_ssl_ciphers", towards_upstreams(settings, nothing)
    for api in configuration.apis:
        transport = api.proxy.transport
        if transport.ssl_min_version or transport.ssl_max_version or transport.ssl_ciphers:
            yield f"apis[{api.api_id}].proxy.transport", towards_upstreams(settings, transport)
