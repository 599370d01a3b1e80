"""Which configuration file a command reads."""

from __future__ import annotations

import os
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

_OMIT = "TYK_GW_OMITCONFIGFILE"

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help=f"Main file, JSON or YAML. Default: first of {', '.join(SEARCHED)}."),
]


def nearby() -> Path | None:
    """Return the configuration file that lies in the usual place."""
    return next((Path(name) for name in SEARCHED if Path(name).is_file()), None)


def find(given: Path | None) -> Path:
    """Return the file to read: the one named, else the first that exists; exit 2 when there is none.

    None is needed where the environment says what is to be served: it is as if TYK_GW_OMITCONFIGFILE were set.
    """
    path = given or nearby()
    if path is None and ("TYK_GW_APPPATH" in os.environ or os.environ.get(_OMIT, "").lower() == "true"):
        os.environ[_OMIT] = "true"
        return Path(SEARCHED[0])  # whose directory relative paths start from
    if path is None:
        typer.echo(
            f"No configuration file here; looked for {', '.join(SEARCHED)}.\n"
            "Name one with --config FILE, say all in variables with TYK_GW_OMITCONFIGFILE=true, or see it work first:"
            " gateway demo",
            err=True,
        )
        raise typer.Exit(2)
    return path
