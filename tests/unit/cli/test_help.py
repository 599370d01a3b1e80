"""Help and version: whole, plain, and without what takes long to import."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli.help import summary
from gateway.cli.main import TABLE, app, load

HEAVY = (
    "rich", "httpx", "pydantic", "cryptography", "OpenSSL", "asyncio", "uvloop", "yaml", "ssl", "starlette", "uvicorn",
    "gateway.config.settings", "gateway.runtime", "gateway.store",
)  # fmt: skip

_WALK = f"""
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from typer.main import get_command
from gateway.cli.main import app

def walk(command, words):
    said = StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        top(words + ["--help"], prog_name="gateway")
    assert said.getvalue().startswith("Usage: gateway " + " ".join(words)), said.getvalue()
    print(*words)
    for name in getattr(command, "commands", ()):
        walk(command.get_command(None, name), [*words, name])

top = get_command(app)
walk(top, [])
print("heavy:", *sorted(set({HEAVY!r}) & sys.modules.keys()))
"""


def _python(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], text=True, timeout=60, check=True, stdout=subprocess.PIPE
    ).stdout


def test_the_help_of_no_command_imports_what_is_heavy() -> None:
    said = _python("-c", _WALK).splitlines()
    assert {"cert swap", "tls scan", "kms set-mode aws", "upstream enable", "serve"} <= set(said)
    assert said[-1].split() == ["heavy:"]


def test_the_version_imports_no_command_at_all() -> None:
    program = "from gateway.__main__ import main; import sys; sys.argv[1:] = ['--version']; main(); print(*sys.modules)"
    version, modules = _python("-c", program).splitlines()
    assert version == f"gateway {__version__}"
    assert not {"typer", "gateway.cli.main"} & set(modules.split())


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_the_table_says_what_the_commands_say(entry) -> None:
    assert entry.summary == summary(load(entry).help)


def test_help_shows_the_headings_of_commands_and_options() -> None:
    text = CliRunner().invoke(app, ["-h"]).output
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Options:", "Which gateway, and as whom:", *dict.fromkeys(f"{one.heading}:" for one in TABLE)]
    assert all(f"\n  {entry.name} " in text for entry in TABLE)
    assert "An HTTPS gateway" in text


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["stauts"], 2, "Did you mean 'status'"),
        (["cert", "swop"], 2, "Did you mean 'swap'"),
        (["--version"], 0, f"gateway {__version__}"),
        (["--server", "http://127.0.0.1:1", "check", "--wrong"], 2, "No such option"),
        (["tls"], 2, "Usage: gateway tls"),
        (["cert", "swap", "one"], 2, "Missing argument 'CERT'"),
    ],
)
def test_wrong_words_are_answered_as_before(words: list[str], status: int, said: str) -> None:
    done = CliRunner().invoke(app, words, prog_name="gateway")
    assert (done.exit_code, said in done.output) == (status, True), done.output
