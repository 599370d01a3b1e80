"""The retry budget, by a clock that the test holds."""

from __future__ import annotations

from gateway.routing.retries import RetryBudget


def spent(budget: RetryBudget, requests: int, now: float, tries: int) -> int:
    return sum(budget.allows(requests, now) for _ in range(tries))


def test_with_few_requests_the_floor_allows_some() -> None:
    assert spent(RetryBudget(0.2, 3, 0.0), 1, 0.0, 1000) == 30


def test_without_a_floor_retries_are_a_share_of_the_requests() -> None:
    budget = RetryBudget(0.2, 0, 0.0)
    allowed = 0
    for second in range(1, 1001):  # a hundred requests a second, each of which fails
        allowed += spent(budget, 100 * second, float(second), 100)
    assert 0.18 * 100_000 < allowed <= 0.2 * 100_000


def test_an_hour_of_peace_saves_up_no_more_than_seconds() -> None:
    budget = RetryBudget(0.2, 0, 0.0)
    assert spent(budget, 360_000, 3600.0, 10_000) == 200  # 100 a second, for ten seconds, a fifth


def test_no_share_and_no_floor_mean_no_retries() -> None:
    assert spent(RetryBudget(0, 0, 0.0), 1000, 10.0, 100) == 0


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away() -> None:
    budget = RetryBudget(0.5, 0, 10.0)
    assert spent(budget, 100, 10.0, 100) == 50
    assert spent(budget, 100, 5.0, 100) == 0
