"""Host and path to a route, in the order in which Tyk would try them.

Tyk tries one API after the other: those with a domain of their own first, then the longest effective listen
path; each under its listen path and under ``/{api_id}/``. The first whose host pattern and path prefix match
has the request. That order is a number here, the rank, and the rest is an index: a table per domain finds its
best route in a sorted list, and of the few tables whose domain matches the host the lowest rank wins.

Deliberately unlike Tyk, hosts are compared without regard to case, ``*.example.com`` covers one label, as it
does in a certificate, the port in a Host field never counts, and of two APIs with the same domain and listen
path the one that is defined first has it, where Tyk renames paths.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from gateway.config.problems import Problem, Severity
from gateway.errors import ConfigurationError
from gateway.routing.paths import matched
from gateway.routing.templates import effective_length, host_pattern, is_template, path_pattern
from gateway.tls.names import candidates, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.config.definitions import ApiDefinition

# Hosts whose tables are remembered, beyond one for each domain: spellings, ports, names under a wildcard. Clients
# choose them, so there is a bound: a few megabytes.
_REMEMBERED_HOSTS = 10_000
_LONGEST_HOST = 261  # a name of 253 octets (RFC 1035 section 2.3.4), a final dot and a port
_CURE = "write {name} or {name:regular expression}, as Python reads it"
_PORT = re.compile(rb":[0-9]*\Z")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One way to reach an API.

    ``prefix`` is the literal text that paths begin with; where the listen path is a template, it is empty and
    ``pattern`` stands in its place. The lowest ``rank`` that matches wins. ``strips`` and ``keeps_slash`` are
    Tyk's ``strip_listen_path`` (which does nothing under ``/{api_id}/``) and ``disable_strip_slash``;
    ``ends_segment`` says that the path must end, or a slash follow, where the prefix ends. A ``closed`` one leads to an
    API that is out of service.
    """

    definition: ApiDefinition
    api_id: str
    name: str
    rank: int
    prefix: bytes
    pattern: re.Pattern[bytes] | None
    strips: bool
    keeps_slash: bool
    ends_segment: bool
    closed: bool = False


class Router:
    """Finds the route of a request. Nothing in it changes but the memory of the hosts it was asked for."""

    def __init__(
        self,
        apis: Iterable[ApiDefinition],
        closed: Sequence[ApiDefinition] = (),
        *,
        custom_domains: bool,
        hostname: str,
        strict: bool,
    ) -> None:
        """Index the active ``apis`` and the ``closed`` ones. ``hostname`` is the domain of APIs without one.

        ``strict`` is Tyk's ``enable_strict_routes``. Raises ConfigurationError for what cannot be read.
        """
        self._closed = frozenset(map(id, closed))
        served = [
            (api.domain if custom_domains and not api.domain_disabled else "", api)
            for api in (*apis, *closed)
            if api.active and not api.internal
        ]
        served.sort(
            key=lambda entry: (not entry[0], -effective_length(entry[1].proxy.listen_path), _vagueness(entry[0]))
        )
        groups: dict[str, list[tuple[int, ApiDefinition]]] = {}
        patterns: dict[str, re.Pattern[str]] = {}
        problems = []
        for rank, (domain, api) in enumerate(served):
            try:
                key = _key(domain or hostname)
                if is_template(key):
                    patterns[key] = host_pattern(key)
                if is_template(api.proxy.listen_path):
                    path_pattern(api.proxy.listen_path)  # or the first request would find out
            except ValueError as error:
                if id(api) in self._closed:
                    continue  # nobody can say what its place is
                problems.append(Problem(Severity.ERROR, f"apis[{api.api_id}]", "", str(error), _CURE))
            else:
                groups.setdefault(key, []).append((rank, api))
        if problems:
            raise ConfigurationError(problems)
        self._groups = groups
        self._patterns = tuple((pattern, key) for key, pattern in patterns.items())
        self._strict = strict
        self._tables: dict[str, _Table] = {}
        self._remembered: dict[bytes, tuple[_Table, ...]] = {}

    def match(self, host: bytes, path: bytes) -> Route | None:
        """The route for a Host field and a path, both as received: any case, a port, a query.

        None means 404. With ``strict`` the best route may refuse the path, and then no other gets it.
        """
        tables = self._remembered.get(host)
        if tables is None:
            tables = self._remember(host)
        path = matched(path)
        best: Route | None = None
        for table in tables:
            if best is not None and best.rank < table.lowest_rank:
                break
            route = table.find(path)
            if route is not None and (best is None or route.rank < best.rank):
                best = route
        if best is not None and best.ends_segment:
            end = len(best.prefix)
            return best if path[end : end + 1] in (b"", b"/") else None
        return best

    def _remember(self, host: bytes) -> tuple[_Table, ...]:
        tables = self._tables_for(host)
        if len(host) <= _LONGEST_HOST:
            if len(self._remembered) >= _REMEMBERED_HOSTS + len(self._groups):
                del self._remembered[next(iter(self._remembered))]
            self._remembered[host] = tables
        return tables

    def _tables_for(self, host: bytes) -> tuple[_Table, ...]:
        """The tables of all domains that ``host`` belongs to, the one with the lowest rank first."""
        keys = [""]
        if name := host_name(host):
            keys += candidates(name)
            keys += [key for pattern, key in self._patterns if pattern.fullmatch(name)]
        found = [self._table(key) for key in keys if key in self._groups]
        return tuple(sorted(found, key=attrgetter("lowest_rank")))

    def _table(self, key: str) -> _Table:
        """The table of one domain, made when the domain is first asked for: there may be 100,000."""
        table = self._tables.get(key)
        if table is None:
            routes = [
                route
                for rank, api in self._groups[key]
                for route in _routes(api, rank, strict=self._strict, closed=id(api) in self._closed)
            ]
            table = self._tables[key] = _Table(routes)
        return table


