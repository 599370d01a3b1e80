"""Tells when watched files have changed, however they were changed.

Notifications say quickly where to look; whether something changed is decided by looking. What counts is the content: a
file that was touched, or replaced by its like, has not changed. Certificates are delivered through chains of symbolic
links (Kubernetes turns ``..data`` to another directory, certbot turns a link in ``live``), so the directory of every
link on the way is watched as well as the one that holds the file, or the one in which a missing one would appear.

Not every file system notifies (NFS, a host's directory behind some virtual machines), and the kernel bounds how many
directories may be watched. So each poll looks at all directories and files by ``stat`` too; of more than ``STATS`` it
takes the next so many. A write in place to one of 100,000 files on NFS is therefore seen within a minute; the other
ways of changing a file change its directory, and are seen at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections import deque
from typing import TYPE_CHECKING

from gateway.runtime.inotify import Inotify
from gateway.runtime.links import Ways
from gateway.runtime.marks import DIRECTORY, MISSING, Mark, files_in, mark
from gateway.store.file_status import is_young, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from gateway.observe.events import EventLog
    from gateway.store.file_status import Status

STATS = 2000
"""How many files, and how many directories, one poll looks at."""

_LONGEST_SETTLING = 1.5
_COALESCED = 0.05  # notifications come one by one; this bounds how often they make us look
_NAMES_LOGGED = 3

# The kernel's clock for files is behind the one that Python reads, by a tick.
_TICK_NS = 100_000_000
_NEVER_NS = 1 << 63


async def watch(
    paths: Callable[[], Collection[Path]],
    changed: Callable[[], None],
    events: EventLog,
    *,
    settle: float = 0.3,
    poll: float = 1.0,
    since: float | None = None,
) -> None:
    """Call ``changed`` after any of ``paths`` (absolute) has changed, until cancelled.

    A missing path is waited for. A directory stands for the files in it, except hidden ones and subdirectories.
    ``paths`` is asked at every look, and returns the same object as long as it would say the same. Changes less than
    ``settle`` seconds apart make one call, but none waits for longer than 1.5 s. A path that is new and changed after
    the last call, at first after ``since`` (seconds since 1970), is reported: whoever was called may have read it too
    early.
    """
    watcher = _Watcher(asyncio.get_running_loop(), events, since)
    seen: Collection[Path] | None = None
    try:
        while True:
            wanted = paths()
            different = await (watcher.look() if wanted is seen else watcher.survey(wanted))
            seen = wanted
            if different:
                different |= await watcher.settled(settle)
                watcher.told()
                events.info("files.changed", "files have changed", files=_listed(different))
                changed()
            else:
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with a notification.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(poll):
                        await watcher.noticed.wait()
                await asyncio.sleep(_COALESCED)
    finally:
        watcher.close()


class _Watcher:
    """What is known of the files. It looks in a thread: a directory on the network may hang, and many files take long.

    ``noticed`` is set when a notification says that looking is worth while.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, events: EventLog, since: float | None) -> None:
        self.noticed = asyncio.Event()
        self._loop = loop
        self._events = events
        self._since_ns = _NEVER_NS if since is None else int(since * 1e9)
        self._closed = False
        self._limit_told = False
        self._ways = Ways()
        self._inotify: Inotify | None = None
        self._happened: set[tuple[str, str]] = set()
        self._paths: frozenset[str] = frozenset()
        self._marks: dict[str, Mark] = {}
        self._entries: dict[str, dict[str, int]] = {}  # of each watched path that is a directory, with their inodes
        self._around: dict[str, dict[str, list[str]]] = {}  # directory → entry → what hangs on it; "": on any entry
        self._directories: dict[str, Status] = {}
        self._files_due: deque[str] = deque()
        self._directories_due: deque[str] = deque()

    async def survey(self, paths: Iterable[Path]) -> set[str]:
        """Watch exactly these from now on. Return what is not as it was."""
        wanted = frozenset(map(str, paths))
        if wanted == self._paths:
            return await self.look()
        self._paths = wanted
        self._stop_notifications()
        try:
            self._inotify = Inotify()
            self._loop.add_reader(self._inotify.fd, self._notice, self._inotify)
        except OSError as error:
            self._events.warning("watch.polling", f"no notifications of changed files, so they are polled: {error}")
        return await asyncio.to_thread(self._survey)

    async def look(self) -> set[str]:
        """Return what is not as it was, of what was noticed and of what it is the turn of."""
        happened, self._happened = self._happened, set()
        self.noticed.clear()
        return await asyncio.to_thread(self._look, happened)

    async def settled(self, settle: float) -> set[str]:
        """Wait until nothing has changed for so many seconds, within reason. Return what has changed meanwhile."""
        different: set[str] = set()
        deadline = self._loop.time() + _LONGEST_SETTLING
        while (left := deadline - self._loop.time()) > 0:
            await asyncio.sleep(min(settle, left))
            if not (more := await self.look()):
                break
            different |= more
        return different

    def told(self) -> None:
        """Note that what is different up to now has been reported."""
        self._since_ns = time.time_ns() - _TICK_NS

    def close(self) -> None:
        """Stop watching, and looking."""
        self._closed = True
        self._stop_notifications()

    def _stop_notifications(self) -> None:
        if self._inotify:
            self._loop.remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _notice(self, inotify: Inotify) -> None:
        for directory, name in inotify.read():
            entries = self._around.get(directory, {})
            if not name or name in entries or ("" in entries and not name.startswith(".")):
                self._happened.add((directory, name))
                self.noticed.set()

    def _survey(self) -> set[str]:
        began = time.time_ns()
        self._around, self._directories, self._ways = {}, {}, Ways()
        self._entries = {path: entries for path, entries in self._entries.items() if path in self._paths}
        kept = self._paths.union(*([f"{path}/{name}" for name in names] for path, names in self._entries.items()))
        self._marks = {path: mark for path, mark in self._marks.items() if path in kept}
        for path in (*self._paths, *self._marks):
            self._follow(path)
        different = self._examine(self._paths.union(self._marks))
        self._since_ns = min(self._since_ns, began - _TICK_NS)
        return different

    def _look(self, happened: Iterable[tuple[str, str]]) -> set[str]:
        self._ways = Ways()
        due = set(_next(self._files_due, self._marks))
        for directory, name in happened:
            due |= self._meant(directory, name)
        for directory in _next(self._directories_due, self._around):
            if self._moved(directory):
                due.update(*self._around[directory].values())
        return self._examine(due)

    def _meant(self, directory: str, name: str) -> set[str]:
        """Return the paths that a notification may be about."""
        if not directory:  # some were lost
            return {*self._paths, *self._marks}
        if not name:  # the directory itself: what hangs on it finds its way anew
            paths = set().union(*self._around.pop(directory, {}).values())
            for path in paths:
                self._follow(path)
            return paths
        entries = self._around.get(directory, {})
        within = entries.get("", ())
        return {*entries.get(name, ()), *within, *(self._marks.keys() & {f"{path}/{name}" for path in within})}

    def _moved(self, directory: str) -> bool:
        """Whether entries came or went, or may have."""
        before, now = self._directories.get(directory), status_of(directory)
        self._directories[directory] = now
        if before is not None and before != now:
            self._watch(directory)  # it may be another one by the same name
        return before != now or is_young(now)

    def _examine(self, paths: Iterable[str]) -> set[str]:
        """Look at each, and at the entries of directories that may have others now. Return what is different."""
        different = set()
        for path in paths:
            if self._closed:
                break
            before = self._marks.get(path)
            now = self._marks[path] = self._mark(path, before)
            if now.digest != before.digest if before else now.is_newer_than(self._since_ns):
                different.add(path)
            if path in self._paths and now is not before and DIRECTORY in (now.digest, before and before.digest):
                gone, others = self._list(path)
                different |= gone | self._examine(others)
        return different

    def _mark(self, path: str, before: Mark | None) -> Mark:
        if before and before.reliable and before.status == status_of(path):
            return before
        self._follow(path)  # before it is looked at: what happens afterwards is notified
        return mark(path)

    def _list(self, path: str) -> tuple[set[str], set[str]]:
        """Return the files that are gone from a watched directory, and those that are new or others."""
        before = self._entries.get(path)
        now = dict(files_in(path))
        self._entries[path] = now
        others = {f"{path}/{name}" for name, _ in now.items() - (before or {}).items()}
        if before is None:
            return set(), others
        for name in now.keys() - before.keys():
            self._marks.setdefault(f"{path}/{name}", MISSING)
        gone = {f"{path}/{name}" for name in before.keys() - now.keys()}
        return {file for file in gone if self._marks.pop(file, MISSING) != MISSING}, others

    def _follow(self, path: str) -> None:
        """Watch the entries on which it depends what ``path`` is."""
        real, steps = self._ways.find(path)
        for directory, name in steps:
            self._hang(path, directory, name)
        if real and path in self._paths and os.path.isdir(real):
            self._hang(path, real, "")

    def _hang(self, path: str, directory: str, name: str) -> None:
        if directory not in self._around:
            self._around[directory] = {}
            self._watch(directory)
        entries = self._around[directory]
        if f"{directory}/{name}" == path and os.path.dirname(path) in entries.get("", ()):
            return  # as an entry of a watched directory it hangs there already
        if path not in (paths := entries.setdefault(name, [])):
            paths.append(path)

    def _watch(self, directory: str) -> None:
        if self._inotify:
            try:
                self._inotify.add(directory)
            except OSError as error:
                if error.errno == errno.ENOSPC and not self._limit_told:
                    self._limit_told = True
                    message = "the kernel watches no more directories, so the others are polled"
                    self._events.warning("watch.polling", message, cure="raise fs.inotify.max_user_watches")


def _next(queue: deque[str], everything: Iterable[str]) -> Iterator[str]:
    """Yield the next of ``everything``, which comes again and again."""
    if not queue:
        queue.extend(everything)
    for _ in range(min(STATS, len(queue))):
        yield queue.popleft()


def _listed(paths: Collection[str]) -> str:
    more = len(paths) - _NAMES_LOGGED
    return ", ".join(sorted(paths)[:_NAMES_LOGGED]) + (f" and {more} more" if more > 0 else "")
