"""Which configuration file a command reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SEARCHED = (
    "tyk.conf",
    "gateway.yaml",
    "config/tyk.conf",
    "config/gateway.yaml",
    "/etc/gateway/gateway.yaml",
    "/etc/gateway/tyk.conf",
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help=f"Main file, JSON or YAML. Default: first of {', '.join(SEARCHED)}."),
]


def nearby() -> Path | None:
    """Return the configuration file that lies in the usual place."""
    return next((Path(name) for name in SEARCHED if Path(name).is_file()), None)


def find(given: Path | None) -> Path:
    """Return the file to read: the one named, else the first that exists; exit 2 when there is none."""
    path = given or nearby()
    if path is None:
        typer.echo(
            f"No configuration file here; looked for {', '.join(SEARCHED)}.\n"
            "Name one with --config FILE, or see it work first: gateway demo",
            err=True,
        )
        raise typer.Exit(2)
    return path
