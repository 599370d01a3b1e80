"""The API definitions that are served, and the fate of those that cannot be: a wrong one harms itself alone.

    served         it has no errors, though perhaps warnings
    last good      it cannot be read or is not valid, and what it said before is served on
    out of service it asks for a protection that is not here, or nothing is known from before: its host and listen path
                   answer 503, so that no other API gets its requests
    unknown        as before, and where it would be served cannot be told either
    port closed    the port of its own cannot be opened, until it can

If definitions do not fit together, unchanged ones go before changed ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from gateway.config import rules
from gateway.config.definition_rules import Served, host
from gateway.config.definitions import ApiDefinition
from gateway.config.kinds import host_pattern, loosened
from gateway.config.node import Node
from gateway.config.own_ports import own_port, spoken
from gateway.config.problems import Findings, Problem, Severity
from gateway.config.reading import Origin, Reading, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gateway.config.load import Configuration
    from gateway.config.settings import Settings

_TRIED_ALONE = 100
"""The most misfits to try again, each with all others, since the one that it clashed with may itself be out."""

_WHERE = frozenset({"api_id", "name", "domain", "domain_disabled", "listen_port", "protocol", "certificates"})
_PLACES = ("domain_disabled",), ("listen_port",), ("protocol",)
_PATTERNS = ("domain",), ("proxy", "listen_path")
_NOWHERE = "http://out-of-service.invalid/"


class Standing(StrEnum):
    """The fate of a definition that has errors."""

    LAST_GOOD = "last good"
    OUT_OF_SERVICE = "out of service"
    CLOSED = "port closed"
    UNKNOWN = "unknown"

    @property
    def consequence(self) -> str:
        """The consequence for the definition's clients, in words."""
        return {
            Standing.LAST_GOOD: "what it said before is served on",
            Standing.CLOSED: "its port is not open",
            Standing.OUT_OF_SERVICE: "its host and path answer 503",
            Standing.UNKNOWN: "it is not served, and where it would be cannot be told",
        }[self]


