"""An HTTP/2 connection from a client: frames in and out, and the streams that they are about (RFC 9113).

Theory of operation
-------------------
``FrameReader`` cuts what comes into frames; each type has a method here, which changes the connection or hands over to
an ``H2Stream``. A stream makes an exchange of its own and is all that the exchange sees. What is to be sent gathers in
``_out`` and leaves with the end of a read, or of the loop's turn: answers that are ready together share a TLS record.

An error of a stream resets that stream, and harms no other. What ends the connection, and when, is in ``h2_lifetime``;
how things are sent in ``h2_output``; which frames a stream that is not open allows in ``h2_numbers``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.errors import HeaderListTooLargeError, Http2Error, MessageError, TargetError
from gateway.http import h2_frames as frames
from gateway.http import responses
from gateway.http.h2_credit import ANSWERED, EXHAUSTED, LITTLE, MOVED, RESET
from gateway.http.h2_frames import (
    ACK,
    END_STREAM,
    MAX_WINDOW,
    PADDED,
    WINDOW,
    ErrorCode,
    FrameType,
    Setting,
)
from gateway.http.h2_head import HeadReader, parse_trailers
from gateway.http.h2_lifetime import DRAIN_PING, H2Lifetime
from gateway.http.h2_numbers import Ending
from gateway.http.h2_stream import H2Stream
from gateway.http.h2_tunnel import H2Tunnel
from gateway.http.remainder import REMAINDER_BYTES

if TYPE_CHECKING:
    import asyncio

    from gateway.http.downstream import Front, Peer
    from gateway.http.hpack import FieldList

_RECEIVE_WINDOW = 1 << 20
"""Of the whole connection. It is given back at once: the windows of the streams bound what is held."""

_REFUSED_HEAD = 20

_NO_TABLE = b"\x20"  # RFC 7541 section 4.2: who allows a smaller table must be told that it is used


class H2Connection(H2Lifetime):
    """A client's connection on which ALPN chose h2, on any asyncio transport."""

    __slots__ = (
        "_heads",
        "_preface",
        "_reader",
        "_window_left",
    )

    def __init__(self, front: Front, peer: Peer) -> None:
        super().__init__(front, peer)
        self._reader = frames.FrameReader(4 * front.limits.head_bytes)
        self._heads = HeadReader()
        self._preface = frames.PREFACE
        self._window_left = _RECEIVE_WINDOW

    # bytes from the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what is taken here (RFC 9113 section 3.4)."""
        self.transport = transport  # type: ignore[assignment]  # a stream transport: ours, or the loop's
        limits = self.front.limits
        values = {
            Setting.MAX_CONCURRENT_STREAMS: limits.http2_streams,
            Setting.MAX_HEADER_LIST_SIZE: limits.head_bytes,
        }
        if self.front.websockets:
            values[Setting.ENABLE_CONNECT_PROTOCOL] = 1
        self.write(frames.settings(values) + frames.window_update(0, _RECEIVE_WINDOW - WINDOW))

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._lingering:
            self._discard(data)
            return
        if self._preface:
            expected = self._preface[: len(data)]
            if not data.startswith(expected):
                self._fail(Http2Error(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 connection preface"))
                return
            self._preface = self._preface[len(expected) :]
            data = data[len(expected) :]
        flushing, self._flushing = self._flushing, True
        try:
            for frame in self._reader.feed(data):
                self._receive(*frame)
        except Http2Error as error:
            self._fail(error)
            return
        finally:
            self._flushing = flushing
            self._flush()
        if not self._streams and self._reader.in_frame:
            self.read_deadline = min(self.read_deadline, self.front.now + self.front.limits.request_head_timeout)

    def _receive(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._lingering:
            return
        if not self._settled:
            if kind != FrameType.SETTINGS or flags & ACK:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._settled = True
            self.read_deadline = self.front.now + self.front.limits.keep_alive_timeout
            self._ack_deadline = self.front.now + self.front.limits.request_head_timeout
        try:
            if kind < len(self._HANDLERS):
                self._HANDLERS[kind](self, flags, number, payload)
            else:
                self.credit -= 1
        except Http2Error as error:
            if not error.stream:
                raise
            self.credit -= RESET
            self.reset(error.stream, ErrorCode(error.code))
        if self.credit < 0:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, EXHAUSTED)

    # frames

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._window_left -= size
        if self._window_left < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if self._window_left <= _RECEIVE_WINDOW // 2:
            self.write(frames.window_update(0, _RECEIVE_WINDOW - self._window_left))
            self._window_left = _RECEIVE_WINDOW
        data = frames.unpadded(payload) if flags & PADDED else payload
        ended = bool(flags & END_STREAM)
        stream = self._streams.get(number)
        if stream is None:
            self._numbers.check_data(number)
            self._late_window -= size
            if self._late_window < 0:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the windows of streams that were reset")
            if len(data) < LITTLE:  # more may well be the rest of an upload that was refused
                self.credit -= 1
        elif stream.remote_ended:
            raise Http2Error(ErrorCode.STREAM_CLOSED, "DATA after the end of the stream", number)
        else:
            if len(data) >= LITTLE:
                self.credit += MOVED
            elif not (data or ended):
                self.credit -= 1
            stream.receive(data, size, ended=ended)

    def _headers(self, flags: int, number: int, block: bytes) -> None:
        ended = bool(flags & END_STREAM)
        numbers = self._numbers
        stream = self._streams.get(number)
        if stream is not None or number <= numbers.last:
            self._trailers(stream, number, block, ended=ended)
            return
        numbers.open(number)
        if number > numbers.accepted:
            self.credit -= 1
            self._late_window += WINDOW
            self._decode(block)
            return
        stream = H2Stream(self, number, self._initial_window, remote_ended=ended)
        try:
            head = self._heads.request(block, self.front.request_table, self.front.limits, ended=ended)
        except MessageError as error:
            self._refuse(stream, error)
            return
        if flags & frames.SELF_DEPENDENT:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself", number)
        self._check_room(number)
        if head.upgrade:
            stream = tunnel = H2Tunnel(self, number, self._initial_window)
            head = tunnel.with_handshake(head)
        self._streams[number] = stream
        self.read_deadline = inf
        exchange = self.front.exchange(stream, head)
        stream.start(exchange, head)
        if self.congested:
            stream.hold()

    def _check_room(self, number: int) -> None:
        if len(self._streams) >= self.front.limits.http2_streams:
            raise Http2Error(ErrorCode.REFUSED_STREAM, "too many streams", number)

    def _refuse(self, stream: H2Stream, error: MessageError) -> None:
        """Answer a request that has no exchange, or reset it if it is no request (RFC 9113 section 8.1.1)."""
        self.front.refused(self.peer, error.status, str(error))
        if error.status == 400 and not isinstance(error, TargetError):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, str(error), stream.id) from error
        self.credit -= _REFUSED_HEAD
        self._check_room(stream.id)
        body = responses.error_body(str(error))
        self._streams[stream.id] = stream
        lines = responses.error_lines(error.status)
        stream.respond(responses.status_line(error.status), lines, len(body), body, ended=True)

    def _trailers(self, stream: H2Stream | None, number: int, block: bytes, *, ended: bool) -> None:
        fields = self._decode(block)
        if stream is None:
            self._numbers.check_headers(number)
            self.credit -= 1
        elif stream.remote_ended:
            raise Http2Error(ErrorCode.STREAM_CLOSED, "HEADERS after the end of the stream", number)
        elif not ended:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream", number)
        else:
            try:
                lines = parse_trailers(fields)
            except MessageError as error:
                raise Http2Error(ErrorCode.PROTOCOL_ERROR, str(error), number) from error
            stream.receive_trailers(lines)

    def _decode(self, block: bytes) -> FieldList:
        """Keep the compression in step, whatever becomes of the fields."""
        try:
            return self._heads.fields(block, self.front.limits)
        except HeaderListTooLargeError:
            self.credit -= _REFUSED_HEAD
            return ((b"", b""),)

    def _priority(self, _: int, number: int, payload: bytes) -> None:
        """Check what RFC 7540 section 5.3 asked for; RFC 9113 section 5.3 leaves nothing else to do."""
        self.credit -= 1
        stream = number if number in self._streams else 0
        if len(payload) != 5:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes", stream)
        if frames.dependency(payload) == number:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself", stream)

    def _rst_stream(self, _: int, number: int, __: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            self._numbers.check_not_idle(number)
            self.credit -= 1
        else:
            self.credit -= 1 if stream.is_answered else RESET
            self._drop(stream, Ending.BY_CLIENT)

    def _settings(self, flags: int, _: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings in it")
            if not self._announced:
                self._ack_deadline = inf
            self.credit -= 1
            return
        values = dict(frames.parse_settings(payload))  # of several for one thing, the last one stands
        self.credit -= 1 + len(payload) // 60
        self.write(frames.SETTINGS_ACK)
        if values.get(Setting.HEADER_TABLE_SIZE, 4096) < 4096:
            self._prefix = _NO_TABLE
        window = values.get(Setting.INITIAL_WINDOW_SIZE)
        if window is not None and window != self._initial_window:
            change, self._initial_window = window - self._initial_window, window
            for stream in self._streams.values():  # RFC 9113 section 6.9.2: they may become negative
                if stream.window + change > MAX_WINDOW:
                    raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "settings that overflow a stream's window")
                stream.grow(change)
            self._send_waiting(tuple(self._waiting))

    def _push_promise(self, _: int, __: int, ___: bytes) -> None:
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    def _ping(self, flags: int, _: int, payload: bytes) -> None:
        self.credit -= 1
        if not flags & ACK:
            self.write(frames.ping(payload, ack=True))
        elif payload == DRAIN_PING and self._announced:
            self._go_away()

    def _goaway(self, _: int, __: int, ___: bytes) -> None:
        """The client begins no more; what it began is finished."""
        self.credit -= 1
        self._go_away()

    def _window_update(self, _: int, number: int, payload: bytes) -> None:
        increment = frames.number(payload) & MAX_WINDOW
        stream = self._streams.get(number)
        if number and stream is None:
            self._numbers.check_not_idle(number)
            self.credit -= 1
            return
        if not increment:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a window opened by 0 bytes", number)
        self.credit -= 1
        if stream is not None:
            stream.grow(increment)
            if stream in self._waiting:
                self._send_waiting((stream,))
            return
        self.window += increment
        if self.window > MAX_WINDOW:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window of 2^31 bytes")
        self._send_waiting(tuple(self._waiting))

    _HANDLERS = (
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

    # what streams ask for

    def finished(self, stream: H2Stream) -> None:
        """Forget a stream whose response is sent, unless the client still sends on it."""
        if stream.remote_ended:
            self.credit += ANSWERED
            self._forget(stream)
        else:
            self._waiting.pop(stream, None)
            stream.answered()
        if not self.front.keep_alive:
            self._go_away()
        elif not self._streams:
            self._rest()

    def nudge(self) -> None:
        """Send a frame that says next to nothing.

        curl 7.88 learns that a stream has ended with its own last frame only when it reads once more.
        """
        self._window_left += 1
        self.write(frames.window_update(0, 1))

    def lend(self, stream: H2Stream, size: int) -> int:
        """Open the window for ``size`` bytes that will be thrown away, or for as many as may be; return how many."""
        size = min(size, REMAINDER_BYTES - self._lent)
        if size > 0:
            self._lent += size
            stream.window_left += size
            self.write(frames.window_update(stream.id, size))
            if (missing := _RECEIVE_WINDOW + self._lent - self._window_left) > 0:
                self._window_left += missing
                self.write(frames.window_update(0, missing))
        return size
