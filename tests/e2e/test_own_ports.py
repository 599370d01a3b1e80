"""APIs with ports of their own, of real processes: they come and go with reloads, and survive an upgrade."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.roles import PATIENCE, Connection, Gateway, Upstream, free_ports, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream("first") as server:
        yield server
        server.shutdown()


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    prepared = Gateway(tmp_path, Authority.create(), upstream)
    try:
        yield prepared
    finally:
        prepared.end()


def own(gateway: Gateway, upstream: Upstream, port: int, name: str, **changes: Any) -> dict[str, Any]:
    """An API of a.test below a path that is its name, on a port of its own."""
    definition = gateway.api("a.test", upstream) | {"api_id": name, "listen_port": port, **changes}
    definition["proxy"]["listen_path"] = f"/{name}/"
    return definition


def plain(port: int, path: str) -> int:
    """Ask without TLS; 0 where nobody listens, or just stops."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection), contextlib.suppress(ConnectionError):
        connection.request("GET", path, headers={"Host": "a.test"})
        return connection.getresponse().status
    return 0


def encrypted(gateway: Gateway, port: int, path: str) -> int:
    with contextlib.suppress(ConnectionError):
        with contextlib.closing(Connection(port, "a.test", gateway.trust)) as connection:
            connection.send(path)
            return connection.answer()[0]
    return 0


def test_they_come_and_go_with_reloads(gateway: Gateway, upstream: Upstream) -> None:
    clear, secure, taken = free_ports(3)
    gateway.started()
    gateway.settings["apis"] += [
        own(gateway, upstream, clear, "clear", protocol="http"),
        own(gateway, upstream, clear, "beside", protocol="http"),
        own(gateway, upstream, secure, "secure", protocol="https"),
        own(gateway, upstream, taken, "taken", protocol="http"),
    ]
    with socket.create_server(("127.0.0.1", taken)):
        gateway.configure()
        gateway.hear("reload.applied")
        until(lambda: plain(clear, "/clear/") == 200 and encrypted(gateway, secure, "/secure/") == 200)
        assert [plain(clear, path) for path in ("/clear/", "/beside/", "/secure/", "/")] == [200, 200, 404, 404]
        assert [encrypted(gateway, secure, path) for path in ("/clear/", "/secure/", "/")] == [404, 200, 404]
        assert "taken (" in gateway.health()["details"]["definitions"]["output"]
    until(lambda: plain(taken, "/taken/") == 200)
    assert gateway.get(path="/clear/") == "first", "which the API at / of the main port answers"
    gateway.settings["apis"][1] |= {"use_keyless": False}
    gateway.configure()
    until(lambda: plain(clear, "/clear/") == 503)
    assert plain(clear, "/beside/") == 200
    del gateway.settings["apis"][1:]
    gateway.configure()
    until(lambda: plain(clear, "/beside/") == 0 and encrypted(gateway, secure, "/secure/") == 0)
    assert gateway.get() == "first"


def test_they_are_there_from_the_start_and_survive_an_upgrade_and_the_death_of_children(
    gateway: Gateway, upstream: Upstream
) -> None:
    first, second = free_ports(2)
    gateway.settings["apis"].append(own(gateway, upstream, first, "first", protocol="http"))
    gateway.configure()
    gateway.started()
    assert plain(first, "/first/") == 200
    gateway.settings["apis"].append(own(gateway, upstream, second, "second"))  # speaks what the gateway does: TLS
    gateway.configure()
    until(lambda: encrypted(gateway, second, "/second/") == 200)
    for pid in gateway.children():
        os.kill(pid, signal.SIGKILL)
    until(gateway.ready)
    assert encrypted(gateway, second, "/second/") == 200
    gateway.signal(signal.SIGUSR2)
    pid = int(gateway.hear("upgrade.started").rsplit("successor=")[1])
    try:
        gateway.hear("upgrade.done")
        assert gateway.process.wait(PATIENCE) == 0
        assert plain(first, "/first/") == 200
        assert encrypted(gateway, second, "/second/") == 200
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    gateway.rest()
    assert (plain(first, "/first/"), encrypted(gateway, second, "/second/")) == (0, 0)
