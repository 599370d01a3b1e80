"""``gateway domain``, ``gateway status`` and ``gateway reload``, against a stand-in for the admin API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.admin_api import FakeApi

SOON = (datetime.now(UTC) + timedelta(days=5, hours=1)).isoformat()
TIME = "2026-01-01T00:00:00Z"


def pair(kind: str = "ec", end: str = "2999-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    facts = {"key_type": kind, "names": ["a.test"], "not_before": TIME, "not_after": end, "source": "admin"}
    return {"fingerprint": kind[0] * 64, "previous_fingerprint": None} | facts | more


def domain(name: str, *pairs: dict[str, Any], apis: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"domain": name, "certificates": pairs, "apis": apis}


def answer(api: FakeApi, *domains: dict[str, Any], ready: bool = True) -> None:
    part = {"status": "pass", "componentType": "process", "time": TIME, "output": "generation 3"}
    hello = {"status": "pass", "version": "1.2.3", "description": "", "details": {"worker 1": part}}
    change = {"number": 3, "time": TIME, "who": "secret", "what": "swap", "subject": "a.test", "result": "ok"}
    not_ready = (503, {"status": "error", "message": "Gateway is shutting down"})
    api.answers |= {
        "GET /hello": (200, hello),
        "GET /ready": (200, hello) if ready else not_ready,
        "GET /tyk/generations": (200, {"generations": [change]}),
        "GET /tyk/expiring": (200, {"certificates": []}),
        "GET /tyk/domains": (200, {"domains": domains, "next": None}),
    }


def test_each_certificate_of_a_domain_has_a_row(api: FakeApi, run: Any) -> None:
    answer(api, domain("a.test", pair("ec"), pair("rsa"), apis=("one",)), domain("b.test", pair("ec")))
    rows = [line.split() for line in run("domain", "list").stdout.splitlines()]
    assert rows[1][:3] == ["a.test", "ec", "e" * 12]
    assert rows[1][-1] == "one"
    assert rows[2][:2] == ["rsa", "r" * 12]
    assert rows[3][-2:] == ["none", "yet"]


def test_all_pages_are_one_list(api: FakeApi, run: Any, monkeypatch: Any) -> None:
    from gateway.cli import domain as module

    first, last = domain("a.test", pair()), domain("b.test", pair())
    pages = {None: {"domains": [first], "next": "a.test"}, "a.test": {"domains": [last], "next": None}}
    monkeypatch.setattr(module.Gateway, "call", lambda *_, params, **__: pages[params.get("after")])
    shown = json.loads(run("domain", "list", "--json").stdout)
    assert [one["domain"] for one in shown] == ["a.test", "b.test"]
    assert [one["domain"] for one in json.loads(run("domain", "list", "--json", "--limit", "1").stdout)] == ["a.test"]


def test_a_pattern_is_sent_as_the_api_takes_it(api: FakeApi, run: Any) -> None:
    answer(api, domain("a.test", pair()))
    for given, sent in [("*.Example.com", "*.example.com"), ("*.bücher.test", "*.xn--bcher-kva.test"), ("a*", "a*")]:
        assert run("domain", "list", "--match", given, "--limit", "5").exit_code == 0
        assert api.asked[-1].query == {"limit": "5", "match": sent}


@pytest.mark.parametrize("match", ["*.*.test", "a?", "", "a b", "*ü*"])
def test_an_odd_pattern_is_refused_before_anything_is_asked(api: FakeApi, run: Any, match: str) -> None:
    done = run("domain", "list", "--match", match)
    assert (done.exit_code, "--match cannot be" in done.stderr) == (2, True), done.stderr


def test_one_domain_is_shown_with_what_a_rollback_would_bring(api: FakeApi, run: Any) -> None:
    shown = domain("a.test", pair("ec", previous_fingerprint="f" * 64))
    api.answers["GET /tyk/domains/a.test/certificate"] = (200, shown)
    lines = run("domain", "show", "a.test").stdout.splitlines()
    assert f"before       {'f' * 64}" in lines
    assert "APIs    none yet" in lines


def test_a_ready_gateway_is_told_with_its_parts_and_what_ends_soon(api: FakeApi, run: Any) -> None:
    answer(api)
    ending = {
        "fingerprint": "a" * 64,
        "name": "b.test",
        "not_after": SOON,
        "role": "client",
        "places": ["here", "there"],
    }
    api.answers["GET /tyk/expiring"] = (200, {"certificates": [ending]})
    finished = run("status", "--expiring", "5")
    assert finished.exit_code == 0
    assert "ready        yes" in finished.stdout
    assert "swap a.test: ok, 2026-01-01 00:00:00 UTC" in finished.stdout
    assert "worker 1  pass  generation 3" in finished.stdout
    assert "(5 days)" in finished.stdout
    assert "client  here, there" in finished.stdout
    assert api.asked[-1].query == {"days": "5"}


def test_a_gateway_that_is_not_ready_has_status_1_and_says_why(api: FakeApi, run: Any) -> None:
    answer(api, ready=False)
    finished = run("status")
    assert finished.exit_code == 1
    assert "ready        no: Gateway is shutting down" in finished.stdout
    program = run("status", "--json")
    assert program.exit_code == 1
    assert json.loads(program.stdout)["ready"] is False


PROBLEM = {"severity": "warning", "path": "listen_port", "source": "a.yaml:3", "message": "is odd", "cure": "use 443"}


def test_a_reload_waits_and_tells_the_generation_and_the_warnings(api: FakeApi, run: Any) -> None:
    api.answers["GET /tyk/reload"] = (200, {"status": "ok", "message": "", "generation": 4, "problems": [PROBLEM]})
    finished = run("reload")
    assert api.asked[0].query == {"block": "true"}
    assert (finished.exit_code, finished.stdout) == (0, "generation 4 serves\n")
    assert finished.stderr == "warning: listen_port @ a.yaml:3: is odd (use 443)\n"
    assert run("reload", "--strict").exit_code == 1


def test_several_notes_of_a_reload_are_counted_and_one_is_told(api: FakeApi, run: Any) -> None:
    note = PROBLEM | {"severity": "note"}
    answer = {"status": "ok", "message": "", "generation": 4}
    api.answers["GET /tyk/reload"] = (200, answer | {"problems": [note, PROBLEM, note]})
    told = "warning: listen_port @ a.yaml:3: is odd (use 443)"
    assert run("reload").stderr.splitlines() == [told, "2 notes; see gateway check"]
    api.answers["GET /tyk/reload"] = (200, answer | {"problems": [note]})
    assert run("reload").stderr == "note: listen_port @ a.yaml:3: is odd (use 443)\n"


def test_a_refused_reload_has_status_1_and_every_problem(api: FakeApi, run: Any) -> None:
    error = PROBLEM | {"severity": "error"}
    api.answers["GET /tyk/reload"] = (409, {"status": "error", "message": "refused", "problems": [error, PROBLEM]})
    finished = run("reload")
    assert finished.exit_code == 1
    assert finished.stderr.splitlines() == [
        "error: refused",
        "  error: listen_port @ a.yaml:3: is odd (use 443)",
        "  warning: listen_port @ a.yaml:3: is odd (use 443)",
    ]
