"""Environment variables, by Tyk's rule: ``TYK_GW_`` and the names of Go's fields, which win over the file.

A field's name is its key in capitals without underscores, but for a few; an underscore goes one section down.
Lists are separated by commas, lists of objects are JSON. An empty variable counts as not set. Relative paths
start from the directory that the gateway was started in, as on any command line.
"""

from __future__ import annotations

from functools import cache
from inspect import isclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.kinds import Section
from gateway.config.node import Node, Word, asks_for_nothing, forbidden_character
from gateway.config.problems import Findings, Place
from gateway.config.reading import dotted, nearest, unwrap
from gateway.config.settings import Settings
from gateway.config.tyk_names import IGNORED, IRREGULAR_VARIABLES, MAIN_FILE, Fate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "TYK_GW"
OMIT = f"{PREFIX}_OMITCONFIGFILE"
"""The variable that does without a main file."""


def overlay(root: Node, environ: Mapping[str, str], found: Findings) -> Node:
    """Put the values of variables over those of the main file."""
    known = variables()
    base = Path.cwd()
    for name, value in sorted(environ.items()):
        if not name.startswith(f"{PREFIX}_") or not value or name == OMIT:
            continue
        if name not in known:
            _report(name, Node(Word(value), name, base), known, found)
        elif forbidden_character(value):
            place = Place(dotted(known[name]), name)
            found.error(place, "the value holds a control character or is not UTF-8", "set it again")
        else:
            root = _put(root, known[name], Node(Word(value), name, base), Settings)
    return root


def is_omitted(environ: Mapping[str, str]) -> bool:
    """Return whether the environment tells the gateway to do without the main file, even if there is one."""
    return environ.get(OMIT, "").lower() == "true"


def variable(keys: Sequence[str]) -> str:
    """The name of the variable that sets a key."""
    return "_".join([PREFIX, *map(_segment, keys)])


@cache
def variables() -> dict[str, tuple[str, ...]]:
    """Every variable that sets something, with the key that it sets."""
    return {variable(keys): keys for keys in _keys(Settings)}


def _keys(model: type[Section]) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = []
    for name in model.model_fields:
        inner = section_at(model, name)
        if inner is None or inner.shorthand:
            keys.append((name,))
        if inner is not None:
            keys += [(name, *rest) for rest in _keys(inner)]
    return keys


def section_at(model: type[Section], name: str) -> type[Section] | None:
    """The section that a key of a model holds, if it holds one."""
    if name not in model.model_fields:
        return None
    kind, _ = unwrap(model.model_fields[name].annotation, ())
    return kind if isclass(kind) and issubclass(kind, Section) else None


def _segment(key: str) -> str:
    return IRREGULAR_VARIABLES.get(key, key.replace("_", "").upper())


def _put(node: Node, keys: Sequence[str], leaf: Node, model: type[Section] | None) -> Node:
    """Return a node with one value set; the one given may be shared by YAML aliases and stays as it is."""
    if isinstance(node.value, dict):
        members = dict(node.value)
    else:
        members = {model.shorthand: node} if model and model.shorthand and node.value is not None else {}
    name, *rest = keys
    written = next((key for key in members if key.lower() == name), name)
    old = members.pop(written, None)
    if rest:
        inner = section_at(model, name) if model else None
        leaf = _put(old or Node(None, leaf.source, leaf.base), rest, leaf, inner)
    members[name] = leaf
    return Node(members, node.source, node.base)


def _report(name: str, node: Node, known: Mapping[str, object], found: Findings) -> None:
    warned = next((row for row in MAIN_FILE if row.fate is Fate.WARNED and variable(row.path.split(".")) == name), None)
    if warned or _in_tyk(name.split("_")[2:]):
        if warned and not warned.idle(node):
            found.warning(Place("", name), warned.message, warned.cure)
        elif not asks_for_nothing(node):
            found.note(Place("", name), IGNORED)
        return
    close = nearest(name, known)
    cure = f"did you mean {close}?" if close else "remove it; docs/configuration.md lists every variable"
    found.warning(Place("", name), "this variable is not known, so it is ignored", cure)


def _in_tyk(segments: Sequence[str]) -> bool:
    model: type[Section] | None = Settings
    for segment in segments:
        if model is None:
            return False
        if any(_segment(key) == segment for key in model.tyk_only):
            return True
        model = next((section_at(model, key) for key in model.model_fields if _segment(key) == segment), None)
    return False
