"""What turns a host down, and up again."""

from __future__ import annotations

from collections.abc import Callable

from gateway.config.definitions import ApiDefinition
from gateway.routing.uptime import Check, Uptime, checks

Define = Callable[..., ApiDefinition]


def listed(define: Define, *urls: str, **tests: object) -> list[Check]:
    entries = tuple({"url": url} for url in urls)
    return list(checks(define("orders", "/", uptime_tests={"check_list": entries, **tests})))


def test_a_check_is_about_the_host_and_port_of_its_url(define: Define) -> None:
    urls = ("http://A.test/health", "https://a.test", "tcp://10.0.0.1:5432", "http://[::1]:81/")
    assert [check.host for check in listed(define, *urls)] == [
        "orders a.test 80",
        "orders a.test 443",
        "orders 10.0.0.1 5432",
        "orders ::1 81",
    ]


def test_disabled_tests_check_nothing(define: Define) -> None:
    assert listed(define, "http://a.test/", disabled=True) == []


def test_so_many_failures_in_a_row_turn_a_host_down_and_so_many_successes_up(define: Define) -> None:
    (check,) = listed(define, "http://a.test/")
    uptime = Uptime()
    turned = [uptime.note(check, 3, ok=ok) for ok in (False, False, True, False, False, False, False)]
    assert turned == [False, False, False, False, False, True, False]
    assert uptime.down == {"orders a.test 80"}
    turned = [uptime.note(check, 3, ok=ok) for ok in (True, True, False, True, True, True, True)]
    assert turned == [False, False, False, False, False, True, False]
    assert uptime.down == frozenset()


def test_a_host_is_down_while_any_of_its_checks_fails(define: Define) -> None:
    one, two = listed(define, "http://a.test/one", "http://a.test/two")
    uptime = Uptime()
    for check in (one, two):
        uptime.note(check, 1, ok=False)
    uptime.note(one, 1, ok=True)
    assert uptime.down
    uptime.note(two, 1, ok=True)
    assert not uptime.down


def test_a_check_that_is_made_no_more_is_forgotten(define: Define) -> None:
    one, two = listed(define, "http://a.test/", "http://b.test/")
    uptime = Uptime()
    for check in (one, two):
        uptime.note(check, 1, ok=False)
    uptime.keep([two])
    assert uptime.down == {"orders b.test 80"}
    assert uptime.note(one, 2, ok=False) is False
