"""An answer that has arrived is read, although writing finds the connection broken first."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import TYPE_CHECKING, cast

import pytest
import uvloop

from gateway.http.fields import request_fields, response_fields
from gateway.http.h1_client import UpstreamConnection
from gateway.http.h2_client import H2UpstreamConnection
from gateway.http.h2_frames import END_STREAM, frame, headers, settings
from gateway.http.h2_response import ResponseBlocks
from gateway.http.head import parse_request
from gateway.proxy.upstream_tls import connect_tls
from tests.support.front import LOCALHOST, client_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.errors import UpstreamError
    from gateway.http.head import ResponseHead
    from gateway.http.upstream import UpstreamStream

EARLY = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"
UPLOAD = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000"


class Receiver:
    """Keeps the one answer, or the failure."""

    def __init__(self) -> None:
        self.done = asyncio.get_running_loop().create_future()

    def may_upgrade(self) -> bool:
        return False

    def response_head(self, head: ResponseHead, body: bytes, *, ended: bool) -> None:
        assert ended
        self.done.set_result((head.status, body))

    def response_failed(self, error: UpstreamError, *, began: bool) -> None:
        self.done.set_exception(error)

    def pause_request(self) -> None:
        pass

    def resume_request(self) -> None:
        pass


def serve(
    listener: socket.socket,
    answer: bytes,
    context: ssl.SSLContext | None,
    begun: threading.Event,
    closed: threading.Event,
) -> None:
    """Answer once the request has begun, and close over the rest of it, which resets the connection."""
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = context.wrap_socket(sock, server_side=True) if context else sock
    begun.wait(10)
    connection.recv(10)
    connection.sendall(answer)
    connection.close()
    closed.set()


def h1() -> UpstreamConnection:
    return UpstreamConnection(response_fields(), lambda _: None)


def h2() -> H2UpstreamConnection:
    return H2UpstreamConnection(b"http", ResponseBlocks(response_fields(), 65536, 100), lambda _: None, lambda: 0.0)


H2_EARLY = settings({}) + headers(1, b"\x08\x03413", 16384, ended=False) + frame(0, END_STREAM, 1, b"large")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(("protocol", "answer", "tls"), [(h1, EARLY, False), (h1, EARLY, True), (h2, H2_EARLY, False)])
def test_an_answer_that_is_in_the_socket_is_not_lost_with_it(
    tmp_path: Path,
    loop: Callable[[], asyncio.AbstractEventLoop],
    protocol: Callable[[], UpstreamConnection | H2UpstreamConnection],
    answer: bytes,
    tls: bool,
) -> None:
    context = None
    if tls:
        (tmp_path / "pair.pem").write_bytes(LOCALHOST.chain_pem + LOCALHOST.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "pair.pem")

    begun, closed = threading.Event(), threading.Event()

    async def upload(port: int) -> tuple[int, bytes]:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        if tls:
            transport = await connect_tls(protocol, sock, client_context(), "localhost")
        else:
            transport, _ = await asyncio.get_running_loop().create_connection(protocol, sock=sock)
        connection = transport.get_protocol()
        stream = cast(
            "UpstreamStream", connection.open() if isinstance(connection, H2UpstreamConnection) else connection
        )
        receiver = Receiver()
        head = parse_request(UPLOAD, request_fields(), 100)
        stream.request(head, b"/", b"a", b"", cast("object", receiver))  # type: ignore[arg-type]
        stream.send_body(b"x" * 16384, [], ended=False)
        for _ in range(3):
            await asyncio.sleep(0)  # uvloop writes at the end of its turn
        begun.set()
        assert closed.wait(10)  # the loop stands still meanwhile: it reads nothing
        if not receiver.done.done():
            stream.send_body(b"x" * 16384, [], ended=False)
        async with asyncio.timeout(10):
            return await receiver.done

    with socket.create_server(("127.0.0.1", 0)) as listener, asyncio.Runner(loop_factory=loop) as runner:
        thread = threading.Thread(target=serve, args=(listener, answer, context, begun, closed))
        thread.start()
        assert runner.run(upload(listener.getsockname()[1])) == (413, b"large")
        thread.join()
