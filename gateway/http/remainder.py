"""The rest of a request that is already answered: it is read for a while, and thrown away.

A client that is cut off while it sends may lose the answer: TCP's reset overtakes what its own kernel holds for it, and
many clients of HTTP/2 take RST_STREAM for the failure of a request that was answered in full. Most clients read nothing
before they have sent everything.

The times are those of nginx (lingering_timeout, lingering_time), which sets no bound in bytes: a fast client could then
send gigabytes for nothing. A client that keeps within these bounds does no more than an upload that is wanted does.
"""

from __future__ import annotations

REMAINDER_BYTES = 128 << 20
"""The most bytes of one connection to throw away at the same time."""

_IDLE_SECONDS = 5.0
_WHOLE_SECONDS = 30.0
_LAST_SECONDS = 2.0


class Remainder:
    """The rest of a request, from ``now`` on; ``hurried`` where the worker is about to stop.

    ``since`` is that time, ``deadline`` by when more of it must come.
    """

    __slots__ = ("_end", "_size", "deadline", "since")

    def __init__(self, now: float, *, hurried: bool) -> None:
        self._size = 0
        self.begin(now, hurried=hurried)

    def begin(self, now: float, *, hurried: bool) -> None:
        """Count the time from now on."""
        self.since = now
        self._end = now + (_LAST_SECONDS if hurried else _WHOLE_SECONDS)
        self.deadline = min(now + _IDLE_SECONDS, self._end)

    def take(self, size: int, now: float) -> None:
        """Count the bytes that have come."""
        self._size += size
        self.deadline = min(now + _IDLE_SECONDS, self._end) if self._size <= REMAINDER_BYTES else now

    def hurry(self, now: float) -> None:
        """Leave only a moment: the worker is about to stop."""
        self._end = min(self._end, now + _LAST_SECONDS)
        self.deadline = min(self.deadline, self._end)
