"""What a configuration will serve: where it listens, the TLS policy, and a table with a row per domain."""

from __future__ import annotations

from itertools import zip_longest
from textwrap import fill
from typing import TYPE_CHECKING

from cryptography.x509.oid import NameOID

from gateway.certs.choice import Validity
from gateway.certs.pem import CertificatePair
from gateway.cli.layout import expiry, table
from gateway.config.networks import bracketed
from gateway.config.own_ports import own_port, spoken
from gateway.routing.domains import domain_of, service_domain
from gateway.routing.policies import HostPolicies, towards_clients
from gateway.tls.names import candidates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration
    from gateway.config.settings import Settings
    from gateway.store.file_sources import Collected
    from gateway.tls.policy import TlsPolicy

HEADINGS = ("domain", "certificate", "expires", "TLS from", "upstream")
SERVICE_HEADINGS = ("port", "service", "domain", "certificate", "expires", "upstream")
ANY_NAME = "(any name)"
WIDTH = 110


def describe(configuration: Configuration, collected: Collected, now: datetime) -> str:
    """Describe in words and a table what will be served."""
    settings = configuration.settings
    policy = towards_clients(settings)[0] if settings.http_server_options.use_ssl else None
    own_port = configuration.of_port(0)
    policies = HostPolicies.of(own_port)
    rows: list[Iterable[str]] = [HEADINGS]
    for domain, pairs, apis in domains(own_port, collected, now):
        shown = pairs if policy else []
        floor = [policies.of_host(domain).tls.minimum.label] if policy else []
        expiries = [_end(pair, collected, now) for pair in shown]
        upstreams = [upstream(api) for api in apis] or ["none: 404"]
        rows += zip_longest(
            [domain], [_named(pair, collected) for pair in shown], expiries, floor, upstreams, fillvalue=""
        )
    ports = services(configuration, collected, now)
    return "\n".join([listeners(settings), *([tls(policy)] if policy else []), "", *table(rows), *ports, ""])


def services(configuration: Configuration, collected: Collected, now: datetime) -> list[str]:
    """Describe what has a port of its own, each with the certificate that its clients are shown."""
    found = _by_name(collected)
    rows: list[Iterable[str]] = [SERVICE_HEADINGS]
    settings = configuration.settings
    own = [api for api in configuration.apis if own_port(api, settings)]
    for api in sorted(own, key=lambda api: api.listen_port):
        domain, protocol = (service_domain if api.is_service else domain_of)(api, settings), spoken(api, settings)
        ends_tls = api.terminates_tls or protocol == "https"
        pairs = _shown(found, candidates(domain), now) or found.get(collected.default or "") if ends_tls else ()
        pair = pairs[-1] if pairs else None
        shown = _named(pair, collected) if pair else "none" if ends_tls else "the target's"
        rows.append(
            (
                str(api.listen_port),
                f"{protocol}, {api.gateway.negotiate}".removesuffix(", "),
                domain or ANY_NAME,
                shown if protocol in {"tls", "https"} else "no TLS",
                _end(pair, collected, now) if pair else "",
                ", ".join(targets(api)) if api.is_service else upstream(api),
            )
        )
    return ["", *table(rows)] if rows[1:] else []


def domains(
    configuration: Configuration, collected: Collected, now: datetime
) -> Iterator[tuple[str, Sequence[CertificatePair], Sequence[ApiDefinition]]]:
    """Yield each domain that has an API or a certificate, with its certificates as of ``now`` and its APIs."""
    pairs = _by_name(collected)
    apis: dict[str, list[ApiDefinition]] = {}
    for api in configuration.apis:
        apis.setdefault(domain_of(api, configuration.settings), []).append(api)
    default = pairs.get(collected.default or "", [])
    everywhere = apis.pop("", [])
    for domain in dict.fromkeys((*apis, *pairs)):
        names = dict.fromkeys(candidates(domain))
        found = _shown(pairs, names, now) or default
        yield domain, found, [api for name in names for api in apis.get(name, [])] or everywhere
    if everywhere:
        yield ANY_NAME, default, everywhere


def _by_name(collected: Collected) -> dict[str, list[CertificatePair]]:
    pairs: dict[str, list[CertificatePair]] = {}
    for item in collected.entries:
        assert isinstance(item.pair, CertificatePair), "only what is read anew can be shown"
        pairs.setdefault(item.name, []).append(item.pair)
    return pairs


def _shown(
    pairs: Mapping[str, Sequence[CertificatePair]], names: Iterable[str], now: datetime
) -> Sequence[CertificatePair]:
    """Return the certificates of the first of the names that has valid ones, else of the first that has any."""
    found = [pairs[name] for name in names if name in pairs]
    return min(found, key=lambda some: not Validity.of(some[0].leaf).holds(now.timestamp()), default=())


def _named(pair: CertificatePair, collected: Collected) -> str:
    return "self-signed, made at the start" if pair is collected.made else certificate(pair)


def _end(pair: CertificatePair, collected: Collected, now: datetime) -> str:
    return "" if pair is collected.made else expiry(pair.not_after, now)


def certificate(pair: CertificatePair) -> str:
    """Name a certificate: key type, the beginning of its fingerprint, who issued it."""
    issuer = pair.leaf.issuer
    names = [issuer.get_attributes_for_oid(oid) for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)]
    by = next((str(found[0].value) for found in names if found), issuer.rfc4514_string())
    return f"{pair.key_type} {pair.fingerprint[:12]} by {by}"


def upstream(api: ApiDefinition) -> str:
    """Write where the requests of an API go. Like Tyk, the router serves each under ``/{api_id}/`` as well."""
    proxy = api.proxy
    path = "" if proxy.listen_path == "/" else f"{proxy.listen_path} and /{api.api_id}/ → "
    return path + ", ".join(targets(api))


def targets(api: ApiDefinition) -> tuple[str, ...]:
    """Write where an API or a service leads."""
    proxy = api.proxy
    return proxy.target_list if proxy.enable_load_balancing and proxy.target_list else (proxy.target_url,)


def listeners(settings: Settings) -> str:
    """Write on which ports there will be what."""
    scheme = "HTTPS" if settings.http_server_options.use_ssl else "plain HTTP (use_ssl is false)"
    redirect = settings.gateway.http_redirect
    control = "control in TLS" if settings.gateway.control_tls else "control"
    ports = [
        f"{scheme} on {bracketed(settings.listen_address) or '*'}:{settings.listen_port}",
        *([f"redirect to it on port {redirect.port}"] if redirect else []),
        f"{control} on {bracketed(settings.gateway.control_address)}:{settings.control_api_port}",
    ]
    return ", ".join(ports)


def tls(policy: TlsPolicy) -> str:
    """Write the TLS policy."""
    order = "server" if policy.server_preference else "client"
    versions = f"TLS {policy.minimum.label} to {policy.maximum.label}"
    suites = " ".join((*policy.suites, *policy.ciphers))
    text = f"{versions}, cipher suites in the {order}'s order: {suites}"
    return fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
