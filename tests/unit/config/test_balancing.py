"""What a definition may say about balancing, health and checks, and what is said about mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.problems import Severity

if TYPE_CHECKING:
    from unit.config.workshop import Workshop

Api = Callable[..., dict[str, Any]]


def with_gateway(api: Api, **gateway: Any) -> dict[str, Any]:
    return {"apis": [api(gateway=gateway)]}


def checking(api: Api, *checks: Any) -> dict[str, Any]:
    return {"apis": [api(uptime_tests={"check_list": list(checks)})]}


def test_one_word_is_the_policy(workshop: Workshop, api: Api) -> None:
    (loaded,) = workshop.load(with_gateway(api, balancing="least_requests")).apis
    assert loaded.gateway.balancing.policy == "least_requests"


@pytest.mark.parametrize("hash_on", ["address", "header:X-Tenant", "cookie:session"])
def test_requests_are_told_apart_by_an_address_a_header_or_a_cookie(workshop: Workshop, api: Api, hash_on: str) -> None:
    assert workshop.problems(with_gateway(api, balancing={"policy": "hash", "hash_on": hash_on})) == []


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        ({"balancing": "fastest"}, "gateway.balancing.policy"),
        ({"balancing": {"hash_on": "header:"}}, "write address, header:Name or cookie:name"),
        ({"balancing": {"hash_on": "header:a b"}}, "write address, header:Name or cookie:name"),
        ({"balancing": {"hash_on": "body"}}, "write address, header:Name or cookie:name"),
        ({"balancing": {"cookie": "a;b"}}, "gateway.balancing.cookie"),
        ({"balancing": {"weights": [1, 2]}}, "has 2 weights for 0 targets"),
        ({"balancing": {"weights": [0]}}, "gateway.balancing.weights"),
        ({"balancing": {"retry_share": 1.5}}, "gateway.balancing.retry_share"),
        ({"balancing": {"retries": 11}}, "gateway.balancing.retries"),
        ({"health": {"max_ejected": -0.1}}, "gateway.health.max_ejected"),
        ({"health": {"ejection_time": 0}}, "gateway.health.ejection_time"),
        ({"queue": {"timeout": 0}}, "gateway.queue.timeout"),
        ({"timeouts": {"connect": -1}}, "gateway.timeouts.connect"),
    ],
)
def test_mistakes_are_told_with_their_place(workshop: Workshop, api: Api, gateway: Any, said: str) -> None:
    content = with_gateway(api, **gateway)
    assert said in workshop.told(content)
    assert Severity.ERROR in {problem.severity for problem in workshop.problems(content)}


def test_there_is_a_weight_for_each_target(workshop: Workshop, api: Api) -> None:
    definition = api(gateway={"balancing": {"weights": [2, 1]}})
    definition["proxy"] |= {"enable_load_balancing": True, "target_list": ["a.test", "b.test"]}
    assert workshop.problems({"apis": [definition]}) == []


def test_a_check_is_a_url_or_more(workshop: Workshop, api: Api) -> None:
    full = {"url": "https://a.test/h", "method": "HEAD", "headers": {"Host": "b.test"}, "body": "x", "timeout": 1.5}
    (loaded,) = workshop.load(checking(api, "http://a.test/", "tcp://[::1]:5432", full)).apis
    urls = [check.url for check in loaded.uptime_tests.check_list]
    assert urls == ["http://a.test/", "tcp://[::1]:5432", "https://a.test/h"]
    assert loaded.uptime_tests.check_list[2].headers == {"Host": "b.test"}


def test_tyks_nanoseconds_are_understood(workshop: Workshop, api: Api) -> None:
    (loaded,) = workshop.load(checking(api, {"url": "http://a.test", "timeout": 2_500_000_000})).apis
    assert loaded.uptime_tests.check_list[0].timeout == 2.5


@pytest.mark.parametrize(
    "check",
    [
        "a.test",
        "ftp://a.test/",
        "tcp://a.test",
        "http://",
        "http://a.test:0/",
        "http://u:p@a.test/",
        "http://a.test/ b",
        {"url": "http://a.test", "timeout": 61},
        {"url": "http://a.test", "method": "GET /"},
    ],
)
def test_what_cannot_be_checked_is_an_error(workshop: Workshop, api: Api, check: Any) -> None:
    problems = workshop.problems(checking(api, check))
    assert [problem.severity for problem in problems] == [Severity.ERROR]
    assert problems[0].path.startswith("apis[0].uptime_tests.check_list[0]")
    assert "u:p" not in str(problems[0])


def test_the_pace_of_checks_can_be_set_by_tyks_variables(workshop: Workshop, api: Api) -> None:
    variables = {
        "TYK_GW_UPTIMETESTS_CONFIG_TIMEWAIT": "7",
        "TYK_GW_UPTIMETESTS_CONFIG_FAILURETRIGGERSAMPLESIZE": "2",
        "TYK_GW_UPTIMETESTS_DISABLE": "true",
    }
    tests = workshop.load({"apis": [api()]}, **variables).settings.uptime_tests
    assert (tests.config.time_wait, tests.config.failure_trigger_sample_size, tests.disable) == (7, 2, True)


def test_checks_that_are_asked_for_and_not_listed_are_worth_a_warning(workshop: Workshop, api: Api) -> None:
    definition = api()
    definition["proxy"]["check_host_against_uptime_tests"] = True
    assert "uptime_tests.check_list is empty" in workshop.told({"apis": [definition]})
