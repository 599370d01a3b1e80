"""JSON text becomes nodes: RFC 8259 to the letter, scalars by the standard library, each with its line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn

from gateway.config.node import MAX_DEPTH, MalformedError, Node, Scalar, forbidden_character
from gateway.config.problems import Findings, Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SPACE = re.compile(r"[ \t\n\r]*")


def parse(text: str, locate: Callable[[int], str], base: Path, found: Findings) -> Node:
    """Read one JSON text; ``locate`` turns an offset into a source. Doubled keys are errors in ``found``.

    Raises MalformedError where the text stops being JSON.
    """
    return _Text(text, locate, base, found).document()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _Text:
    def __init__(self, text: str, locate: Callable[[int], str], base: Path, found: Findings) -> None:
        self._text = text
        self._locate = locate
        self._base = base
        self._found = found
        self._scalars = json.JSONDecoder(parse_constant=_no_constant)

    def document(self) -> Node:
        start = self._skip(0)
        node, end = self._value(start, self._locate(start), 0)
        if (end := self._skip(end)) < len(self._text):
            self._fail(end, "text follows the end of the JSON value", "remove it, or look for a brace too many")
        return node

    def _value(self, at: int, source: str, depth: int) -> tuple[Node, int]:
        if depth > MAX_DEPTH:
            self._fail(at, f"values are nested more than {MAX_DEPTH} deep", "flatten them")
        opening = self._text[at : at + 1]
        if opening == "{":
            return self._object(at, source, depth)
        if opening == "[":
            return self._array(at, source, depth)
        value, end = self._scalar(at)
        return Node(value, source, self._base), end

    def _object(self, at: int, source: str, depth: int) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        at = self._skip(at + 1)
        if self._text[at : at + 1] == "}":
            return Node(members, source, self._base), at + 1
        while True:
            where = self._locate(at)
            if self._text[at : at + 1] != '"':
                self._fail(at, "a key in double quotes is expected here")
            key, end = self._scalar(at)
            colon = self._skip(end)
            if self._text[colon : colon + 1] != ":":
                self._fail(colon, "a colon is missing after the key", "write : between a key and its value")
            node, end = self._value(self._skip(colon + 1), where, depth + 1)
            if key in members:
                self._found.error(Place(str(key), where), "the key stands twice", "keep one of the two")
            members[str(key)] = node
            at, closed = self._separator(end, "}")
            if closed:
                return Node(members, source, self._base), at

    def _array(self, at: int, source: str, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        at = self._skip(at + 1)
        if self._text[at : at + 1] == "]":
            return Node(items, source, self._base), at + 1
        while True:
            node, end = self._value(at, self._locate(at), depth + 1)
            items.append(node)
            at, closed = self._separator(end, "]")
            if closed:
                return Node(items, source, self._base), at

    def _separator(self, end: int, closing: str) -> tuple[int, bool]:
        at = self._skip(end)
        char = self._text[at : at + 1]
        if char == closing:
            return at + 1, True
        if char != ",":
            self._fail(at, f"a comma or {closing} is missing before this", "check the end of the value before it")
        after = self._skip(at + 1)
        if self._text[after : after + 1] == closing:
            self._fail(at, f"a comma stands before the closing {closing}", "remove the comma")
        return after, False

    def _scalar(self, at: int) -> tuple[Scalar, int]:
        try:
            value, end = self._scalars.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            self._fail(error.pos, error.msg)
        except ValueError as error:  # NaN, Infinity, or a number of thousands of digits
            self._fail(at, str(error).partition(";")[0])
        if isinstance(value, str) and forbidden_character(value):
            self._fail(at, "the text holds a control character or half of a surrogate pair", "remove the escape")
        scalar: Scalar = value
        return scalar, end

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at

    def _fail(self, at: int, message: str, cure: str = "") -> NoReturn:
        rest = self._text[at : at + 2]
        if not rest:
            message, cure = "the JSON ends too early", "a closing brace, bracket or quote is missing"
        elif rest.startswith("#") or rest in {"//", "/*"}:
            message, cure = "JSON has no comments", "remove the comment, or write YAML in a file named *.yaml"
        elif rest.startswith("'"):
            message, cure = "JSON wants double quotes", "write \"text\" instead of 'text'"
        raise MalformedError(self._locate(at), f"this is not JSON: {message}", cure)
