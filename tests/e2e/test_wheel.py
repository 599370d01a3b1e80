"""What the Dockerfile does, without Docker: the wheel, installed on its own, run by one who cannot write it.

The user is another one only when the tests run as root; otherwise nobody could be switched to.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
UID = 10001


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="gateway-wheel-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def user(room: Path) -> dict[str, Any]:
    """The arguments of subprocess.run that make it another user, and an environment without this one's."""
    state = room / "state"
    state.mkdir(mode=0o700)
    environment = {"PATH": os.environ["PATH"], "TYK_GW_GATEWAY_DATADIR": str(state), "HOME": str(state)}
    if os.getuid() != 0:
        return {"env": environment, "cwd": state}
    os.chown(state, UID, UID)
    return {"env": environment, "cwd": state, "user": UID, "group": UID, "extra_groups": []}


@pytest.fixture(scope="module")
def gateway(room: Path, user: dict[str, Any]) -> Path:
    """The entry point of a wheel that was built from what the Dockerfile copies and installed on its own."""
    source = room / "src"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gateway", source / "gateway", ignore=ignore)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", room, source])
    (wheel,) = room.glob("*.whl")
    run([python_for(user), "-m", "venv", room / "venv"])
    run([room / "venv/bin/python", "-m", "pip", "install", "--quiet", "--compile", wheel])
    return room / "venv/bin/gateway"


def python_for(user: dict[str, Any]) -> str:
    """This Python, or the system's when the other user cannot reach it, as with one under /root."""
    supported = "import sys; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run([python, "-c", supported], check=True, **user)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("this host has no Python that another user can run")


def run(command: list[Any], **options: Any) -> str:
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **options)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def health_check() -> list[str]:
    """The command of the Dockerfile's HEALTHCHECK."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    (command,) = re.findall(r"^HEALTHCHECK .*? CMD (\[.*\])$", text, re.MULTILINE)
    return json.loads(command)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return str(sock.getsockname()[1])


def test_the_entry_point_runs_as_a_user_who_cannot_write_the_code(gateway: Path, user: dict[str, Any]) -> None:
    assert run([gateway, "--version"], **user).startswith("gateway ")


def test_it_serves_passes_the_health_check_and_drains_on_sigterm(
    room: Path, gateway: Path, user: dict[str, Any]
) -> None:
    pair = Authority.create().leaf("localhost")
    bundle = room / "localhost.pem"
    bundle.touch(mode=0o600)
    bundle.write_bytes(pair.key_pem + pair.chain_pem)
    os.chown(bundle, user.get("user", -1), -1)
    (room / "gateway.yaml").write_text("http_server_options: {use_ssl: true, ssl_certificates: [localhost.pem]}")
    ports = {"TYK_GW_LISTENPORT": free_port(), "TYK_GW_CONTROLAPIPORT": free_port()}
    served = user | {"env": user["env"] | ports}
    command = [gateway, "serve", "--config", room / "gateway.yaml"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **served) as process:
        assert process.stderr
        log = []
        while "control.started" not in "".join(log[-1:]):
            log.append(process.stderr.readline())
            assert log[-1], "".join(log)
        python, *arguments = health_check()
        run([gateway.with_name(python), *arguments], **served)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, "".join(log) + process.stderr.read()
