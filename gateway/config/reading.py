"""A tree of nodes becomes a validated model; what is wrong is told with the line on which it stands.

Two passes. The first walks the nodes along the model: it matches keys in any case, as Go does, drops nulls
(Tyk's exports write them for "not set"), decides what words mean, makes paths absolute, and complains about
keys that it does not know. The second is pydantic's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from inspect import isclass
from itertools import takewhile
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, TypeVar, get_args, get_origin

from pydantic import ValidationError

from gateway.config import json_text
from gateway.config.kinds import CommaSeparated, PathUnless, Section
from gateway.config.node import MalformedError, Node, Word, asks_for_nothing
from gateway.config.problems import Findings, Place
from gateway.config.sentences import sentence
from gateway.config.switches import is_off
from gateway.config.tyk_names import IGNORED, UNNOTED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Keys: TypeAlias = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=Section)

_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{0,18})?")
_SWITCHES = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_SIMILAR = 0.7  # below, two keys only share an ending such as _path or _timeout


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of the values of one model; ``names`` are the names of keys that are written otherwise there."""

    prefix: Keys = ()
    sources: dict[Keys, str] = field(default_factory=dict)
    faulty: set[Keys] = field(default_factory=set)
    names: Mapping[Keys, str] = field(default_factory=dict)

    def sound(self, *keys: str) -> bool:
        """Whether a value is what was written, not the default that stands in for something wrong."""
        return keys not in self.faulty

    def place(self, *keys: str | int) -> Place:
        """Where a value stands; one that stands nowhere has the source of what it is missing from."""
        known = next((keys[:end] for end in range(len(keys), -1, -1) if keys[:end] in self.sources), ())
        return Place(dotted(self.prefix + self._written(keys)), self.sources.get(known, ""))

    def _written(self, keys: Keys) -> Keys:
        named = next((end for end in range(len(keys), 0, -1) if keys[:end] in self.names), 0)
        return (self.names[keys[:named]], *keys[named:]) if named else keys


@dataclass(frozen=True, slots=True)
class Reading(Generic[ModelT]):
    """A model and its origin. ``model`` is None when too much is wrong to build one.

    Values that errors are about have their defaults, so that rules can be checked on the rest.
    """

    model: ModelT | None
    origin: Origin


def dotted(keys: Iterable[str | int]) -> str:
    """Write keys as a person would: ``certificates[0].cert_file``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that somebody meant who wrote ``name``, if one is close: people err late in a word."""
    close = get_close_matches(name, known, 3, _SIMILAR)
    return max(close, key=lambda one: sum(takewhile(bool, map(str.__eq__, one, name))), default=None)


def read(
    model: type[ModelT],
    node: Node,
    found: Findings,
    *,
    prefix: Keys = (),
    off: Collection[tuple[str, ...]] = (),
    names: Mapping[Keys, str] | None = None,
) -> Reading[ModelT]:
    """Read a model from nodes; whatever is wrong goes to ``found``, but for what is wrong in something that is ``off``.

    A value that is wrong there counts as not written. ``names`` are those of keys that are written otherwise.
    """
    origin = Origin(prefix, {(): node.source}, names=names or {})
    values = _Walk(model, origin, found, off).section(model, node, ())
    try:
        return Reading(model.model_validate(values), origin)
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details:
        if not is_off(detail["loc"], off):
            found.error(origin.place(*detail["loc"]), *sentence(detail))
        origin.faulty.add(_prune(values, detail["loc"][:-1] if detail["type"] == "missing" else detail["loc"]))
    try:
        return Reading(model.model_validate(values), origin)
    except ValidationError:
        return Reading(None, origin)


def _prune(values: Any, location: Keys) -> Keys:
    """Remove what an error is about, or the whole list that it is in; return the keys of what was removed."""
    keys = tuple(takewhile(lambda key: isinstance(key, str), location))
    for key in keys[:-1]:
        values = values.get(key, {})
    if keys and isinstance(values, dict):
        values.pop(keys[-1], None)
    return keys


@cache
def _sections(model: type[Section], path: str = "") -> dict[str, str]:
    """The sections that each key of a model's tree belongs to, as text; outer sections first."""
    known: dict[str, str] = {}
    for name, described in model.model_fields.items():
        known.setdefault(name, path)
        if inner := inner_section(described.annotation):
            for key, section in _sections(inner, f"{path}.{name}".removeprefix(".")).items():
                known.setdefault(key, section)
    return known


def unwrap(kind: Any, marks: Iterable[Any]) -> tuple[Any, list[Any]]:
    """Strip Annotated and Optional off a type; what Annotated said comes second."""
    marks = list(marks)
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        marks += more
    if NoneType in get_args(kind):
        return unwrap(next(part for part in get_args(kind) if part is not NoneType), marks)
    return kind, marks


def inner_section(kind: Any) -> type[Section] | None:
    """The section that a type holds, itself, in a list or by names; None for plain values."""
    kind, _ = unwrap(kind, ())
    if get_origin(kind) is tuple:
        return inner_section(get_args(kind)[0])
    if get_origin(kind) is dict:
        return inner_section(get_args(kind)[1])
    return kind if isclass(kind) and issubclass(kind, Section) else None


