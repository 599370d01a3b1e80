"""``gateway serve``: run the gateway in the foreground."""

from __future__ import annotations

import os

import typer

from gateway.cli.configuration_file import ConfigOption, find


def serve(config: ConfigOption = None) -> None:
    """Serve what the configuration describes: SIGHUP reads it again, SIGTERM or Ctrl-C drains and stops."""
    from gateway.runtime import supervisor
    from gateway.runtime.upgrade import Command

    raise typer.Exit(supervisor.run(find(config), os.environ, Command.of_this_process()))
