"""Secrets within definitions: what stands for them on the wire, and how they come back when that is returned.

A client that gets a definition, edits it and puts it back has to lose nothing, and must not be shown a key.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gateway.config.problems import Problem, Severity
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_PASSWORD = "(password, not shown)"  # noqa: S105 - stands for one
_STANDS_FOR_A_KEY = re.compile(r"\(inline PEM, not shown: [0-9a-f]{16}\)")


def concealed(value: Any) -> Any:
    """Return ``value`` with something else in the place of each password, and of each text with a private key in it."""
    hidden = _each_text(value, lambda text: _stand_in(text) if "PRIVATE KEY" in text else text)
    return _each_password(hidden, None, lambda password, _: _PASSWORD if password else password)


def revealed(value: Any, original: Any) -> Any:
    """Return ``value`` with what `concealed` has put into ``original`` replaced by what it stands for there.

    Raises ConfigurationError when it stands for nothing there.
    """
    known: dict[str, str] = {}

    def reveal(text: str) -> str:
        if not _STANDS_FOR_A_KEY.fullmatch(text):
            return text
        if text not in known:
            message = f"{text} stands for nothing in the definition that there is; give the PEM itself"
            raise ConfigurationError([Problem(Severity.ERROR, "", "request", message)])
        return known[text]

    _each_text(original, lambda text: known.setdefault(_stand_in(text), text))
    return _each_password(_each_text(value, reveal), original, _returned)


def _returned(password: Any, original: Any) -> Any:
    if password != _PASSWORD:
        return password
    if not isinstance(original, str):
        message = f"{password} stands for nothing in the definition that there is; give the password itself"
        raise ConfigurationError([Problem(Severity.ERROR, "", "request", message)])
    return original


def _each_password(value: Any, original: Any, change: Callable[[Any, Any], Any]) -> Any:
    """Change what stands under keys of that name; what stands in the same place of ``original`` comes second."""
    if isinstance(value, list):
        return [_each_password(inner, None, change) for inner in value]
    if not isinstance(value, dict):
        return value
    there = original if isinstance(original, dict) else {}
    return {
        key: change(inner, there.get(key))
        if key.lower() == "password" and isinstance(inner, str)
        else _each_password(inner, there.get(key), change)
        for key, inner in value.items()
    }


def _stand_in(text: str) -> str:
    return f"(inline PEM, not shown: {sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]})"


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    match value:
        case str():
            return change(value)
        case dict():
            return {key: _each_text(inner, change) for key, inner in value.items()}
        case list() | tuple():
            return [_each_text(inner, change) for inner in value]
    return value
