"""The identity of a file, by which a command knows whether the gateway that answers serves the same file."""

from __future__ import annotations

import socket
from hashlib import sha256
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def identity(path: Path) -> str:
    """Return what is the same for all who see the same file on this machine, and for nobody else. Raises OSError."""
    status = path.stat()
    try:
        machine = _BOOT.read_text()
    except OSError:
        machine = socket.gethostname()
    return sha256(f"{machine.strip()} {status.st_dev} {status.st_ino}".encode()).hexdigest()
