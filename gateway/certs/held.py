"""Root master keys in memory: the page that the supervisor, every child that it forks, and its successor share.

What only a cloud's key service can unwrap is unwrapped once and put here. Workers and control that start later find
it, and so does the gateway of an upgrade, to which the page is handed as a descriptor; none of them asks the cloud. The
page has no name in any file system, stays out of core dumps, and out of swap where the system lets it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cache

ID_BYTES = 16
KEY_BYTES = 32

_SLOTS = 8
_SLOT_BYTES = ID_BYTES + KEY_BYTES


class HeldKeys:
    """Keys by their ids. One process puts, after it has told which other key must stay; any may get."""

    def __init__(self) -> None:
        fd = os.memfd_create("root master keys", os.MFD_CLOEXEC)
        os.ftruncate(fd, mmap.PAGESIZE)
        self.adopt(fd)

    def adopt(self, fd: int) -> None:
        """Share the page of another gateway, which has handed its descriptor on. Raises OSError or ValueError."""
        self._memory = mmap.mmap(fd, mmap.PAGESIZE)
        self._memory.madvise(mmap.MADV_DONTDUMP)
        # Where it may lock no memory, it is as safe as everything else that the process knows.
        page = ctypes.c_char.from_buffer(self._memory)
        ctypes.CDLL(None).mlock(ctypes.byref(page), ctypes.c_size_t(mmap.PAGESIZE))
        os.set_inheritable(fd, False)  # noqa: FBT003 - its only argument
        self.fd = fd

    def get(self, key_id: bytes) -> bytes | None:
        """Return a key, if it is here."""
        for at in range(0, _SLOTS * _SLOT_BYTES, _SLOT_BYTES):
            if self._memory[at : at + ID_BYTES] == key_id:
                return self._memory[at + ID_BYTES : at + _SLOT_BYTES]
        return None

    def put(self, key_id: bytes, key: bytes, keep: bytes = b"") -> None:
        """Add a key; where room is wanted, it is not that of the id ``keep``.

        Whoever gets it meanwhile sees all of it or nothing: the id is written last.
        """
        slots = [self._memory[at : at + _SLOT_BYTES] for at in range(0, _SLOTS * _SLOT_BYTES, _SLOT_BYTES)]
        ids = [slot[:ID_BYTES] for slot in slots]
        if key_id in ids:
            return
        free = bytes(ID_BYTES)
        at = _SLOT_BYTES * (ids.index(free) if free in ids else next(i for i, one in enumerate(ids) if one != keep))
        self._memory[at : at + ID_BYTES] = free
        self._memory[at + ID_BYTES : at + _SLOT_BYTES] = key
        self._memory[at : at + ID_BYTES] = key_id


@cache
def held() -> HeldKeys:
    """Return the page of this process and those that it was forked from, which must have called this before."""
    return HeldKeys()
