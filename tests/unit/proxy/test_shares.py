"""No worker takes many more connections than the others."""

from __future__ import annotations

from gateway.proxy.shares import Shares


def test_a_worker_alone_takes_everything() -> None:
    share = Shares().of(1)
    share.set(10_000)
    assert not share.is_large()


def test_whoever_has_more_lets_the_others_go_first() -> None:
    shares = Shares()
    one, two = shares.of(1), shares.of(2)
    one.set(2)
    assert not one.is_large()
    one.set(3)
    assert one.is_large()
    two.set(2)
    assert not one.is_large()
    assert not two.is_large()


def test_an_eighth_more_is_fair_when_there_are_many() -> None:
    shares = Shares()
    one, two = shares.of(1), shares.of(2)
    two.set(800)
    one.set(902)
    assert not one.is_large()
    one.set(903)
    assert one.is_large()


def test_nobody_waits_for_a_worker_that_left() -> None:
    shares = Shares()
    one, two = shares.of(1), shares.of(2)
    one.set(50)
    two.leave()
    assert not one.is_large()


def test_a_worker_that_is_replaced_begins_at_nothing() -> None:
    shares = Shares()
    shares.of(1).set(50)
    two = shares.of(2)
    two.set(40)
    shares.of(1)
    assert two.is_large()
