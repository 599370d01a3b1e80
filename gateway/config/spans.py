"""Where each value of a configuration text begins and ends, so that one can be changed and the rest left alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import yaml

_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Span:
    """A value's place: ``text[start:end]``, without the comments around it.

    ``flow`` says whether a collection is written in brackets. ``keys`` are the members of a mapping, each with the
    offset of its key; ``items`` are the values of either collection, in order. ``shared`` is a YAML value that stands
    in several places by an alias.
    """

    kind: Literal["scalar", "mapping", "sequence"]
    start: int
    end: int
    flow: bool = False
    keys: tuple[tuple[str, int], ...] = ()
    items: tuple[Span, ...] = ()
    shared: bool = False

    def starts(self) -> tuple[int, ...]:
        """The offset at which each member begins: its key's, or in a sequence the value's own."""
        return tuple(at for _, at in self.keys) if self.kind == "mapping" else tuple(item.start for item in self.items)

    def index(self, step: str | int) -> int | None:
        """The place of a member among the others; keys match in any case, as in Go, an exact one first."""
        if isinstance(step, int):
            return step if self.kind == "sequence" and 0 <= step < len(self.items) else None
        names = [key for key, _ in self.keys]
        if step in names:
            return names.index(step)
        lower = [name.lower() for name in names]
        return lower.index(step.lower()) if step.lower() in lower else None


def of_json(text: str) -> Span:
    """The spans of a JSON text that was parsed without complaint before."""
    return _json_value(text, _skip(text, 0))


def of_yaml(text: str) -> Span | None:
    """The spans of a YAML text that was parsed without complaint before; None for an empty one."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return None if root is None else _yaml_value(text, root, {})


def _json_value(text: str, at: int) -> Span:
    opening = text[at]
    if opening not in "{[":
        return Span("scalar", at, json.JSONDecoder().raw_decode(text, at)[1])
    keys: list[tuple[str, int]] = []
    items: list[Span] = []
    start, at = at, _skip(text, at + 1)
    while text[at] not in "}]":
        if opening == "{":
            key, end = json.JSONDecoder().raw_decode(text, at)
            keys.append((key, at))
            at = _skip(text, _skip(text, end) + 1)
        item = _json_value(text, at)
        items.append(item)
        at = _skip(text, item.end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    kind: Literal["mapping", "sequence"] = "mapping" if opening == "{" else "sequence"
    return Span(kind, start, at + 1, flow=True, keys=tuple(keys), items=tuple(items))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _yaml_value(text: str, node: Any, seen: dict[int, int]) -> Span:
    start, end = node.start_mark.index, node.end_mark.index
    seen[id(node)] = seen.get(id(node), 0) + 1
    shared = seen[id(node)] > 1 or text[start : start + 1] == "&"
    if isinstance(node, yaml.ScalarNode):
        return Span("scalar", start, start + len(text[start:end].rstrip()), shared=shared)
    flow = bool(node.flow_style)
    keys: tuple[tuple[str, int], ...] = ()
    if isinstance(node, yaml.MappingNode):
        keys = tuple((str(key.value), key.start_mark.index) for key, _ in node.value)
        values = [value for _, value in node.value]
    else:
        values = node.value
    items = () if shared else tuple(_yaml_value(text, value, seen) for value in values)
    if not flow and items:
        end = max(items[-1].end, start)
    kind: Literal["mapping", "sequence"] = "mapping" if isinstance(node, yaml.MappingNode) else "sequence"
    return Span(kind, start, end, flow, keys, items, shared)
