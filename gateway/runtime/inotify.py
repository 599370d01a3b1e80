"""The kernel's notifications about directories (inotify(7)), by way of the C library: Python has no module for them.

A watch hangs on a directory's inode, not on its path. It tells of everything that happens to the entries of the
directory, and when the directory itself goes away. A file system that others write to (NFS) tells nothing.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO = 0x02, 0x04, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_ONLY_DIRECTORIES = 0x01000000
_WATCHED = (
    _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_DIRECTORIES
)  # fmt: skip
_EVENT = struct.Struct("iIII")
_READ_BYTES = 1 << 16


class Inotify:
    """One descriptor with its watches. ``fd`` is readable when there is something to ``read``; it never blocks."""

    def __init__(self) -> None:
        """Raises OSError when there is none to be had."""
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self.fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError as error:
            raise OSError("this system has no inotify") from error
        self._directories: dict[int, str] = {}

    def add(self, directory: str) -> None:
        """Watch a directory; one that is watched already stays so. Raises OSError."""
        watch = self._check(self._libc.inotify_add_watch(self.fd, os.fsencode(directory), _WATCHED))
        self._directories[watch] = directory

    def read(self) -> Iterator[tuple[str, str]]:
        """Yield what happened as (directory, entry).

        The entry is "" when it was the directory itself, and both are when the kernel lost count.
        """
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return
        while data:
            watch, mask, _, length = _EVENT.unpack_from(data)
            name, data = data[_EVENT.size : _EVENT.size + length], data[_EVENT.size + length :]
            if mask & _OVERFLOW:
                yield "", ""
            elif mask & _IGNORED:
                self._directories.pop(watch, None)
            elif watch in self._directories:
                yield self._directories[watch], os.fsdecode(name.rstrip(b"\0"))

    def close(self) -> None:
        """Give up all watches."""
        os.close(self.fd)
        self.fd = -1  # a late `add` must not reach a descriptor that has the number next

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
