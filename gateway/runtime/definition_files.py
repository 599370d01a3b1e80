"""API definitions as files in ``app_path``: written and removed as the admin API is told. A reload has to follow."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING
from uuid import uuid4

from gateway.config import document, json_text, refusals
from gateway.config.definitions import ApiDefinition
from gateway.config.node import MalformedError
from gateway.config.problems import Findings, Place
from gateway.config.reading import read
from gateway.errors import ConfigurationError, ConflictError, NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

_SUFFIXES = (".json", ".yaml", ".yml")
_COMPANIONS = ("-oas", "-mcp")  # endings of other files that Tyk keeps beside definitions: never read as such


def create(directory: Path | None, definition: Mapping[str, object], served: Collection[str]) -> str:
    """Write a definition, over one of the same id; return its id. ``served`` are the ids that are served now.

    Raises ConfigurationError, ConflictError and StoreError.
    """
    directory = _required(directory)
    given = {key: value for key, value in definition.items() if key.lower() != "api_id" or value}
    if not any(key.lower() == "api_id" for key in given):
        given["api_id"] = uuid4().hex
    api_id = _checked(given, directory)
    path = _find(directory, api_id)
    if path is None and api_id in served:
        raise ConflictError(f"the API {api_id} is defined in the main file; change it there")
    _write(path or directory / _file_name(api_id), given)
    return api_id


def update(directory: Path | None, api_id: str, definition: Mapping[str, object], served: Collection[str]) -> None:
    """Write a definition over the one that there is. Raises as `create`, and NotFoundError."""
    directory = _required(directory)
    path = _found(directory, api_id, served)
    named = _checked({"api_id": api_id, **definition}, directory)
    if named != api_id:
        raise ConflictError(f"the definition is of the API {named}, not of {api_id}")
    _write(path, {"api_id": api_id, **definition})


def delete(directory: Path | None, api_id: str, served: Collection[str]) -> None:
    """Remove a definition's file. Raises NotFoundError, ConflictError and StoreError."""
    path = _found(_required(directory), api_id, served)
    with _explained(path):
        path.unlink()
        _sync(path.parent)


def _required(directory: Path | None) -> Path:
    if directory is None:
        raise ConflictError("there is no directory for API definitions; set app_path in the main file")
    return directory


def _found(directory: Path, api_id: str, served: Collection[str]) -> Path:
    path = _find(directory, api_id)
    if path is None and api_id in served:
        raise ConflictError(f"the API {api_id} is defined in the main file; change it there")
    if path is None:
        raise NotFoundError("API not found")
    return path


def _find(directory: Path, api_id: str) -> Path | None:
    """The file that defines the API; broken files define none."""
    with _explained(directory):
        files = sorted(path for path in directory.iterdir() if path.suffix.lower() in _SUFFIXES)
    for file in files:
        root = document.read(file, str(file), Findings())
        members = root.value if root and isinstance(root.value, dict) else {}
        if any(key.lower() == "api_id" and node.value == api_id for key, node in members.items()):
            return file
    return None


def _checked(definition: Mapping[str, object], directory: Path) -> str:
    """Check what can be said of a definition alone, and return its id. Raises ConfigurationError."""
    found = Findings()
    try:
        node = json_text.parse(json.dumps(definition), lambda _: "request", directory, found)
    except MalformedError as error:
        found.error(Place("", error.source), error.message, error.cure)
        raise ConfigurationError(found.problems) from error
    refusals.check_definition(node, (), found)
    reading = read(ApiDefinition, node, found, prefix=(), note_empty=False)
    if found.refused or reading.model is None:
        raise ConfigurationError(found.problems)
    return reading.model.api_id


def _file_name(api_id: str) -> str:
    return f"{api_id}.classic.json" if api_id.endswith(_COMPANIONS) else f"{api_id}.json"


def _write(path: Path, definition: Mapping[str, object]) -> None:
    """Replace the file at once: whoever reads it sees the old or the new one, whole."""
    draft = path.with_name(f".{path.name}.draft")  # not a suffix that is read
    with _explained(path):
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(definition, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check that it is there and writable by the gateway") from error
