"""A connection to an upstream, fed by hand."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from gateway.http.fields import request_fields, response_fields
from gateway.http.h1_client import UpstreamConnection
from gateway.http.head import parse_request

if TYPE_CHECKING:
    from gateway.errors import UpstreamError
    from gateway.http.head import ResponseHead


class Receiver:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.status = 0
        self.failure: UpstreamError | None = None

    def response_head(self, head: ResponseHead, body: bytes, *, ended: bool) -> None:
        assert ended
        self.status = head.status

    def response_failed(self, error: UpstreamError, *, began: bool) -> None:
        self.failure = error


class Broken(asyncio.Transport):
    """The transport of a connection that broke while it was written to."""

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        pass


def break_off(sent: bytes) -> Receiver:
    """Let a connection break whose upstream had sent ``sent``."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    receiver = Receiver()
    connection = UpstreamConnection(response_fields(), lambda _: None)
    connection.connection_made(Broken({"socket": ours}))
    head = parse_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9", request_fields(), 100)
    connection.request(head, b"/", b"a", b"", receiver)  # type: ignore[arg-type]
    theirs.sendall(sent)
    theirs.close()
    connection.connection_lost(BrokenPipeError())
    ours.close()
    return receiver


def test_an_answer_that_came_before_the_connection_broke_is_still_read() -> None:
    receiver = break_off(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    assert (receiver.status, receiver.failure) == (413, None)


def test_half_an_answer_before_the_connection_broke_is_none() -> None:
    receiver = break_off(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n")
    assert receiver.status == 0
    assert receiver.failure is not None
