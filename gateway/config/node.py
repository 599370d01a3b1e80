"""A configuration value that knows where it stands, whichever text it was read from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

MAX_DEPTH = 64  # deeper nesting than any configuration has; keeps recursion away from the interpreter's limit

Scalar: TypeAlias = str | int | float | bool | None

# Never meant, and dangerous on a terminal, in a path or in UTF-8: controls but TAB, LF, CR; lone surrogates.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_FALSE_WORDS = frozenset({"", "~", "null", "0", "false", "no", "off"})
_TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
# The keys by which Tyk switches a section on: false turns all of it off.
_ON = (
    "enable enable_cache enable_coprocess enable_health_checks enable_trigger_monitors enabled is_enabled"
    " use_discovery_service use_rpc"
)
_SWITCHES = frozenset(_ON.split())


class Word(str):
    """Text whose type is not decided yet: an unquoted YAML scalar, or the value of an environment variable.

    The key that it belongs to decides whether ``off``, ``1.2`` or ``0644`` is a switch, a number or text.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it stands (``file:line`` or a variable), and the directory that its paths start from."""

    value: dict[str, Node] | list[Node] | Scalar
    source: str
    base: Path


class MalformedError(ValueError):
    """The text is not the JSON or YAML that it claims to be, from ``source`` on."""

    def __init__(self, source: str, message: str, cure: str = "") -> None:
        self.source = source
        self.message = message
        self.cure = cure
        super().__init__(message)


def forbidden_character(text: str) -> re.Match[str] | None:
    """The first character that no configuration may hold, if there is one."""
    return _FORBIDDEN.search(text)


def asks_for_nothing(node: Node, switches: frozenset[str] = _SWITCHES) -> bool:
    """Return whether a value is what Tyk's exports write for "not set": null, false, 0, "", or a container of these.

    A section also asks for nothing when it is ``disabled``, or when its switch, one of ``switches``, is off.
    """
    value = node.value
    if isinstance(value, dict):
        return _is_off(value, switches) or all(asks_for_nothing(child, switches) for child in value.values())
    if isinstance(value, list):
        return all(asks_for_nothing(child, switches) for child in value)
    if isinstance(value, Word):
        return value.lower() in _FALSE_WORDS
    return not value


def switch(node: Node | None) -> bool | None:
    """Return the state of a switch; None if it is absent or is not a switch. Tyk reads no text as true or false."""
    value = node.value if node is not None else None
    if isinstance(value, Word):
        return False if value.lower() in _FALSE_WORDS else True if value.lower() in _TRUE_WORDS else None
    return value if isinstance(value, bool) else None


def _is_off(members: dict[str, Node], switches: frozenset[str]) -> bool:
    for key, child in members.items():
        name = key.lower()
        if name == "disabled" and switch(child):
            return True
        if name in switches and (child.value is None or switch(child) is False):
            return True
    return False
