"""The command: how it says what was found."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import access
from gateway.cli.configuration_file import ConfigOption, find
from gateway.cli.connected import JsonOption, failure
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean
from gateway.cli.options import with_options_of

if TYPE_CHECKING:
    from gateway.cli.doctor.finding import Finding


def _doctor(_: None) -> None:
    """Find out what is wrong with TLS here: files, configuration, the running gateway, a handshake for each domain.

    One line for each thing that was looked at: ok, a warning, or a problem with its cure. Exit status: 0 no problem,
    1 at least one, 2 wrong usage.
    """


def _run(
    config: ConfigOption = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="PEM file of the authorities that clients trust.")
    ] = None,
    *,
    json: JsonOption = False,
    **arguments: Any,
) -> None:
    from datetime import UTC, datetime

    from gateway.cli.doctor.finding import State
    from gateway.cli.doctor.walk import examine

    path = find(config)
    if ca and not ca.is_file():
        raise typer.BadParameter(f"{ca} is not a file", param_hint="--ca")
    try:
        findings = list(examine(path, config, ca, access.taken(arguments), datetime.now(UTC)))
    except AdminError as error:
        raise failure(error) from error
    counts = {state: sum(one.state is state for one in findings) for state in State}
    if json:
        import json as codec

        found = [{"topic": one.topic, "state": one.state, "message": one.message, "cure": one.cure} for one in findings]
        typer.echo(codec.dumps({"ok": not counts[State.PROBLEM], "findings": found}, indent=2))
    else:
        typer.echo("\n".join(map(_line, findings)))
        typer.echo(f"\n{_counted(counts[State.PROBLEM], 'problem')}, {_counted(counts[State.WARNING], 'warning')}")
    if counts[State.PROBLEM]:
        raise typer.Exit(1)


doctor = with_options_of(_run, _doctor, access.options)


def _line(one: Finding) -> str:
    cure = f"; {one.cure}" if one.cure else ""
    return clean(f"{one.state:<8} {one.topic:<20} {one.message}{cure}")


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
