"""Commands that change the configuration file: shown, checked, saved with a backup, and served, in this order.

There is one truth, the file. Whatever is wrong with the new one, the old one stays, on disk and in service. A file that
cannot be written is not worked around: the lines to change are printed, for who can.
"""

from __future__ import annotations

import difflib
import os
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import files
from gateway.cli import access
from gateway.cli.admin_client import AbsentError, AdminClient, AdminError
from gateway.cli.check import examine
from gateway.cli.configuration_file import ConfigOption, find
from gateway.cli.connected import failure, with_options_of
from gateway.cli.layout import clean
from gateway.config import document, environment, reading
from gateway.config.edit import edited
from gateway.config.problems import Findings, Severity
from gateway.config.settings import Settings
from gateway.errors import EditError, FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from gateway.cli.secret_files import SecretFile
    from gateway.config.edit import Change
    from gateway.config.problems import Problem

    Reach = Callable[[], AbstractContextManager[AdminClient]]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show and check the change, and leave it at that.")]


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """The main file as it is. ``settings`` are what it says, with the environment over it."""

    path: Path
    text: str
    settings: Settings
    uploads: dict[str, dict[str, str]] = field(default_factory=dict)
    """What a command has for the gateway's store, by the id that names it there; sent before the file is saved."""
    secrets: list[SecretFile] = field(default_factory=list)
    """What a command has for files of their own that the new text names."""

    @classmethod
    def read(cls, path: Path) -> ConfigurationFile:
        """Read it. Raises AdminError with what is wrong with it, which must be mended by hand first."""
        found = Findings()
        root = document.read(path, str(path), found)
        if root is not None:
            settings = reading.read(Settings, environment.overlay(root, os.environ, found), found).model
            if settings is not None:
                return cls(path, path.read_bytes().decode(), settings)
        broken = "\n".join(str(problem) for problem in found.problems if problem.severity is Severity.ERROR)
        raise AdminError(broken.removeprefix("error: "), exit_code=2)

    def named(self, path: Path) -> str:
        """How the file names another one: relative to itself where that stands beside or below it."""
        absolute, here = path.absolute(), self.path.absolute().parent
        return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)

    def changed(self, changes: Sequence[Change]) -> str:
        """The text with changes. Raises AdminError when only a person can make them, or a variable overrules them."""
        for change in changes:
            keys = [key for key in change.path if isinstance(key, str)]
            if os.environ.get(name := environment.variable(keys)):
                raise AdminError(f"{name} is set and wins over the file; change or unset it instead")
        bom = "\ufeff" if self.text.startswith("\ufeff") else ""
        text = self.text.removeprefix(bom)
        try:
            return bom + edited(text, changes, is_json=document.is_json(self.path, text))
        except EditError as error:
            raise AdminError(f"{self.path}: {error}; change it by hand") from error


def rewriting(command: Callable[..., Sequence[Change]]) -> Callable[..., None]:
    """Make a command of a function that is given a `ConfigurationFile` and returns what to change in it.

    It gets the options that say which file, which gateway, and ``--dry-run``. Exit status: 0 done, 1 refused and
    nothing has changed, 2 wrong usage.
    """

    def run(config: ConfigOption = None, *, dry_run: DryRunOption = False, **arguments: Any) -> None:
        try:
            wanted = access.taken(arguments)
            file = ConfigurationFile.read(find(config))
            text = file.changed(command(file, **arguments))
            typer.echo(difference(file, text) or f"{file.path} says so already")
            for problem in check(file, text):
                typer.echo(clean(problem), err=True)
            if not dry_run and (text != file.text or file.uploads):
                reach = lambda: access.reach(AdminClient, wanted, config=file.path)  # noqa: E731 - not before now
                with _secrets_of(file):
                    upload(file, reach)
                    typer.echo(serve_it(file, save(file, text), reach))
        except AdminError as error:
            raise failure(error) from error

    return with_options_of(run, command, access.options)


def shown(config: Path | None) -> ConfigurationFile:
    """Read the main file for a command that shows what is in it, and ends here when it cannot be read."""
    try:
        return ConfigurationFile.read(find(config))
    except AdminError as error:
        raise failure(error) from error


