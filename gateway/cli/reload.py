"""``gateway reload``: read all files again, and tell what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from gateway.cli.check import Strict  # noqa: TC001 - typer reads it
from gateway.cli.connected import Gateway, connected, line
from gateway.cli.failures import AdminError
from gateway.config.problems import Severity

if TYPE_CHECKING:
    from typing import Any


@connected
def reload(gateway: Gateway, *, strict: Strict = False) -> None:
    """Read configuration and certificates again; return when every worker serves them.

    Exit status: 0 they are served, 1 they were refused and everything is as it was, or a definition was refused and
    all others are served (or there are warnings, with --strict), 2 wrong usage.
    """
    answer = gateway.call("GET", "/tyk/reload", params={"block": "true"})
    if answer.get("status") != "ok":
        raise AdminError(str(answer.get("message") or "the reload was refused"), body=answer)
    gateway.show(answer, reloaded)
    problems = answer.get("problems") or ()
    if not gateway.json:
        notes = [problem for problem in problems if problem["severity"] == Severity.NOTE]
        for problem in problems:
            if problem not in notes or len(notes) == 1:
                typer.echo(line(problem), err=True)
        if len(notes) > 1:
            typer.echo(f"{len(notes)} notes; see gateway check", err=True)
    if answer.get("refused"):
        raise typer.Exit(1)
    if strict and any(problem["severity"] == Severity.WARNING for problem in problems):
        raise typer.Exit(1)


def reloaded(answer: Any) -> str:
    """Write which generation serves."""
    said = f" ({answer['message']})" if answer.get("message") else ""
    return f"generation {answer['generation']} serves{said}" if "generation" in answer else ""
