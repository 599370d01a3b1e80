"""The main file as something that a program changes: read, edited, checked where it stands, saved with a backup.

The file is the only truth. If anything is wrong with the new one, the old one stays, on disk and in service. The
command line edits the file of the gateway on its host; control edits it for requests from elsewhere.
"""

from __future__ import annotations

import difflib
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gateway import files
from gateway.config import document, environment, reading
from gateway.config.edit import edited
from gateway.config.plain import plain
from gateway.config.problems import Findings, Problem, Severity
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError, ConflictError, EditError, FileError, StoreError
from gateway.runtime import renewal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.config.edit import Change

# A JSON file may be one line, and all of it changes.
_SECRET = re.compile(
    r"""(\w*(?:secret|password|passphrase)["']?\s*:\s*)(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"',{}\[\]#][^\s,}\]]*)""",
    re.IGNORECASE,
)
_KEY = re.compile(r"(-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----).*?(-----END \2-----|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MainFile:
    """The main file as it is. ``settings`` are what it says with the environment over it.

    ``definitions`` are those in the file itself, as they are written but for the case of their keys.
    """

    path: Path
    text: str
    settings: Settings
    definitions: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str]) -> MainFile:
        """Read it. Raises ConfigurationError with what is wrong with it, which must be mended by hand first."""
        found = Findings()
        root = document.read(path, str(path), found)
        if root is not None:
            members = root.value if isinstance(root.value, dict) else {}
            inline = next((node.value for key, node in members.items() if key.lower() == "apis"), None)
            definitions = tuple(_lower(plain(node)) for node in inline) if isinstance(inline, list) else ()
            settings = reading.read(Settings, environment.overlay(root, environ, found), found).model
            if settings is not None:
                return cls(path, path.read_bytes().decode(), settings, definitions)
        raise ConfigurationError([one for one in found.problems if one.severity is Severity.ERROR])

    @property
    def is_json(self) -> bool:
        """True when the file is JSON."""
        return document.is_json(self.path, self.text)

    @property
    def digest(self) -> str:
        """The SHA-256 of the text."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def data_dir(self) -> Path:
        """The data directory that it names."""
        return self.path.absolute().parent / self.settings.gateway.data_dir

    def named(self, path: Path) -> str:
        """Return how the file names another one: relative to itself where that stands beside or below it."""
        absolute, here = path.absolute(), self.path.absolute().parent
        return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)

    def changed(self, changes: Sequence[Change], overrides: Mapping[str, str]) -> str:
        """Return the text with changes. ``overrides`` are the variables that win over the file, each in words.

        Raises ConflictError when one of them does, and EditError when only a person can make the change.
        """
        for change in changes:
            keys = [key for key in change.path if isinstance(key, str)]
            names = (environment.variable(keys[:length]) for length in range(1, len(keys) + 1))
            if said := next((overrides[name] for name in names if name in overrides), None):
                raise ConflictError(f"{said}, which wins over the file; nothing has changed")
        bom = "\ufeff" if self.text.startswith("\ufeff") else ""
        try:
            return bom + edited(self.text.removeprefix(bom), changes, is_json=self.is_json)
        except EditError as error:
            raise EditError(f"{self.path}: {error}; change it by hand") from error

    def difference(self, text: str) -> str:
        """Return the lines that change and no others, without the secrets in them."""
        lines = difflib.unified_diff(
            self.text.splitlines(), text.splitlines(), str(self.path), "changed", "", "", 0, ""
        )
        return "\n".join(_KEY.sub(r"\1 *** \3", _SECRET.sub(r"\1***", line)) for line in lines)

    def check(self, text: str, environ: Mapping[str, str], data_dir: Path | None = None) -> renewal.Candidate:
        """Read the new text where the old one stands, so that paths mean what they will; see `renewal.read`.

        Raises ConfigurationError with every problem, also of definitions that only the new text makes wrong, and
        StoreError when nothing can be written there.
        """
        # The trial stands beside the name, not at the end of a link: its relative paths start there.
        with self._explained(), files.trial(self.path, text.encode()) as trial:
            try:
                candidate = renewal.read(trial, environ, data_dir, anew=data_dir is None)
            except ConfigurationError as error:
                raise ConfigurationError(self._as_own(error.problems, trial)) from error
            configuration = candidate.configuration
            if text != self.text and configuration.refused:
                before = {one.api_id for one in renewal.read(self.path, environ, data_dir).configuration.refused}
                new = [one for one in configuration.refused if one.api_id not in before]
                if new:
                    problems = [problem for one in new for problem in one.problems]
                    raise ConfigurationError(self._as_own(problems, trial))
            warnings = tuple(self._as_own(configuration.warnings, trial))
            return replace(candidate, configuration=configuration.model_copy(update={"warnings": warnings}))

    def remarks(self, candidate: renewal.Candidate, coming: Collection[str]) -> list[Problem]:
        """Return what to tell of a change that can be served: its warnings, and the notes on APIs that it adds.

        Files that are still ``coming`` are not missed.
        """

        def is_added(problem: Problem) -> bool:
            api_id = problem.path.partition("[")[2].partition("]")[0]
            return bool(api_id) and not api_id.isdigit() and api_id not in self.text

        return [
            one
            for one in candidate.warnings
            if one.source not in coming and (one.severity is Severity.WARNING or is_added(one))
        ]

    def _as_own(self, problems: Sequence[Problem], trial: Path) -> list[Problem]:
        def source(text: str) -> str:
            return text.replace(str(trial), str(self.path)).replace(trial.name, self.path.name)

        return [replace(one, source=source(one.source)) for one in problems]

    def save(self, text: str) -> Path:
        """Replace the file in one step, and keep the old one beside it. A link stays, what it leads to is replaced.

        Returns the backup. Raises ConflictError when somebody else changed it, and StoreError.
        """
        real = self.path.resolve()
        backup = real.with_name(f"{real.name}.bak")
        with (
            self._explained(),
            files.draft(real, text.encode()) as new,
            files.draft(backup, self.text.encode(), model=real) as old,
        ):
            if real.read_bytes().decode() != self.text:
                raise ConflictError(f"{self.path} was changed by somebody else meanwhile; look at it and try again")
            old.replace()
            new.replace()
        return backup

    def restore(self, text: str) -> None:
        """Put back what was there before ``text`` was saved, unless it is something else by now. Raises StoreError."""
        real = self.path.resolve()
        if real.read_bytes().decode() == text:
            with self._explained():
                files.write(real, self.text.encode())
            real.with_name(f"{real.name}.bak").unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileError as error:
            raise StoreError(
                f"{error}; nothing has changed. Change the lines above where {self.path.name} comes from, then: gateway"
                " reload"
            ) from error


def overriding(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that win over the main file, each in words."""
    return {name: f"{name} is set" for name in environment.variables() if environ.get(name)}


def _lower(value: Any) -> Any:
    if not isinstance(value, dict):
        return {} if value is None else value
    return {key.lower(): _lower(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}
