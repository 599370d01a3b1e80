"""``gateway check``: every problem of a configuration, or what it will serve."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import access
from gateway.cli.access import taken
from gateway.cli.configuration_file import ConfigOption  # noqa: TC001 - typer reads it
from gateway.cli.connected import failure
from gateway.cli.failures import AdminError
from gateway.cli.options import with_options_of
from gateway.cli.target import examined
from gateway.config.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COLOURS = {
    Severity.ERROR: typer.colors.RED,
    Severity.WARNING: typer.colors.YELLOW,
    Severity.NOTE: typer.colors.BLUE,
}

Strict = Annotated[bool, typer.Option("--strict", help="Exit with status 1 when there are warnings.")]


def _check(_: None) -> None:
    """Tell every problem of a configuration or, if it can be served, what it will serve.

    Where a gateway runs it, with what that was started with: its flags and environment. With --server and without
    --config, that gateway's own file. Exit status: 0 fine, 1 warnings with --strict, 2 errors.
    """


def _run(config: ConfigOption = None, *, strict: Strict = False, **arguments: Any) -> None:
    try:
        with examined(taken(arguments), config) as target:
            if target.file is None:
                problems: Sequence[Problem] = target.problems_elsewhere()
                served = f"{target.running['file']} of the {target.whose}"
            else:
                problems, served = examine(target.file, target.environ)
                problems = (*problems, *target.overriding())
    except AdminError as error:
        raise failure(error) from error
    if served:
        typer.echo(served)
    typer.echo(listing(problems))
    severities = {problem.severity for problem in problems}
    if Severity.ERROR in severities:
        raise typer.Exit(2)
    if strict and Severity.WARNING in severities:
        raise typer.Exit(1)


check = with_options_of(_run, _check, access.options)


def examine(path: Path, environ: Mapping[str, str]) -> tuple[Sequence[Problem], str]:
    """Return the problems of a configuration and what it will serve, "" for nothing."""
    from gateway.cli.served import describe
    from gateway.errors import ConfigurationError
    from gateway.runtime import renewal

    try:
        candidate = renewal.read(path, environ)
    except ConfigurationError as error:
        return error.problems, ""
    return candidate.problems, describe(candidate.configuration, candidate.collected, datetime.now(UTC))


def listing(problems: Sequence[Problem]) -> str:
    """List problems, the gravest kind first, each with its place, what is wrong and what to do."""
    groups = []
    for severity in Severity:
        group = [entry(problem) for problem in problems if problem.severity is severity]
        if group:
            heading = f"{len(group)} {severity}{'s' if len(group) > 1 else ''}"
            groups.append("\n".join([typer.style(heading, COLOURS[severity], bold=True), *group]))
    return "\n\n".join(groups) or "no problems"


def entry(problem: Problem) -> str:
    """Write one problem as a paragraph."""
    where = "  ".join(part for part in (problem.path, problem.source) if part)
    lines = [where, f"  {problem.message}", f"  {problem.cure}" if problem.cure else ""]
    return "\n".join(f"  {line}" for line in lines if line)