def host_name(host: bytes) -> str:
    """The canonical name in a Host field, without its port; "" where there is none."""
    try:
        return canonical(_PORT.sub(b"", host).decode("ascii"))
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """A literal prefix in a table. Whatever begins with it begins with ``parent`` too, so ``best`` is of both."""

    prefix: bytes
    parent: _Node | None
    best: Route


class _Table:
    """The routes of one domain.

    The prefixes are sorted, so the longest one that a path begins with is the last one not greater than the path, or
    one of those that this one itself begins with: a bisection and a short climb, however many routes there are.
    """

    __slots__ = ("_nodes", "_prefixes", "_templates", "lowest_rank")

    def __init__(self, routes: Sequence[Route]) -> None:
        """Index ``routes``, which are in order of rank."""
        self.lowest_rank = routes[0].rank
        self._templates = tuple((route.pattern, route) for route in routes if route.pattern is not None)
        literal = {route.prefix: route for route in reversed(routes) if route.pattern is None}
        self._prefixes = sorted(literal)
        self._nodes: list[_Node | None] = [None]
        for prefix in self._prefixes:
            parent = _climb(self._nodes[-1], prefix)
            best = literal[prefix]
            if parent is not None and parent.best.rank < best.rank:
                best = parent.best
            self._nodes.append(_Node(prefix, parent, best))

    def find(self, path: bytes) -> Route | None:
        """The route of the lowest rank that ``path``, decoded and without a query, begins with."""
        node = _climb(self._nodes[bisect_right(self._prefixes, path)], path)
        best = node.best if node is not None else None
        for pattern, route in self._templates:
            if best is not None and best.rank < route.rank:
                break
            if pattern.match(path):
                return route
        return best


def _climb(node: _Node | None, path: bytes) -> _Node | None:
    """The nearest of ``node`` and its parents that ``path`` begins with."""
    while node is not None and not path.startswith(node.prefix):
        node = node.parent
    return node


def _routes(api: ApiDefinition, rank: int, *, strict: bool, closed: bool) -> tuple[Route, Route]:
    """The two ways to an API, in the order in which they are tried."""
    listen_path = api.proxy.listen_path
    template = is_template(listen_path)
    by_path = Route(
        definition=api,
        api_id=api.api_id,
        name=api.name,
        rank=2 * rank,
        prefix=b"" if template else listen_path.encode(),
        pattern=path_pattern(listen_path) if template else None,
        strips=api.proxy.strip_listen_path,
        keeps_slash=api.proxy.disable_strip_slash,
        ends_segment=strict and not template and not listen_path.endswith("/"),
        closed=closed,
    )
    prefix = f"/{api.api_id}/".encode()
    return by_path, replace(by_path, rank=2 * rank + 1, prefix=prefix, pattern=None, strips=False, ends_segment=False)


def _vagueness(domain: str) -> int:
    """Tyk leaves open which of two equally long paths wins; here the domain decides, as it does for certificates."""
    return 2 if is_template(domain) else int(domain.startswith("*."))


def _key(domain: str) -> str:
    """What a domain's table is found by: a canonical name, a wildcard, a template, or nothing for any host."""
    return canonical(domain) if domain and not is_template(domain) else domain