class _Walk:
    def __init__(self, root: type[Section], origin: Origin, found: Findings, off: Collection[tuple[str, ...]]) -> None:
        self._root = root
        self._origin = origin
        self._found = found
        self._off = off

    def section(self, model: type[Section], node: Node, at: Keys) -> Any:
        if isinstance(node.value, str) and model.shorthand:
            node = Node({model.shorthand: node}, node.source, node.base)
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            return _bare(node)
        values: dict[str, Any] = {}
        for key, child in node.value.items():
            name = key.lower()
            if (described := model.model_fields.get(name)) is None:
                self._unknown(model, key, child, at)
            elif (*at, name) in self._origin.sources:
                self._found.error(
                    Place(dotted((*self._origin.prefix, *at, key)), child.source),
                    "the key stands twice: keys are the same in any case",
                    "keep one of the two",
                )
            elif not _unset(described.annotation, child):
                values[name] = self._value(described.annotation, described.metadata, child, (*at, name))
        return values

    def _value(self, kind: Any, marks: Iterable[Any], node: Node, at: Keys) -> Any:
        self._origin.sources[at] = node.source
        kind, marks = unwrap(kind, marks)
        if isclass(kind) and issubclass(kind, Section):
            return self.section(kind, node, at)
        if get_origin(kind) is tuple:
            if isinstance(node.value, str) and any(isinstance(mark, CommaSeparated) for mark in marks):
                node = Node(Word(node.value), node.source, node.base)
            return self._items(get_args(kind)[0], node, at)
        if get_origin(kind) is dict:
            return self._named(get_args(kind)[1], node, at)
        if isinstance(node.value, str) and node.value:
            if kind is Path:
                return node.base / node.value
            if any(isinstance(mark, PathUnless) and _is_path(node.value, node.base, mark) for mark in marks):
                return str(node.base / node.value)
        return settled(node.value, kind) if isinstance(node.value, Word) else _bare(node)

    def _items(self, kind: Any, node: Node, at: Keys) -> Any:
        if isinstance(node.value, Word):
            node = self._listed(kind, node, at)
        if not isinstance(node.value, list):
            return _bare(node)
        return tuple(self._value(kind, (), item, (*at, index)) for index, item in enumerate(node.value))

    def _named(self, kind: Any, node: Node, at: Keys) -> Any:
        """Values by names that are the writer's own, and therefore stay in the case in which they are written.

        In one word, as variables have them, each is a name and its value with a colon between, as in Go's envconfig;
        sections are JSON.
        """
        if isinstance(node.value, Word) and node.value.lstrip().startswith("{"):
            node = self._json(node, at, "an object")
        elif isinstance(node.value, Word) and inner_section(kind) is None:
            pairs = [part.partition(":") for part in node.value.split(",")]
            if all(separator for _, separator, _ in pairs):
                members = {name.strip(): Node(Word(one.strip()), node.source, node.base) for name, _, one in pairs}
                node = Node(members, node.source, node.base)
        if not isinstance(node.value, dict):
            return _bare(node)
        set_ones = {name: child for name, child in node.value.items() if child.value is not None}
        return {name: self._value(kind, (), child, (*at, name)) for name, child in set_ones.items()}

    def _listed(self, kind: Any, node: Node, at: Keys) -> Node:
        """Turn one word into a list: JSON if it looks like that, separated by commas otherwise."""
        text = str(node.value).strip()
        if inner_section(kind) is None:
            words = [Word(part.strip()) for part in text.split(",") if part.strip()]
            return Node([Node(word, node.source, node.base) for word in words], node.source, node.base)
        return self._json(node, at, "a list of objects") if text.startswith("[") else node

    def _json(self, node: Node, at: Keys, wanted: str) -> Node:
        """Parse a variable that holds JSON."""
        try:
            return json_text.parse(str(node.value), lambda _: node.source, node.base, self._found)
        except MalformedError as error:
            self._found.error(self._origin.place(*at), error.message, error.cure or f"write {wanted} in JSON")
            return Node({} if wanted == "an object" else [], node.source, node.base)

    def _unknown(self, model: type[Section], key: str, node: Node, at: Keys) -> None:
        place = Place(dotted((*self._origin.prefix, *at, key[:80])), node.source)
        name = key.lower()
        if name in model.tyk_only:
            if name not in UNNOTED and not asks_for_nothing(node) and not is_off((*at, key), self._off):
                self._found.note(place, IGNORED)
            return
        if is_off((*at, key), self._off):
            return
        section = _sections(self._root).get(name)
        if section is not None:
            where = f"in {section}" if section else "at the top level"
            self._found.error(place, "this key is not known here", f"it belongs {where}")
        elif close := nearest(name, [*model.model_fields, *sorted(model.tyk_only)]):
            self._found.error(place, "this key is not known", f"did you mean {close}?")
        else:
            self._found.warning(place, "this key is not known, so it is ignored", "remove it, or correct it")


def _unset(annotation: Any, node: Node) -> bool:
    """Whether a value means "not set": null, and the empty text of a key that may be absent."""
    return node.value is None or (node.value == "" and NoneType in get_args(annotation))


def settled(word: Word, kind: Any) -> str | int | float | bool:
    """Decide what an unquoted word is for a key of that type; text where it cannot be of the type."""
    text = str(word)
    if kind is bool:
        return _SWITCHES.get(text.lower(), text)
    if kind is int and _WHOLE.fullmatch(text):
        return int(text)
    if kind is float and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _bare(node: Node) -> Any:
    """The value without nodes; of a container only its type, all that an error about it tells."""
    return type(node.value)() if isinstance(node.value, dict | list) else node.value


def _is_path(text: str, base: Path, mark: PathUnless) -> bool:
    return not mark.exempt(text) and (not mark.ambiguous(text) or (base / text).exists())
