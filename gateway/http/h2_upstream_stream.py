"""A request to an upstream of HTTP/2 and its response: a stream, under flow control both ways (RFC 9113 section 5)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.errors import MessageError, UpstreamError
from gateway.http import h2_frames
from gateway.http.h2_credit import LITTLE, MOVED
from gateway.http.h2_fields import field_block
from gateway.http.h2_frames import END_STREAM, ErrorCode, FrameType
from gateway.http.h2_response import ResponseFields, response_head
from gateway.http.head import CHUNKED
from gateway.http.hpack import encode_field

if TYPE_CHECKING:
    from gateway.http.h2_client import H2UpstreamConnection
    from gateway.http.head import RequestHead, ResponseHead
    from gateway.http.upstream import ResponseReceiver

STREAM_WINDOW = 1 << 18
"""How much of a response may wait for a client that does not read."""

_MAX_INTERIM = 16
_CREDITED_BYTES = 1024
"""An upstream may widen its windows twice for each of so many bytes that it was sent, without spending its credit."""

_KEPT_BYTES = 65536
"""How much of a request's body is kept until its response begins: what the upstream did not act on is sent again."""

_TARGET_BYTES = 256
_NO_TRAILERS: list[bytes] = []


def _write_control_data(method: bytes, scheme: bytes, authority: bytes, target: bytes) -> bytes:
    fields = (b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", target)
    return b"".join([encode_field(name, value) for name, value in fields if value])


_control_data = lru_cache(1024)(_write_control_data)


class H2UpstreamStream:
    """A request on ``connection``; see ``http.upstream.UpstreamStream`` for what an exchange asks of it."""

    __slots__ = (
        "_began",
        "_connection",
        "_credit",
        "_end_trailers",
        "_ending",
        "_error",
        "_head",
        "_heard",
        "_interims",
        "_kept",
        "_left",
        "_method",
        "_paused",
        "_pending",
        "_pieces",
        "_receiver",
        "_request_paused",
        "_sent_end",
        "_trailers",
        "_unread",
        "_window",
        "ended",
        "has_head",
        "number",
        "receive_window",
        "served",
    )

    def __init__(self, connection: H2UpstreamConnection, served: int) -> None:
        self._connection = connection
        self.served = served
        self.number = 0
        self._receiver: ResponseReceiver | None = None
        self._began = 0.0
        self._method = b""
        # the request's body: what waits for the upstream
        self._window = connection.stream_window
        self._pending = b""
        self._kept: bytes | None = b""
        self._trailers = _NO_TRAILERS
        self._ending = self._request_paused = False
        self._sent_end = True  # there is nothing to cancel yet
        # the response: what waits for the client
        self.has_head = self._heard = self.ended = self._paused = False
        self._head: ResponseHead | None = None
        self._left: int | None = None
        self._pieces: list[bytes] = []
        self._end_trailers = _NO_TRAILERS
        self._error: UpstreamError | None = None
        self.receive_window = STREAM_WINDOW
        self._interims = self._unread = self._credit = 0

    def __repr__(self) -> str:
        """Show what the stream is doing."""
        state = "done" if self._receiver is None else "ended" if self.ended else "open"
        return f"<H2UpstreamStream {self.number} {state}>"

    # the request

    def request(
        self, head: RequestHead, target: bytes, authority: bytes, fields: bytes, receiver: ResponseReceiver
    ) -> None:
        """Send a request's head."""
        connection = self._connection
        self._receiver = receiver
        self._method = head.method
        self._began = connection.now()
        self._sent_end = not head.length
        lines = fields.split(b"\r\n")
        del lines[-1]
        if head.length > 0:
            lines.append(b"content-length: %d" % head.length)
        if head.takes_trailers:
            lines.append(b"te: trailers")
        if head.expects_continue:
            lines.append(b"expect: 100-continue")
        write = _control_data if len(target) <= _TARGET_BYTES else _write_control_data
        block = write(head.method, connection.scheme, authority, target) + field_block(lines)
        self.number = connection.send_head(self, block, ended=self._sent_end)

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send more of the request's body, or keep it until the upstream takes it."""
        if self._sent_end or self._error is not None:
            return
        self._pending = self._pending + data if self._pending else data
        if self._kept is not None:
            self._kept = self._kept + data if len(self._kept) + len(data) <= _KEPT_BYTES else None
        self._trailers = trailers
        self._ending = ended
        self.send_on()

    def send_on(self) -> None:
        """Send what the windows allow."""
        connection = self._connection
        pending = self._pending
        size = len(pending)
        allowed = 0 if connection.is_blocked else max(min(size, self._window, connection.window), 0)
        if allowed and (allowed == size or allowed >= LITTLE):
            connection.credit += MOVED * (1 + allowed // _CREDITED_BYTES)
        self._window -= allowed
        connection.window -= allowed
        end = allowed == size and self._ending
        frames = []
        for start in range(0, allowed, connection.max_frame):
            piece = pending[start : min(start + connection.max_frame, allowed)]
            last = end and not self._trailers and start + len(piece) == size
            frames.append(h2_frames.frame(FrameType.DATA, END_STREAM if last else 0, self.number, piece))
        if end:
            self._sent_end = True
            if self._trailers:
                block = field_block(self._trailers)
                frames.append(h2_frames.headers(self.number, block, connection.max_frame, ended=True))
            elif not size:
                frames.append(h2_frames.frame(FrameType.DATA, END_STREAM, self.number, b""))
        if frames:
            connection.send(b"".join(frames))
        self._pending = pending[allowed:]
        self._press_back()

    def _press_back(self) -> None:
        """Tell who sends the body whether to go on."""
        if self._pending and self._window > 0:
            self._connection.wait(self)
        if bool(self._pending) is self._request_paused or self._receiver is None:
            return
        self._request_paused = not self._request_paused
        if self._request_paused:
            self._receiver.pause_request()
        else:
            self._receiver.resume_request()

    def widen(self, increment: int) -> None:
        """Let more be sent: the upstream's WINDOW_UPDATE, or a change of its settings."""
        self._window += increment
        if self._window > h2_frames.MAX_WINDOW:
            raise MessageError(502, "a stream's window of more than 2**31 - 1 bytes")
        if self._pending and self._window > 0:
            self.send_on()

    # the response, as it comes in

    def head_received(self, said: ResponseFields, *, ended: bool) -> None:
        """Take a head, interim or final."""
        head = response_head(said, self._method, ended=ended)
        self._heard = True
        if head.status >= 200:
            self.has_head = True
            self._kept = None
            self._head = head
            self._left = None if head.length == CHUNKED else head.length
            self.ended = ended
            return
        self._interims += 1
        if ended or head.status == 101 or self._interims > _MAX_INTERIM:
            raise MessageError(502, "an interim response that nobody asked for")
        if self._receiver is not None:
            self._receiver.response_interim(head)

    def data_received(self, data: bytes, size: int, *, ended: bool) -> None:
        """Take a piece of the body that was ``size`` with its padding."""
        if not self.has_head or self.ended:
            raise MessageError(502, "a body before its head or after its end")
        self.receive_window -= size
        if self.receive_window < 0:
            raise MessageError(502, "more of a body than the stream's window")
        if self._left is not None:
            self._left -= len(data)
        self._end(ended=ended)  # before any of it is passed on: to a client of HTTP/1.1 more is the next response
        if data:
            self._pieces.append(data)
        self._unread += size

    def trailers_received(self, trailers: list[bytes], *, ended: bool) -> None:
        """Take the trailer section, which ends the response."""
        if not ended or self.ended:
            raise MessageError(502, "a second head that is no trailer section")
        self._end_trailers = trailers
        self._end(ended=True)

    def _end(self, *, ended: bool) -> None:
        if self._left is not None and (self._left < 0 or (ended and self._left)):
            raise MessageError(502, "a body that is not as long as its Content-Length says")
        self.ended = ended

    def failed(self, error: UpstreamError) -> None:
        """Take note that nothing more will come: pass on what came, and keep a complete response complete."""
        self._sent_end = True
        self._pending = b""
        if not self.ended and self._error is None:
            self._error = error
            error.body = self._kept

    def broken(self, error: UpstreamError) -> None:
        """Take note that the response is malformed, and pass on no more of it (RFC 9113 section 8.1.1)."""
        if not self.ended:
            self._head = None
            self._pieces.clear()
        self.failed(error)

    # the response, as it goes out

    def deliver(self) -> None:
        """Pass on what has come, unless the client does not read."""
        receiver = self._receiver
        if receiver is None or self._paused:
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._credit += self._unread
        self._unread = 0
        if self._head is not None:
            head, self._head = self._head, None
            whole = self.ended and not self._end_trailers
            if whole:
                self._finish()
            receiver.response_head(head, body, ended=whole)
            body = b""
            if self._receiver is None or self._paused:
                return
        if self.ended:
            self._finish()
            receiver.response_body(body, ended=True, trailers=self._end_trailers)
        else:
            self._deliver_part(receiver, body)

    def _deliver_part(self, receiver: ResponseReceiver, body: bytes) -> None:
        if body:
            receiver.response_body(body, ended=False, trailers=_NO_TRAILERS)
        if self._receiver is None:
            return
        if self._error is not None and not self._paused:
            self._finish()
            receiver.response_failed(self._error, began=self._heard)
        elif self._credit >= STREAM_WINDOW // 2 and self._error is None:
            self._connection.send(h2_frames.window_update(self.number, self._credit))
            self.receive_window += self._credit
            self._credit = 0

    def pause(self) -> None:
        """Deliver no more of the response until ``resume``."""
        self._paused = True

    def resume(self) -> None:
        """Go on delivering the response."""
        self._paused = False
        self.deliver()

    # the end

    def _finish(self) -> None:
        """Leave the connection; a request that is not sent to its end is cancelled."""
        self._receiver = None
        if not self._sent_end or (self._error is None and not self.ended):
            self._connection.send(h2_frames.rst_stream(self.number, ErrorCode.CANCEL))
        self._sent_end = True
        self._connection.finished(self)

    def close(self) -> None:
        """Give the request up."""
        if self._receiver is not None:
            if not self._heard and self._connection.silent_since(self._began):
                self._connection.retire()
            self._finish()

    def release(self) -> None:
        """Give back what no request was sent on."""
        self._connection.finished(self)
