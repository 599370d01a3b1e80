"""One definition that is wrong harms itself alone: its whole life, with real processes."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "a secret of this test"
OUT = (503, '{"error": "this API is out of service"}\n')


class Fleet:
    """A gateway with a definition for everything, and ``one`` and ``two`` below it, each in a file of its own."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self.gateway, self._upstream = gateway, upstream
        self.apps = gateway.directory / "apps"
        self.apps.mkdir()
        gateway.settings |= {"secret": SECRET, "app_path": "apps"}
        gateway.configure()
        for name in ("one", "two"):
            self.write(name)

    def write(self, name: str, **changes: Any) -> None:
        api = self.gateway.api("a.test", self._upstream) | {"api_id": name} | changes
        api["proxy"]["listen_path"] = f"/{name}/"
        (self.apps / f"{name}.json").write_text(json.dumps(api))

    def ask(self, path: str) -> tuple[int, str]:
        with contextlib.closing(self.gateway.connect()) as connection:
            connection.send(path)
            return connection.answer()

    def reload(self) -> Any:
        address = f"http://127.0.0.1:{self.gateway.control_port}/tyk/reload?block=true"
        return httpx.get(address, headers={"X-Tyk-Authorization": SECRET}, timeout=PATIENCE).json()

    def listed(self) -> str:
        found = self.gateway.ask_control("/ready")[1]["details"].get("definitions")
        return found["output"] if found else ""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Upstream("served") as upstream:
        gateway = Gateway(tmp_path, Authority.create(), upstream)
        try:
            yield Fleet(gateway, upstream)
        finally:
            gateway.end()
            upstream.shutdown()


def test_one_that_asks_for_a_protection_is_out_of_service_alone_and_comes_back_when_it_is_mended(fleet: Fleet) -> None:
    fleet.gateway.started()
    fleet.write("one", enable_jwt=True, use_keyless=False)
    fleet.gateway.hear("definition.refused", api="one")
    until(lambda: fleet.ask("/one/x") == OUT)
    assert fleet.ask("/two/x") == (200, "served")
    assert fleet.ask("/") == (200, "served")
    assert "one.json) out of service: use_keyless: is not true" in fleet.listed()
    answer = fleet.reload()
    assert (answer["status"], [one["standing"] for one in answer["refused"]]) == ("ok", ["out of service"])
    fleet.write("one")
    until(lambda: fleet.ask("/one/x") == (200, "served"))
    assert fleet.listed() == ""


def test_one_that_is_broken_keeps_its_last_good_state_also_across_a_restart_and_leaves_with_its_file(
    fleet: Fleet,
) -> None:
    fleet.gateway.started()
    (fleet.apps / "one.json").write_text("{half written")
    fleet.write("three")
    until(lambda: fleet.ask("/three/x") == (200, "served") and "last good" in fleet.listed())
    assert fleet.ask("/one/x") == (200, "served")
    fleet.gateway.signal(signal.SIGTERM)
    fleet.gateway.process.wait(PATIENCE)
    fleet.gateway.started()
    fleet.gateway.hear("definition.refused", standing='"last good"')
    assert fleet.ask("/one/x") == (200, "served")
    (fleet.apps / "one.json").unlink()
    until(lambda: fleet.listed() == "")


def test_at_a_first_start_the_others_serve_and_nobody_else_gets_the_requests(fleet: Fleet) -> None:
    fleet.write("one", use_keyless=False)
    (fleet.apps / "two.json").write_text("{half written")
    fleet.gateway.started()
    assert fleet.ask("/one/x") == OUT
    assert fleet.ask("/") == (200, "served")
    assert "two.json) unknown" in fleet.listed()


def test_one_that_claims_the_place_of_another_is_refused_when_it_is_put_until_that_place_is_free(fleet: Fleet) -> None:
    fleet.gateway.started()
    claim = json.loads((fleet.apps / "two.json").read_text()) | {"api_id": "claim"}
    address = f"http://127.0.0.1:{fleet.gateway.control_port}/tyk/apis"
    with httpx.Client(headers={"X-Tyk-Authorization": SECRET}, timeout=PATIENCE) as admin:
        answer = admin.post(address, json=claim)
        assert answer.status_code == 400
        assert "are both /two/ on a.test" in answer.text
        assert not (fleet.apps / "claim.json").exists()
        assert admin.delete(f"{address}/two").status_code == 200
        assert admin.post(address, json=claim).status_code == 200
    until(lambda: fleet.ask("/claim/x") == (200, "served"))


def test_a_strict_gateway_does_not_start(fleet: Fleet) -> None:
    fleet.write("one", use_keyless=False)
    fleet.gateway.settings["gateway"]["strict"] = True
    fleet.gateway.configure()
    fleet.gateway.start()
    assert fleet.gateway.process.wait(PATIENCE) == 2
    assert "use_keyless" in fleet.gateway.rest()
