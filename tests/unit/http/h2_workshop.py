"""An HTTP/2 connection without a socket: what a client sends goes in, what it would read comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import hpack
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from gateway.http.downstream import Peer
from gateway.http.h2_server import H2Connection
from tests.unit.http.fake_front import FakeFront, FakeTransport

if TYPE_CHECKING:
    from collections.abc import Callable

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


class Transport(FakeTransport):
    """``full`` makes the next write the last that fits."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: H2Connection | None = None
        self.full = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.protocol is not None and not self.protocol.blocked:
            self.protocol.pause_writing()


class Workshop(FakeFront):
    """A connection, its front, and its client's view."""

    def __init__(self, *, settings: dict[int, int] | None = None, first: bool = True, **limits: int) -> None:
        super().__init__(**limits)
        self.loop = self
        self._soon: list[Callable[[], None]] = []
        self._read = b""
        self.frames: list[Frame] = []
        """What the client has read."""
        self.transport = Transport()
        self.connection = H2Connection(cast("Any", self), Peer("192.0.2.1", 443, trusted=False, forwarded_lines=b""))
        self.transport.protocol = self.connection
        self.connection.connection_made(cast("Any", self.transport))
        if first:
            self.send(PREFACE, SettingsFrame(0, settings or {}), SettingsFrame(0, flags=["ACK"]))

    # the loop

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

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
