"""One thing that was looked at, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """From good to bad; only a problem fails the whole."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """``topic`` is what was looked at, ``cure`` what to do where the state is not ok."""

    topic: str
    state: State
    message: str
    cure: str = ""


def ok(topic: str, message: str) -> Finding:
    """All is well."""
    return Finding(topic, State.OK, message)


def warning(topic: str, message: str, cure: str) -> Finding:
    """It works, and may not for everybody or not for long."""
    return Finding(topic, State.WARNING, message, cure)


def problem(topic: str, message: str, cure: str) -> Finding:
    """It does not work."""
    return Finding(topic, State.PROBLEM, message, cure)
