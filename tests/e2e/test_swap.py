"""Certificates swapped at runtime through the real processes: under load, rolled back, and with control killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from support.load import Load
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

LARGE = 30_000_000
PATH = "/tyk/domains/a.test/certificate"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("first", large=LARGE) as server:
        yield server
        server.shutdown()


@pytest.fixture
def gateway(tmp_path: Path, authority: Authority, upstream: Upstream) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, authority, upstream)
    try:
        gateway.started()
        yield gateway
    finally:
        gateway.end()


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[httpx.Client]:
    secret = (gateway.directory / "data" / "admin.secret").read_text().strip()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{gateway.control_port}", headers={"X-Tyk-Authorization": secret}, timeout=PATIENCE
    ) as client:
        yield client


def put(admin: httpx.Client, pair: CertificatePair, name: str = "a.test") -> dict[str, object]:
    response = admin.put(f"/tyk/domains/{name}/certificate", content=pair.chain_pem + pair.key_pem)
    assert response.status_code == 200, response.text
    body: dict[str, object] = response.json()
    assert body["fingerprint"] == pair.fingerprint
    return body


def shown(gateway: Gateway, name: str = "a.test") -> set[str]:
    """The serial numbers that eight new connections see: enough for both workers to be asked, most of the time."""
    serials = set()
    for _ in range(8):
        with contextlib.closing(gateway.connect(name)) as connection:
            serials.add(connection.serial)
    return serials


def serial(pair: CertificatePair) -> str:
    return f"{pair.leaf.serial_number:X}"


def test_swaps_under_load_fail_no_request_and_show_at_once_on_every_worker(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    def newcomer() -> None:
        assert gateway.get() == "first"

    def large() -> None:
        assert len(gateway.get(path="/large")) == LARGE

    pairs = [authority.leaf("a.test") for _ in range(40)]
    with contextlib.ExitStack() as kept:
        connections = [kept.enter_context(contextlib.closing(gateway.connect())) for _ in range(4)]
        regulars = [lambda connection=connection: connection.get() for connection in connections]
        with Load(newcomer, newcomer, large, *regulars) as load:
            until(lambda: load.rounds > 20)
            for number, pair in enumerate(pairs, 2):
                answer = put(admin, pair)
                assert (answer["generation"], answer["warnings"]) == (number, [])
                assert shown(gateway) == {serial(pair)}
        assert {connection.get() for connection in connections} == {"first"}
    assert admin.post(f"{PATH}/rollback").json()["fingerprint"] == pairs[-2].fingerprint
    assert shown(gateway) == {serial(pairs[-2])}


def test_a_rollback_goes_back_and_another_one_forth_and_a_removal_to_the_file(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    filed = shown(gateway)
    pair = authority.leaf("a.test")
    put(admin, pair)
    assert shown(gateway) == {serial(pair)}
    admin.post(f"{PATH}/rollback").raise_for_status()
    assert shown(gateway) == filed
    admin.post(f"{PATH}/rollback").raise_for_status()
    assert shown(gateway) == {serial(pair)}
    admin.delete(PATH).raise_for_status()
    assert shown(gateway) == filed


def test_what_was_put_survives_reloads_and_restarts(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    pair, other = authority.leaf("a.test"), authority.leaf("new.test")
    put(admin, pair)
    assert put(admin, other, "new.test")["warnings"] == ["no API definition names new.test yet"]
    gateway.certify("a.test")
    assert admin.get("/tyk/reload/?block=true").json()["status"] == "ok"
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    gateway.started()
    assert (shown(gateway), shown(gateway, "new.test")) == ({serial(pair)}, {serial(other)})


@pytest.mark.parametrize("spoil", ["wrong name", "expired", "wrong key", "garbage"])
def test_a_bad_upload_changes_nothing_and_says_why(
    gateway: Gateway, admin: httpx.Client, authority: Authority, spoil: str
) -> None:
    before = shown(gateway)
    good = authority.leaf("a.test")
    wrong = authority.leaf("b.test")
    expired = authority.leaf("a.test", days=1, now=good.not_before.replace(year=2020))
    content, said = {
        "wrong name": (wrong.chain_pem + wrong.key_pem, "does not cover a.test"),
        "expired": (expired.chain_pem + expired.key_pem, "expired on"),
        "wrong key": (good.chain_pem + wrong.key_pem, "does not belong"),
        "garbage": (b"garbage", "not PEM"),
    }[spoil]
    response = admin.put(PATH, content=content)
    assert response.status_code == 422
    assert said in response.json()["message"]
    assert shown(gateway) == before
    assert admin.get("/tyk/generations").json()["generations"][0]["result"].startswith("refused: ")


def test_a_certificate_of_the_store_is_served_by_its_id_as_soon_as_it_is_there(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    pair = authority.leaf("b.test")
    gateway.settings["http_server_options"]["ssl_certificates"].append(f"org{pair.fingerprint}")
    gateway.configure()
    reloaded = admin.get("/tyk/reload/?block=true").json()
    assert pair.fingerprint in str(reloaded["problems"])
    until(lambda: pair.fingerprint in gateway.health()["details"]["certificates"].get("output", ""))
    answer = admin.post("/tyk/certs?org_id=org", content=pair.chain_pem + pair.key_pem)
    assert answer.json()["id"] == f"org{pair.fingerprint}"
    gateway.hear("reload.applied", certificates_changed="b.test")
    assert shown(gateway, "b.test") == {serial(pair)}
    assert admin.delete(f"/tyk/certs/org{pair.fingerprint}").status_code == 409
    admin.delete(f"/tyk/certs/org{pair.fingerprint}?force=true").raise_for_status()
    admin.get("/tyk/reload/?block=true").raise_for_status()
    assert shown(gateway, "b.test") == {serial(pair)}


def test_a_changed_file_takes_effect_by_itself(gateway: Gateway) -> None:
    new = gateway.certify("a.test")
    gateway.hear("reload.applied", cause='"watched files"')
    assert shown(gateway) == {new}


def test_a_worker_killed_during_a_swap_serves_the_new_certificate_when_it_is_back(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    for _ in range(3):
        victim = gateway.hear("worker.started").split(" pid=")[1].split()[0]
        os.kill(int(victim), signal.SIGKILL)
        pair = authority.leaf("a.test")
        assert put(admin, pair)["warnings"] == []
        assert shown(gateway) == {serial(pair)}


def test_control_killed_in_the_middle_of_swaps_loses_nothing_that_was_acknowledged(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    moments = random.Random(3)
    with contextlib.closing(gateway.connect()) as kept:
        for _ in range(5):
            victim = gateway.hear("control.started").split(" pid=")[1].split()[0]
            until(gateway.ready)
            acknowledged, asked = swap_until_killed(admin, authority, int(victim), moments.uniform(0.1, 0.3))
            until(gateway.ready)
            (served,) = shown(gateway)
            assert served in (acknowledged, asked)
            assert kept.get() == "first"
            fingerprint = admin.get(PATH).json()["certificates"][0]["fingerprint"]
            put(admin, pair := authority.leaf("a.test"))
            assert fingerprint != pair.fingerprint
            assert shown(gateway) == {serial(pair)}


def swap_until_killed(admin: httpx.Client, authority: Authority, victim: int, after: float) -> tuple[str, str]:
    """Return the serials of the last swap that was acknowledged, and of the one that was not."""
    killer = threading.Timer(after, os.kill, (victim, signal.SIGKILL))
    acknowledged = asked = ""
    killer.start()
    with contextlib.suppress(httpx.TransportError):
        while True:
            pair = authority.leaf("a.test")
            asked = serial(pair)
            put(admin, pair)
            acknowledged = asked
    killer.join()
    return acknowledged, asked
