"""Log lines that are written whole or not at all, on a disk that may be full."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat


def append(fd: int, lines: bytes) -> int:
    """Write lines; return how many bytes of them, which are whole lines, found room.

    Of a line that a full disk cut short the piece is taken back: the next one would be written behind it.
    """
    written = 0
    with contextlib.suppress(OSError):
        while written < len(lines) and (more := os.write(fd, lines[written:])):
            written += more
    piece = written - (lines.rfind(b"\n", 0, written) + 1)
    if piece:
        with contextlib.suppress(OSError):
            _take_back(fd, piece)
    return written - piece


def _take_back(fd: int, piece: int) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return
    appends = bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
    if appends or os.lseek(fd, 0, os.SEEK_CUR) == status.st_size:
        os.ftruncate(fd, status.st_size - piece)
        if not appends:
            os.lseek(fd, -piece, os.SEEK_CUR)
