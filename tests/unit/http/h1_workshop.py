"""An HTTP/1.1 connection without a socket: what a client sends goes in, what it would read comes out."""

from __future__ import annotations

from typing import Any, cast

from gateway.http.downstream import Peer
from gateway.http.h1_server import H1Connection
from tests.unit.http.fake_front import FakeExchange, FakeFront, FakeTransport

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def post(length: int, body: bytes = b"") -> bytes:
    """Write a request with a body, and the part of it that is there."""
    return b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % length + body


class Workshop(FakeFront):
    """A connection, its front, and its client's view."""

    def __init__(self, **limits: int) -> None:
        super().__init__(**limits)
        self.transport = FakeTransport()
        self.connection = H1Connection(cast("Any", self), Peer("192.0.2.1", 443, trusted=False, forwarded_lines=b""))
        self.connection.connection_made(cast("Any", self.transport))

    @property
    def last(self) -> FakeExchange:
        """The exchange that began last."""
        return self.exchanges[-1]

    def send(self, data: bytes) -> None:
        """Let this arrive in one read."""
        assert self.transport.reading
        self.connection.data_received(data)

    def wait(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.connection.tick(self.now)

    def read(self) -> bytes:
        """Return what was written since the last time."""
        data = b"".join(self.transport.written)
        self.transport.written.clear()
        return data
