"""Changes to the text of a configuration file: comments, order, quotes and indentation of the rest stay as they are.

The text is cut at the places of its values (`spans`) and put together again around the new ones. Afterwards it is
read again: unless it says exactly what the old one said but for the change, nothing is returned. What a person
wrote in a way that cannot be changed safely (YAML aliases, mostly) is left to that person.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.config import json_text, spans, yaml_text
from gateway.config.node import MalformedError, Node
from gateway.config.problems import Findings
from gateway.errors import EditError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.spans import Span

Value: TypeAlias = "str | int | float | bool | list[Any] | dict[str, Any] | None"
KeyPath: TypeAlias = "tuple[str | int, ...]"
_STEP = 2
_INDENTED = re.compile(r"\n([ \t]+)\S")


class Verb(Enum):
    """What happens at a place: a value is set there, one is appended to the list there, or the place goes."""

    SET = "set"
    APPEND = "append"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``path`` are the keys, and in lists the places, that lead to it from the top of the file."""

    verb: Verb
    path: KeyPath
    value: Value = None


def put(path: str, value: Value) -> Change:
    """Set a value, in sections that are made where they are missing; ``path`` has dots between its keys."""
    return Change(Verb.SET, tuple(path.split(".")), value)


def append(path: str, value: Value) -> Change:
    """Add a value at the end of a list, which is made where it is missing."""
    return Change(Verb.APPEND, tuple(path.split(".")), value)


def edited(text: str, changes: Sequence[Change], *, is_json: bool) -> str:
    """Return ``text`` with all ``changes``, one after the other.

    Raises EditError when it cannot be done without harm, and when ``text`` is no configuration to begin with.
    """
    if crlf := "\n" in text and "\n" not in text.replace("\r\n", ""):
        text = text.replace("\r\n", "\n")
    for change in changes:
        before = _plain(text, is_json=is_json)
        if change.verb is Verb.REMOVE and _removed(before, change.path) == before:
            continue
        text = _Text(text, is_json=is_json).changed(change)
        if _plain(text, is_json=is_json) != _applied(before, change, is_json=is_json):
            raise EditError(f"{_dotted(change.path)} cannot be changed here without touching something else")
    return text.replace("\n", "\r\n") if crlf else text


