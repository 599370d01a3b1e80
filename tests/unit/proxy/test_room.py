"""Who goes first when a worker is full: whoever rests longest, and never whoever has something to do."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from gateway.proxy.room import expendable


@dataclass(frozen=True)
class Somebody:
    resting_since: float
    has_served: bool = True


def test_the_oldest_rest_between_two_requests_goes_first_and_then_who_never_asked() -> None:
    kept = [Somebody(float(age)) for age in (30, 10, 20)]
    silent = [Somebody(1.0, has_served=False), Somebody(0.5, has_served=False)]
    assert expendable([*silent, *kept], 100.0) == [kept[1], kept[2], kept[0], silent[1], silent[0]]


def test_nobody_at_work_goes_and_nobody_who_has_just_come() -> None:
    fresh = [Somebody(99.5), Somebody(98.5, has_served=False)]
    assert expendable([Somebody(inf), Somebody(inf, has_served=False), *fresh], 100.0) == []


def test_a_few_go_at_a_time() -> None:
    assert [one.resting_since for one in expendable([Somebody(float(n)) for n in range(1000)], 2000.0)] == [*range(64)]
