"""YAML text becomes nodes, from the parser's events: neither depth nor aliases can exhaust anything.

Unquoted scalars stay undecided (`Word`), which makes YAML 1.1's surprises impossible: ``off`` a boolean,
``1:30`` a number, ``0644`` another. Anchors, aliases and ``<<`` merges work; tags do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from gateway.config.node import MAX_DEPTH, MalformedError, Node, Word, forbidden_character
from gateway.config.problems import Findings, Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_ALIASED = 100_000  # values that all aliases together may stand for: where a "billion laughs" ends
_LOOKAHEAD = 1024  # characters that a parser reads ahead of its events at most: the longest implicit key
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# libyaml where PyYAML was built with it: twenty times faster. Its composer overflows the C stack on deep
# nesting, which is why nodes are made here, from events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, locate: Callable[[int], str], base: Path, found: Findings) -> Node:
    """Read one YAML document; ``locate`` turns a line (from 0) into a source. Doubled keys are errors.

    Raises MalformedError where the text stops being YAML, and for tags, unknown aliases and too many of them.
    """
    try:
        return _Events(text, locate, base, found).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        if mark and _is_deep(text[: mark.index]):
            raise _too_deep(locate(mark.line)) from error
        # PyYAML quotes what it met, which may be a piece of a secret.
        reason = re.sub(r"'[^'\s]{2,}'", "this", getattr(error, "problem", None) or "the text cannot be read")
        raise MalformedError(locate(mark.line if mark else 0), f"this is not YAML: {reason}", _cure(reason)) from error


def _is_deep(text: str) -> bool:
    """Return whether the text that a parser has just refused ends too deep in brackets.

    Newer parsers have a limit of their own and reach it ahead of their events, while they look for the end of a key.
    """
    ahead = text[-_LOOKAHEAD:]
    return ahead.count("[") + ahead.count("{") - ahead.count("]") - ahead.count("}") > MAX_DEPTH + 1


def _too_deep(source: str) -> MalformedError:
    return MalformedError(source, f"values are nested more than {MAX_DEPTH} deep", "flatten them")


def _cure(reason: str) -> str:
    if "tab" in reason or "'\\t'" in reason:
        return "indent with spaces"
    return "check the indentation and the quotes of this line and the one before"


class _Made(NamedTuple):
    """A node, how many nodes it stands for when aliases are followed, and how deep it is."""

    node: Node
    size: int
    height: int


class _Events:
    def __init__(self, text: str, locate: Callable[[int], str], base: Path, found: Findings) -> None:
        self._events = yaml.parse(text, Loader=_LOADER)
        self._locate = locate
        self._base = base
        self._found = found
        self._anchors: dict[str, _Made] = {}
        self._aliased = 0

    def document(self) -> Node:
        next(self._events)  # the stream starts
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Node(None, self._locate(0), self._base)
        node = self._node(next(self._events), 0).node
        next(self._events)  # the document ends
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise MalformedError(self._source(event), "a second YAML document starts here", "keep one per file")
        return node

    def _node(self, event: Any, depth: int) -> _Made:
        source = self._source(event)
        if isinstance(event, yaml.AliasEvent):
            made = self._alias(event, source)
        elif event.tag not in {None, "!", f"tag:yaml.org,2002:{_KINDS[type(event)]}"}:
            raise MalformedError(source, "YAML tags are not supported", "remove the word that starts with !")
        elif isinstance(event, yaml.ScalarEvent):
            made = _Made(Node(self._scalar(event, source), source, self._base), 1, 0)
        else:
            self._check_depth(depth, source)
            made = (self._sequence if isinstance(event, yaml.SequenceStartEvent) else self._mapping)(source, depth)
        self._check_depth(depth + made.height, source)
        if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            self._anchors[event.anchor] = made
        return made

    def _check_depth(self, depth: int, source: str) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep(source)

    def _alias(self, event: Any, source: str) -> _Made:
        if event.anchor not in self._anchors:
            raise MalformedError(source, "this alias has no anchor before it", "put text that starts with * in quotes")
        made = self._anchors[event.anchor]
        self._aliased += made.size
        if self._aliased > MAX_ALIASED:
            raise MalformedError(source, f"aliases stand for more than {MAX_ALIASED} values", "use fewer of them")
        return made

    def _scalar(self, event: Any, source: str) -> str | None:
        text: str = event.value
        if forbidden_character(text):
            raise MalformedError(source, "the text holds a control character or half of a surrogate pair", "remove it")
        if not event.implicit[0]:  # quoted, a block, or tagged !!str
            return text
        return None if text in _NULLS else Word(text)

    def _sequence(self, source: str, depth: int) -> _Made:
        parts: list[_Made] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            parts.append(self._node(event, depth + 1))
        return self._container([part.node for part in parts], parts, source)

    def _mapping(self, source: str, depth: int) -> _Made:
        members: dict[str, Node] = {}
        merged: list[Node] = []
        parts: list[_Made] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            where = self._source(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise MalformedError(where, "a key must be plain text", "quote it, or check the indentation")
            key = self._scalar(event, where) or event.value
            part = self._node(next(self._events), depth + 1)
            parts.append(part)
            if key == "<<" and isinstance(key, Word):
                merged.append(part.node)
                continue
            if key in members:
                self._found.error(Place(key, where), "the key stands twice", "keep one of the two")
            # A key's line is where a person looks, not the line on which its block of values starts.
            members[str(key)] = Node(part.node.value, where, part.node.base)
        for node in merged:
            self._merge(node, members)
        return self._container(members, parts, source)

    def _container(self, value: dict[str, Node] | list[Node], parts: list[_Made], source: str) -> _Made:
        size = 1 + sum(part.size for part in parts)
        return _Made(Node(value, source, self._base), size, 1 + max((part.height for part in parts), default=0))

    def _merge(self, node: Node, members: dict[str, Node]) -> None:
        for part in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(part.value, dict):
                raise MalformedError(part.source, "<< merges mappings only", "name an anchor of a mapping after <<")
            for key, value in part.value.items():
                members.setdefault(key, value)

    def _source(self, event: Any) -> str:
        return self._locate(event.start_mark.line)


_KINDS: dict[type, str] = {
    yaml.ScalarEvent: "str",
    yaml.SequenceStartEvent: "seq",
    yaml.MappingStartEvent: "map",
}
