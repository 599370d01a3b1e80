"""Rules about services: definitions of the protocols ``tcp`` and ``tls``, each port of which is theirs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config import definition_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.config.definition_rules import Served
    from gateway.config.definitions import ApiDefinition
    from gateway.config.problems import Findings, Place
    from gateway.config.reading import Origin
    from gateway.config.settings import Settings

_OF_REQUESTS = "request_headers", "response_headers", "enable_websockets", "body_bytes", "client_timeouts"


def check_alone(served: Served) -> None:
    """Check a service on its own and against the settings."""
    definition, origin, found = served
    _check_targets(definition, origin, found)
    _check_tls(definition, origin, found)
    _check_meaningless(definition, origin, found)


def check_together(services: Sequence[Served], settings: Settings) -> None:
    """Check the services that share a port against each other."""
    ports: dict[int, list[Served]] = {}
    for one in services:
        ports.setdefault(one.definition.listen_port, []).append(one)
    for port, sharing in ports.items():
        if port:
            _check_sharing(port, sharing, settings)
            definition_rules.check_host_policies(sharing, settings, uses_tls=True)


def _check_targets(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    proxy = definition.proxy
    listed = [("target_list", target) for target in proxy.target_list]
    for key, target in [("target_url", proxy.target_url), *listed]:
        scheme, separator, _ = target.lower().partition("://")
        if separator and scheme not in {"tcp", "tls"}:
            found.error(
                origin.place("proxy", key),
                f"is an {scheme} URL, and a {definition.protocol} service passes bytes on",
                "write tcp://host:port, or tls://host:port for an upstream that is to be spoken to in TLS",
            )
        elif target and not separator and not target.rpartition(":")[2].isdigit():
            found.error(origin.place("proxy", key), "is not a host and a port", "write it like 10.0.0.1:5432")
        elif definition.gateway.passthrough and (scheme == "tls" and separator):
            found.error(
                origin.place("proxy", key),
                "would be spoken to in TLS within TLS: passthrough hands the client's own TLS on",
                "write tcp://host:port",
            )
    balancing = definition.gateway.balancing
    if balancing.policy == "sticky" or (balancing.policy == "hash" and balancing.hash_on != "address"):
        place = origin.place("gateway", "balancing")
        found.error(place, "chooses by a field of requests, which a service does not see", "hash on address")


def _check_tls(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    own = definition.gateway
    if definition.protocol != "tls":
        for key in ("passthrough", "negotiate"):
            if getattr(own, key):
                found.error(origin.place("gateway", key), "is for tls services", "write protocol: tls, or remove it")
        wanted = {"certificates": definition.certificates, "domain": definition.domain}
        for key in (key for key, value in wanted.items() if value):
            found.warning(origin.place(key), "is not used: a tcp service speaks no TLS", "write protocol: tls")
    elif own.passthrough and definition.certificates:
        place = origin.place("certificates")
        found.warning(place, "is not used: with passthrough the target shows its own", "remove it")
    if own.tls.is_set and not definition.terminates_tls:
        place = origin.place("gateway", "tls")
        found.error(place, "cannot be kept: TLS does not end at this gateway", "remove it, or end TLS here")
    if own.allow_plain and not own.negotiate:
        found.error(origin.place("gateway", "allow_plain"), "is for services that negotiate TLS", "remove it")
    if "{" in definition.domain:
        found.error(
            origin.place("domain"),
            "is a pattern, and a service is chosen by its name",
            "write a host name, *.example.com, or nothing for all others",
        )


def _check_meaningless(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    defaults = type(definition.gateway)()
    for key in _OF_REQUESTS:
        if getattr(definition.gateway, key) != getattr(defaults, key):
            found.warning(origin.place("gateway", key), "is not used: a service sees no requests", "remove it")


def _check_sharing(port: int, sharing: Sequence[Served], settings: Settings) -> None:
    first, other, _ = sharing[0]
    for definition, origin, found in sharing[1:]:
        pair = f"{definition.api_id!r} and {first.api_id!r} ({other.place().source}) share the port {port}"
        if definition.protocol == first.protocol == "tcp":
            message = "and running multiple services without TLS and SNI is not supported"
            found.error(origin.place("listen_port"), f"{pair}, {message}", "give each a port of its own")
        for key in ("negotiate", "allow_plain"):
            if getattr(definition.gateway, key) != getattr(first.gateway, key):
                place = origin.place("gateway", key)
                found.error(place, f"{pair}, and differ in what comes before the server name", "say the same in both")
    if first.protocol == "tls":
        _check_domains(port, sharing, settings)


def _check_domains(port: int, sharing: Iterable[Served], settings: Settings) -> None:
    domains: dict[str, tuple[str, Place]] = {}
    for definition, origin, found in sharing:
        named = settings.enable_custom_domains and not definition.domain_disabled and definition.domain
        domain, place = (named or "").lower().removesuffix("."), origin.place("domain")
        name, taken = domains.setdefault(domain, (definition.api_id, place))
        if taken is not place:
            found.error(
                place,
                f"{definition.api_id!r} and {name!r} ({taken.source}) are both {domain or 'without domain'} on {port}",
                "give each its own domain, or its own port",
            )
