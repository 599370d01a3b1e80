"""What an HTTP/2 connection sends: frames together, responses in turns, back-pressure (RFC 9113 section 5.2).

A response goes out as far as the socket, the connection's window and its stream's window take it. The rest waits in the
stream. Who has something waiting gets one frame in turn, so that no download holds up the others.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from gateway.http import h2_frames as frames
from gateway.http.h2_credit import CREDIT
from gateway.http.h2_frames import WINDOW, FrameType
from gateway.http.unsent import unsent

if TYPE_CHECKING:
    from gateway.http.downstream import Front
    from gateway.http.h2_stream import H2Stream

_FLUSH_BYTES = 65536
_PENDING_BYTES = 2 << 20
_SPARE_WINDOW = 1 << 20


class H2Output(asyncio.Protocol):
    """The sending half of ``H2Connection``."""

    __slots__ = (
        "_flushing",
        "_initial_window",
        "_out",
        "_out_size",
        "_prefix",
        "_streams",
        "_unsent",
        "_waiting",
        "blocked",
        "congested",
        "credit",
        "front",
        "pending",
        "spare_window",
        "transport",
        "window",
        "write_deadline",
    )

    transport: asyncio.Transport

    def __init__(self, front: Front) -> None:
        self.front = front
        self._streams: dict[int, H2Stream] = {}
        self._waiting: dict[H2Stream, None] = {}
        self._out: list[bytes | memoryview] = []
        self._out_size = self._unsent = 0
        self._prefix = b""
        """What the next field block must begin with, because of the client's settings."""
        self._flushing = False
        self._initial_window = self.window = WINDOW
        self.pending = 0
        """Bytes of responses that wait for the client's windows."""
        self.spare_window = _SPARE_WINDOW
        """Bytes by which the windows of streams may grow, all together."""
        self.blocked = False
        self.congested = False
        """Whether no response may go on: the socket is full, or too much waits already."""
        self.credit = CREDIT
        self.write_deadline = inf

    def write(self, data: bytes) -> None:
        """Send ``data`` with what else is ready."""
        self._out.append(data)
        self._out_size += len(data)
        if not self._flushing:
            self._flushing = True
            self.front.loop.call_soon(self._flush_later)

    def write_headers(self, number: int, block: bytes, *, ended: bool) -> None:
        """Send a field block on a stream."""
        if self._prefix:
            block, self._prefix = self._prefix + block, b""
        self.write(frames.headers(number, block, frames.MAX_FRAME_SIZE, ended=ended))

    def write_data(self, number: int, data: memoryview, flags: int) -> None:
        """Send a DATA frame without a copy of what is in it."""
        self.write(frames.header(FrameType.DATA, flags, number, len(data)))
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size >= _FLUSH_BYTES:
            self._flush()

    def wait(self, stream: H2Stream) -> None:
        """Send what waits in ``stream`` as far as it may be sent, the rest when the client takes it."""
        self._waiting[stream] = None
        self._send_waiting((stream,))
        if stream in self._waiting:
            stream.hold()
            stream.await_client()
            if self.pending > _PENDING_BYTES and not self.congested:
                self._set_congested(congested=True)

    def _send_waiting(self, streams: tuple[H2Stream, ...]) -> None:
        """Send what waits in ``streams``, a frame of each in turn."""
        waiting = self._waiting
        while streams and not self.blocked:
            streams = tuple(stream for stream in streams if stream in waiting and self._send_some(stream))
        if self.congested and not self.blocked and self.pending <= _PENDING_BYTES // 2:
            self._set_congested(congested=False)

    def _send_some(self, stream: H2Stream) -> bool:
        more = stream.send_some()
        if not more and not stream.waits:
            self._waiting.pop(stream, None)
        return more

    def _set_congested(self, *, congested: bool) -> None:
        self.congested = congested
        for stream in tuple(self._streams.values()):
            if congested:
                stream.hold()
            else:
                stream.release()

    def _flush_later(self) -> None:
        self._flushing = False
        self._flush()

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            self.transport.write(data)

    def pause_writing(self) -> None:
        """The client does not read: stop the responses, and give it a while."""
        self.blocked = True
        self._unsent = unsent(self.transport)
        self.write_deadline = self.front.now + self.front.limits.write_idle_timeout
        self._set_congested(congested=True)

    def resume_writing(self) -> None:
        """The client reads again."""
        self.blocked = False
        self.write_deadline = inf
        self._send_waiting(tuple(self._waiting))
