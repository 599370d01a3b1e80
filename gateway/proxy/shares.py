"""How many connections each worker has, so that none takes many more than the others.

All workers wait for one listening socket, and of two that are idle the one that ran last tends to win the race for a
connection. Seven of eight long-lived connections on one worker would leave the other cores idle. A worker that has
more than its share therefore lets the others go first, for a moment.
"""

from __future__ import annotations

import mmap

_WORKERS = 128
_NOBODY = 0xFFFFFFFF
# Below this difference the race may decide; above, an eighth more than the least busy worker has is still fair.
_SLACK = 2


class Shares:
    """One number per worker, in memory that the workers share. Make it before they are forked."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * _WORKERS)).cast("I")
        for index in range(_WORKERS):
            self._counts[index] = _NOBODY

    def of(self, number: int) -> Share:
        """Return the share of worker ``number``; the 129th shares with the first."""
        return Share(self._counts, number % _WORKERS)


class Share:
    """One worker's number among the others'."""

    def __init__(self, counts: memoryview[int], index: int) -> None:
        self._counts = counts
        self._index = index
        self.set(0)

    def set(self, connections: int) -> None:
        """Tell the others how many connections this worker has."""
        self._counts[self._index] = connections

    def leave(self) -> None:
        """Tell the others not to wait for this worker: it accepts nothing more."""
        self._counts[self._index] = _NOBODY

    def is_large(self) -> bool:
        """Whether some other worker has so many fewer that it should take the next connection."""
        least = min(self._counts)
        return self._counts[self._index] > least + _SLACK + least // 8
