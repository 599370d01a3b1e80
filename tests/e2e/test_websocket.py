"""WebSockets through real processes: a reload leaves them alone, a stop says goodbye to both sides."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.roles import PATIENCE, Gateway
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Echo:
    """A WebSocket server that remembers how its connections ended."""

    def __init__(self) -> None:
        self.codes: list[int | None] = []
        self.ended = threading.Event()
        self.url = ""

    def handle(self, connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(connection.recv())
        except ConnectionClosed as closed:
            self.codes.append(closed.rcvd.code if closed.rcvd is not None else None)
            self.ended.set()


@contextmanager
def echoing() -> Iterator[Echo]:
    echo = Echo()
    server: Server
    with serve(echo.handle, "127.0.0.1", 0) as server:
        echo.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield echo
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def test_a_reload_leaves_websockets_alone_and_a_stop_says_goodbye(tmp_path: Path) -> None:
    with echoing() as echo:
        gateway = Gateway(tmp_path, Authority.create(), echo)  # type: ignore[arg-type]  # of which only the URL is used
        try:
            gateway.started()
            sock = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)
            with connect(
                f"wss://a.test:{gateway.port}/", sock=sock, ssl=gateway.trust, server_hostname="a.test"
            ) as client:
                client.send("before")
                assert client.recv(PATIENCE) == "before"
                gateway.settings["apis"].append(gateway.api("b.test", echo))  # type: ignore[arg-type]
                gateway.configure()
                gateway.signal(signal.SIGHUP)
                gateway.hear("reload.applied")
                client.send("after")
                assert client.recv(PATIENCE) == "after"
                gateway.signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed) as closed:
                    client.recv(PATIENCE)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
            assert echo.ended.wait(PATIENCE)
            assert echo.codes == [1001]
            assert "requests were cut" not in gateway.rest()
            assert gateway.process.wait(PATIENCE) == 0
        finally:
            gateway.end()
