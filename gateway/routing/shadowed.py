"""APIs that nobody can reach, because other APIs get every request that would be theirs."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from gateway.config.own_ports import own_port
from gateway.config.problems import Problem, Severity
from gateway.routing.domains import host_of
from gateway.routing.router import Router
from gateway.routing.templates import is_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration

_MOST = 1000
"""The most APIs to examine, and hosts for each API without a domain: the check must not slow a reload."""
_CURE = "give it a domain of its own, or change the listen_path of one of them"


def problems(configuration: Configuration) -> Iterator[Problem]:
    """Yield a problem for each API whose listen path leads to another one on every host that it is for.

    It is a warning, or a note where the API has no domain: hosts that no API names still reach it.
    """
    settings = configuration.settings
    for port in sorted({own_port(api, settings) for api in configuration.apis if not api.is_service}):
        here = configuration.of_port(port)
        router = Router(
            here.apis, here.closed, custom_domains=settings.enable_custom_domains, hostname=settings.hostname,
            strict=settings.http_server_options.enable_strict_routes,
        )  # fmt: skip
        apis = [api for api in islice(here.apis, _MOST) if api.active and not api.internal and not api.is_service]
        domains = {id(api): host_of(api, settings) for api in apis}
        named = [host for host in dict.fromkeys(domains.values()) if host and not is_template(host)]
        for api in apis:
            path, domain = api.proxy.listen_path, domains[id(api)]
            # An API that serves / for any host takes the remaining requests: it is meant to come after the others.
            if is_template(path) or is_template(domain) or (not domain and path == "/"):
                continue
            if takers := _takers(router, api, [domain] if domain else named):
                where = f"{domain or ', '.join(named[:3]) + (' and others' if len(named) > 3 else '')}{path}"
                reached = "nobody reaches it" if domain else "only hosts that no API names reach it"
                message = f"{reached}: requests for {where} go to {', '.join(takers)}"
                severity = Severity.WARNING if domain else Severity.NOTE
                yield Problem(severity, f"apis[{api.api_id}].proxy.listen_path", "", message, _CURE)


def _takers(router: Router, api: ApiDefinition, hosts: list[str]) -> list[str]:
    """Return who has the requests of an API on the hosts; nobody, if it has those of one of them."""
    found = []
    for host in hosts:
        route = router.match(host.replace("*", "any").encode(), api.proxy.listen_path.encode())
        if route is None or route.definition is api:
            return []
        found.append(repr(route.api_id))
    return [*dict.fromkeys(found)][:3]
