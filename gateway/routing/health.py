"""Which targets of an API may get requests, and with which weight: decided from what was seen, never by asking.

Three things keep a target out. A probe says that its host is down (``probed``); it failed so often in a row that it
was ejected for a while (``failed``); or it is back, and gets its share little by little (slow start). When nothing
would be left because of ejections alone they are overlooked: a guess about health must not become an outage.

Times are monotonic seconds, given by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gateway.config.balancing import HealthRules

SCALE = 100
"""What a weight of 1 is in the effective weights, so that a slow start can give less than that."""

_SLOWEST = 10  # of SCALE: with less, a target that is back would not be tried at all for a while


@dataclass(slots=True)
class Condition:
    """How one target is. ``back`` is when it was let in again; it counts for slow start alone."""

    down: bool = False
    failures: int = 0
    failing_since: float = 0.0
    ejections: int = 0
    ejected_until: float = 0.0
    back: float = float("-inf")


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target as a worker sees it: the one at ``index`` of the API at ``api`` in what was asked for.

    ``ejected`` is the seconds for which it is still left out.
    """

    api: int
    index: int
    in_flight: int
    idle: int
    waiting: int
    failures: int
    retries: int
    ejected: float
    down: bool


class Health:
    """The health of the targets of one API. Conditions are shared with the health before a reload, by name."""

    def __init__(self, rules: HealthRules, names: Sequence[str], weights: Sequence[int]) -> None:
        self.rules = rules
        self._names = tuple(names)
        self._weights = tuple(weights)
        self.conditions = [Condition() for _ in names]
        self.troubled = False
        """Whether a success would change anything: some target has failed since it last worked."""

    def inherit(self, before: Health) -> None:
        """Go on with what was known of the targets that were there before."""
        known = dict(zip(before._names, before.conditions, strict=True))
        self.conditions = [known.get(name, fresh) for name, fresh in zip(self._names, self.conditions, strict=True)]
        self.troubled = before.troubled

    def failed(self, index: int, now: float) -> float:
        """Note a failure; return for how long that puts the target out, 0 for not at all."""
        rules, condition = self.rules, self.conditions[index]
        if not rules.failures:
            return 0.0
        if not condition.failures or now - condition.failing_since > rules.window:
            condition.failures, condition.failing_since = 0, now
        condition.failures += 1
        self.troubled = True
        if condition.failures < rules.failures or condition.ejected_until > now:
            return 0.0
        out = sum(other.ejected_until > now and not other.down for other in self.conditions)
        if out + 1 > rules.max_ejected * len(self.conditions):
            return 0.0
        if now - condition.ejected_until > rules.max_ejection_time:  # it was well for long: begin anew
            condition.ejections = 0
        seconds = min(rules.ejection_time * 2.0 ** min(condition.ejections, 64), rules.max_ejection_time)
        condition.ejections += 1
        condition.failures = 0
        condition.ejected_until = condition.back = now + seconds
        return seconds

    def succeeded(self, index: int) -> None:
        """Note that the target works."""
        self.conditions[index].failures = 0
        self.troubled = any(condition.failures for condition in self.conditions)

    def probed(self, down: Collection[str], hosts: Iterable[str], now: float) -> None:
        """Note what the probes found: ``hosts`` are the targets', in their order."""
        for condition, host in zip(self.conditions, hosts, strict=True):
            if condition.down and host not in down:
                condition.back = now
                condition.failures = condition.ejections = 0
                condition.ejected_until = 0.0
            condition.down = host in down

    def pending(self, now: float) -> bool:
        """Whether time alone will change the weights: something is out, or has its slow start."""
        slow = self.rules.slow_start
        return any(condition.ejected_until > now or condition.back + slow > now for condition in self.conditions)

    def weights(self, now: float) -> tuple[int, ...]:
        """The effective weights, in units of 1 / `SCALE`; 0 is out. All 0: every host is down."""
        found = [
            0 if condition.down or condition.ejected_until > now else weight * self._share(condition, now)
            for condition, weight in zip(self.conditions, self._weights, strict=True)
        ]
        if not any(found):
            found = [
                0 if condition.down else weight * SCALE
                for condition, weight in zip(self.conditions, self._weights, strict=True)
            ]
        return tuple(found)

    def _share(self, condition: Condition, now: float) -> int:
        slow = self.rules.slow_start
        age = now - condition.back
        if not slow or age >= slow:
            return SCALE
        return max(int(SCALE * age / slow), _SLOWEST)
