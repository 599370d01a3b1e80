"""What the Dockerfile does, without Docker: the wheel, installed on its own, run by one who cannot write it.

The user is another one only when the tests run as root; otherwise nobody could be switched to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

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
    pytest.skip("there is no Python that another user can run")


def run(command: list[Any], **options: Any) -> str:
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **options)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_entry_point_runs_as_a_user_who_cannot_write_the_code(
    gateway: Path, user: dict[str, Any]
) -> None:
    assert run([gateway, "--version"], **user).startswith("gateway ")
