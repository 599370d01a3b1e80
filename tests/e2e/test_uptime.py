"""A host that goes down is found by control, and no worker sends requests to it."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from pathlib import Path


def ask(gateway: Gateway, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.control_port, timeout=PATIENCE)
    with closing(connection):
        connection.request("GET", path, headers={"X-Tyk-Authorization": "open sesame"})
        return json.loads(connection.getresponse().read())


def test_probes_of_control_reach_every_worker(tmp_path: Path) -> None:
    first, second = Upstream("first"), Upstream("second")
    gateway = Gateway(tmp_path, Authority.create("Test CA"), first)
    (definition,) = gateway.settings["apis"]
    definition["proxy"] |= {
        "enable_load_balancing": True,
        "target_list": [first.url, second.url],
        "check_host_against_uptime_tests": True,
    }
    definition["uptime_tests"] = {"check_list": [{"url": first.url}, {"url": second.url}]}
    gateway.settings["uptime_tests"] = {"config": {"failure_trigger_sample_size": 1, "time_wait": 1}}
    gateway.settings["secret"] = "open sesame"
    gateway.configure()
    try:
        gateway.started()
        assert {gateway.get() for _ in range(8)} == {"first", "second"}

        first.shutdown()
        first.server_close()
        gateway.hear("host.down")
        until(lambda: _all_down(gateway) == [True, False])
        assert [gateway.get() for _ in range(20)] == ["second"] * 20

        assert gateway.health()["details"]["hosts"]["output"] == "1 of 2 checked hosts are down"
        report = ask(gateway, "/tyk/upstreams")
        assert report["workers"] == 2
        (api,) = report["apis"]
        assert [target["failures"] for target in api["targets"]] == [0, 0]
    finally:
        gateway.end()


def _all_down(gateway: Gateway) -> list[bool]:
    (api,) = ask(gateway, "/tyk/upstreams")["apis"]
    return [target["down"] for target in api["targets"]]
