"""The policies: what share each target gets, and what stays where it is when targets come and go."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.choice import HashRing, LeastRequests, Policy, RoundRobin, Sticky, arranged

NAMES = [f"http://10.0.0.{number}:80/" for number in range(10)]


def idle(_: int) -> int:
    return 0


def chosen(policy: Policy, count: int) -> list[int]:
    return [policy.choose(None, idle) for _ in range(count)]


def weighed(policy: Policy, *weights: int) -> Policy:
    policy.weigh(weights)
    return policy


def test_equal_weights_take_turns() -> None:
    assert chosen(weighed(RoundRobin(), 7, 7, 7), 6) == [0, 1, 2, 0, 1, 2]


def test_a_heavy_target_is_spread_over_the_round() -> None:
    assert arranged((5, 1, 1)).count(0) == 5
    assert arranged((2, 1)) == [0, 1, 0]
    assert arranged((3, 0, 3)) == [0, 2]


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=50).filter(any))
def test_a_round_gives_each_its_share_and_the_excluded_nothing(weights: list[int]) -> None:
    found = Counter(arranged(weights))
    assert sum(found.values()) <= 2000 + len(weights)
    for index, weight in enumerate(weights):
        assert (found[index] > 0) == (weight > 0)
        wanted = weight / sum(weights) * sum(found.values())
        assert abs(found[index] - wanted) <= 1 + 0.05 * wanted


def test_the_least_busy_target_for_its_weight_is_chosen() -> None:
    policy = weighed(LeastRequests(), 1, 1, 2, 0)
    assert policy.choose(None, [3, 0, 2, 0].__getitem__) == 1
    assert policy.choose(None, [3, 1, 2, 0].__getitem__) == 2  # three on a weight of two are less than two on one
    assert policy.choose(None, [0, 9, 9, 0].__getitem__) == 0


def test_among_equally_busy_targets_they_take_turns() -> None:
    assert Counter(chosen(weighed(LeastRequests(), 1, 1, 1), 300)) == {0: 100, 1: 100, 2: 100}


def test_of_many_targets_two_are_compared_and_the_busiest_is_never_chosen() -> None:
    policy = weighed(LeastRequests(random.Random(1)), *[1] * 50)
    load = list(range(50))
    found = Counter(policy.choose(None, load.__getitem__) for _ in range(5000))
    assert found[49] < found[25] < found[0]


def ring(count: int) -> HashRing:
    policy = HashRing(NAMES[:count], [1] * count)
    policy.weigh([1] * count)
    return policy


KEYS = [b"198.51.100.%d" % number for number in range(4000)]


def test_keys_are_spread_over_the_ring_and_stay_where_they_are() -> None:
    one, two = ring(5), ring(5)
    found = [one.choose(key, idle) for key in KEYS]
    assert found == [two.choose(key, idle) for key in KEYS]
    for count in Counter(found).values():
        assert 0.7 * len(KEYS) / 5 < count < 1.3 * len(KEYS) / 5


def test_only_the_keys_of_a_target_that_is_out_move_and_they_come_back() -> None:
    policy = ring(5)
    before = {key: policy.choose(key, idle) for key in KEYS}
    policy.weigh([1, 1, 0, 1, 1])
    without = {key: policy.choose(key, idle) for key in KEYS}
    assert {key for key in KEYS if before[key] != without[key]} == {key for key in KEYS if before[key] == 2}
    assert len(Counter(without[key] for key in KEYS if before[key] == 2)) == 4  # not all to one neighbour
    policy.weigh([1, 1, 1, 1, 1])
    assert {key: policy.choose(key, idle) for key in KEYS} == before


def test_a_further_target_takes_keys_from_all_and_moves_no_others() -> None:
    before, after = ring(5), ring(6)
    for key in KEYS:
        assert after.choose(key, idle) in (before.choose(key, idle), 5)


def test_a_heavier_target_has_more_of_the_ring() -> None:
    policy = HashRing(NAMES[:3], (1, 1, 2))
    policy.weigh((1, 1, 2))
    found = Counter(policy.choose(key, idle) for key in KEYS)
    assert 0.4 < found[2] / len(KEYS) < 0.6


def test_the_ring_is_bounded_however_many_targets_there_are() -> None:
    assert len(HashRing([str(number) for number in range(1000)], [1] * 1000)._points) <= 21_000


def test_requests_without_a_key_take_turns() -> None:
    assert chosen(ring(3), 4) == [0, 1, 2, 0]


def sticky(key: bytes = b"secret") -> Sticky:
    policy = Sticky(key, "orders", NAMES[:3])
    policy.weigh((1, 1, 1))
    return policy


def test_a_cookie_leads_back_to_its_target_on_every_worker() -> None:
    tokens = sticky().tokens
    for index, token in enumerate(tokens):
        assert [sticky().choose(token, idle) for _ in range(3)] == [index] * 3


def test_a_forged_cookie_is_ignored_and_so_is_one_of_another_key_or_api() -> None:
    policy = sticky()
    others = [*sticky(b"other").tokens, *Sticky(b"secret", "invoices", NAMES[:3]).tokens, b"2", b"", b"\xff" * 5000]
    for number, token in enumerate(others):
        assert policy.choose(token, idle) == number % 3  # as without any


def test_a_cookie_tells_nothing_about_the_target() -> None:
    tokens = sticky().tokens
    assert len(set(tokens)) == 3
    assert all(len(token) == 24 and b"10.0.0" not in token for token in tokens)


def test_the_client_of_a_target_that_is_out_goes_to_another() -> None:
    policy = sticky()
    policy.weigh((1, 0, 1))
    assert {policy.choose(policy.tokens[1], idle) for _ in range(4)} == {0, 2}
