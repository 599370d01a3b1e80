"""docs/coming-from.md: each of its examples, typed in order, in one directory with one gateway.

``PYTHONPATH=tests python tests/e2e/test_coming_from.py`` pastes the outputs that are not the document's any more.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from support.console import PATIENCE, Shell, examples, filled, same
from support.roles import Upstream, free_ports, until

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[2] / "docs" / "coming-from.md"


@contextlib.contextmanager
def stage(directory: Path) -> Iterator[Shell]:
    """The document's directory with its configuration, and ports of its own."""
    with Upstream("hello from the app\n") as upstream:
        port, control_port, tcp_port = free_ports(3)
        stands_for = {
            "8443": str(port), "9696": str(control_port), "6311": str(tcp_port), "8000": str(upstream.server_port),
            "node1": socket.gethostname().lower(),
        }  # fmt: skip
        settings = re.search(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
        assert settings
        text = settings[1]
        for said, here in stands_for.items():
            text = text.replace(said, here)
        (directory / "gateway.yaml").write_text(text)
        try:
            yield Shell(directory, stands_for)
        finally:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int((directory / "gateway.pid").read_text()), signal.SIGKILL)
            upstream.shutdown()


def play(shell: Shell) -> Iterator[tuple[str, str, str]]:
    """Type each command; yield where it stands with it, what is pasted, and what came."""
    for example in examples(DOCUMENT.read_text()):
        output = shell.run(example.command)
        if example.command.endswith("&"):
            ready = f"http://127.0.0.1:{shell.stands_for['9696']}/ready"
            until(lambda address=ready: _answers(address))  # type: ignore[misc]
        if example.command.startswith("kill "):
            until(lambda: not (shell.directory / "gateway.pid").exists())
        yield f"{DOCUMENT.name}:{example.line}: {example.command}", example.output, output


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="the examples use them")
def test_every_example_does_what_the_document_says(tmp_path: Path) -> None:
    different = []
    with stage(tmp_path) as shell:
        for place, pasted, came in play(shell):
            if not same(pasted, came):
                different.append(f"{place}\n--- pasted\n{pasted}--- came\n{came}")
    assert not different, "\n".join(different)


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(address, timeout=PATIENCE, trust_env=False).status_code == 200
    return False


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, stage(Path(scratch)) as shell:
        outputs = [pasted if same(pasted, came) else came for _, pasted, came in play(shell)]
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), outputs))
    sys.exit(0)
