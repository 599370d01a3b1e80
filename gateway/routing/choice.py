"""Which of its targets an API's next request goes to.

Every policy is given the effective weights of the targets (0 is out) whenever they change, and then answers with the
index of a target. None looks at a clock or an address of its own; what a request is known by is given as bytes.
"""

from __future__ import annotations

import hmac
import random
from array import array
from base64 import urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256
from itertools import cycle
from math import gcd
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

Load = Callable[[int], int]
"""How many requests a target is answering just now."""

_LONGEST_ROUND = 2000
_POINTS = 160  # of a target of mean weight; libketama's number: shares are within about a tenth of what they should be
_MOST_POINTS = 20_000
_FEW = 8  # so many are looked at one by one; of more, two (the power of two choices)


class Policy(Protocol):
    """A way to choose. ``weigh`` is called before the first choice, with at least one weight that is not 0."""

    def weigh(self, weights: Sequence[int]) -> None:
        """Take the effective weights."""

    def choose(self, key: bytes | None, load: Load) -> int:
        """Return the index of a target for a request that is known by ``key``; None where it is not known."""


class RoundRobin:
    """Targets in turn, each as often as its weight says, spread evenly over the round."""

    def __init__(self) -> None:
        self.turns: Iterator[int] = iter(())

    def weigh(self, weights: Sequence[int]) -> None:
        """Arrange a round."""
        self.turns = cycle(arranged(weights))

    def choose(self, key: bytes | None, load: Load) -> int:  # noqa: ARG002 - the signature of all policies
        """Return the next in turn."""
        return next(self.turns)


def arranged(weights: Sequence[int]) -> list[int]:
    """One round: each index as often as its weight, at even distances; a long round is shortened in proportion."""
    divisor = gcd(*weights)
    total = sum(weights) // divisor
    if total <= _LONGEST_ROUND:
        counts = [weight // divisor for weight in weights]
    else:
        counts = [weight and max(1, weight * _LONGEST_ROUND // (total * divisor)) for weight in weights]
    places = [((turn + 0.5) / count, index) for index, count in enumerate(counts) for turn in range(count)]
    return [index for _, index in sorted(places)]


class LeastRequests:
    """The target that answers the fewest requests for its weight; among equals they take turns."""

    def __init__(self, pick: random.Random | None = None) -> None:
        self._random = pick or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._weights: Sequence[int] = ()
        self._usable: list[int] = []
        self._turns: Iterator[int] = iter(())

    def weigh(self, weights: Sequence[int]) -> None:
        """Note who can be chosen."""
        self._weights = weights
        self._usable = [index for index, weight in enumerate(weights) if weight]
        self._turns = cycle(arranged(weights))

    def choose(self, key: bytes | None, load: Load) -> int:  # noqa: ARG002 - the signature of all policies
        """Compare all, or of many the one in turn with another at random."""
        best = next(self._turns)
        least = load(best) + 1
        others = self._usable if len(self._usable) <= _FEW else (self._random.choice(self._usable),)
        for other in others:
            wait = load(other) + 1
            if wait * self._weights[best] < least * self._weights[other]:
                best, least = other, wait
        return best


class HashRing:
    """The same target for the same key: when a target goes, only its keys move (consistent hashing, a ketama ring).

    The ring holds all targets, by their configured weights: one that is out is stepped over. Requests without a key
    take turns. The hash is not Python's own, which is another one in each process.
    """

    def __init__(self, names: Sequence[str], weights: Sequence[int]) -> None:
        mean = max(sum(weights) / len(weights), _POINTS * sum(weights) / _MOST_POINTS)
        points = sorted(
            (_hash(f"{name} {number}".encode()), index)
            for index, (name, weight) in enumerate(zip(names, weights, strict=True))
            for number in range(max(1, round(_POINTS * weight / mean)))
        )
        self._points = array("Q", [point for point, _ in points])
        self._owners = array("L", [index for _, index in points])
        self._weights: Sequence[int] = ()
        self._without_key = RoundRobin()

    def weigh(self, weights: Sequence[int]) -> None:
        """Note who is out."""
        self._weights = weights
        self._without_key.weigh(weights)

    def choose(self, key: bytes | None, load: Load) -> int:
        """Return the owner of the first point at or after the key's."""
        if key is None:
            return self._without_key.choose(key, load)
        owners, start = self._owners, bisect_right(self._points, _hash(key))
        for place in range(start - len(owners), start):  # from the point on, and round
            if self._weights[owners[place]]:
                return owners[place]
        raise AssertionError("weigh() is never called with nothing to choose from")


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest())


class Sticky:
    """The target that the client's cookie names, else the next in turn.

    What stands in the cookie is a MAC over the target's address: it cannot be made without the key, names no
    address, and whatever else a client sends is as good as nothing.
    """

    def __init__(self, key: bytes, api_id: str, names: Sequence[str]) -> None:
        self.tokens = tuple(
            urlsafe_b64encode(hmac.digest(key, f"{api_id} {name}".encode(), sha256)[:18]) for name in names
        )
        self._indices = {token: index for index, token in enumerate(self.tokens)}
        self._weights: Sequence[int] = ()
        self._turns = RoundRobin()

    def weigh(self, weights: Sequence[int]) -> None:
        """Note who is out."""
        self._weights = weights
        self._turns.weigh(weights)

    def choose(self, key: bytes | None, load: Load) -> int:
        """``key`` is the cookie's value."""
        index = self._indices.get(key) if key is not None else None
        return index if index is not None and self._weights[index] else self._turns.choose(key, load)
