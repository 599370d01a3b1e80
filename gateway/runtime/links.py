"""Which directory entries decide what file a path leads to: every symbolic link on the way, and the file's own.

When one of them changes, the path leads to another file, or to one at last.
"""

from __future__ import annotations

import errno
import os
from typing import TypeAlias

Steps: TypeAlias = tuple[tuple[str, str], ...]
"""Entries as (directory, name); the directories are free of links."""

_MOST_LINKS = 40  # what Linux follows: path_resolution(7)


class Ways:
    """Finds the ways of many paths; what they share is looked at once, so an object is good for one look around."""

    def __init__(self) -> None:
        self._directories: dict[str, tuple[str | None, Steps]] = {}

    def find(self, path: str) -> tuple[str | None, Steps]:
        """Return where an absolute ``path`` leads, without links, and the entries that decide it.

        Where something is missing it leads nowhere, None, and the last entry is the missing one.
        """
        try:
            real, steps = self._walk(path, 0)
        except RecursionError:  # hundreds of directories in one another
            return None, ()
        return real, (*steps, os.path.split(real)) if real else steps

    def _walk(self, path: str, links: int) -> tuple[str | None, Steps]:
        above, name = os.path.split(path)
        if path == above:
            return path, ()
        if above not in self._directories:
            self._directories[above] = self._walk(above, links)
        real, steps = self._directories[above]
        if real is None or name in {"", "."}:
            return real, steps
        if name == "..":
            return os.path.dirname(real), steps
        here = os.path.join(real, name)
        try:
            target = os.readlink(here)
        except ValueError:  # no name that a file can have
            return None, steps
        except OSError as error:
            return (here, steps) if error.errno == errno.EINVAL else (None, (*steps, (real, name)))
        if links == _MOST_LINKS:
            return None, steps
        real_target, further = self._walk(os.path.join(real, target), links + 1)
        return real_target, (*steps, (real, name), *further)
