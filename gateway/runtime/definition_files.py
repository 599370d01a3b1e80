"""API definitions as files in ``app_path``: written and removed as the admin API is told. A reload has to follow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias, cast
from uuid import uuid4

from gateway import files
from gateway.admin.concealment import revealed
from gateway.config import definition_rules, document, json_text, oas, rules
from gateway.config.definition_rules import Served
from gateway.config.definition_text import api_id, classic, file_name, is_half, member, paired, read_definition
from gateway.config.definitions import ApiDefinition
from gateway.config.node import MalformedError
from gateway.config.plain import plain
from gateway.config.problems import Findings, Place
from gateway.config.reading import Origin
from gateway.errors import ConfigurationError, ConflictError, NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.config.load import Configuration
    from gateway.config.node import Node
    from gateway.config.problems import Problem


Form: TypeAlias = "Callable[[Node], Mapping[str, object] | None]"
"""The form in which a definition is wanted; None where it has none of that form."""


def classic_of(node: Node) -> Mapping[str, object]:
    """Return a definition in the classic format, which is that of its file or not."""
    made = cast("dict[str, object]", plain(classic(node), ApiDefinition))
    return {**made, "is_oas": True} if oas.is_oas(node) else made


def document_of(node: Node) -> Mapping[str, object] | None:
    """Return a definition that is an OpenAPI document."""
    return cast("dict[str, object]", plain(node)) if oas.is_oas(node) else None


def written(directory: Path | None, main_file: Path, form: Form) -> Mapping[str, Mapping[str, object]]:
    """Return every definition by its id, with all that means nothing here. Raises StoreError."""
    root = document.read(main_file, str(main_file), Findings())
    inline = member(root, "apis") if root else None
    nodes = [*(inline.value if inline and isinstance(inline.value, list) else ())]
    found = ((api_id(node), form(node)) for node in (*nodes, *(node for _, node in _files(directory))))
    return {named: made for named, made in found if made is not None}


def create(
    directory: Path | None,
    definition: Mapping[str, object],
    served: Collection[str],
    current: Configuration | None = None,
) -> str:
    """Write a definition, over one of the same id; return its id. ``served`` are the ids that are served now.

    With ``current``, which is served, it must fit that: no other API may have its place.
    Raises ConfigurationError, ConflictError and StoreError.
    """
    directory = _required(directory)
    given, named = _identified(definition, directory)
    paths, original = _find(directory, named)
    given = revealed(given, original)
    node = _checked(given, directory)
    if not paths and named in served:
        raise ConflictError(f"the API {named} is defined in the main file; change it there")
    _demand_same_format(node, paths)
    if current:
        _demand_fit(node, directory, current)
    files.write(paths[0] if paths else directory / file_name(named, node), _text(given))
    return named


def update(
    directory: Path | None,
    named: str,
    definition: Mapping[str, object],
    served: Collection[str],
    current: Configuration | None = None,
) -> None:
    """Write a definition over the one that there is. Raises as `create`, and NotFoundError."""
    directory = _required(directory)
    paths, original = _found(directory, named, served)
    given = revealed(_identified(definition, directory, named)[0], original)
    node = _checked(given, directory)
    if (other := api_id(node)) != named:
        raise ConflictError(f"the definition is of the API {other}, not of {named}")
    _demand_same_format(node, paths)
    if current:
        _demand_fit(node, directory, current)
    files.write(paths[0], _text(given))


def delete(directory: Path | None, named: str, served: Collection[str]) -> None:
    """Remove the files of a definition. Raises NotFoundError, ConflictError and StoreError."""
    paths, _ = _found(_required(directory), named, served)
    for path in reversed(paths):  # without its companion, a classic definition that was half of one is refused
        files.remove(path)


def _required(directory: Path | None) -> Path:
    if directory is None:
        raise ConflictError("there is no directory for API definitions; set app_path in the main file")
    return directory


def _found(directory: Path, named: str, served: Collection[str]) -> tuple[tuple[Path, ...], object]:
    paths, original = _find(directory, named)
    if not paths and named in served:
        raise ConflictError(f"the API {named} is defined in the main file; change it there")
    if not paths:
        raise NotFoundError("API not found")
    return paths, original


def _find(directory: Path, named: str) -> tuple[tuple[Path, ...], object]:
    """Return the files that define the API, beginning with the complete one, and the content of that one."""
    found = ((paths, plain(node, ApiDefinition)) for paths, node in _files(directory) if api_id(node) == named)
    return next(found, ((), None))


def _files(directory: Path | None) -> Iterator[tuple[tuple[Path, ...], Node]]:
    """Yield the files of each definition, and the content of the first; broken files count as empty."""
    if directory is None:
        return
    try:
        found = paired(path for path in directory.iterdir() if not path.is_dir())
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}; check that it is there and readable") from error
    for file, companion in found:
        paths: tuple[Path, ...] = (file,)
        node = document.read(file, str(file), Findings())
        if node and companion and is_half(node):
            paths, node = (companion, file), document.read(companion, str(companion), Findings())
        if node:
            yield paths, node


def _identified(definition: Mapping[str, object], directory: Path, named: str = "") -> tuple[dict[str, object], str]:
    """Return a definition with an id, and that id: its own, else the one that is given, else a new one."""
    own = api_id(_node(definition, directory))
    named = own or named or uuid4().hex
    keys = {key.lower(): key for key in definition}
    if oas.EXTENSION not in keys:
        rest = {key: value for key, value in definition.items() if own or key.lower() != "api_id"}
        return (rest if own else {"api_id": named, **rest}), named
    if own:
        return dict(definition), named
    extension = definition[keys[oas.EXTENSION]]
    members = extension if isinstance(extension, dict) else {}
    info = {key: value for key, value in members.items() if key.lower() == "info" and isinstance(value, dict)}
    inner = {key: value for one in info.values() for key, value in one.items() if key.lower() != "id"}
    outer = {key: value for key, value in members.items() if key not in info}
    return {**definition, keys[oas.EXTENSION]: {"info": {"id": named, **inner}, **outer}}, named


def _demand_same_format(node: Node, paths: Sequence[Path]) -> None:
    if not paths:
        return
    before = document.read(paths[0], str(paths[0]), Findings())
    if before is not None and oas.is_oas(before) != oas.is_oas(node):
        there = "Tyk's OAS format; write it at /tyk/apis/oas" if oas.is_oas(before) else "Tyk's classic format"
        raise ConflictError(f"this API is in {there}")


def _node(definition: Mapping[str, object], directory: Path, found: Findings | None = None) -> Node:
    """Return a definition as nodes. Raises ConfigurationError when it cannot be any configuration."""
    found = found or Findings()
    try:
        return json_text.parse(json.dumps(definition), lambda _: "request", directory, found)
    except MalformedError as error:
        found.error(Place("", error.source), error.message, error.cure)
        raise ConfigurationError(found.problems) from error


def _checked(definition: Mapping[str, object], directory: Path) -> Node:
    """Check what can be said of a definition alone, and return its nodes. Raises ConfigurationError."""
    found = Findings()
    node = _node(definition, directory, found)
    reading = read_definition(node, (), found, idle_too=True)
    if reading is not None and reading.model is not None:
        definition_rules.check(reading.model, reading.origin, found)
    if found.refused or reading is None or reading.model is None:
        raise ConfigurationError(found.problems)
    return node


def _demand_fit(node: Node, directory: Path, current: Configuration) -> None:
    """Raise ConfigurationError for what does not fit the settings, or claims what another API has."""
    found, named = Findings(), api_id(node)
    reading = read_definition(node, (), Findings())
    if reading is None or reading.model is None:
        return  # it says that it is not to be served
    made = Served(reading.model, reading.origin, found)
    rules.check_alone(made, current.settings)
    _demand_known_password_file(made, next((api for api in current.apis if api.api_id == named), None))
    if found.refused:
        raise ConfigurationError(found.problems)
    served = {api.api_id: api for api in current.apis if api.api_id != named}
    if not (conflicts := _conflicts(made, served.values(), current)):
        return
    # Files may have changed since they were read, so a place may be free now.
    inline = [api for api in served.values() if api.api_id not in current.homes]
    readings = (read_definition(one, (), Findings()) for _, one in _files(directory) if api_id(one) != named)
    if conflicts := _conflicts(made, [*inline, *(one.model for one in readings if one and one.model)], current):
        raise ConfigurationError(conflicts)


def _demand_known_password_file(made: Served, before: ApiDefinition | None) -> None:
    """Refuse a file whose first line would go to an upstream, unless the definition named it before.

    Who may write definitions here may name any upstream, and need not be who may read files on this host.
    """
    basic, known = made.definition.upstream_auth.basic_auth, before and before.upstream_auth.basic_auth.password_file
    if basic.password_file is not None and basic.password_file != known:
        made.found.error(
            made.origin.place("upstream_auth", "basic_auth", "password_file"),
            "names a file on the gateway's host, whose content an upstream would get",
            "write password, or name the file in the definition's file on that host",
        )


def _conflicts(made: Served, others: Iterable[ApiDefinition], current: Configuration) -> list[Problem]:
    found = Findings()
    main_file = str(current.files[0])
    there = [Served(api, Origin(sources={(): current.homes.get(api.api_id, main_file)}), Findings()) for api in others]
    rules.check_together([*there, made._replace(found=found)], current.settings)
    return found.problems if found.refused else []


def _text(definition: Mapping[str, object]) -> bytes:
    return f"{json.dumps(definition, indent=2)}\n".encode()
