"""API definitions as files in ``app_path``: written and removed as the admin API is told. A reload has to follow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

from gateway import files
from gateway.admin.concealment import revealed
from gateway.config import definition_rules, document, json_text, refusals
from gateway.config.definitions import ApiDefinition
from gateway.config.node import MalformedError
from gateway.config.plain import plain
from gateway.config.problems import Findings, Place
from gateway.config.reading import read
from gateway.config.switches import switched_off
from gateway.errors import ConfigurationError, ConflictError, NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from gateway.config.node import Node

_SUFFIXES = (".json", ".yaml", ".yml")
_COMPANIONS = ("-oas", "-mcp")  # endings of other files that Tyk keeps beside definitions: never read as such


def written(directory: Path | None, main_file: Path) -> Mapping[str, Mapping[str, object]]:
    """Return every definition by its id, as its file has it, with all that means nothing here. Raises StoreError."""
    root = document.read(main_file, str(main_file), Findings())
    members = root.value if root and isinstance(root.value, dict) else {}
    inline = next((node.value for key, node in members.items() if key.lower() == "apis"), None)
    nodes = [*(inline if isinstance(inline, list) else ()), *(node for _, node in _files(directory))]
    return {_api_id(node): plain(node, ApiDefinition) for node in nodes}


def create(directory: Path | None, definition: Mapping[str, object], served: Collection[str]) -> str:
    """Write a definition, over one of the same id; return its id. ``served`` are the ids that are served now.

    Raises ConfigurationError, ConflictError and StoreError.
    """
    directory = _required(directory)
    given = {key: value for key, value in definition.items() if key.lower() != "api_id" or value}
    if not any(key.lower() == "api_id" for key in given):
        given["api_id"] = uuid4().hex
    path, original = _find(directory, next(str(value) for key, value in given.items() if key.lower() == "api_id"))
    given = revealed(given, original)
    api_id = _checked(given, directory)
    if path is None and api_id in served:
        raise ConflictError(f"the API {api_id} is defined in the main file; change it there")
    files.write(path or directory / _file_name(api_id), _text(given))
    return api_id


def update(directory: Path | None, api_id: str, definition: Mapping[str, object], served: Collection[str]) -> None:
    """Write a definition over the one that there is. Raises as `create`, and NotFoundError."""
    directory = _required(directory)
    path, original = _found(directory, api_id, served)
    given = revealed({"api_id": api_id, **definition}, original)
    if (named := _checked(given, directory)) != api_id:
        raise ConflictError(f"the definition is of the API {named}, not of {api_id}")
    files.write(path, _text(given))


def delete(directory: Path | None, api_id: str, served: Collection[str]) -> None:
    """Remove a definition's file. Raises NotFoundError, ConflictError and StoreError."""
    path, _ = _found(_required(directory), api_id, served)
    files.remove(path)


def _required(directory: Path | None) -> Path:
    if directory is None:
        raise ConflictError("there is no directory for API definitions; set app_path in the main file")
    return directory


def _found(directory: Path, api_id: str, served: Collection[str]) -> tuple[Path, object]:
    path, original = _find(directory, api_id)
    if path is None and api_id in served:
        raise ConflictError(f"the API {api_id} is defined in the main file; change it there")
    if path is None:
        raise NotFoundError("API not found")
    return path, original


def _find(directory: Path, api_id: str) -> tuple[Path | None, object]:
    """The file that defines the API, and what it says."""
    found = ((path, plain(node, ApiDefinition)) for path, node in _files(directory) if _api_id(node) == api_id)
    return next(found, (None, None))


def _files(directory: Path | None) -> Iterator[tuple[Path, Node]]:
    """Each file with what is in it; broken ones hold nothing."""
    if directory is None:
        return
    try:
        found = sorted(path for path in directory.iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}; check that it is there and readable") from error
    for file in found:
        if node := document.read(file, str(file), Findings()):
            yield file, node


def _api_id(node: Node) -> str:
    members = node.value if isinstance(node.value, dict) else {}
    return next((str(child.value) for key, child in members.items() if key.lower() == "api_id"), "")


def _checked(definition: Mapping[str, object], directory: Path) -> str:
    """Check what can be said of a definition alone, and return its id. Raises ConfigurationError."""
    found = Findings()
    try:
        node = json_text.parse(json.dumps(definition), lambda _: "request", directory, found)
    except MalformedError as error:
        found.error(Place("", error.source), error.message, error.cure)
        raise ConfigurationError(found.problems) from error
    off = switched_off(node)
    refusals.check_definition(node, (), off, found)
    reading = read(ApiDefinition, node, found, off=off)
    if reading.model is not None:
        definition_rules.check(reading.model, reading.origin, found)
    if found.refused or reading.model is None:
        raise ConfigurationError(found.problems)
    return reading.model.api_id


def _file_name(api_id: str) -> str:
    return f"{api_id}.classic.json" if api_id.endswith(_COMPANIONS) else f"{api_id}.json"


def _text(definition: Mapping[str, object]) -> bytes:
    return f"{json.dumps(definition, indent=2)}\n".encode()
