"""How a file was when it was last looked at, so that a later look can tell whether it is another one.

Paths are text here and not ``Path``: there may be 100,000 of them.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import blake2b
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, NamedTuple

from gateway.store.file_status import is_young, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store.file_status import Status

DIRECTORY = b"directory"
_LARGE_BYTES = 4 << 20  # larger than what the gateway reads; judged by its times alone


class Mark(NamedTuple):
    """What is remembered of a path; ``digest`` stands for the content, ``b""`` when there is none to be had."""

    status: Status
    digest: bytes
    reliable: bool = False
    """Whether the same status will mean the same content."""

    def is_newer_than(self, moment: int) -> bool:
        """Whether it has changed after a moment (ns since 1970)."""
        return self.status[5:] > (moment,)


MISSING = Mark((), b"")


def mark(path: str) -> Mark:
    """Look at a path and read what is there."""
    status = status_of(path)
    if not status:
        return MISSING
    if S_ISDIR(status[0]):
        digest = DIRECTORY
    elif S_ISREG(status[0]) and status[3] <= _LARGE_BYTES:
        digest = _digest(path)
    else:
        digest = repr(status).encode()
    return Mark(status, digest, reliable=not is_young(status))


def files_in(directory: str) -> Iterator[tuple[str, int]]:
    """Yield names and inodes of what is neither hidden nor a directory; of a link its own, wherever it leads."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False):
                yield entry.name, entry.inode()


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return blake2b(file.readall(), digest_size=16).digest()
    except OSError:
        return b""
