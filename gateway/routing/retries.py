"""How many requests may be sent again: a share of all, so that retries never multiply the load on what is failing."""

from __future__ import annotations

from math import exp

_MEMORY_SECONDS = 10.0


class RetryBudget:
    """Allows ``share`` of the requests of about the last ten seconds, and ``floor`` a second, to be sent again."""

    def __init__(self, share: float, floor: float, now: float) -> None:
        self._share = share
        self._floor = floor
        self._balance = floor * _MEMORY_SECONDS
        self._seen = 0
        self._since = now

    def allows(self, requests: int, now: float) -> bool:
        """Spend one retry if there is one; ``requests`` is how many there have been since the start.

        Between two calls requests are taken to have come evenly, and what they earned fades with a time constant of
        ten seconds: after an hour of peace there is no hour's worth of retries.
        """
        elapsed, new = max(now - self._since, 0.0), max(requests - self._seen, 0)
        self._since, self._seen = now, requests
        if elapsed:
            kept = exp(-elapsed / _MEMORY_SECONDS)
            rate = self._share * new / elapsed + self._floor
            self._balance = self._balance * kept + rate * _MEMORY_SECONDS * (1 - kept)
        else:
            self._balance += self._share * new
        if self._balance < 1:
            return False
        self._balance -= 1
        return True
