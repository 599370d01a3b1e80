"""A stream of an HTTP/2 connection: one request and its response, with flow control both ways (RFC 9113 section 5).

The request's body goes to the exchange as it comes; the client may send more only when the exchange has taken it, so at
most one window is held anywhere. Where the exchange takes all at once the window grows, for it bounds what an upload
can do in a round trip; all streams of a connection share what they may grow by.

Of the response at most what the exchange delivers at once waits here: it is told to pause before it is read on. What
waits is sent by the connection, in turns with its other streams.

An answer that is decided before its request has ended does not stop the request: the client may send the rest, which is
thrown away, until it comes to its end or to a bound (``http.remainder``).
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from gateway.errors import Http2Error, MessageError
from gateway.http import announced
from gateway.http import h2_frames as frames
from gateway.http.h2_credit import LITTLE, MOVED
from gateway.http.h2_fields import field_block
from gateway.http.h2_frames import END_STREAM, MAX_FRAME_SIZE, MAX_WINDOW, WINDOW, ErrorCode, FrameType
from gateway.http.h2_head import encode_response
from gateway.http.head import CHUNKED
from gateway.http.remainder import Remainder

if TYPE_CHECKING:
    from gateway.http.downstream import Exchange, Peer
    from gateway.http.h2_server import H2Connection
    from gateway.http.head import RequestHead

_NO_TRAILERS: list[bytes] = []
_DATA = int(FrameType.DATA)

_UNKNOWN = 16 << 20
"""The bytes that a request without a Content-Length is assumed to have left."""

_SLOWEST = 1024
"""Bytes that a client must take of a response within ``write_idle_timeout``. Less is a stream that is held."""


class H2Stream:
    """A stream that the client has opened and that has not ended in both directions."""

    __slots__ = (
        "_answering",
        "_body_ended",
        "_connection",
        "_held",
        "_length",
        "_limits",
        "_mark",
        "_method",
        "_owed",
        "_paused",
        "_pending",
        "_read_limit",
        "_received",
        "_remainder",
        "_response_ended",
        "_trailers",
        "_window_size",
        "_write_limit",
        "borrowed",
        "exchange",
        "id",
        "peer",
        "read_deadline",
        "remote_ended",
        "window",
        "window_left",
        "write_deadline",
    )

    def __init__(self, connection: H2Connection, number: int, window: int, *, remote_ended: bool) -> None:
        self._connection = connection
        self.peer: Peer = connection.peer
        self.id = number
        self._limits = connection.front.limits
        self.exchange: Exchange | None = None
        self.window = window
        """What the client takes of the response at present; negative when it changed its mind."""
        self.borrowed = 0
        """The bytes of window granted for data that is thrown away."""
        self.remote_ended = self._body_ended = remote_ended
        self._pending: deque[memoryview] | None = None
        self._trailers = _NO_TRAILERS
        self._response_ended = self._answering = self._paused = self._held = False
        self._received = self._mark = 0
        self._remainder: Remainder | None = None
        self._length = CHUNKED
        self._method = b""
        self._owed = announced.OPEN
        self.window_left = self._window_size = WINDOW
        self.read_deadline = self.write_deadline = self._read_limit = self._write_limit = inf

    def __repr__(self) -> str:
        """Show which, and what it waits for."""
        state = "sending" if self._response_ended else "answering" if self._body_ended else "receiving"
        return f"<H2Stream {self.id} {state} window={self.window}>"

    def start(self, exchange: Exchange, head: RequestHead) -> None:
        """Begin the request."""
        self.exchange = exchange
        self._method = head.method
        if not self._body_ended:
            front = self._connection.front
            self._length = head.length
            self._body_ended = head.length == 0
            if front.read_timeout:
                self._read_limit = front.now + front.read_timeout
            self._await_body()
        exchange.start()
        if not self._response_ended:
            self._limits = exchange.client_limits or self._limits
            if self.read_deadline < inf:  # the API, which is known now, may have its own patience
                self._await_body()

    # the request's body

    def receive(self, data: bytes, size: int, *, ended: bool) -> None:
        """Take DATA that took ``size`` bytes of the window, padding included."""
        self.window_left -= size
        if self.window_left < 0:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window", self.id)
        if self._remainder is not None:
            self.remote_ended = ended
            self._remainder.take(size, self._connection.front.now)
            self._go_on_discarding()
            return
        self._received += len(data)
        self._check_length(ended=ended)
        self.remote_ended = ended
        if not self._body_ended and self.exchange is not None:
            done = ended or self._received == self._length
            if done or data:
                self._deliver(data, done=done, trailers=_NO_TRAILERS)
        if not (ended or self._paused or self._response_ended):
            self._allow_more(grow=True)

    def receive_trailers(self, lines: list[bytes]) -> None:
        """Take the trailer section that ends the request."""
        self.remote_ended = True
        if self._remainder is not None:
            self._go_on_discarding()
            return
        self._check_length(ended=True)
        if not self._body_ended and self.exchange is not None:
            self._deliver(b"", done=True, trailers=lines)

    def _check_length(self, *, ended: bool) -> None:
        """RFC 9113 section 8.1.1: the DATA must come to what Content-Length says.

        Who has the beginning of an answer may stop (curl does); the upstream then never sees an end of the request.
        """
        if self._length < 0:
            return
        if ended and self._answering and self._received < self._length:
            self._body_ended = True
            self.read_deadline = inf
        elif self._received > self._length or (ended and self._received < self._length):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "the body is not as long as its Content-Length", self.id)

    def _deliver(self, data: bytes, *, done: bool, trailers: list[bytes]) -> None:
        self._body_ended = done
        self._await_body()
        assert self.exchange is not None
        self.exchange.request_body(data, ended=done, trailers=trailers)

    def _await_body(self) -> None:
        if self._body_ended or self._paused:
            self.read_deadline = inf
        else:
            # In a dialogue it is the exchange that tells for how long both may be silent.
            patience = inf if self._answering else self._limits.body_idle_timeout
            self.read_deadline = min(self._connection.front.now + patience, self._read_limit)

    def _allow_more(self, *, grow: bool) -> None:
        """Give the client its window back, in portions that are worth a frame; ``grow``: and as much again."""
        size = self._window_size
        if self.window_left <= size // 2:
            connection = self._connection
            if grow and connection.spare_window >= size:
                connection.spare_window -= size
                self._window_size = size = 2 * size
            connection.write(frames.window_update(self.id, size - self.window_left))
            self.window_left = size

    def pause_body(self) -> None:
        """Give back no window; the client is not to blame for the time that follows."""
        self._paused = True
        self.read_deadline = inf

    def resume_body(self) -> None:
        """Let the client send on."""
        self._paused = False
        if not (self._body_ended or self._response_ended):
            self._await_body()
            self._allow_more(grow=False)

    # the response

    def interim(self, status_line: bytes, lines: list[bytes]) -> None:
        """Send a 1xx response."""
        self._connection.write_headers(self.id, encode_response(status_line, lines), ended=False)

    def respond(self, status_line: bytes, lines: list[bytes], length: int, body: bytes, *, ended: bool) -> None:
        """Send a response's head and the part of its body that is there."""
        try:
            self._owed = announced.begun(self._method, status_line, length, len(body), ended=ended)
        except MessageError as error:
            self._refuse_response(error)
            return
        if length > 0:
            lines.append(b"content-length: %d" % length)
        connection = self._connection
        if ended:
            self._end_response()
            self._take_remainder()
        connection.write_headers(self.id, encode_response(status_line, lines), ended=ended and not body)
        if not ended:
            self._answering = True
            self._await_body()
            front = connection.front
            if front.write_timeout:
                self.write_deadline = self._write_limit = front.now + front.write_timeout
            if self._held and self.exchange is not None:  # it had no upstream yet that could be held
                self.exchange.pause_response()
        if body:
            self._send(body, _NO_TRAILERS)
        elif ended:
            connection.finished(self)

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send more of the response's body, or keep what the client does not take yet."""
        try:
            self._owed = announced.left(self._owed, len(data), ended=ended)
        except MessageError as error:
            self._refuse_response(error)
            return
        if ended:
            self._end_response()
            self._take_remainder()
        elif not data:
            return
        self._send(data, trailers)

    def _send(self, data: bytes, trailers: list[bytes]) -> None:
        size = len(data)
        ended = self._response_ended
        connection = self._connection
        if (
            size <= self.window
            and size <= connection.window
            and size <= MAX_FRAME_SIZE
            and not (self._pending or trailers or connection.blocked)
        ):
            self.window -= size
            connection.window -= size
            connection.credit += MOVED
            connection.write(frames.frame(_DATA, ended, self.id, data))
            if ended:
                connection.finished(self)
            return
        if self._pending is None:
            self._pending = deque()
        if data:
            self._pending.append(memoryview(data))
            connection.pending += size
        self._trailers = trailers
        connection.wait(self)

    def _refuse_response(self, error: MessageError) -> None:
        """Reset the stream instead of sending what its head did not announce."""
        exchange = self.exchange
        self.abort()
        if exchange is not None:
            exchange.response_refused(str(error))

    def send_some(self) -> bool:
        """Send one frame of what waits; tell whether there is something that could follow at once."""
        pending = self._pending
        assert pending is not None
        connection = self._connection
        if pending:
            piece = pending[0]
            size = min(len(piece), MAX_FRAME_SIZE, self.window, connection.window)
            if size <= 0:
                return False
            if size == len(piece) or size >= LITTLE:
                connection.credit += MOVED
            if size == len(piece):
                pending.popleft()
            else:
                pending[0] = piece[size:]
                piece = piece[:size]
            self.window -= size
            connection.window -= size
            connection.pending -= size
            self._mark += size
            last = self._response_ended and not pending and not self._trailers
            connection.write_data(self.id, piece, END_STREAM if last else 0)
            if last:
                connection.finished(self)
                return False
            if pending:
                return True
        if not self._response_ended:
            self._caught_up()
        elif self._trailers:
            connection.write_headers(self.id, field_block(self._trailers), ended=True)
            connection.finished(self)
        else:
            connection.write_data(self.id, memoryview(b""), END_STREAM)
            connection.finished(self)
        return False

    @property
    def waits(self) -> bool:
        """Whether some of the response waits for the client."""
        return bool(self._pending) or (self._response_ended and self._pending is not None)

    @property
    def is_answered(self) -> bool:
        """True when the whole response is on its way."""
        return self._response_ended and not self.waits

    def _end_response(self) -> None:
        self._connection.spare_window += self._window_size - WINDOW
        self._window_size = WINDOW
        self.exchange = None
        self._response_ended = True
        self.read_deadline = inf

    def _take_remainder(self) -> None:
        """Have the client send the rest of its request, which no exchange takes any more.

        It gets the window for that before the end of the answer: curl 7.88 reads nothing behind that while it sends.
        """
        if not self.remote_ended:
            front = self._connection.front
            self._remainder = Remainder(front.now, hurried=front.draining)
            self._borrow()

    def _borrow(self) -> None:
        expected = self._length - self._received if self._length >= 0 else _UNKNOWN
        if expected > self.window_left:
            self.borrowed += self._connection.lend(self, expected - self.window_left)

    def _go_on_discarding(self) -> None:
        if not self.remote_ended:
            if self._length < 0 and self.window_left < _UNKNOWN // 2:
                self._borrow()
        elif self.is_answered:
            self._connection.nudge()
            self._connection.finished(self)

    def answered(self) -> None:
        """Give the client its time for the rest of its request: the whole answer is on the way now."""
        self._pending = None
        if self._remainder is not None:
            front = self._connection.front
            self._remainder.begin(front.now, hurried=front.draining)

    def _caught_up(self) -> None:
        self.write_deadline = self._write_limit
        if not self._connection.congested:
            self.release()

    def hold(self) -> None:
        """Stop the response: the client does not read it, or not those beside it."""
        if not self._held:
            self._held = True
            if self.exchange is not None:
                self.exchange.pause_response()

    def release(self) -> None:
        """Let the response go on, unless its own client's window holds it."""
        if self._held and not self._pending:
            self._held = False
            if self.exchange is not None:
                self.exchange.resume_response()

    def grow(self, increment: int) -> None:
        """Let the client widen its window, or narrow it by a change of its settings."""
        self.window += increment
        if self.window > MAX_WINDOW:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "a window of 2^31 bytes", self.id)

    def abort(self, code: int = 0) -> None:
        """Break the response off; an upstream's reset is passed on as it is, which gRPC gives a meaning to."""
        self._end_response()
        known = ErrorCode.NO_ERROR < code <= ErrorCode.HTTP_1_1_REQUIRED
        self._connection.reset(self.id, ErrorCode(code) if known else ErrorCode.INTERNAL_ERROR)

    # time, and the end

    def await_client(self) -> None:
        """Begin to count the time in which the client must take something."""
        if self.write_deadline == self._write_limit:
            self._mark = 0
            patience = self._limits.write_idle_timeout
            self.write_deadline = min(self._connection.front.now + patience, self._write_limit)

    def tick(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        exchange = self.exchange
        if self.write_deadline <= now:
            if self._write_limit > now and self._mark >= _SLOWEST:
                self.write_deadline = self._write_limit
                self.await_client()
            else:
                self._connection.held_up(self)
        elif exchange is None:
            if self._remainder is not None and self._remainder.deadline <= now and self.is_answered:
                self._connection.reset(self.id, ErrorCode.NO_ERROR)
        elif exchange.deadline <= now:
            exchange.expire()
        elif self.read_deadline <= now:
            self.read_deadline = inf
            self._connection.front.slow(self.peer, "slow_bodies", "sent nothing of a request's body in time")
            exchange.request_failed(408, "the request body did not arrive in time")

    def drain(self) -> None:
        """Have the request come to its end: the worker is about to stop."""
        if self.exchange is not None:
            self.exchange.drain()
        elif self._remainder is not None:
            self._remainder.hurry(self._connection.front.now)

    def abandon(self) -> None:
        """Tell the exchange, if one runs, that nobody waits for it, and forget what waited."""
        if self._pending:
            self._connection.pending -= sum(map(len, self._pending))
            self._pending.clear()
        exchange = self.exchange
        self._end_response()
        self.write_deadline = inf
        if exchange is not None:
            exchange.abandoned()
