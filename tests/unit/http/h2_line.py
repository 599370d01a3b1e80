"""An HTTP/2 connection to an upstream without a network: a test writes what the upstream says, frame by frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hpack import Encoder
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


def headers(number: int, *pairs: tuple[str, str], end: bool = False, encoder: Encoder | None = None) -> wire.Frame:
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return wire.HeadersFrame(number, (encoder or Encoder()).encode(pairs), flags=flags)


def data(number: int, payload: bytes, *, end: bool = False, padding: int | None = None) -> wire.Frame:
    flags = (["END_STREAM"] if end else []) + (["PADDED"] if padding is not None else [])
    return wire.DataFrame(number, payload, pad_length=padding or 0, flags=flags)


def settings(**values: int) -> wire.Frame:
    return wire.SettingsFrame(0, {getattr(wire.SettingsFrame, name): value for name, value in values.items()})


OK = (":status", "200")

MALFORMED_STREAMS: dict[str, list[wire.Frame]] = {
    "no status": [headers(1, ("x", "1"))],
    "a status that is no number": [headers(1, (":status", "2x0"))],
    "a status that is too small": [headers(1, (":status", "099"))],
    "a status that is too large": [headers(1, (":status", "600"))],
    "a status of four digits": [headers(1, (":status", "2000"))],
    "a status with a space": [headers(1, (":status", "200 "))],
    "an empty status": [headers(1, (":status", ""))],
    "two statuses": [headers(1, OK, OK)],
    "another pseudo-header field": [headers(1, OK, (":path", "/"))],
    "a pseudo-header field behind others": [headers(1, ("x", "1"), OK)],
    "a name in upper case": [headers(1, OK, ("X-A", "1"))],
    "a connection-specific field": [headers(1, OK, ("connection", "close"))],
    "a transfer coding": [headers(1, OK, ("transfer-encoding", "chunked"))],
    "a value with a line break": [headers(1, OK, ("x", "1\r\ny: 2"))],
    "a value with a NUL": [headers(1, OK, ("x", "1\0"))],
    "a value with space around it": [headers(1, OK, ("x", " 1"))],
    "a name with a space": [headers(1, OK, ("x y", "1"))],
    "a name with a colon": [headers(1, OK, ("x:", "1"))],
    "an empty name": [headers(1, OK, ("", "1"))],
    "two lengths": [headers(1, OK, ("content-length", "1"), ("content-length", "1"))],
    "two equal lengths in one": [headers(1, OK, ("content-length", "1, 1"))],
    "a length that is none": [headers(1, OK, ("content-length", "-1"))],
    "a length with a sign": [headers(1, OK, ("content-length", "+5"))],
    "a length without digits": [headers(1, OK, ("content-length", ""))],
    "a length beyond all bounds": [headers(1, OK, ("content-length", "9" * 19))],
    "a shorter body": [headers(1, OK, ("content-length", "3")), data(1, b"ab", end=True)],
    "a longer body": [headers(1, OK, ("content-length", "1")), data(1, b"ab")],
    "no body where one is promised": [headers(1, OK, ("content-length", "3"), end=True)],
    "a body to a 204": [headers(1, (":status", "204")), data(1, b"ab", end=True)],
    "a body to a 304": [headers(1, (":status", "304"), ("content-length", "2")), data(1, b"ab", end=True)],
    "a shorter body before trailers": [
        headers(1, OK, ("content-length", "3")),
        data(1, b"ab"),
        headers(1, ("x-a", "1"), end=True),
    ],
    "a body before its head": [data(1, b"ab")],
    "an end before its head": [data(1, b"", end=True)],
    "a body behind an interim response": [headers(1, (":status", "100")), data(1, b"ab", end=True)],
    "an interim response with a length": [headers(1, (":status", "100"), ("content-length", "5"))],
    "an interim response that ends": [headers(1, (":status", "103"), end=True)],
    "switching protocols": [headers(1, (":status", "101"))],
    "interim responses without end": [headers(1, (":status", "103"))] * 17,
    "a second head": [headers(1, OK), headers(1, OK)],
    "trailers that do not end": [headers(1, OK), headers(1, ("x-a", "1"))],
    "trailers of a connection": [headers(1, OK), headers(1, ("transfer-encoding", "chunked"), end=True)],
    "trailers with a status": [headers(1, OK), headers(1, OK, end=True)],
    "trailers in upper case": [headers(1, OK), headers(1, ("X-A", "1"), end=True)],
    "more than the stream's window": [headers(1, OK), *[data(1, bytes(16384))] * 17],
    "too many fields": [headers(1, OK, *((f"x-{number}", "1") for number in range(101)))],
    "too large a list": [headers(1, OK, ("x", "1" * 9000), ("y", "1" * 9000))],
    "a window widened by nothing": [wire.WindowUpdateFrame(1, 0)],
    "a window widened too far": [wire.WindowUpdateFrame(1, 2**31 - 1)],
}
