"""A configuration file, JSON or YAML by its name or else by its first character, becomes a tree of nodes."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from gateway.config import json_text, yaml_text
from gateway.config.node import MalformedError, Node, forbidden_character
from gateway.config.problems import Findings, Place

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024


def read(path: Path, shown: str, found: Findings) -> Node | None:
    """Read a file into nodes, or add to ``found`` why that cannot be done and return None.

    ``shown`` is the name of the file in the sources. Paths in the file start from the directory it stands in.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        return _parse(content, path, shown, found)
    except OSError as error:
        found.error(
            Place("", shown),
            f"the file cannot be read: {error.strerror}",
            "check its path and its permissions",
        )
    except MalformedError as error:
        found.error(Place("", error.source), error.message, error.cure)
    return None


def _parse(content: bytes, path: Path, shown: str, found: Findings) -> Node:
    if len(content) > MAX_BYTES:
        raise MalformedError(shown, f"the file is larger than {MAX_BYTES} bytes", "move APIs into files of their own")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MalformedError(f"{shown}:{line}", "the file is not UTF-8 text", "save it as UTF-8") from error
    if (character := forbidden_character(text)) is not None:
        line = text.count("\n", 0, character.start()) + 1
        raise MalformedError(f"{shown}:{line}", "the file holds a control character", "remove it; is this a text file?")
    base = path.absolute().parent
    if is_json(path, text):
        starts = [0, *(end.end() for end in re.finditer("\n", text))]
        return json_text.parse(text, lambda at: f"{shown}:{bisect_right(starts, at)}", base, found)
    return yaml_text.parse(text, lambda line: f"{shown}:{line + 1}", base, found)


def is_json(path: Path, text: str) -> bool:
    suffix = path.suffix.lower()
    if suffix in {".json", ".yaml", ".yml"}:
        return suffix == ".json"
    return text.lstrip()[:1] in {
        "{",
        "[",
        '"',
        "/",
    }  # "/" starts a comment that somebody hoped JSON would have
