"""Commands that speak with a running gateway: the options that all of them have, and how they answer."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import access
from gateway.cli.access import reach, taken
from gateway.cli.admin_client import AdminClient
from gateway.cli.configuration_file import ConfigOption, nearby
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean
from gateway.cli.options import with_options_of
from gateway.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class Gateway(AdminClient):
    """The client as a command sees it; ``json`` is whether a program reads the answer."""

    json = False

    def show(self, answer: Any, text: Callable[[Any], str]) -> None:
        """Print an answer: as it is for programs, as ``text`` writes it for people, nothing for no text."""
        shown = json.dumps(answer, indent=2, ensure_ascii=False) if self.json else text(answer)
        if shown:
            typer.echo(shown)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first parameter is the gateway.

    It gets the options that say where that is, and ``--json``. Whatever the API refuses goes to stderr in a
    sentence, with exit status 1, and to stdout as it came when a program asked.
    """

    def run(config: ConfigOption = None, *, json: JsonOption = False, **arguments: Any) -> None:
        try:
            wanted, file = taken(arguments), config or nearby()
            with reach(Gateway, wanted, config=config, found=file) as gateway:
                gateway.json = json
                if file and not access.is_named(wanted):
                    _warn_of_another(gateway, file)
                command(gateway, **arguments)
        except AdminError as error:
            raise failure(error, as_json=json) from error

    return with_options_of(run, command, access.options)


def _warn_of_another(gateway: Gateway, file: Path) -> None:
    """Tell that whoever answers at the address of a file serves another one."""
    from gateway.runtime.file_identity import identity

    with suppress(AdminError, OSError):
        running = gateway.call("GET", "/tyk/configuration")
        if running["identity"] != identity(file):
            said = f"{gateway.address.url} is answered by the gateway of another file, {running['file']}"
            warn([f"{said} (pid {running['pid']}), and not of {file}"])


def unconnected(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that needs no gateway take the options that say which: scripts put them behind every command."""

    def run(**arguments: Any) -> None:
        taken(arguments)
        command(**arguments)

    return with_options_of(run, command, access.options, given=0)


def failure(error: AdminError, *, as_json: bool = False) -> typer.Exit:
    """Tell what went wrong; return what to raise."""
    if as_json and error.body is not None:
        typer.echo(json.dumps(error.body, indent=2, ensure_ascii=False))
    typer.echo(f"error: {clean(error)}", err=True)
    if isinstance(error.body, dict):
        for problem in error.body.get("problems") or ():
            typer.echo(f"  {line(problem)}", err=True)
    return typer.Exit(error.exit_code)


def line(problem: Mapping[str, str]) -> str:
    """Write one of the API's problems on a line."""
    known = {name: value for name, value in problem.items() if name in Problem.__slots__}
    return clean(Problem(**{"severity": "error", "path": "", "source": "", "message": "", **known}))  # type: ignore[arg-type]


def warn(warnings: Iterable[object]) -> None:
    """Tell warnings on stderr, where they do not get in the way of what is read by programs."""
    for warning in warnings:
        typer.echo(f"warning: {clean(warning)}", err=True)
