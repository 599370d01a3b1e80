"""Who is listened to on the control port, and who is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.admin import SECRET, Admin

from gateway.admin.authentication import HEADER, Guesses
from gateway.admin.identity import Role

REFUSED = {"status": "error", "message": "Attempted administrative access with invalid or missing key!"}
CALLS = ["/tyk/certs", "/tyk/certs/a", "/tyk/domains", "/tyk/apis/", "/tyk/reload", "/tyk/generations", "/nowhere"]


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + " ", SECRET.upper()])
async def test_without_the_secret_nothing_is_told(path: str, secret: str | None) -> None:
    admin = Admin()
    response = await admin.ask("GET", path, secret=secret)
    assert (response.status_code, response.json()) == (403, REFUSED)
    assert admin.operations.reloads == []


async def test_a_secret_that_is_not_ascii_is_wrong_and_no_error() -> None:
    headers: Any = {HEADER.encode(): "geheim-ü\xff".encode("latin-1")}
    response = await Admin().ask("GET", "/tyk/certs", secret=None, headers=headers)
    assert response.json() == REFUSED


async def test_the_right_secret_is_answered_at_once_and_a_wrong_one_late() -> None:
    admin = Admin()
    assert (await admin.ask("GET", "/tyk/certs")).status_code == 200
    await admin.ask("GET", "/tyk/certs", secret=None)
    assert admin.slept == []
    await admin.ask("GET", "/tyk/certs", secret="wrong")
    assert admin.slept == [0.5]


async def test_an_address_that_guesses_is_not_listened_to_for_a_while() -> None:
    admin = Admin()
    for _ in range(10):
        assert (await admin.ask("GET", "/tyk/certs", secret="wrong")).status_code == 403
    refused = await admin.ask("GET", "/tyk/certs")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.json() == {
        "status": "error",
        "message": "too many wrong secrets from 127.0.0.1; try again in 7 s",
    }
    assert (await admin.ask("GET", "/tyk/certs", address="127.0.0.2")).status_code == 200
    assert (await admin.ask("GET", "/hello")).status_code == 200
    admin.now += 7
    assert (await admin.ask("GET", "/tyk/certs")).status_code == 200


async def test_requests_without_a_secret_are_no_guesses() -> None:
    admin = Admin()
    for _ in range(30):
        await admin.ask("GET", "/tyk/certs", secret=None)
    assert (await admin.ask("GET", "/tyk/certs")).status_code == 200


def test_an_ipv6_network_guesses_as_one() -> None:
    guesses = Guesses(lambda: 0.0)
    for host in range(10):
        guesses.wrong(f"2001:db8::{host:x}")
    assert guesses.wait("2001:db8::ffff") > 0
    assert guesses.wait("2001:db8:0:1::1") == 0


def test_an_ipv4_address_counts_for_itself_on_a_socket_of_both_kinds() -> None:
    guesses = Guesses(lambda: 0.0)
    for _ in range(10):
        guesses.wrong("::ffff:192.0.2.1")
    assert guesses.wait("::ffff:192.0.2.2") == 0


def test_the_table_of_guesses_is_bounded() -> None:
    guesses = Guesses(lambda: 0.0)
    for number in range(5000):
        guesses.wrong(f"10.0.{number // 256}.{number % 256}")
    assert len(guesses._spent) == 1024


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9697"},
        {"Origin": "http://[::1"},
    ],
)
@pytest.mark.parametrize("path", ["/tyk/reload", "/hello", "/openapi.json"])
async def test_a_page_of_another_site_is_not_answered(headers: dict[str, str], path: str) -> None:
    admin = Admin()
    response = await admin.ask("GET", path, headers=headers)
    assert (response.status_code, response.json()["message"]) == (
        403,
        "a request from another site's page is not answered",
    )
    assert admin.operations.reloads == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://127.0.0.1:9696", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
async def test_a_page_of_its_own_is_answered(headers: dict[str, str]) -> None:
    assert (await Admin().ask("GET", "/tyk/reload", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9696", "127.0.0.1", "[::1]:9696", "gateway.localhost", "127.8.8.8"]
)
async def test_on_loopback_the_machine_has_these_names(host: str) -> None:
    assert (await Admin().ask("GET", "/tyk/certs", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9696", "192.0.2.1", "localhost.evil.example", "[::1", "a:b:c"]
)
async def test_on_loopback_other_names_are_refused(host: str) -> None:
    response = await Admin().ask("GET", "/tyk/certs", headers={"Host": host})
    assert response.status_code == 403
    assert "does not name this machine" in response.json()["message"]


async def test_elsewhere_any_name_is_answered() -> None:
    assert (
        await Admin(loopback=False).ask("GET", "/tyk/certs", headers={"Host": "gateway.internal"})
    ).status_code == 200


def with_administrators() -> Admin:
    admin = Admin()
    admin.accounts.passwords = {"alice": "correct horse", "victor": "battery staple"}
    admin.accounts.roles = {"alice": Role.OPERATOR, "victor": Role.VIEWER}
    return admin


async def session_of(admin: Admin, user: str) -> dict[str, str]:
    answer = await admin.ask(
        "POST", "/tyk/login", secret=None, json={"user": user, "password": admin.accounts.passwords[user]}
    )
    assert answer.status_code == 200
    assert answer.json()["user"] == user
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def test_an_administrator_logs_in_and_changes_stand_under_the_name() -> None:
    admin = with_administrators()
    session = await session_of(admin, "alice")
    body = {"name": "bob", "password": "a password", "role": "viewer"}
    assert (await admin.ask("POST", "/tyk/admins", secret=None, headers=session, json=body)).status_code == 200
    assert admin.accounts.changes == [("alice", "add", "bob")]
    assert (await admin.ask("GET", "/tyk/session", secret=None, headers=session)).json()["role"] == "operator"
    assert (await admin.ask("DELETE", "/tyk/session", secret=None, headers=session)).status_code == 200
    over = await admin.ask("GET", "/tyk/certs", secret=None, headers=session)
    assert (over.status_code, over.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tyk/certs"),
        ("DELETE", "/tyk/certs/a"),
        ("PUT", "/tyk/domains/a.test/certificate"),
        ("GET", "/tyk/reload"),
        ("GET", "/tyk/reload/group"),
        ("POST", "/tyk/apis"),
        ("POST", "/tyk/admins"),
        ("DELETE", "/tyk/admins/alice"),
        ("PUT", "/tyk/admins/alice/password"),
    ],
)
async def test_a_viewer_changes_nothing(method: str, path: str) -> None:
    admin = with_administrators()
    session = await session_of(admin, "victor")
    body = {"password": "another password"} if path.endswith("password") else None
    refused = await admin.ask(method, path, secret=None, headers=session, json=body)
    assert refused.status_code == 403
    assert "viewer" in refused.json()["message"]
    assert (admin.operations.reloads, admin.operations.stored, admin.accounts.changes) == ([], {}, [])
    assert (await admin.ask("GET", "/tyk/domains", secret=None, headers=session)).status_code == 200


async def test_the_own_password_is_changed_with_the_one_of_now_only() -> None:
    admin = with_administrators()
    session, path = await session_of(admin, "victor"), "/tyk/admins/victor/password"
    for current, status in ((None, 400), ("wrong", 401), ("battery staple", 200)):
        body = {"password": "a new password"} | ({"current": current} if current else {})
        assert (await admin.ask("PUT", path, secret=None, headers=session, json=body)).status_code == status
    assert admin.accounts.passwords["victor"] == "a new password"
    body = {"password": "given by the secret"}
    assert (await admin.ask("PUT", path, json=body)).status_code == 200


async def test_wrong_passwords_are_answered_late_and_count_for_the_address_and_for_the_name() -> None:
    admin = with_administrators()
    wrong, right = ({"user": "alice", "password": one} for one in ("wrong", "correct horse"))
    for number in range(10):
        address = f"10.0.0.{number}"
        answer = await admin.ask("POST", "/tyk/login", secret=None, address=address, json=wrong)
        assert (answer.status_code, answer.json()["message"]) == (401, "the name or the password is wrong")
    assert admin.slept == [0.5] * 10
    refused = await admin.ask("POST", "/tyk/login", secret=None, address="10.0.0.99", json=right)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    other = {"user": "nobody", "password": "wrong"}
    for _ in range(10):
        await admin.ask("POST", "/tyk/login", secret=None, address="10.1.0.1", json=other)
    assert (await admin.ask("GET", "/tyk/certs", address="10.1.0.1")).status_code == 429
    admin.now += 7
    assert (await admin.ask("POST", "/tyk/login", secret=None, address="10.0.0.99", json=right)).status_code == 200


async def test_a_session_goes_on_whoever_guesses_at_its_address_and_for_its_name() -> None:
    admin = with_administrators()
    session = await session_of(admin, "alice")
    for _ in range(12):
        await admin.ask("POST", "/tyk/login", secret=None, json={"user": "alice", "password": "wrong"})
    assert (await admin.ask("GET", "/tyk/certs")).status_code == 429
    assert (await admin.ask("GET", "/tyk/certs", secret=None, headers=session)).status_code == 200


async def test_right_passwords_do_not_count_and_are_not_late() -> None:
    admin = with_administrators()
    for _ in range(30):
        await session_of(admin, "alice")
    assert admin.slept == []


async def test_many_logins_at_once_are_no_way_around_the_count() -> None:
    admin, looked_at = with_administrators(), []

    async def slow(name: str, *_: object) -> None:
        looked_at.append(name)
        await asyncio.sleep(0)

    admin.accounts.log_in = slow  # type: ignore[method-assign]
    body = {"user": "alice", "password": "wrong"}
    answers = await asyncio.gather(*(admin.ask("POST", "/tyk/login", secret=None, json=body) for _ in range(40)))
    assert len(looked_at) == 10
    assert [answer.status_code for answer in answers].count(429) == 30


@pytest.mark.parametrize("name", ["secret", "gateway", "supervisor"])
async def test_no_administrator_is_called_what_the_audit_log_calls_somebody_else(name: str) -> None:
    answer = await Admin().ask("POST", "/tyk/admins", json={"name": name, "password": "a password"})
    assert answer.status_code == 409


async def test_what_is_wrong_with_a_password_is_told_without_it() -> None:
    answer = await Admin().ask("POST", "/tyk/admins", json={"name": "alice", "password": "short"})
    assert answer.status_code == 400
    assert "password: " in answer.json()["message"]
    assert "short" not in answer.json()["message"].replace("too short", "")


async def test_whatever_changes_something_takes_an_operator() -> None:
    paths = (await Admin().ask("GET", "/openapi.json", secret=None)).json()["paths"]
    viewers = {
        (method, path)
        for path, item in paths.items()
        for method, operation in item.items()
        if "Takes the role viewer." in operation.get("description", "")
    }
    assert {one for one in viewers if one[0] != "get"} == {
        ("delete", "/tyk/session"),
        ("put", "/tyk/admins/{name}/password"),
    }
    gets = {("get", path) for path, item in paths.items() if "get" in item and item["get"]["security"]}
    assert gets - viewers == {("get", "/tyk/reload"), ("get", "/tyk/reload/group")}
