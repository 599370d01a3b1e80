"""A tree of nodes as plain values, all of them: what a file says, whether it means something here or not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import isclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from gateway.config.kinds import Section
from gateway.config.node import Word
from gateway.config.reading import settled, unwrap

if TYPE_CHECKING:
    from gateway.config.node import Node

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")


def plain(node: Node, kind: Any = None) -> Any:
    """Return the value; ``kind``, the type of the key that it belongs to, decides what unquoted YAML words are.

    Where no kind is known, a word is what JSON would take it for: true, false, a number, or else text.
    """
    value = node.value
    kind, _ = unwrap(kind, ())
    if isinstance(value, dict):
        return {key: plain(child, _inner(kind, key)) for key, child in value.items()}
    if isinstance(value, list):
        inner = get_args(kind)[0] if get_origin(kind) is tuple else None
        return [plain(child, inner) for child in value]
    if isinstance(value, Word):
        return settled(value, kind) if kind is not None else _guessed(value)
    return value


def _inner(kind: Any, key: str) -> Any:
    if isclass(kind) and issubclass(kind, Section):
        field = kind.model_fields.get(key.lower())
        return field.annotation if field else None
    if get_origin(kind) in (dict, Mapping):
        return get_args(kind)[1]
    return None


def _guessed(word: Word) -> str | int | float | bool:
    if word in ("true", "false"):
        return word == "true"
    if number := _NUMBER.fullmatch(word):
        return float(word) if number[1] else int(word)
    return str(word)
