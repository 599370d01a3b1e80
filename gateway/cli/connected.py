"""Commands that speak with a running gateway: the options that all of them have, and how they answer."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import access
from gateway.cli.access import reach, taken
from gateway.cli.admin_client import AdminClient
from gateway.cli.configuration_file import SEARCHED, ConfigOption
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean
from gateway.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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
            with reach(Gateway, taken(arguments), config=config, found=nearby()) as gateway:
                gateway.json = json
                command(gateway, **arguments)
        except AdminError as error:
            raise failure(error, as_json=json) from error

    return with_options_of(run, command, access.options)


def nearby() -> Path | None:
    """The configuration file that lies in the usual place."""
    return next((Path(name) for name in SEARCHED if Path(name).is_file()), None)


def with_options_of(
    run: Callable[..., None], command: Callable[..., object], *more: Callable[..., object]
) -> Callable[..., None]:
    """Let typer see in ``run`` the parameters of ``command`` but its first, then those of its own and of ``more``.

    What the command has of the same name, or with the same option, goes before these.
    """
    own = [*inspect.signature(command, eval_str=True).parameters.values()][1:]
    names, words = {one.name for one in own}, {word for one in own for word in _words(one)}
    shared = [
        one
        for function in (run, *more)
        for one in inspect.signature(function, eval_str=True).parameters.values()
        if one.name not in names | {"arguments"} and not words.intersection(_words(one))
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _words(parameter: inspect.Parameter) -> Iterable[str]:
    """What a parameter is called on the command line, where it says so."""
    marks = getattr(parameter.annotation, "__metadata__", ())
    # Within Annotated typer takes the first name for a default, until it makes the command.
    words = (
        word for mark in marks for word in (getattr(mark, "default", None), *(getattr(mark, "param_decls", ()) or ()))
    )
    return (word for word in words if isinstance(word, str))


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
