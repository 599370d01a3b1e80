"""The ports that definitions open for themselves: their numbers, their protocols, and the rules for sharing them.

A service always has one. An API has one if its ``listen_port`` differs from the gateway's, as in Tyk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.definition_rules import Served
    from gateway.config.definitions import ApiDefinition
    from gateway.config.settings import Settings

MOST_PORTS = 128
"""Sockets of such ports are handed over in one message, which takes at most 253 (unix(7), SCM_MAX_FD)."""


def own_port(definition: ApiDefinition, settings: Settings) -> int:
    """Return the port that a definition opens, 0 for an API on the port of the gateway."""
    port = definition.listen_port
    return port if definition.is_service or port != settings.listen_port else 0


def spoken(definition: ApiDefinition, settings: Settings) -> str:
    """Return what is spoken where a definition is served: http, https, tcp or tls."""
    if definition.is_service:
        return definition.protocol
    usual = "https" if settings.http_server_options.use_ssl else "http"
    return (own_port(definition, settings) and definition.protocol) or usual


def check_alone(served: Served, settings: Settings) -> None:
    """Check that a port of its own may be opened."""
    definition, origin, found = served
    port, place, protocol = definition.listen_port, origin.place("listen_port"), spoken(definition, settings)
    redirect = settings.gateway.http_redirect
    taken = {
        settings.listen_port: "listen_port of the gateway",
        settings.control_api_port: "control_api_port",
        redirect.port if redirect else 0: "gateway.http_redirect.port",
        0: "",
    }
    if not origin.sound("listen_port"):
        return
    if not port:
        found.error(place, f"is missing: a {protocol} service needs a port of its own", "write a free port")
    elif not 0 < port <= 65535:
        found.error(place, f"{port} is not a port", "write a number from 1 to 65535")
    elif port in taken:
        found.error(place, f"the port {port} is already that of {taken[port]}", "choose another port")
    elif not settings.allows_port(protocol, port):
        found.error(
            place,
            f"ports_whitelist does not allow the port {port} to the protocol {protocol}",
            f"choose one that is listed, or add this one to ports_whitelist.{protocol}.ports",
        )
    if definition.enable_proxy_protocol and settings.gateway.proxy_protocol is None:
        found.error(
            origin.place("enable_proxy_protocol"),
            "does not say whose word counts, and everybody could claim any address",
            "list the load balancers in gateway.proxy_protocol.proxies of the main file",
        )


def check_together(served: Sequence[Served], settings: Settings) -> None:
    """Check that those who share a port agree about it. The one that comes later has the problem."""
    first_on: dict[int, Served] = {}
    for one in served:
        definition, origin, found = one
        if not (port := own_port(definition, settings)):
            continue
        first, other, _ = first_on.setdefault(port, one)
        pair = f"{definition.api_id!r} and {first.api_id!r} ({other.place().source}) share the port {port}"
        if spoken(definition, settings) != spoken(first, settings):
            found.error(origin.place("protocol"), f"{pair}, which has one protocol", "give each protocol its port")
        elif definition.enable_proxy_protocol != first.enable_proxy_protocol:
            place = origin.place("enable_proxy_protocol")
            found.error(place, f"{pair}, and differ in what comes before all else", "say the same in both")
        if len(first_on) > MOST_PORTS:
            place = origin.place("listen_port")
            found.error(place, f"is one of {len(first_on)} ports beside the gateway's", f"use at most {MOST_PORTS}")