class Refused(BaseModel):
    """A definition with errors. ``source`` is the file, or file and line; ``api_id`` is "" where it is not known."""

    model_config = ConfigDict(frozen=True)

    api_id: str
    source: str
    standing: Standing
    problems: tuple[Problem, ...]

    @property
    def reason(self) -> str:
        """The first of its errors."""
        first, *others = (one for one in self.problems if one.severity is Severity.ERROR)
        where = f"{first.path}: " if first.path else ""
        return f"{where}{first.message}{f', and {len(others)} more' if others else ''}"

    def __str__(self) -> str:
        name = f"{self.api_id} " if self.api_id else ""
        return f"{name}({self.source}) {self.standing}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition as it was found in ``file``, "" for the main file; ``node`` and ``served`` as far as it was read."""

    source: str
    file: str
    node: Node | None
    served: Served | None
    found: Findings

    @property
    def api_id(self) -> str:
        """The id that is written, "" for none."""
        value = _members(self.node).get("api_id")
        return str(value.value) if value is not None and isinstance(value.value, str) else ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome for all definitions. ``closed`` are out of service; ``homes`` are the files of both, by api_id.

    ``problems`` are those of definitions that have no errors.
    """

    apis: tuple[ApiDefinition, ...] = ()
    closed: tuple[ApiDefinition, ...] = ()
    refused: tuple[Refused, ...] = ()
    homes: dict[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def settle(entries: Sequence[Entry], settings: Settings, last: Callable[[], Configuration | None]) -> Settled:
    """Decide about all definitions. ``last`` returns the configuration that is served; it is asked only if need be."""
    return _Settling(entries, settings, last).settled()


def put_out(configuration: Configuration, refused: dict[str, Problem]) -> Configuration:
    """Return a configuration in which the APIs with those ids are out of service, each for the given reason."""
    out = [api for api in configuration.apis if api.api_id in refused]
    others = tuple(api for api in configuration.apis if api.api_id not in refused)
    closed = [_closed(api, others, configuration.settings) for api in out]
    told = [
        Refused(
            api_id=api.api_id,
            source=configuration.homes.get(api.api_id) or str(configuration.files[0]),
            standing=Standing.OUT_OF_SERVICE,
            problems=(refused[api.api_id],),
        )
        for api in out
    ]
    return configuration.model_copy(
        update={"apis": others, "closed": (*configuration.closed, *closed), "refused": (*configuration.refused, *told)}
    )


class _Settling:
    def __init__(self, entries: Sequence[Entry], settings: Settings, last: Callable[[], Configuration | None]) -> None:
        self._entries = entries
        self._settings = settings
        self._ask_for_last = last
        self._numbers = count(1)
        self._good: dict[int, ApiDefinition] = {}
        """The good definitions, by the place of their entries."""

    @cached_property
    def _last(self) -> Configuration | None:
        return self._ask_for_last()

    def settled(self) -> Settled:
        sound = [(at, one) for at, one in self._numbered() if one.served and not one.found.refused]
        self._accept({at: one.served for at, one in sound if one.served})
        bad = [(at, one) for at, one in self._numbered() if at not in self._good]
        kept = {at: _as_served(self._before(one), one) for at, one in bad if not one.found.unprotected}
        told = [problem for at in self._good for problem in self._entries[at].found.problems]
        self._accept({at: served for at, served in kept.items() if served})
        apis = tuple(self._good[at] for at in sorted(self._good))
        homes = {self._good[at].api_id: one.file for at, one in self._numbered() if at in self._good}
        closed: list[ApiDefinition] = []
        refused: list[Refused] = []
        for at, one in bad:
            standing = Standing.LAST_GOOD
            if at not in self._good:
                stand_in = self._stand_in(one, apis, closed)
                standing = Standing.OUT_OF_SERVICE if stand_in else Standing.UNKNOWN
                if stand_in:
                    closed.append(stand_in)
                    homes[stand_in.api_id] = one.file
            name = one.api_id or (self._good[at].api_id if at in self._good else "")
            problems = tuple(one.found.problems)
            refused.append(Refused(api_id=name, source=one.source, standing=standing, problems=problems))
        homes = {api: file for api, file in homes.items() if file}
        return Settled(apis, tuple(closed), tuple(refused), homes, tuple(told))

    def _numbered(self) -> Iterator[tuple[int, Entry]]:
        return enumerate(self._entries)

    def _accept(self, candidates: dict[int, Served]) -> None:
        """Take the ``candidates`` that fit with each other and with the good ones; report why the others do not."""
        there = [Served(api, Origin(), Findings()) for api in self._good.values()]
        tried = self._tried(there, candidates)
        if any(found.refused for found in tried.values()):
            candidates = dict(sorted(candidates.items(), key=self._novelty))
            tried = self._tried(there, candidates)
            there += [candidates[at] for at, found in tried.items() if not found.refused]
            for at in [at for at, found in tried.items() if found.refused][:_TRIED_ALONE]:
                again = self._tried(there, {at: candidates[at]})
                if not again[at].refused:
                    tried |= again
                    there.append(candidates[at])
        for at, found in tried.items():
            candidates[at].found.problems.extend(found.problems)
            if not found.refused:
                self._good[at] = _complete(candidates[at].definition)

    def _tried(self, there: Sequence[Served], candidates: dict[int, Served]) -> dict[int, Findings]:
        found = {at: Findings() for at in candidates}
        fresh = [Served(one.definition, one.origin, found[at]) for at, one in candidates.items()]
        rules.check_together([*there, *fresh], self._settings)
        return found

    def _novelty(self, candidate: tuple[int, Served]) -> int:
        """Return how much of a definition is new: the less that is new, the sooner it may claim its place."""
        at, (definition, _, _) = candidate
        before = self._by_id.get(definition.api_id)
        if before is None or self._home(definition.api_id) != self._entries[at].file:
            return 3
        if _complete(definition).model_dump_json() == before.model_dump_json():
            return 0
        return 1 if _place(definition, self._settings) == _place(before, self._settings) else 2

    @cached_property
    def _by_id(self) -> dict[str, ApiDefinition]:
        return {api.api_id: api for api in self._last.apis} if self._last else {}

    @cached_property
    def _by_file(self) -> dict[str, ApiDefinition]:
        known = (*self._last.closed, *self._last.apis) if self._last else ()
        return {self._home(api.api_id): api for api in known}

    def _home(self, api_id: str) -> str:
        return self._last.homes.get(api_id, "") if self._last else ""

    def _before(self, entry: Entry) -> ApiDefinition | None:
        """Return the definition served before one that has errors: it is found by file, id, or place."""
        if entry.file and (found := self._by_file.get(entry.file)):
            return found if found.api_id in self._by_id else None
        if found := self._by_id.get(entry.api_id):
            return found
        stand_in = stand_in_of(entry.node, "nobody")
        if self._last is None or stand_in is None or entry.file:
            return None
        place = _place(stand_in, self._settings)
        inline = (api for api in self._last.apis if not self._home(api.api_id))
        return next((api for api in inline if _place(api, self._settings) == place), None)

    def _stand_in(
        self, entry: Entry, apis: Sequence[ApiDefinition], closed: Sequence[ApiDefinition]
    ) -> ApiDefinition | None:
        """Return what holds the place of a definition that is out of service; None when its place is not known."""
        taken = {api.api_id for api in (*apis, *closed)}
        before = (self._by_file.get(entry.file) if entry.file else None) or self._by_id.get(entry.api_id)
        name = entry.api_id
        if not name or name in taken or not _is_id(name):
            name = next(made for at in self._numbers if (made := f"out-of-service-{at}") not in taken)
        found = stand_in_of(entry.node, name) or before
        if found is None:
            return None
        return _closed(found.model_copy(update={"api_id": name}), apis, self._settings)


def _as_served(definition: ApiDefinition | None, entry: Entry) -> Served | None:
    return Served(definition, Origin(sources={(): entry.source}), Findings()) if definition else None


def _place(api: ApiDefinition, settings: Settings) -> tuple[str, str, int, str]:
    path = "" if api.is_service else api.proxy.listen_path
    return host(api, settings), path, own_port(api, settings), spoken(api, settings)


def stand_in_of(node: Node | None, api_id: str) -> ApiDefinition | None:
    """Return a definition of the same place as the one in ``node``, and no more; None when its place is not known."""
    written = _members(node)
    if node is None or not written:
        return None
    kept: dict[str, Node] = {key: child for key, child in written.items() if key in _WHERE}
    path = _members(written.get("proxy")).get("listen_path")
    tls = _members(written.get("gateway")).get("tls")

    def made(value: Any) -> Node:
        return Node(value, node.source, node.base)

    kept["api_id"], kept["use_keyless"] = made(api_id), made(value=True)
    kept["proxy"] = made({"target_url": made(_NOWHERE)} | ({"listen_path": path} if path else {}))
    if tls is not None:
        kept["gateway"] = made({"tls": tls})
    found = read(ApiDefinition, made(kept), Findings())
    if not all(found.origin.sound(*keys) for keys in _PATTERNS) and (
        around := _around(found, kept.get("domain"), path)
    ):
        kept["domain"] = made(around[0])
        kept["proxy"] = made({"target_url": made(_NOWHERE), "listen_path": made(around[1])})
        found = read(ApiDefinition, made(kept), Findings())
    api = found.model
    if api is None or not all(found.origin.sound(*keys) for keys in (*_PLACES, *_PATTERNS)):
        return None
    service = api.is_service
    known = api.listen_port > 0 if service else path is not None and api.protocol in {"", "http", "https"}
    return api if known else None


def _around(found: Reading[ApiDefinition], domain: Node | None, path: Node | None) -> tuple[str, str] | None:
    """Return a domain and a path that enclose the unreadable ones of a definition; None if they would enclose all."""
    if found.model is None:
        return None
    around, listen_path = found.model.domain, found.model.proxy.listen_path
    if not found.origin.sound("domain"):
        around = _host_around(_text(domain))
    if not found.origin.sound("proxy", "listen_path"):
        listen_path = loosened(_text(path)) or "/"
    return (around, listen_path) if around or listen_path != "/" else None


def _host_around(text: str) -> str:
    if "{" not in text:
        text = re.split("[/:]", text.partition("://")[2] or text)[0]  # a scheme, a port or a path too many
    try:
        return host_pattern(loosened(text))
    except ValueError:
        return ""


def _text(node: Node | None) -> str:
    return node.value if node is not None and isinstance(node.value, str) else ""


def _closed(api: ApiDefinition, served: Iterable[ApiDefinition], settings: Settings) -> ApiDefinition:
    """Return what holds the place of an API, with what of its TLS the others of its host rely on."""
    neighbours = [one for one in served if host(one, settings) == host(api, settings)]
    others_have_tls = any(one.gateway.tls.is_set for one in neighbours)
    others_have_certificates = any(one.certificates for one in neighbours)
    return ApiDefinition(
        api_id=api.api_id,
        name=api.name or api.api_id,
        domain=api.domain,
        domain_disabled=api.domain_disabled,
        listen_port=api.listen_port,
        protocol=api.protocol,
        certificates=() if others_have_certificates else api.certificates,
        use_keyless=True,
        proxy=type(api.proxy)(listen_path=api.proxy.listen_path, target_url=_NOWHERE),
        gateway=type(api.gateway)() if others_have_tls else type(api.gateway)(tls=api.gateway.tls),
    )


def _members(node: Node | None) -> dict[str, Node]:
    """Return the values of a section, by their keys in lower case."""
    value = node.value if node is not None else None
    return {key.lower(): child for key, child in value.items()} if isinstance(value, dict) else {}


def _is_id(text: str) -> bool:
    return not any(character.isspace() or character == "/" for character in text)


def _complete(definition: ApiDefinition) -> ApiDefinition:
    """Fill in the defaults of keys that are not written."""
    proxy = definition.proxy
    scheme = definition.protocol if definition.is_service else "http"
    listed = tuple(target if "://" in target else f"{scheme}://{target}" for target in proxy.target_list)
    proxy = proxy.model_copy(update={"target_list": listed, "target_url": proxy.target_url or listed[0]})
    return definition.model_copy(update={"name": definition.name or definition.api_id, "proxy": proxy})