@contextmanager
def _secrets_of(file: ConfigurationFile) -> Iterator[None]:
    """Write the secrets, and take them back if the rest fails; if it does not, those go that they replace."""
    try:
        for secret in file.secrets:
            secret.write()
        yield
    except BaseException:
        for secret in file.secrets:
            secret.forget()
        raise
    for secret in file.secrets:
        secret.succeed()


# A JSON file may be one line, and all of it changes.
_SECRET = re.compile(
    r"""(\w*(?:secret|password|passphrase)["']?\s*:\s*)(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"',{}\[\]#][^\s,}\]]*)""",
    re.IGNORECASE,
)
_KEY = re.compile(r"(-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----).*?(-----END \2-----|\Z)", re.DOTALL)


def difference(file: ConfigurationFile, text: str) -> str:
    """The lines that change and no others, without the secrets in them."""
    lines = difflib.unified_diff(file.text.splitlines(), text.splitlines(), str(file.path), "changed", "", "", 0, "")
    return "\n".join(_KEY.sub(r"\1 *** \3", _SECRET.sub(r"\1***", line)) for line in lines)


def check(file: ConfigurationFile, text: str) -> list[Problem]:
    """Check the new text where the old one stands, so that paths mean what they will; return its warnings.

    Raises AdminError with every error.
    """
    # It stands where the name does, and not where a link leads: from there its relative paths are read.
    with _explained(file.path), files.trial(file.path, text.encode()) as trial:
        problems = [
            replace(
                problem, source=problem.source.replace(str(trial), str(file.path)).replace(trial.name, file.path.name)
            )
            for problem in examine(trial, os.environ)[0]
        ]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise refused("the change is refused and nothing has changed", errors)
    coming = {str(secret.path) for secret in file.secrets} | file.uploads.keys()  # when all is checked
    return [
        one
        for one in problems
        if one.severity is Severity.WARNING and coming.isdisjoint((one.source, str(Path(one.source).absolute())))
    ]


def refused(message: str, problems: Sequence[Problem]) -> AdminError:
    """An error with the problems that are its reasons, in the shape that the admin API has for them."""
    return AdminError(message, body={"problems": [asdict(problem) for problem in problems]})


def save(file: ConfigurationFile, text: str) -> Path:
    """Replace the file in one step, and keep the old one beside it. A link stays, what it leads to is replaced.

    Returns the backup. Raises AdminError.
    """
    real = file.path.resolve()
    backup = real.with_name(f"{real.name}.bak")
    with (
        _explained(file.path),
        files.draft(real, text.encode()) as new,
        files.draft(backup, file.text.encode(), model=real) as old,
    ):
        if real.read_bytes().decode() != file.text:
            raise AdminError(f"{file.path} was changed by somebody else meanwhile; look at it and run this again")
        old.replace()
        new.replace()
    return backup


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise AdminError(
            f"{error}; nothing has changed. Change the lines above where {path.name} comes from, then: gateway reload"
        ) from error


def upload(file: ConfigurationFile, reach: Reach) -> None:
    """Put what the command has for the store there, where keys are sealed. Raises AdminError."""
    for body in file.uploads.values():
        with reach() as client:
            try:
                client.call("POST", "/tyk/certs", json=body)
            except AdminError as error:
                if "already exists" not in str(error):
                    raise


def serve_it(file: ConfigurationFile, backup: Path, reach: Reach) -> str:
    """Have a running gateway serve the file; without one it takes effect at the next start.

    What the gateway refuses is taken back. Raises AdminError.
    """
    saved = f"saved; {backup} is what it was"
    try:
        with reach() as client:
            answer = client.call("GET", "/tyk/reload", params={"block": "true"})
    except AbsentError:
        return f"{saved}\nno gateway answers at the control port: it takes effect at the next start"
    except AdminError as error:
        return f"{saved}\nit could not be told to the gateway, which sees it by itself if it watches files: {error}"
    if answer.get("status") != "ok":
        with _explained(file.path):
            files.write(file.path, file.text.encode())
        backup.unlink(missing_ok=True)
        raise AdminError(
            f"the gateway refused it, and {file.path} is what it was: {answer.get('message')}", body=answer
        )
    return f"{saved}\ngeneration {answer.get('generation')} serves it"
