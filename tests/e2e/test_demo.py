"""The demo as a newcomer meets it: start it, paste what it prints, stop it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 20


@dataclass
class Demo:
    """A running demo: its process, the directory it keeps and the commands it told the user to try."""

    process: subprocess.Popen[str]
    directory: Path
    commands: list[str]
    log: Path

    def others(self) -> list[int]:
        """Open a descriptor for every other process of its session, to wait for their end."""
        return [os.pidfd_open(pid) for pid in session(self.process.pid) if pid != self.process.pid]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    log = tmp_path / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", "--port", "0", "--dir", tmp_path / "demo"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    assert process.stdout
    with process, process.stdout:
        commands = []
        for line in process.stdout:
            if line.startswith("  curl "):
                commands.append(f"{line.strip()} --silent --show-error --retry 5 --retry-connrefused")
            if "Ctrl-C" in line:
                break
        yield Demo(process, tmp_path / "demo", commands, log)
        process.kill()


def session(leader: int) -> list[int]:
    """The processes of a session. In /proc/PID/stat, state, parent, group and session follow the name."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            pids.append(int(stat.parent.name))
    return pids


def ended(descriptors: list[int]) -> bool:
    """Whether every process ends in time; closes the descriptors."""
    alive = []
    for descriptor in descriptors:
        readable, _, _ = select.select([descriptor], [], [], SECONDS)
        alive += [] if readable else [descriptor]
        os.close(descriptor)
    return not alive


def paste(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


def test_the_three_printed_commands_work_when_pasted(demo: Demo) -> None:
    alpha, beta, redirect = map(paste, demo.commands)
    assert json.loads(alpha) | {"app": "alpha", "method": "GET", "path": "/hello"} == json.loads(alpha)
    assert json.loads(alpha)["x-forwarded-proto"] == "https"
    assert json.loads(beta)["app"] == "beta"
    first, *_, last = redirect.splitlines()
    assert first.split()[1] in {"301", "308"}
    assert json.loads(last)["path"] == "/over-plain-http"


def test_two_domains_have_two_certificates_on_one_port(demo: Demo) -> None:
    names = [paste(f"{command} --verbose --output /dev/null 2>&1 | grep subject:") for command in demo.commands[:2]]
    assert names[0] != names[1]


def test_ctrl_c_stops_everything_without_a_traceback(demo: Demo) -> None:
    paste(demo.commands[0])
    others = demo.others()
    assert others
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(SECONDS) == 0
    assert ended(others)
    assert "Traceback" not in demo.log.read_text()


def test_no_process_outlives_a_demo_that_is_killed(demo: Demo) -> None:
    paste(demo.commands[0])
    others = demo.others()
    demo.process.kill()
    assert others
    assert ended(others)


def test_private_keys_are_readable_by_their_owner_only_and_kept_for_the_next_start(demo: Demo) -> None:
    bundles = sorted(demo.directory.glob("*localhost.pem"))
    assert [bundle.name for bundle in bundles] == [
        "alpha.localhost.pem",
        "beta.localhost.pem",
        "localhost.pem",
    ]
    assert {bundle.stat().st_mode & 0o777 for bundle in bundles} == {0o600}


def test_the_configuration_it_writes_passes_the_strict_check(demo: Demo) -> None:
    command = [
        sys.executable,
        "-m",
        "gateway",
        "check",
        "--strict",
        "--config",
        demo.directory / "gateway.yaml",
    ]
    checked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert checked.returncode == 0, checked.stdout
    assert "alpha.localhost" in checked.stdout


def test_a_taken_port_is_told_with_the_way_to_choose_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "gateway", "demo", "--port", str(port), "--dir", tmp_path]
        refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert refused.returncode == 1
    assert f"127.0.0.1:{port}" in refused.stderr
    assert "gateway demo --port" in refused.stderr
    assert "Traceback" not in refused.stderr
