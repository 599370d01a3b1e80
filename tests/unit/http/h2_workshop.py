"""An HTTP/2 connection without a socket: what a client sends goes in, what it would read comes out."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import hpack
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from gateway.config.settings import Limits
from gateway.http.downstream import Peer
from gateway.http.fields import request_fields
from gateway.http.h2_server import H2Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.http.downstream import Downstream
    from gateway.http.head import RequestHead

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")]
POST = [(":method", "POST"), *GET[1:]]


def block(fields: list[tuple[str, str]]) -> bytes:
    """Compress without the dynamic table."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


def headers(stream: int, fields: list[tuple[str, str]] | bytes = GET, *, ended: bool = True) -> HeadersFrame:
    """Write HEADERS in one frame."""
    data = fields if isinstance(fields, bytes) else block(fields)
    return HeadersFrame(stream, data, flags=["END_HEADERS", *(["END_STREAM"] if ended else [])])


class FakeTransport:
    """Keeps what is written; ``full`` makes the next write the last that fits."""

    def __init__(self) -> None:
        self.protocol: H2Connection | None = None
        self.written: list[bytes] = []
        self.full = self.closing = self.aborted = self.ended = False
        self.unsent = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if self.full and self.protocol is not None and not self.protocol.blocked:
            self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = self.closing = True

    def get_extra_info(self, _: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.unsent


class FakeExchange:
    """Keeps what it is told; a test answers in its place."""

    client_limits = None

    def __init__(self, downstream: Downstream, head: RequestHead) -> None:
        self.downstream = downstream
        self.head = head
        self.body = b""
        self.trailers: list[bytes] = []
        self.ended = self.paused = self.gone = self.done = self._begun = False
        self.failed = 0
        self.refused = ""
        self.deadline = inf

    def start(self) -> None:
        pass

    def request_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        self.body += data
        self.ended, self.trailers = ended, trailers

    def request_failed(self, status: int, _: str) -> None:
        self.failed = status
        self.answer(status=b"%d" % status)

    def pause_response(self) -> None:
        self.paused = True

    def resume_response(self) -> None:
        self.paused = False

    def drain(self) -> None:
        pass

    def abandoned(self) -> None:
        self.gone = True

    def response_refused(self, reason: str) -> None:
        self.refused = reason

    def answer(self, body: bytes = b"", *lines: bytes, status: bytes = b"200", ended: bool = True) -> None:
        """Respond; the length of a body that is not ended stays open."""
        self.done, self._begun = ended, True
        self.downstream.respond(b"HTTP/1.1 " + status, list(lines), len(body) if ended else -1, body, ended=ended)

    def respond(self, body: bytes, *, ended: bool) -> None:
        """Begin the response, or go on with it."""
        if self._begun:
            self.done = ended
            self.downstream.send_body(body, [], ended=ended)
        else:
            self.answer(body, ended=ended)

    def abort(self) -> None:
        """Break the response off."""
        self.done = True
        self.downstream.abort()


class Workshop:
    """A connection, its front, and its client's view."""

    def __init__(self, *, settings: dict[int, int] | None = None, first: bool = True, **limits: int) -> None:
        self.now = 1000.0
        self.limits = SimpleNamespace(**Limits(**limits).model_dump())
        self.request_table = request_fields()
        self.draining = False
        self.read_timeout = self.write_timeout = 0.0
        self.keep_alive = True
        self.websockets = False
        self.loop = self
        self.exchanges: list[FakeExchange] = []
        self.floods: list[str] = []
        self.errors: list[str] = []
        self.refusals: list[int] = []
        self.slowness: list[str] = []
        self._soon: list[Callable[[], None]] = []
        self._read = b""
        self.frames: list[Frame] = []
        """What the client has read."""
        self.transport = FakeTransport()
        self.connection = H2Connection(cast("Any", self), Peer("192.0.2.1", 443, trusted=False, forwarded_lines=b""))
        self.transport.protocol = self.connection
        self.connection.connection_made(cast("Any", self.transport))
        if first:
            self.send(PREFACE, SettingsFrame(0, settings or {}), SettingsFrame(0, flags=["ACK"]))

    # the front and its loop

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def exchange(self, downstream: Downstream, head: RequestHead) -> FakeExchange:
        self.exchanges.append(FakeExchange(downstream, head))
        return self.exchanges[-1]

    def refused(self, _: Peer, status: int, __: str) -> None:
        self.refusals.append(status)

    def broken_off(self, _: Peer, reason: str, *, flood: bool) -> None:
        (self.floods if flood else self.errors).append(reason)

    def slow(self, _: Peer, count: str, __: str = "") -> None:
        self.slowness.append(count)

    def closed(self, _: H2Connection) -> None:
        pass

    # the client and the clock

    def send(self, *items: Frame | bytes) -> None:
        """Let these arrive in one read."""
        data = b"".join(item if isinstance(item, bytes) else item.serialize() for item in items)
        self.connection.data_received(data)

    def turn(self) -> None:
        """End the loop's turn."""
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()

    def wait(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.connection.tick(self.now)
            self.turn()

    def read(self) -> list[Frame]:
        """Return the frames that came since the last time."""
        self.turn()
        wire = self._read + b"".join(self.transport.written)
        self.transport.written.clear()
        fresh = []
        while len(wire) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(wire[:9]))
            if len(wire) < 9 + length:
                break
            frame.parse_body(memoryview(wire[9 : 9 + length]))
            wire = wire[9 + length :]
            fresh.append(frame)
        self._read = wire
        self.frames += fresh
        return fresh

    def got(self, kind: type[Frame], stream: int | None = None) -> list[Any]:
        """Return the frames of a type among those that came since the last time."""
        return [f for f in self.read() if isinstance(f, kind) and stream in (None, f.stream_id)]

    def goaway(self) -> int | None:
        """Return the error code of a GOAWAY, if one came."""
        codes = [frame.error_code for frame in self.got(GoAwayFrame)]
        return codes[-1] if codes else None
