"""An HTTP/2 connection to an upstream without a network: a test writes what the upstream says, frame by frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hyperframe import frame as wire

from gateway.http import fields
from gateway.http.h2_client import H2UpstreamConnection
from gateway.http.h2_response import ResponseBlocks
from gateway.http.head import RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.errors import UpstreamError


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken, self.written = bytes(self.written), bytearray()
        return taken


class Receiver:
    """Who waits for a response, and what became of it."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.interims: list[int] = []
        self.body = b""
        self.trailers: list[bytes] = []
        self.ended = self.paused = False
        self.error: UpstreamError | None = None
        self.began = False

    @property
    def over(self) -> bool:
        """Whether nothing more may be heard."""
        return self.ended or self.error is not None

    def response_interim(self, head: ResponseHead) -> None:
        assert not self.over
        assert self.head is None
        self.interims.append(head.status)

    def response_head(self, head: ResponseHead, body: bytes, *, ended: bool) -> None:
        assert self.head is None
        self.head = head
        self.response_body(body, ended=ended, trailers=[])

    def response_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        assert not self.over
        self.body += data
        self.ended = ended
        self.trailers = trailers

    def response_failed(self, error: UpstreamError, *, began: bool) -> None:
        assert not self.over
        self.error = error
        self.began = began

    def pause_request(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_request(self) -> None:
        assert self.paused
        self.paused = False


class Line:
    """A connection to an upstream, on a wire that a test holds in its hands."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.changes = 0
        self.now = 0.0
        blocks = ResponseBlocks(fields.response_fields(), 16384, 100)
        self.connection = H2UpstreamConnection(b"http", blocks, self._changed, lambda: self.now)
        self.connection.connection_made(self.wire)

    def _changed(self, connection: H2UpstreamConnection) -> None:
        self.changes += 1

    def ask(self, length: int = 0, method: bytes = b"GET") -> tuple[Receiver, object]:
        head = RequestHead(method, b"/", 1, b"a", [], [], length, True, False, b"")
        stream = self.connection.open()
        receiver = Receiver()
        stream.request(head, b"/", b"a", b"X-A: 1\r\n", receiver)
        return receiver, stream

    def feed(self, *frames: wire.Frame | bytes) -> None:
        data = b"".join(one if isinstance(one, bytes) else one.serialize() for one in frames)
        self.connection.data_received(data)

    def frames(self) -> list[wire.Frame]:
        """What was written since the last time, as another implementation reads it."""
        data = memoryview(self.wire.take().removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        frames = []
        while data:
            one, length = wire.Frame.parse_frame_header(data[:9])
            one.parse_body(data[9 : 9 + length])
            data = data[9 + length :]
            frames.append(one)
        return frames


def line(test: Callable[[Line], None]) -> None:
    """Run a test in a loop, which a connection is made in."""

    async def run() -> None:
        test(Line())

    asyncio.run(run())
