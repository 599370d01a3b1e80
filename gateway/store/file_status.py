"""What the system says of a file without reading it, by which a later look tells whether it is another one.

Paths are text here and not ``Path``: there may be 100,000 of them.
"""

from __future__ import annotations

import os
import time
from typing import TypeAlias

Status: TypeAlias = tuple[int, ...]
"""Mode, device, inode, size, and when it was written and changed (ns); () of what is missing or cannot be had."""

# Times of files are coarse, two seconds on some file systems: a younger file may be written again and show the same.
_YOUNG_NS = 2_000_000_000


def status_of(path: str) -> Status:
    """Follow links and look."""
    try:
        return _status(os.stat(path))
    except (OSError, ValueError):
        return ()


def read(path: str, most: int) -> tuple[bytes, Status]:
    """Return the first ``most`` bytes, and the status that goes with them: () when it was written meanwhile.

    A pipe has what is in it now: nobody waits for who might write into it. Raises OSError.
    """
    with open(path, "rb", buffering=0, opener=_at_once) as file:
        before = _status(os.fstat(file.fileno()))
        content = b""
        while len(content) < most and (more := file.read(most - len(content))):
            content += more
        return content, before if before == _status(os.fstat(file.fileno())) else ()


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def is_young(status: Status) -> bool:
    """Whether it may change once more without another status."""
    return max(status[4:], default=0) > time.time_ns() - _YOUNG_NS


def text(status: Status) -> str:
    """Write a status down; "" for none."""
    return " ".join(map(str, status))


def text_of(path: str) -> str:
    """Look, and write it down: what is asked of each of 100,000 files at every reload."""
    try:
        s = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{s.st_mode} {s.st_dev} {s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}"


def _status(s: os.stat_result) -> Status:
    return s.st_mode, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns
