"""Each field of Tyk's structures is obeyed, or its fate is known; at its zero value it asks for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import pytest

from gateway.config import tyk_names
from gateway.config.definitions import ApiDefinition
from gateway.config.problems import Severity
from gateway.config.reading import inner_section
from gateway.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unit.config.workshop import Workshop

    from gateway.config.kinds import Section

_ZERO = {"string": "", "int": 0, "float": 0.0, "bool": False, "any": None}


def _structures() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    block: dict[str, str] = {}
    for line in Path(__file__).with_name("tyk_structures.txt").read_text(encoding="utf-8").splitlines():
        words = [] if line.startswith("#") else line.split()
        if len(words) == 1:
            block = found.setdefault(words[0], {})
        elif words:
            block[words[0]] = words[1]
    return found


STRUCTURES = _structures()


def zero(kind: str, *, whole: bool) -> Any:
    """What Go writes of a value of that kind which nobody has set; ``whole``: what it would leave out, too."""
    if kind.startswith(("[]", "{}")):
        return None
    if kind in _ZERO:
        return _ZERO[kind]
    fields = STRUCTURES[kind].items()
    return {name.rstrip("?"): zero(inner, whole=whole) for name, inner in fields if whole or not name.endswith("?")}


def definition(*, whole: bool = True, **version: Any) -> dict[str, Any]:
    """A definition that says nothing but what every one has to."""
    made = zero("APIDefinition", whole=whole)
    made |= {"api_id": "zero", "use_keyless": True, "active": True}
    made["proxy"] |= {"listen_path": "/", "target_url": "http://127.0.0.1:9000/"}
    made["version_data"]["versions"] = version or None
    return dict(made)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("versions", ["none", "zero"])
def test_what_stands_at_its_zero_value_asks_for_nothing(workshop: Workshop, versions: str, *, whole: bool) -> None:
    version = {"Default": zero("VersionInfo", whole=whole)} if versions == "zero" else {}
    main = zero("Config", whole=whole) | {"apis": [definition(whole=whole, **version)]}
    problems = workshop.problems(main)
    assert [str(one) for one in problems if one.severity is not Severity.NOTE] == []
    assert [one.path for one in problems] == ["control_api_port"]
    assert [api.api_id for api in workshop.load(main).apis] == ["zero"]


def test_a_variable_at_its_zero_value_asks_for_nothing(workshop: Workshop) -> None:
    environ = {"TYK_GW_ENFORCEORGQUOTAS": "false", "TYK_GW_HASHKEYS": "false", "TYK_GW_SLAVEOPTIONS_USERPC": "false"}
    assert workshop.told({"apis": [definition()]}, **environ) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TYK_GW_ENFORCEORGQUOTAS", "warning: TYK_GW_ENFORCEORGQUOTAS: limits what an organisation"),
        ("TYK_GW_SLAVEOPTIONS_USERPC", "warning: TYK_GW_SLAVEOPTIONS_USERPC: has Tyk fetch"),
        ("TYK_GW_HASHKEYS", "note: TYK_GW_HASHKEYS: exists in Tyk"),
    ],
)
def test_a_variable_is_told_of_like_its_key(workshop: Workshop, name: str, words: str) -> None:
    assert words in workshop.told({"apis": [definition()]}, **{name: "true"})


def _fields(kind: str, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all fields of a structure, down to those that are no structures."""
    listed = kind.startswith(("[]", "{}"))
    kind = kind.removeprefix("[]").removeprefix("{}")
    if listed and kind in STRUCTURES:
        path = (*path, "*")
    if kind not in STRUCTURES:
        yield path
        return
    for name, inner in STRUCTURES[kind].items():
        yield from _fields(inner, (*path, name.rstrip("?").lower()))


def _obeyed(model: type[Section] | None, path: tuple[str, ...]) -> bool:
    """Whether a path leads to a value of a model."""
    if model is None or not path:
        return True
    name, *rest = path
    if name not in model.model_fields:
        return False
    kind = model.model_fields[name].annotation
    if rest[:1] == ["*"] and get_origin(kind) in (tuple, dict):
        rest = rest[1:]
    return _obeyed(inner_section(kind), tuple(rest))


def _covered(table: tuple[tyk_names.Row, ...], path: tuple[str, ...]) -> bool:
    return any(
        all(part in (key, "*") for part, key in zip(row.path.split("."), path, strict=False))
        for row in table
        if len(row.path.split(".")) <= len(path)
    )


@pytest.mark.parametrize(
    ("kind", "model", "table"),
    [("APIDefinition", ApiDefinition, tyk_names.DEFINITION), ("Config", Settings, tyk_names.MAIN_FILE)],
)
def test_each_field_of_tyk_has_a_fate(kind: str, model: type[Section], table: tuple[tyk_names.Row, ...]) -> None:
    fields = [path for path in _fields(kind) if path]
    assert len(fields) > 200
    forgotten = [".".join(path) for path in fields if not _obeyed(model, path) and not _covered(table, path)]
    assert forgotten == []


@pytest.mark.parametrize("table", [tyk_names.DEFINITION, tyk_names.MAIN_FILE])
def test_no_key_has_two_fates_nor_one_that_is_obeyed_any(table: tuple[tyk_names.Row, ...]) -> None:
    paths = [row.path for row in table]
    assert len(paths) == len(set(paths))
    assert all(path == path.lower() for path in paths)
    model = ApiDefinition if table is tyk_names.DEFINITION else Settings
    obeyed = [path for path in paths if _obeyed(model, tuple(path.split(".")))]
    assert obeyed == []
