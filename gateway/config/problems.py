"""What is wrong with a configuration: a value per problem, so that all are told at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much a problem matters: an error refuses the configuration, a warning does not, a note informs."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where it stands, and what to do.

    ``path`` is the key as a person would write it, ``http_server_options.min_version``; ``source`` is
    ``file:line`` or the name of an environment variable. ``message`` and ``cure`` never repeat a secret.
    """

    severity: Severity
    path: str
    source: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        cure = f" ({self.cure})" if self.cure else ""
        where = " @ ".join(part for part in (self.path, self.source) if part)
        return f"{self.severity}: {where}: {self.message}{cure}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the ``path`` and ``source`` of a problem with it."""

    path: str
    source: str


@dataclass(slots=True)
class Findings:
    """The problems found so far: readers and rules add to them and go on, so that all are told at once."""

    problems: list[Problem] = field(default_factory=list)
    unprotected: bool = False
    """True when an error means that a requested protection would be missing."""

    def error(self, place: Place, message: str, cure: str = "") -> None:
        self._add(Severity.ERROR, place, message, cure)

    def refusal(self, place: Place, message: str, cure: str = "") -> None:
        """Add an error: what is asked for is a protection, and there would be none."""
        self.unprotected = True
        self.error(place, message, cure)

    def warning(self, place: Place, message: str, cure: str = "") -> None:
        self._add(Severity.WARNING, place, message, cure)

    def note(self, place: Place, message: str, cure: str = "") -> None:
        self._add(Severity.NOTE, place, message, cure)

    def _add(self, severity: Severity, place: Place, message: str, cure: str) -> None:
        self.problems.append(Problem(severity, place.path, place.source, message, cure))

    @property
    def refused(self) -> bool:
        """Whether any of them is an error."""
        return any(problem.severity is Severity.ERROR for problem in self.problems)
