"""Ejection, probes and slow start, by a clock that the test holds."""

from __future__ import annotations

import pytest

from gateway.config.balancing import HealthRules
from gateway.routing.health import Health


def health(count: int = 3, **rules: float) -> Health:
    return Health(HealthRules.model_validate({"failures": 3, **rules}), [f"t{n}" for n in range(count)], [1] * count)


def fail(one: Health, index: int, now: float, times: int = 3) -> float:
    return sum(one.failed(index, now) for _ in range(times))


def test_failures_in_a_row_put_a_target_out_for_a_while() -> None:
    one = health()
    assert fail(one, 1, 100.0, times=2) == 0
    assert one.weights(100.0) == (100, 100, 100)
    assert one.failed(1, 101.0) == 10
    assert one.weights(101.0) == one.weights(110.9) == (100, 0, 100)
    assert one.weights(111.0) == (100, 100, 100)


def test_a_success_in_between_begins_the_count_anew() -> None:
    one = health()
    fail(one, 1, 100.0, times=2)
    assert one.troubled
    one.succeeded(1)
    assert not one.troubled
    assert fail(one, 1, 100.0, times=2) == 0


def test_failures_that_are_far_apart_do_not_count_together() -> None:
    one = health(window=10)
    assert [one.failed(1, now) for now in (0.0, 11.0, 22.0, 33.0)] == [0, 0, 0, 0]


def test_who_fails_again_is_out_for_twice_the_time_up_to_a_bound_and_good_conduct_is_remembered() -> None:
    one = health(ejection_time=10, max_ejection_time=35)
    now, times = 0.0, []
    for _ in range(4):
        times.append(fail(one, 0, now))
        now += times[-1] + 1
    assert times == [10, 20, 35, 35]
    assert fail(one, 0, now + 100) == 10


def test_no_more_than_a_share_of_the_targets_is_out_at_once() -> None:
    one = health(4, max_ejected=0.5)
    assert [bool(fail(one, index, 0.0)) for index in range(4)] == [True, True, False, False]
    assert one.weights(0.0) == (0, 0, 100, 100)
    assert fail(health(1), 0, 0.0) == 0
    assert fail(health(2), 0, 0.0) == 10


def test_a_host_that_is_known_to_be_down_takes_nothing_of_the_share() -> None:
    one = health(3, max_ejected=0.5)
    assert fail(one, 0, 0.0)
    assert not fail(one, 1, 0.0)
    one.probed({"a"}, ["a", "b", "c"], 0.0)
    assert one.failed(1, 0.0)
    assert one.weights(0.0) == (0, 0, 100)


def test_when_all_are_ejected_they_are_all_tried() -> None:
    one = health(2, max_ejected=1)
    assert fail(one, 0, 0.0)
    assert fail(one, 1, 0.0)
    assert one.weights(1.0) == (100, 100)


def test_failures_can_be_left_uncounted() -> None:
    assert fail(health(failures=0), 0, 0.0, times=100) == 0


def test_hosts_that_are_down_get_nothing_and_all_down_means_nothing_at_all() -> None:
    one = health()
    hosts = ["a", "b", "c"]
    one.probed({"b"}, hosts, 0.0)
    assert one.weights(0.0) == (100, 0, 100)
    one.probed({"a", "b", "c"}, hosts, 0.0)
    assert one.weights(0.0) == (0, 0, 0)
    one.probed(set(), hosts, 0.0)
    assert one.weights(0.0) == (100, 100, 100)


def test_a_host_that_is_up_again_by_probe_is_no_longer_ejected() -> None:
    one = health()
    fail(one, 1, 0.0)
    one.probed({"b"}, ["a", "b", "c"], 1.0)
    one.probed(set(), ["a", "b", "c"], 2.0)
    assert one.weights(2.0) == (100, 100, 100)


def test_ejections_never_make_a_host_that_is_down_look_better() -> None:
    one = health(2, max_ejected=1)
    one.probed({"a"}, ["a", "b"], 0.0)
    fail(one, 1, 0.0)
    assert one.weights(1.0) == (0, 100)


def test_a_target_that_is_back_gets_its_share_little_by_little() -> None:
    one = health(2, slow_start=20)
    fail(one, 0, 0.0)
    assert [one.weights(now)[0] for now in (9.9, 10.0, 15.0, 20.0, 29.9, 30.0)] == [0, 10, 25, 50, 99, 100]


def test_a_reload_remembers_the_targets_that_stay() -> None:
    one = health()
    fail(one, 1, 0.0)
    other = Health(one.rules, ["t2", "t1", "new"], [1, 2, 1])
    other.inherit(one)
    assert other.weights(1.0) == (100, 0, 100)
    one.failed(2, 1.0)  # a request that began before the reload
    assert other.conditions[0].failures == 1


@pytest.mark.parametrize("times", [1, 200])
def test_the_time_out_never_overflows(times: int) -> None:
    one = health(2, ejection_time=1, max_ejection_time=1.5, window=1)
    now = 0.0
    for _ in range(times):
        now += fail(one, 0, now) + 0.1
    assert one.conditions[0].ejected_until <= now + 1.5
