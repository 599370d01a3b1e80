"""An HTTP/2 connection to an upstream: many requests at a time, each a stream (RFC 9113).

Theory of operation
-------------------
What comes in one read is sorted into its streams first, and then delivered, stream by stream: a response that is there
as a whole is passed on as a whole. A stream whose client does not read keeps what comes in its inbox and gives no
credit for it, so that an inbox never holds more than ``STREAM_WINDOW``. The connection's own window is credited as
bytes arrive: a client that does not read stops its own response and nobody else's.

What an upstream breaks within a stream costs that stream, which hears nothing more, whatever follows; the connection
then takes no more requests and is closed after its last response. What it breaks of the connection ends it at once, and
so does a flood of frames that move nothing (``h2_credit``). On streams that are over the upstream may send what their
windows had left, for it could not know better. More is a fault.
"""

# ruff: noqa: ARG002 - frames of all types are handled by methods of one shape

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from gateway.errors import Http2Error, MessageError, UpstreamError
from gateway.http import h2_frames
from gateway.http.h2_credit import ANSWERED, CREDIT, EXHAUSTED, LITTLE, MOVED, PER_SECOND, RESET
from gateway.http.h2_frames import ACK, END_STREAM, PADDED, ErrorCode, FrameReader, Setting
from gateway.http.h2_head import parse_trailers
from gateway.http.h2_upstream_stream import STREAM_WINDOW, H2UpstreamStream
from gateway.http.last_words import last_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.http.h2_response import ResponseBlocks

_CONNECTION_WINDOW = 1 << 20
_MAX_STREAMS = 100  # of ours, on one connection: what RFC 9113 section 6.5.2 has servers allow at least
_MAX_ACKS = 100  # that wait for a peer which does not read
_SUSPICION_SECONDS = 5.0
_CLOSING_SECONDS = 5.0
_EMPTY_TABLE = b"\x20"
"""Sent first (RFC 7541 section 6.3): our encoder has no dynamic table, whatever size the peer may come to demand."""


