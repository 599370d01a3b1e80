"""Examples of a document as a person would type them: run in a directory of their own, compared with what is pasted."""

from __future__ import annotations

import multiprocessing
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli.main import app

PATIENCE = 90.0
ETC = "/etc/gateway"
"""Where the document says that everything happens."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["support.console", "httpx", "gateway.runtime.renewal", "gateway.cli.served", "gateway.cli.verify",
     "gateway.cli.doctor.walk", "gateway.tls.scan", "gateway.certs.self_signed"]
)  # fmt: skip
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"\$ ((?:.*\\\n)*.*(?:\n> .*)*)\n")
# What differs from run to run, and in how wide a table is for it.
_VARIES = (
    (re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{12})\b"), "HEX"),
    (re.compile(r"\.[0-9a-f]{8}\b"), ".HEX"),
    (re.compile(r"date: \w.*"), "date: DATE"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: UTC|Z|\+00:00)?)?"), "DATE"),
    (re.compile(r"-?\d+ days"), "N days"),
    (re.compile(r"OpenSSL \d\S* \d+ \w+ \d{4}"), "OPENSSL"),
    (re.compile(r"\b\d+\.\d+\.\d+(?!\.?\d)"), "VERSION"),
    (re.compile(r"((?:generation|handshakes:|failed:|connections:|pid) )\d+"), r"\1N"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r'"HEX"'), "HEX"),  # in YAML it needs quotes where it might be a number
    (re.compile(r" = "), "="),  # openssl wrote subjects so until 3.2
    (re.compile(r"(?:ok|warning) (logs TLS handshakes: N, failed: N).*"), r"\1"),  # counts come every few seconds
    (re.compile(r"(problems?, )(?:no|\d+) warnings?$"), r"\1some warnings"),
    (re.compile(r"user \(\S+\)"), "user (NAME)"),
    (re.compile(r"could read (.+) if they could enter \S+;"), r"can read \1;"),  # a test's directory is closed
)


@dataclass(frozen=True)
class Example:
    """A command of the document with the output that is pasted below it; ``line`` is where it stands."""

    line: int
    command: str
    output: str


def examples(text: str) -> list[Example]:
    """Every command of the ``console`` blocks, in order. It goes on behind a backslash, and on lines with ``> ``."""
    found = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1)) + 1
        for part in re.split(r"^(?=\$ )", block[1], flags=re.MULTILINE):
            if part.startswith("$ "):
                match = _COMMAND.match(part)
                assert match
                found.append(Example(line, match[1].replace("\n> ", "\n"), part[match.end() :]))
            line += part.count("\n")
    return found


def filled(text: str, outputs: list[str]) -> str:
    """The document with other outputs below its commands."""
    rest = iter(outputs)

    def block(match: re.Match[str]) -> str:
        parts = [part for part in re.split(r"^(?=\$ )", match[1], flags=re.MULTILINE) if part]
        commands = [found[0] for part in parts if (found := _COMMAND.match(part))]
        return "```console\n" + "".join(command + next(rest) for command in commands) + "```"

    return _BLOCK.sub(block, text)


def same(expected: str, actual: str) -> bool:
    """Whether an output is what is pasted, as far as it can be: a line of ``...`` stands for any lines."""
    lines = [re.escape(line) if line.strip() != "..." else None for line in _steady(expected).splitlines()]
    pattern = "".join("(?:.*\n)*?" if line is None else f"{line}\n" for line in lines)
    return re.fullmatch(pattern, _steady(actual)) is not None


def _steady(text: str) -> str:
    lines = text.splitlines()
    for pattern, replacement in _VARIES:
        lines = [pattern.sub(replacement, line) for line in lines]
    return "".join(f"{line.strip()}\n" for line in lines)


@dataclass
class Shell:
    """Runs commands in a directory; ``stands_for`` maps what the document says to what it is here."""

    directory: Path
    stands_for: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> str:
        """Return what a terminal would show, in the document's words; a status other than 0 is a line at the end."""
        for said, here in self.stands_for.items():
            command = command.replace(said, here)
        names = ("TYK_GW_", "GATEWAY_", "SSL_CERT")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(names)}
        environ |= {"PATH": f"{Path(sys.executable).parent}:{environ['PATH']}", "HOME": str(self.directory)}
        if command.startswith("gateway ") and not set("&|;<>$").intersection(command):
            status, output = self._gateway(shlex.split(command.replace("\\\n", "")), environ)
        else:
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.directory, text=True, timeout=PATIENCE, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ,
            )  # fmt: skip
            status, output = done.returncode, done.stdout
        output = output.replace(str(self.directory), ETC)
        for said, here in self.stands_for.items():
            output = re.sub(rf"\b{re.escape(here)}\b", said, output)
        return output + (f"(exit status {status})\n" if status else "")

    def _gateway(self, arguments: list[str], environ: dict[str, str]) -> tuple[int, str]:
        """Run the command in a process of its own, forked from one that has imported everything already."""
        output = self.directory / ".output"
        process = _FORKS.Process(target=_type, args=(arguments, str(self.directory), environ, str(output)))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode is not None, f"{arguments} takes too long"
        return process.exitcode, output.read_text()


def _type(arguments: list[str], directory: str, environ: dict[str, str], output: str) -> None:
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    descriptor = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - the process's own
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = arguments
    try:
        app()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
