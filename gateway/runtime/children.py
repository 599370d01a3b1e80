"""What the supervisor knows of its children: values and decisions. Nothing here forks, waits or kills."""

from __future__ import annotations

import mmap
import os
import select
import signal
from dataclasses import dataclass, field
from enum import StrEnum

QUICK_DEATH_SECONDS = 3.0
"""A child that lived shorter than this did not really start."""

_DELAYS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before the next start, by the number of quick deaths in a row: at once the first time, since most
deaths are accidents, and soon a few times more; after that what kills it will most likely kill it again."""


class Role(StrEnum):
    """What a child does."""

    CONTROL = "control"
    WORKER = "worker"


class SharedCount:
    """A number that one process sets and the children that it forks read."""

    def __init__(self, value: int = 0) -> None:
        self._memory = mmap.mmap(-1, 4)
        self.set(value)

    def get(self) -> int:
        """Return the number as it is now."""
        return int.from_bytes(self._memory[:], "little")

    def set(self, value: int) -> None:
        """Change the number for everybody."""
        self._memory[:] = value.to_bytes(4, "little")


class Gate:
    """A gate, opened once for the process that made it and all its forks; from then on ``fd`` is readable."""

    def __init__(self) -> None:
        self.fd, self._opener = os.pipe()

    def open(self) -> None:
        """Let everybody through who waits, or will come."""
        os.write(self._opener, b"\0")

    @property
    def is_open(self) -> bool:
        """True once it was opened."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))


@dataclass(slots=True)
class Slot:
    """A place for one child, whichever process fills it. ``pid`` 0 means that nobody does and that the next
    one is due at ``due``, a monotonic time. A retiring slot is not filled again, a held one not yet. In ``cut`` a
    worker leaves the number of requests that it could not finish.
    """

    role: Role
    number: int
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    quick_deaths: int = 0
    retiring: bool = False
    held: bool = False
    cut: SharedCount = field(default_factory=SharedCount)

    @property
    def name(self) -> str:
        """How event lines call it."""
        return str(self.role) if self.role is Role.CONTROL else f"{self.role} {self.number}"

    def filled(self, pid: int, now: float) -> None:
        """A child was started."""
        self.pid, self.started = pid, now

    def emptied(self, now: float) -> float:
        """The child is dead. Return the seconds until the next one is due."""
        quick = now - self.started < QUICK_DEATH_SECONDS
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        delay = _DELAYS[min(max(self.quick_deaths - 1, 0), len(_DELAYS) - 1)]
        self.pid, self.due = 0, now + delay
        return delay


def how_it_ended(status: int) -> str:
    """Put a wait status into words. ``status`` is what ``os.waitstatus_to_exitcode`` returns."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