class H2UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream. ``changed`` is called with it when it has room again, and when it has closed.

    ``ready`` is done when the upstream has said its settings, or will not.
    """

    __slots__ = (
        "_acks",
        "_begun",
        "_blocks",
        "_by_number",
        "_changed",
        "_clock",
        "_first_bytes",
        "_heard",
        "_last",
        "_late",
        "_peer_streams",
        "_prefix",
        "_reader",
        "_retiring",
        "_taken",
        "_touched",
        "_waiting",
        "_write_paused",
        "closed",
        "credit",
        "end",
        "fault",
        "idle_until",
        "max_frame",
        "ready",
        "scheme",
        "stream_window",
        "streams",
        "transport",
        "window",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        scheme: bytes,
        blocks: ResponseBlocks,
        changed: Callable[[H2UpstreamConnection], None],
        clock: Callable[[], float],
    ) -> None:
        self.scheme = scheme
        self._changed = changed
        self._clock = clock
        self._reader = FrameReader(blocks.max_bytes)
        self._blocks = blocks
        self._by_number: dict[int, H2UpstreamStream] = {}
        self._touched: dict[H2UpstreamStream, None] = {}
        self._waiting: dict[H2UpstreamStream, None] = {}
        self._prefix = _EMPTY_TABLE
        self._first_bytes = b""
        self._begun = self.streams = self._last = self._acks = self._taken = self._late = 0
        self._peer_streams = _MAX_STREAMS
        self._retiring = self._write_paused = self.closed = False
        self._heard = self.idle_until = 0.0
        self.window = self.stream_window = h2_frames.WINDOW
        self.max_frame = h2_frames.MAX_FRAME_SIZE
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.credit: float = CREDIT
        self.end = ""
        self.fault: UpstreamError | None = None
        """The upstream's breach of the protocol that ended the connection, for the pool to report."""

    def __repr__(self) -> str:
        """Show what the connection is doing."""
        state = "closed" if self.closed else "retiring" if self._retiring else "open"
        return f"<H2UpstreamConnection {state} streams={self.streams} served={self._begun}>"

    # what the pool asks

    @property
    def has_room(self) -> bool:
        """Whether another request can be sent now."""
        return not (self.closed or self._retiring) and self.streams < self._peer_streams and self._last < 2**31 - 3

    def open(self) -> H2UpstreamStream:
        """Begin a request; ``has_room`` must be true."""
        self.streams += 1
        self._begun += 1
        return H2UpstreamStream(self, self._begun - 1)

    def retire(self) -> None:
        """Take no more requests, and close after the last of those under way."""
        self._retiring = True
        if not self.streams:
            self.close()

    def close(self) -> None:
        """Close at once; only for a connection without requests."""
        if not self.closed:
            self.closed = True
            self.transport.close()
            asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self.transport.abort)

    # what its streams ask

    @property
    def is_blocked(self) -> bool:
        """Whether nothing can be sent now: the window is used up, or the upstream does not read."""
        return self.window <= 0 or self._write_paused

    def send_head(self, stream: H2UpstreamStream, block: bytes, *, ended: bool) -> int:
        """Send a request's head; returns the number of its stream."""
        self._last = number = self._last + 2 if self._last else 1
        if self.closed or self._retiring:
            stream.failed(UpstreamError(502, self.end or "the upstream goes away", unprocessed=True))
            asyncio.get_running_loop().call_soon(stream.deliver)
            return number
        self._by_number[number] = stream
        self.send(h2_frames.headers(number, self._prefix + block, self.max_frame, ended=ended))
        self._prefix = b""
        return number

    def send(self, data: bytes) -> None:
        """Send frames."""
        if not self.closed:
            self.transport.write(data)

    def wait(self, stream: H2UpstreamStream) -> None:
        """Let ``stream`` send on when the connection can: who waits longest is first."""
        self._waiting[stream] = None

    def finished(self, stream: H2UpstreamStream) -> None:
        """Forget a stream that is complete, broken, given up or was never used."""
        self._detach(stream)
        self.streams -= 1
        if stream.ended:
            self.credit += ANSWERED
        if self._retiring and not self.streams:
            self.close()
        self._changed(self)

    def _detach(self, stream: H2UpstreamStream) -> None:
        """Let a stream hear nothing more; it may be some time until its client is told."""
        self._waiting.pop(stream, None)
        if self._by_number.pop(stream.number, None) is not None and not stream.ended:
            self._late += stream.receive_window

    def silent_since(self, moment: float) -> bool:
        """Whether the upstream has said nothing at all for seconds, ``moment`` being within them.

        It may be dead: no network tells of a peer that vanished. What is new should go elsewhere.
        """
        return self._heard <= moment <= self._clock() - _SUSPICION_SECONDS

    def now(self) -> float:
        """Tell the time, in seconds."""
        return self._clock()

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say the preface (RFC 9113 section 3.4)."""
        self.transport = transport  # type: ignore[assignment]  # a stream transport, as create_connection makes
        settings = {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: self._blocks.max_bytes,
        }
        window = h2_frames.window_update(0, _CONNECTION_WINDOW - h2_frames.WINDOW)
        self.transport.write(h2_frames.PREFACE + h2_frames.settings(settings) + window)

    def data_received(self, data: bytes) -> None:
        """Take what the upstream sent."""
        if self.closed:
            return
        now = self._clock()
        if now > self._heard:
            self.credit = min(self.credit + (now - self._heard) * PER_SECOND, CREDIT)
            self._heard = now
        handlers = self._handlers
        try:
            if len(self._first_bytes) < h2_frames.HEADER_SIZE:
                self._expect_settings(data)
            for kind, flags, number, payload in self._reader.feed(data):
                try:
                    if kind < len(handlers):
                        handlers[kind](self, flags, number, payload)
                    else:
                        self.credit -= 1
                except MessageError as error:
                    self._break_stream(number, error)
                if self.credit < 0:
                    self._refuse_flood()
        except Http2Error as error:
            self._break(error)
        touched, self._touched = self._touched, {}
        for stream in touched:
            stream.deliver()

    def _refuse_flood(self) -> NoReturn:
        raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, EXHAUSTED)

    def _expect_settings(self, data: bytes) -> None:
        """Refuse an upstream that speaks something else as soon as its bytes tell (RFC 9113 section 3.4)."""
        self._first_bytes = first = (self._first_bytes + data)[: h2_frames.HEADER_SIZE]
        if not h2_frames.may_be_settings(first):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"it begins with {first!r}, which is not HTTP/2")

    def _break(self, error: Http2Error) -> None:
        """End the connection because of what the upstream did."""
        self.send(h2_frames.goaway(0, ErrorCode(error.code)))
        self.close()
        self.fault = UpstreamError(502, f"the upstream broke the protocol: {error}")
        self._fail_all(self.fault, broken=True)

    def _break_stream(self, number: int, error: MessageError) -> None:
        """End a stream because of what the upstream did, and use the connection for no other."""
        stream = self._by_number.get(number)
        if stream is not None:
            self._detach(stream)
            self.send(h2_frames.rst_stream(number, ErrorCode.PROTOCOL_ERROR))
            self._retiring = True
            stream.broken(UpstreamError(502, f"the upstream broke the protocol: {error}"))
        elif not number:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all streams, and the pool."""
        self._retiring = True
        if error is not None and self.scheme == b"http":  # over TLS, these were decrypted before
            for data in last_words(self.transport):
                self.data_received(data)
        self.closed = True
        reason = "the upstream closed the connection" if error is None else f"the upstream connection broke: {error}"
        self._fail_all(UpstreamError(502, self.end or reason))
        self._changed(self)

    def _fail_all(self, error: UpstreamError, *, broken: bool = False) -> None:
        self.end = str(error)
        if not self.ready.done():
            self.ready.set_result(None)
        for stream in tuple(self._by_number.values()):
            self._detach(stream)
            if broken:
                stream.broken(error)
            else:
                stream.failed(error)
            stream.deliver()

    def pause_writing(self) -> None:
        """Note that the upstream does not read."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._write_paused = False
        self._acks = 0
        self._send_on()

    def _send_on(self) -> None:
        while self._waiting and not self.is_blocked:
            stream = next(iter(self._waiting))
            del self._waiting[stream]
            stream.send_on()

    # frames

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._taken += size
        if self._taken > _CONNECTION_WINDOW // 2:
            self.send(h2_frames.window_update(0, self._taken))
            self._taken = 0
        data = h2_frames.unpadded(payload) if flags & PADDED else payload
        ended = bool(flags & END_STREAM)
        stream = self._stream(number)
        if stream is None:
            self._data_too_late(size)
            return
        if len(data) >= LITTLE:
            self.credit += MOVED
        elif not (data or ended):
            self.credit -= 1
        stream.data_received(data, size, ended=ended)

    def _data_too_late(self, size: int) -> None:
        """Take DATA for a stream that is over."""
        self._late -= size
        if self._late < 0:
            self._retiring = True
            self.credit -= RESET
        elif size < LITTLE:
            self.credit -= 1

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        stream = self._stream(number)
        ended = bool(flags & END_STREAM)
        if stream is None:
            self.credit -= 1
            self._blocks.fields(payload)  # of a stream that is over: the table must stay in step
        elif stream.has_head:
            stream.trailers_received(parse_trailers(self._blocks.fields(payload)), ended=ended)
        else:
            stream.head_received(self._blocks.response(payload), ended=ended)

    def _stream(self, number: int) -> H2UpstreamStream | None:
        """Find a stream and have it delivered to; what comes for one that is over passes (RFC 9113 section 5.1)."""
        stream = self._by_number.get(number)
        if stream is not None:
            self._touched[stream] = None
        elif number % 2 == 0 or number > self._last:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {number}, which was never opened")
        return stream

    def _rst_stream(self, flags: int, number: int, payload: bytes) -> None:
        self.credit -= 1
        stream = self._stream(number)
        if stream is not None:
            code = h2_frames.number(payload)
            self._detach(stream)
            stream.failed(
                UpstreamError(
                    502,
                    f"the upstream reset the stream, code {code}",
                    unprocessed=code == ErrorCode.REFUSED_STREAM,  # RFC 9113 section 8.7
                    code=code,
                )
            )

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        self.credit -= 1 + len(payload) // 60
        if flags & ACK:
            if payload:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload")
            return
        for setting, value in dict(h2_frames.parse_settings(payload)).items():  # the last one of several stands
            if setting == Setting.MAX_CONCURRENT_STREAMS:
                self._peer_streams = min(value, _MAX_STREAMS)
            elif setting == Setting.INITIAL_WINDOW_SIZE:
                change = value - self.stream_window
                self.stream_window = value
                for stream in self._by_number.values():
                    stream.widen(change)
            elif setting == Setting.MAX_FRAME_SIZE:
                self.max_frame = min(value, STREAM_WINDOW)
            elif setting == Setting.ENABLE_PUSH and value:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a server that wants to be pushed to")
        self._acknowledge(h2_frames.SETTINGS_ACK)
        if not self.ready.done():
            self.ready.set_result(None)

    def _push_promise(self, flags: int, number: int, payload: bytes) -> None:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which was declined")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        self.credit -= 1
        if not flags & ACK:
            self._acknowledge(h2_frames.ping(payload, ack=True))

    def _acknowledge(self, frame: bytes) -> None:
        if self._write_paused:
            self._acks += 1
            if self._acks > _MAX_ACKS:
                raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "it asks without reading the answers")
        self.send(frame)

    def _goaway(self, flags: int, number: int, payload: bytes) -> None:
        self.credit -= 1
        last = h2_frames.dependency(payload)
        code = h2_frames.number(payload[4:])
        self._retiring = True
        for stream in tuple(self._by_number.values()):
            if stream.number > last:  # RFC 9113 section 6.8: these were not and will not be acted on
                self._detach(stream)
                stream.failed(UpstreamError(502, f"the upstream goes away, code {code}", unprocessed=True))
                self._touched[stream] = None
        if not self.streams:
            self.close()

    def _window_update(self, flags: int, number: int, payload: bytes) -> None:
        self.credit -= 1
        increment = h2_frames.dependency(payload)
        if number == 0:
            self.window += increment
            if not increment or self.window > h2_frames.MAX_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window that is widened by nothing or by too much")
            self._send_on()
            return
        stream = self._stream(number)
        if stream is not None:
            if not increment:
                raise MessageError(502, "a stream's window that is widened by nothing")
            stream.widen(increment)

    def _priority(self, flags: int, number: int, payload: bytes) -> None:
        self.credit -= 1  # a server has no use for it (RFC 9113 section 5.3.2)

    # In the order of their types.
    _handlers = (
        _data,
        _headers,
        _priority,
        _rst_stream,
        _settings,
        _push_promise,
        _ping,
        _goaway,
        _window_update,
    )
