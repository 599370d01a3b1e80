"""Services of real processes: ports come and go with reloads, and outlive every process but all of them at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.roles import PATIENCE, Gateway, Upstream, free_ports, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Echo(socketserver.ThreadingTCPServer):
    """Answers each line with it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Line)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Say nothing: that the gateway is killed is what the tests are about."""


class _Line(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server
        server.shutdown()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream("first") as upstream:
        prepared = Gateway(tmp_path, Authority.create(), upstream)
        try:
            yield prepared
        finally:
            prepared.end()
            upstream.shutdown()


def service(port: int, echo: Echo, api_id: str = "echo") -> dict[str, Any]:
    target = f"tcp://127.0.0.1:{echo.server_address[1]}"
    return {"api_id": api_id, "protocol": "tcp", "listen_port": port, "proxy": {"target_url": target}}


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def echoes(sock: socket.socket) -> bool:
    sock.sendall(b"ping\n")
    return sock.recv(100) == b"ping\n"


def serves(port: int) -> bool:
    with connect(port) as sock:
        return echoes(sock)


def refuses(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), connect(port):
        return False
    return True


def reload(gateway: Gateway, answer: str = "reload.applied") -> str:
    gateway.configure()
    gateway.signal(signal.SIGHUP)
    return gateway.hear(answer)


def test_ports_come_and_go_with_reloads_and_one_that_is_taken_is_out_alone_until_it_is_free(
    gateway: Gateway, echo: Echo
) -> None:
    first, second, taken = free_ports(3)
    gateway.settings["apis"].append(service(first, echo))
    gateway.configure()
    gateway.started()
    assert f"services={first}" in gateway.hear("gateway.started")
    with connect(first) as kept:
        assert echoes(kept)
        with socket.create_server(("127.0.0.1", taken)):
            gateway.settings["apis"] += [service(second, echo, "second"), service(taken, echo, "taken")]
            gateway.configure()
            gateway.signal(signal.SIGHUP)
            line = gateway.hear("port.missing")
            assert f"cannot listen on 127.0.0.1 port {taken}: Address already in use; it is tried again" in line
            until(lambda: not refuses(second) and serves(second))
            assert serves(first)
            said = gateway.health()["details"]["definitions"]["output"]
            assert "taken (" in said
            assert f") port closed: apis[taken].listen_port: cannot listen on 127.0.0.1 port {taken}" in said
        gateway.hear("port.opened", port=str(taken))  # by itself
        until(lambda: not refuses(taken) and serves(taken))
        assert "definitions" not in gateway.health()["details"]
        del gateway.settings["apis"][1]
        reload(gateway)
        until(lambda: refuses(first))
        assert echoes(kept)
        assert serves(second)
    assert gateway.get() == "first"


@pytest.mark.parametrize("strict", [False, True])
def test_a_start_with_a_port_that_is_taken_serves_the_others_unless_it_is_strict(
    gateway: Gateway, echo: Echo, *, strict: bool
) -> None:
    first, taken = free_ports(2)
    gateway.settings["apis"] += [service(first, echo), service(taken, echo, "taken")]
    gateway.settings["gateway"]["strict"] = strict
    gateway.configure()
    with socket.create_server(("127.0.0.1", taken)):
        if strict:
            gateway.start()
            assert gateway.process.wait(PATIENCE) == 2
            assert "Address already in use" in gateway.rest()
            return
        gateway.started()
        assert serves(first)
        assert gateway.get() == "first"
        gateway.hear("port.missing", port=str(taken))
    until(lambda: not refuses(taken) and serves(taken))


def test_who_waits_to_be_accepted_loses_nothing_when_every_process_but_the_supervisor_is_killed(
    gateway: Gateway, echo: Echo
) -> None:
    gateway.started()
    (port,) = free_ports(1)
    gateway.settings["apis"].append(service(port, echo))
    reload(gateway)  # control opens it
    assert serves(port)
    children = gateway.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(port)) for _ in range(20)]
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        assert all(map(echoes, waiting))
    until(gateway.ready)
    assert not set(children) & set(gateway.children())
    gateway.signal(signal.SIGTTIN)
    until(lambda: len(gateway.children()) == len(children) + 1)
    assert serves(port)


def test_an_upgrade_takes_the_ports_of_services_over(gateway: Gateway, echo: Echo) -> None:
    gateway.started()
    (port,) = free_ports(1)
    gateway.settings["apis"].append(service(port, echo))
    reload(gateway)
    with connect(port) as kept:
        assert echoes(kept)
        gateway.signal(signal.SIGUSR2)
        pid = int(gateway.hear("upgrade.started").rsplit("successor=")[1])
        try:
            gateway.hear("upgrade.done")
            assert serves(port)
            assert echoes(kept)  # with a worker that drains
            kept.close()
            assert gateway.process.wait(PATIENCE) == 0
            assert serves(port)
            del gateway.settings["apis"][1]
            gateway.configure()
            os.kill(pid, signal.SIGHUP)
            gateway.hear("port.closed", port=str(port))
            until(lambda: refuses(port))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    gateway.rest()
