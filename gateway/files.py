"""The one way in which the gateway writes a file, and the one way in which it reads a secret's first line.

A file is written whole into a draft beside it, synced, and then given its name in one step: a reader sees the old
content or the new, whenever the machine stops.

* What is there keeps its mode and, as far as this user may, its owner and group. What is new is this user's alone.
* A symbolic link stays one, and the file that it leads to is replaced; one that leads nowhere yet gets its file.
* A file that is mounted by itself, as containers mount one, cannot be replaced. It is overwritten where it is, after
  its room on the disk has been secured; the draft stays until that is done, so that a kill in between loses nothing.
* A failure leaves the old file as it was, and no draft. A kill leaves a draft, which `sweep` removes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = 0o600
"""The mode of a new file."""

# The others are what earlier versions called theirs.
_DRAFT = re.compile(r"\.gateway-[0-9a-f]{16}\.|\.(keyring\.json|root\.key)\.[a-z0-9_]{8}$|admin\.draft$")
# A younger draft may belong to a process that is writing now.
_ABANDONED_SECONDS = 60.0
_LONGEST_LINE = 64 * 1024
_BOM = b"\xef\xbb\xbf"

_CURES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in this user's quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "its file system is read-only; write it where it comes from",
    errno.EACCES: "let this user write into {directory}",
    errno.EPERM: "let this user write into {directory}",
    errno.ENOENT: "make the directory {directory} first",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EISDIR: "name a file, and not a directory",
    errno.ENAMETOOLONG: "choose a shorter name",
}


class Draft:
    """New content of a file: whole, on the disk, and not yet in its place. Make it with `draft`.

    ``path`` is where it is until then; ``target`` is the file that it is for, at the end of all links.
    """

    def __init__(self, path: Path, target: Path, content: bytes) -> None:
        self.path = path
        self.target = target
        self._content = content

    def replace(self) -> None:
        """Put it in its place, whatever is there. Raises FileError."""
        with explained(self.target):
            try:
                self.path.replace(self.target)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                _overwrite(self.target, self._content)
            _sync(self.target.parent)

    def create(self) -> bool:
        """Put it in its place unless something is there, and tell whether nothing was. Raises FileError."""
        with explained(self.target):
            try:
                os.link(self.path, self.target)  # unlike a rename, a link never replaces what is there
            except FileExistsError:
                return False
            _sync(self.target.parent)
            return True


@contextmanager
def draft(
    path: Path, content: bytes, *, mode: int = PRIVATE, model: Path | None = None, secret: bool = False
) -> Iterator[Draft]:
    """Write new content for ``path`` beside it; what has not been put in its place by the end is removed.

    It has the rights of ``model``, which is ``path`` itself unless another file is named; ``mode`` if there is none.
    Of a ``secret`` those who are neither owner nor group get none. Raises FileError.
    """
    with explained(path):
        target = _target(path)
        rights = _rights(model or target, mode)
        if secret:
            rights = replace(rights, mode=rights.mode & 0o770)
    with _written(target, rights, content, ".draft") as place:
        yield Draft(place, target, content)


@contextmanager
def trial(path: Path, content: bytes) -> Iterator[Path]:
    """Write what might become ``path`` beside it, for those who read it as that; it is removed at the end.

    It has the rights and the suffix of ``path``, and stands where that name does even if that is a link.
    Raises FileError.
    """
    with explained(path):
        rights = _rights(path, PRIVATE)
    with _written(path, rights, content, path.suffix) as place:
        yield place


@contextmanager
def _written(beside: Path, rights: _Rights, content: bytes, suffix: str) -> Iterator[Path]:
    place = beside.with_name(f".gateway-{os.urandom(8).hex()}{suffix}")
    with explained(beside):
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
    try:
        with explained(beside), os.fdopen(descriptor, "wb") as file:
            rights.give(descriptor)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield place
    finally:
        with suppress(OSError):
            place.unlink()


def write(path: Path, content: bytes, *, mode: int = PRIVATE, secret: bool = False) -> None:
    """Make ``content`` what is in the file, durably. See `draft`. Raises FileError, and then nothing has changed."""
    with draft(path, content, mode=mode, secret=secret) as new:
        new.replace()


def create(path: Path, content: bytes) -> bool:
    """Write a new file, durably; return False, and change nothing, when there is one already. Raises FileError."""
    with draft(path, content) as new:
        return new.create()


def remove(path: Path) -> None:
    """Remove a file, durably. Raises FileError."""
    with explained(path, "removed"):
        path.unlink()
        _sync(path.parent)


def sweep(directory: Path) -> None:
    """Remove the drafts that writers who were killed have left in a directory."""
    with suppress(OSError):
        for path in directory.iterdir():
            with suppress(OSError):
                if _DRAFT.match(path.name) and path.lstat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    path.unlink()


def first_line(content: bytes) -> bytes:
    """Return the secret that a file holds: its first line, without the line's end and a byte-order mark."""
    return (content.removeprefix(_BOM).splitlines() or [b""])[0]


def read_first_line(path: Path) -> bytes:
    """Read the secret that a file holds, which may be a pipe. Raises OSError."""
    with path.open("rb") as file:
        return first_line(file.readline(_LONGEST_LINE))


@contextmanager
def explained(path: Path, done: str = "written") -> Iterator[None]:
    """Turn what the system says about ``path`` into what a person can do about it. Raises FileError."""
    try:
        yield
    except OSError as error:
        cure = _CURES.get(error.errno or 0, "").format(directory=path.parent)
        raise FileError(f"{path} cannot be {done}: {error.strerror}{cure and f'; {cure}'}") from error


def _target(path: Path) -> Path:
    """Return the file at the end of all links. Raises OSError when there can be none."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


@dataclass(frozen=True, slots=True)
class _Rights:
    """The mode and owner of a file; -1 stands for the user, or the group, that writes it."""

    mode: int
    owner: int = -1
    group: int = -1

    def give(self, descriptor: int) -> None:
        """Give these rights to a file, as far as this user may.

        A group that it cannot be given shall not pass its rights on to the one that it has.
        """
        mode = self.mode
        try:
            os.fchown(descriptor, self.owner, self.group)
        except OSError:
            try:
                os.fchown(descriptor, -1, self.group)
            except OSError:
                mode = mode & 0o707 | (mode & 0o007) << 3
        os.fchmod(descriptor, mode)


def _rights(path: Path, mode: int) -> _Rights:
    """Return the rights of a file, or ``mode`` if there is none. Raises OSError when it is not a file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return _Rights(mode)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return _Rights(status.st_mode & 0o777, status.st_uid, status.st_gid)


def _overwrite(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if content:
            os.posix_fallocate(descriptor, 0, len(content))
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(directory: Path) -> None:
    with suppress(PermissionError):  # one that may be written and not read
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
