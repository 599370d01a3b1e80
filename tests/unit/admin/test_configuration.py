"""``/tyk/configuration``: what may be changed in the main file from afar, by whom, and what never may."""

from __future__ import annotations

from typing import Any

import pytest
from support.admin import Admin

PATH = "/tyk/configuration"
PEM = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"


@pytest.fixture
def admin() -> Admin:
    return Admin()


async def test_settings_are_changed_by_name(admin: Admin) -> None:
    wanted = {
        "min_version": "1.3",
        "authorities": {"own": PEM, "old": None},
        "upstreams": {"db": {"connection_type": "maestro-rserve-secure", "host": "db.test", "authority": PEM}},
    }
    answer = await admin.ask("POST", PATH, json=wanted)
    assert (answer.status_code, answer.json()["generation"]) == (200, 8)
    (made,) = admin.operations.main_file.adjustments
    assert (made.min_version, made.authorities) == ("1.3", {"own": PEM, "old": None})
    assert made.upstreams["db"] is not None
    assert made.upstreams["db"].kind.scheme == "tls"


@pytest.mark.parametrize("reference", ["/etc/shadow", "root.key", "../data/root.key", "a" * 64, "file:///etc/shadow"])
async def test_no_file_of_the_host_can_be_named(admin: Admin, reference: str) -> None:
    upstream = {"connection_type": "https", "host": "a.test", "authority": reference}
    for wanted in ({"authorities": {"x": reference}}, {"upstreams": {"x": upstream}}):
        answer = await admin.ask("POST", PATH, json=wanted)
        assert answer.status_code == 409
        assert "send the PEM itself" in answer.json()["message"]
    assert not admin.operations.main_file.adjustments


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [
        ({"secret": "x"}, 400, "an unknown key"),
        ({"http_server_options": {"use_ssl": False}}, 400, "an unknown key"),
        ({"use_ssl": 1}, 400, "use_ssl"),
        ({"min_version": "1.4"}, 409, "is not a TLS version"),
        ({"ssl_ciphers": ["FOO"]}, 409, "unknown cipher 'FOO'"),
        ({"authorities": {"a/../b": PEM}}, 409, "a name is of letters"),
        ({"authorities": {"own": f"{PEM}-----BEGIN PRIVATE KEY-----hush"}}, 409, "there is a private key in it"),
        ({"upstreams": {"a": {"connection_type": "https", "host": "a.test/x"}}}, 409, "host"),
        ({"upstreams": {"a": {"connection_type": "https", "host": "a", "username": "u"}}}, 409, "write both"),
        ({"upstreams": {"a": {"connection_type": "tcp", "host": "a"}}}, 409, "no usual port"),
        (
            {"upstreams": {"a": {"connection_type": "https", "host": "a", "username": "u", "password": "hush\nhush"}}},
            409,
            "one line",
        ),
    ],
)
async def test_what_is_refused_is_named_and_no_secret_is(admin: Admin, wanted: Any, status: int, said: str) -> None:
    answer = await admin.ask("POST", PATH, json=wanted)
    assert answer.status_code == status
    assert said in answer.json()["message"]
    assert "hush" not in answer.text
    assert not admin.operations.main_file.adjustments


async def test_a_file_that_has_changed_meanwhile_is_left_alone(admin: Admin) -> None:
    etag = (await admin.ask("GET", PATH)).headers["etag"]
    kept = await admin.ask("POST", PATH, json={"use_ssl": True}, headers={"If-Match": '"' + "0" * 64 + '"'})
    changed = await admin.ask("POST", PATH, json={"use_ssl": True}, headers={"If-Match": etag})
    assert (kept.status_code, changed.status_code) == (412, 200)


async def test_a_name_that_nobody_can_ask_for_is_not_asked_for(admin: Admin) -> None:
    assert (await admin.ask("GET", "/tyk/served?domain=a%20b")).status_code == 404
    assert (await admin.ask("GET", "/tyk/served?domain=A.test")).json()["domain"] == "a.test"
