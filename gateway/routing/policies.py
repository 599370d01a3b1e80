"""The TLS policies that a configuration asks for, and what is odd about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.config.definitions import ApiTls, Transport
from gateway.config.problems import Problem, Severity
from gateway.routing.clients import ClientLists
from gateway.routing.domains import domain_of
from gateway.routing.templates import host_pattern, is_template
from gateway.tls.names import candidates
from gateway.tls.policy import TlsPolicy, server_policy, upstream_policy
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from gateway.config.load import Configuration
    from gateway.config.settings import Settings
    from gateway.tls.client_authentication import ClientAuthentication

PolicyAndWarnings = tuple[TlsPolicy, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The rules under which connections to a host begin.

    A request is served only on a connection that began under the rules of its own host (RFC 9110 section 7.4).
    """

    tls: TlsPolicy
    clients: ClientAuthentication | None = None


@dataclass(frozen=True, slots=True)
class HostPolicies:
    """The rules of every host: ``default``, and those of the domains (canonical, or ``*.parent``) that differ.

    ``patterns`` are the domains with regular expressions that ask for client certificates, those that insist first.
    """

    default: HostPolicy
    differing: dict[str, HostPolicy]
    patterns: tuple[tuple[re.Pattern[str], HostPolicy], ...] = ()

    @classmethod
    def of(cls, configuration: Configuration, clients: ClientLists | None = None) -> HostPolicies:
        """Collect what the settings and the API definitions say. Raises ValueError when versions leave nothing."""
        settings = configuration.settings
        tls = {
            domain_of(api, settings): towards_clients(settings, api.gateway.tls)[0]
            for api in (*configuration.closed, *configuration.apis)
            if api.gateway.tls.is_set
        }
        asked = (clients or ClientLists(configuration)).by_domain(configuration.apis)
        usual = towards_clients(settings)[0]
        default = HostPolicy(usual, asked.get(""))
        # Where every other domain asks for certificates, those that do not are the ones that differ.
        said = {domain: HostPolicy(tls.get(domain, usual), asked.get(domain)) for domain in {**tls, **asked} if domain}
        patterns = [(host_pattern(key), said[key]) for key, wish in asked.items() if wish and is_template(key)]
        patterns.sort(key=lambda entry: not (entry[1].clients and entry[1].clients.required))
        named = {domain: policy for domain, policy in said.items() if not is_template(domain)}
        differing = {domain for domain, policy in named.items() if policy != default}
        # Under a wildcard that differs, and beside a pattern that might match, even the default has to be said.
        differing |= {domain for domain in named if patterns or differing & {*candidates(domain)[1:]}}
        return cls(default, {domain: named[domain] for domain in differing}, tuple(patterns))

    @property
    def differ(self) -> bool:
        """Whether not all hosts have the same rules."""
        return bool(self.differing or self.patterns)

    def of_host(self, name: str) -> HostPolicy:
        """Return the rules of a host by its canonical name: its own, its wildcard's, a pattern's, or the default."""
        if self.differing:
            for key in candidates(name):
                if (policy := self.differing.get(key)) is not None:
                    return policy
        for pattern, policy in self.patterns:
            if pattern.fullmatch(name):
                return policy
        return self.default


def towards_clients(settings: Settings, own: ApiTls | None = None) -> PolicyAndWarnings:
    """Return the policy of the HTTPS listener, and warnings; what an API says goes before ``settings``."""
    options = settings.http_server_options
    own = own or ApiTls()
    return server_policy(
        TlsVersion(own.min_version or options.min_version),
        TlsVersion(own.max_version or options.max_version),
        own.ciphers or options.ssl_ciphers,
        server_preference=options.prefer_server_ciphers,
    )


def towards_upstreams(settings: Settings, transport: Transport) -> PolicyAndWarnings:
    """Return the policy towards https upstreams, and warnings; what the API says goes before ``settings``."""
    return _upstream_policy(
        transport.ssl_min_version or settings.proxy_ssl_min_version,
        transport.ssl_max_version or settings.proxy_ssl_max_version,
        transport.ssl_ciphers or settings.proxy_ssl_ciphers,
    )


@lru_cache(256)  # thousands of APIs share a few
def _upstream_policy(minimum: int | None, maximum: int | None, names: tuple[str, ...]) -> PolicyAndWarnings:
    return upstream_policy(TlsVersion(minimum) if minimum else None, TlsVersion(maximum) if maximum else None, names)


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
        if api.gateway.tls.is_set:
            yield f"apis[{api.api_id}].gateway.tls", towards_clients(settings, api.gateway.tls)
        transport = api.proxy.transport
        if transport.ssl_min_version or transport.ssl_max_version or transport.ssl_ciphers:
            yield f"apis[{api.api_id}].proxy.transport", towards_upstreams(settings, transport)
