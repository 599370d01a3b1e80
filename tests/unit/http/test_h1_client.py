"""A connection to an upstream, fed by hand."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from gateway.http.fields import request_fields, response_fields
from gateway.http.h1_client import UpstreamConnection
from gateway.http.head import parse_request
from tests.support.hostile_h1 import FIELDS, NOT_HTTP, STATUS_LINES

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

    def is_closing(self) -> bool:
        return False


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


def feed(*pieces: bytes) -> Receiver:
    """Let a response to a GET arrive in these pieces, over a connection that stays open."""
    ours, theirs = socket.socketpair()
    receiver = Receiver()
    connection = UpstreamConnection(response_fields(), lambda _: None)
    connection.connection_made(Broken({"socket": ours}))
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a", request_fields(), 100)
    connection.request(head, b"/", b"a", b"", receiver)  # type: ignore[arg-type]
    for piece in pieces:
        connection.data_received(piece)
        if receiver.status or receiver.failure:
            break
    ours.close()
    theirs.close()
    return receiver


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


SOUND = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n",
    b"HTTP/1.0 599 \r\nContent-Length: 0 \r\nX-A:\r\nX-B: \xe4\t1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\nX-Long: " + b"x" * 200 + b"\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
]


@pytest.mark.parametrize("response", SOUND)
def test_a_sound_head_may_come_in_any_pieces(response: bytes) -> None:
    assert feed(*byte_by_byte(response)).status == int(response[9:12])
    for position in range(1, len(response)):
        assert feed(response[:position], response[position:]).status == int(response[9:12])


@pytest.mark.parametrize("first", NOT_HTTP.values(), ids=NOT_HTTP.keys())
def test_what_cannot_be_http_is_refused_with_the_byte_that_tells(first: bytes) -> None:
    receiver = feed(*byte_by_byte(first))
    assert receiver.status == 0
    assert receiver.failure is not None
    assert "which is not HTTP/1" in str(receiver.failure) or "malformed status line" in str(receiver.failure)


@pytest.mark.parametrize("line", [*FIELDS.values(), *STATUS_LINES.values()], ids=[*FIELDS.keys(), *STATUS_LINES.keys()])
def test_a_malformed_line_is_refused_wherever_the_bytes_are_cut(line: bytes) -> None:
    first = b"" if line in STATUS_LINES.values() else b"HTTP/1.1 200 OK\r\n"
    whole = first + line + b"\r\n\r\n"
    for pieces in ([whole], byte_by_byte(whole)) if len(whole) < 9000 else ([whole[:5000], whole[5000:]],):
        receiver = feed(*pieces)
        assert receiver.status == 0
        assert receiver.failure is not None
        assert receiver.failure.status == 502


def test_a_connection_on_which_something_waits_is_not_usable() -> None:
    ours, theirs = socket.socketpair()
    connection = UpstreamConnection(response_fields(), lambda _: None)
    connection.connection_made(Broken({"socket": ours}))
    assert connection.is_usable
    theirs.sendall(b"HTTP/1.1 200 OK\r\n")
    assert not connection.is_usable
    ours.recv(100)
    assert connection.is_usable
    theirs.close()
    assert not connection.is_usable
    ours.close()
