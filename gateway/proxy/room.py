"""Whom a full worker lets go for those who wait to be accepted: connections on which nothing happens, oldest first.

First the ones that rest between two requests: their clients have had answers, and just connect again (RFC 9112
section 9.5 has them expect it). Then the ones that have begun nothing yet. A connection with a request is never among
them. nginx does the same with its reusable connections, a few at a time, since looking for them costs a little.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

AT_ONCE = 64
# Who has had an answer may be about to ask again; who has not, on the way with a ClientHello or the first request.
_GRACE_SECONDS = {True: 1.0, False: 2.0}


class Resting(Protocol):
    """A connection that may have nothing to do."""

    @property
    def resting_since(self) -> float:
        """The monotonic time since when nothing happens; ``inf`` while something does."""

    @property
    def has_served(self) -> bool:
        """Whether there was a request already."""


Some = TypeVar("Some", bound=Resting)


def expendable(connections: Iterable[Some], now: float) -> list[Some]:
    """Return the few to let go first; none when all are at work."""

    def rank(connection: Some) -> tuple[bool, float]:
        return not connection.has_served, connection.resting_since

    resting = (
        connection
        for connection in connections
        if connection.resting_since <= now - _GRACE_SECONDS[connection.has_served]
    )
    return nsmallest(AT_ONCE, resting, key=rank)
