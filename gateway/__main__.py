"""``python -m gateway``: the same as the ``gateway`` command."""

from __future__ import annotations

from gateway.cli.main import app

app(prog_name="gateway")
