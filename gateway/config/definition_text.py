"""The reading of an API definition: from its node, in either of Tyk's formats, to its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config import oas, refusals
from gateway.config.definitions import ApiDefinition
from gateway.config.node import Node, asks_for_nothing
from gateway.config.problems import Findings, Place
from gateway.config.reading import Keys, Reading, dotted, read
from gateway.config.switches import switched_off

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_NO_NAMES: Mapping[Keys, str] = {}


SUFFIXES = frozenset({".json", ".yaml", ".yml"})
_OAS, _MCP = "-oas", "-mcp"


def paired(files: Iterable[Path]) -> list[tuple[Path, Path | None]]:
    """Return the files that may hold a definition, in order, each with the OAS document that Tyk keeps beside it.

    Tyk writes an API of that format to ``ID-oas.json``, and what a classic definition can say of it to ``ID.json``.
    """
    found = sorted(path for path in files if path.suffix.lower() in SUFFIXES and not path.stem.endswith(_MCP))
    stems = {path.stem for path in found}
    companions = {path.stem.removesuffix(_OAS): path for path in found if path.stem.endswith(_OAS)}
    return [
        (path, companions.get(path.stem))
        for path in found
        if not path.stem.endswith(_OAS) or path.stem.removesuffix(_OAS) not in stems
    ]


def is_half(node: Node) -> bool:
    """Return whether a classic definition says that the OAS document beside it is the complete one."""
    said = member(node, "is_oas")
    return said is not None and not asks_for_nothing(said)


def file_name(api_id: str, node: Node) -> str:
    """Return the name of the file for a definition, which also shows the definition's format."""
    if oas.is_oas(node):
        return f"{api_id}{_OAS}.json"
    return f"{api_id}.classic.json" if api_id.endswith((_OAS, _MCP)) else f"{api_id}.json"


def api_id(node: Node) -> str:
    """Return the id that a definition gives itself; "" if it gives none."""
    said = member(classic(node), "api_id")
    return "" if said is None or said.value is None else str(said.value)


def classic(node: Node) -> Node:
    """Return a definition in the classic format, whichever it is in."""
    _, inner = _opened(node)
    return oas.classic(inner) if oas.is_oas(inner) else inner


def read_definition(
    node: Node, prefix: Keys, found: Findings, *, idle_too: bool = False
) -> Reading[ApiDefinition] | None:
    """Read a definition; whatever is wrong goes to ``found``.

    None is returned for what is no definition, and, unless ``idle_too``, for one that says that it is not served.
    """
    if not isinstance(node.value, dict):
        place = Place(dotted(prefix), node.source)
        found.error(place, "an API definition must be a section with keys", "see docs/configuration.md")
        return None
    opened, inner = _opened(node)
    prefix, made, names = (*prefix, *opened), inner, _NO_NAMES
    if oas.is_oas(inner):
        prefix, made, names = (*prefix, oas.EXTENSION), oas.classic(inner), oas.NAMES
    if not idle_too and (idle := _idle(made)):
        key, switch, message = idle
        found.note(Place(dotted((*prefix, names.get((key,), key))), switch.source), message)
        return None
    if made is not inner and not oas.check(inner, prefix[:-1], found):
        return None
    off = switched_off(made)
    refusals.check_definition(made, prefix, off, found)
    return read(ApiDefinition, made, found, prefix=prefix, off=off, names=names)


def _opened(node: Node) -> tuple[Keys, Node]:
    """Return the definition itself, and the keys that lead to it: an export of Tyk's Dashboard has it in a section."""
    exported = member(node, "api_definition")
    return ((), node) if exported is None or member(node, "proxy") else (("api_definition",), exported)


def member(node: Node, name: str) -> Node | None:
    """Return the value of a key, which matches in any case."""
    members = node.value if isinstance(node.value, dict) else {}
    return next((child for key, child in members.items() if key.lower() == name), None)


def _idle(node: Node) -> tuple[str, Node, str] | None:
    """Return why a definition says that it is not served: the key, its value, and the reason; None if it does not."""
    active, internal = member(node, "active"), member(node, "internal")
    if active is not None and active.value is not None and asks_for_nothing(active):
        return "active", active, "is false: this API is not served"
    if internal is not None and not asks_for_nothing(internal):
        return "internal", internal, "is true: this API is not served"
    return None