class _Text:
    def __init__(self, text: str, *, is_json: bool) -> None:
        self._text = text if text.endswith("\n") or is_json else f"{text}\n" if text else ""
        self._json = is_json
        self._root = spans.of_json(text) if is_json else spans.of_yaml(self._text)

    def changed(self, change: Change) -> str:
        if self._root is None:
            if change.verb is Verb.REMOVE:
                return self._text
            return self._text + self._block(self._nested(change, change.path), 0) + "\n"
        parents, rest = self._walk(self._root, change.path)
        found = parents[-1]
        if found.shared:
            raise EditError(f"{_dotted(change.path)} stands behind a YAML anchor or alias")
        if change.verb is Verb.REMOVE:
            return self._text if rest else self._without(parents, change.path)
        if not rest and change.verb is Verb.SET:
            return self._replaced(parents, change.value)
        return self._inserted(parents, rest, change)

    def _walk(self, root: Span, path: KeyPath) -> tuple[list[Span], KeyPath]:
        """The spans along ``path`` as far as they exist, and what of the path is left."""
        parents = [root]
        for depth, step in enumerate(path):
            index = parents[-1].index(step)
            if index is None or parents[-1].shared:
                return parents, path[depth:]
            parents.append(parents[-1].items[index])
        return parents, ()

    def _nested(self, change: Change, rest: KeyPath) -> Value:
        """The value with the sections around it that do not exist yet."""
        value = [change.value] if change.verb is Verb.APPEND else change.value
        for step in reversed(rest):
            if isinstance(step, int):
                raise EditError(f"{_dotted(change.path)} is not there")
            value = {step: value}
        return value

    # replace

    def _replaced(self, parents: list[Span], value: Value) -> str:
        span = parents[-1]
        if span.kind == "scalar":
            if isinstance(value, list | dict) and not self._in_flow(parents):
                return self._under(parents, value)
            return self._spliced(span.start, span.end, self._scalar_like(span, value, parents))
        if not isinstance(value, list | dict):
            raise EditError("a section or a list stands where one value should")
        column = self._column(span.start)
        if span.flow:
            new = self._flow(value, span, parents)
        elif value and isinstance(value, list) == (span.kind == "sequence"):
            new = self._block(value, column)[column:]
        else:  # further in than the key above it, beside which only a list may stand
            new = " " * _STEP + self._block(value, column + _STEP)[column + _STEP :]
        return self._spliced(span.start, span.end, new)

    def _scalar_like(self, span: Span, value: Value, parents: list[Span]) -> str:
        old = self._text[span.start : span.end]
        if self._json or isinstance(value, list | dict):
            return self._flow(value, span, parents)
        if isinstance(value, str) and old[:1] == "'" and "\n" not in value:
            return "'" + value.replace("'", "''") + "'"
        if isinstance(value, str) and old[:1] == '"':
            return json.dumps(value, ensure_ascii=False)
        return ("" if span.end > span.start else " ") + _yaml_scalar(value)

    def _under(self, parents: list[Span], value: Value) -> str:
        """Write a section where a block mapping has an empty or a single value: in the lines below its key."""
        span, parent = parents[-1], parents[-2]
        at = next(at for (_, at), item in zip(parent.keys, parent.items, strict=True) if item is span)
        column = self._column(at) + _STEP
        line_end = self._line_end(span.end)
        kept = self._text[: span.start].rstrip(" ") + self._text[span.end : line_end]
        return kept + "\n" + self._block(value, column) + self._text[line_end:]

    # insert

    def _inserted(self, parents: list[Span], rest: KeyPath, change: Change) -> str:
        span = parents[-1]
        if span.kind == "scalar":
            old = self._text[span.start : span.end]
            if old not in {"", "~", "null"}:
                raise EditError(f"a value stands where {_dotted(change.path)} needs a section or a list")
            return self._replaced(parents, self._nested(change, rest))
        if not rest:
            if span.kind != "sequence":
                raise EditError(f"{_dotted(change.path)} is not a list")
            return self._added(parents, None, change.value)
        if span.kind != "mapping" or isinstance(rest[0], int):
            raise EditError(f"{_dotted(change.path)} is not there")
        return self._added(parents, rest[0], self._nested(change, rest[1:]))

    def _added(self, parents: list[Span], key: str | None, value: Value) -> str:
        span = parents[-1]
        if not span.items and not self._in_flow(parents) and len(parents) > 1:
            return self._under(parents, [value] if key is None else {key: value})  # `key: []` becomes a block
        if span.flow:
            return self._added_in_flow(span, key, value, parents)
        column = self._column(span.starts()[0]) if key is not None else self._dash(span)
        block = self._block([value] if key is None else {key: value}, column)
        end = self._line_end(span.end)
        return self._text[:end] + "\n" + block + self._text[end:]

    def _added_in_flow(self, span: Span, key: str | None, value: Value, parents: list[Span]) -> str:
        if not span.items:
            whole = self._flow([value] if key is None else {key: value}, span, parents)
            return self._spliced(span.start, span.end, whole)
        first = span.starts()[0]
        several_lines = "\n" in self._text[span.start : first]
        label = "" if key is None else f"{json.dumps(key)}: " if self._json else f"{_yaml_scalar(key)}: "
        written = self._flow(value, span, parents, indent=self._indent(first) if several_lines else None)
        separator = ",\n" + self._indent(first) if several_lines else ", "
        return self._spliced(span.items[-1].end, span.items[-1].end, separator + label + written)

    # remove

    def _without(self, parents: list[Span], path: KeyPath) -> str:
        parent, step = parents[-2], path[-1]
        index = parent.index(step)
        assert index is not None
        starts = parent.starts()
        if len(starts) == 1:
            if len(parents) > 2:
                return self._without(parents[:-1], path[:-1])
            return self._spliced(parent.start, parent.end, "{}")
        if parent.flow:
            if index + 1 < len(starts):
                return self._spliced(starts[index], starts[index + 1], "")
            return self._spliced(parent.items[index - 1].end, parent.items[index].end, "")
        begin = self._text.rfind("\n", 0, starts[index]) + 1
        dash = "-" if parent.kind == "sequence" else ""
        if self._text[begin : starts[index]].strip() != dash:  # the first key of a list's item, behind the dash
            return self._spliced(starts[index], starts[index + 1], "")
        return self._spliced(begin, self._line_end(parent.items[index].end) + 1, "")

    # places and spelling

    def _spliced(self, start: int, end: int, new: str) -> str:
        return self._text[:start] + new + self._text[end:]

    def _column(self, at: int) -> int:
        return at - (self._text.rfind("\n", 0, at) + 1)

    def _dash(self, sequence: Span) -> int:
        """The column of a block sequence's dashes."""
        return self._column(self._text.rindex("-", 0, sequence.items[0].start))

    def _line_end(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end

    def _in_flow(self, parents: list[Span]) -> bool:
        return self._json or any(parent.flow for parent in parents[:-1])

    def _flow(self, value: Value, span: Span, parents: list[Span], indent: str | None = None) -> str:
        """Write a value in brackets; in JSON over several lines, where its surroundings are."""
        if not self._json:
            return _yaml_flow(value)
        if indent is None:
            several_lines = "\n" in self._text[parents[0].start : parents[0].end]
            indent = self._indent(span.start) if several_lines else None
        if indent is None:
            return json.dumps(value, ensure_ascii=False)
        first = _INDENTED.search(self._text)
        step = first[1] if first else _STEP
        return json.dumps(value, ensure_ascii=False, indent=step).replace("\n", "\n" + indent)

    def _indent(self, at: int) -> str:
        """What a line begins with."""
        line = self._text[self._text.rfind("\n", 0, at) + 1 : at]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _block(self, value: Value, column: int) -> str:
        return "\n".join(" " * column + line for line in _yaml_lines(value))


def _yaml_lines(value: Value) -> list[str]:
    if isinstance(value, dict) and value:
        lines = []
        for key, member in value.items():
            if isinstance(member, dict | list) and member:
                lines += [f"{_yaml_scalar(key)}:", *(" " * _STEP + line for line in _yaml_lines(member))]
            else:
                lines.append(f"{_yaml_scalar(key)}: {_yaml_flow(member)}")
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            first, *others = _yaml_lines(item)
            lines += [f"- {first}", *(f"  {line}" for line in others)]
        return lines
    return [_yaml_flow(value)]


def _yaml_flow(value: Value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml_scalar(key)}: {_yaml_flow(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml_flow, value)) + "]"
    return _yaml_scalar(value)


_PLAIN = re.compile(r"(?!(?:true|false|yes|no|on|off|null|y|n)\Z)[A-Za-z_/.][A-Za-z0-9_./+@-]*", re.IGNORECASE)


def _yaml_scalar(value: Value) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


# the proof


def _plain(text: str, *, is_json: bool) -> Any:
    """What a text says, without where: the words of YAML as they stand, for only their key gives them a type."""
    found = Findings()
    try:
        parse = json_text.parse if is_json else yaml_text.parse
        node = parse(text, str, Path(), found)
    except MalformedError as error:
        raise EditError(f"{error.source}: {error.message}") from error
    return _unwrapped(node)


def _unwrapped(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _unwrapped(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [_unwrapped(child) for child in node.value]
    return str(node.value) if isinstance(node.value, str) else node.value


def _applied(content: Any, change: Change, *, is_json: bool) -> Any:
    """What the text should say after ``change``. Sections that a removal leaves empty go too, but for the first."""
    value = change.value if is_json else _as_words(change.value)
    if change.verb is Verb.REMOVE:
        return _removed(content, change.path)
    return _placed(content, change.path, value, append=change.verb is Verb.APPEND)


def _placed(content: Any, path: KeyPath, value: Any, *, append: bool) -> Any:
    if not path:
        return [*(content or []), value] if append else value
    if isinstance(content, list) and isinstance(path[0], int):
        return [
            _placed(one, path[1:], value, append=append) if at == path[0] else one for at, one in enumerate(content)
        ]
    members = dict(content or {})
    key = _member(members, path[0])
    return members | {key: _placed(members.get(key), path[1:], value, append=append)}


def _removed(content: Any, path: KeyPath) -> Any:
    if isinstance(content, list) and isinstance(path[0], int):
        members: dict[Any, Any] = dict(enumerate(content))
    elif isinstance(content, dict):
        members = dict(content)
    else:
        return content
    key = _member(members, path[0])
    if key not in members:
        return content
    rest = _removed(members[key], path[1:]) if len(path) > 1 else None
    if rest in (None, {}, []) and (len(path) == 1 or members[key] != rest):
        del members[key]
    else:
        members[key] = rest
    return list(members.values()) if isinstance(content, list) else members


def _member(members: dict[Any, Any], step: str | int) -> Any:
    if step in members or isinstance(step, int):
        return step
    return next((key for key in members if key.lower() == step.lower()), step)


def _as_words(value: Value) -> Any:
    """A value as the words that YAML has for it."""
    if isinstance(value, dict):
        return {key: _as_words(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_as_words(item) for item in value]
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))
