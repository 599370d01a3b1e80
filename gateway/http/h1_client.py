"""An HTTP/1.1 connection to an upstream: one request at a time, its response streamed to whoever asked."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, cast

from gateway.errors import MessageError, UpstreamError
from gateway.http.body import ChunkedDecoder, chunk, last_chunk
from gateway.http.head import CHUNKED, UNTIL_CLOSE, ResponseHead, check_response_part, parse_response
from gateway.http.last_words import last_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.http.fields import FieldTable
    from gateway.http.head import RequestHead
    from gateway.http.upstream import ResponseReceiver

_SENDS_LENGTH_ZERO = frozenset((b"POST", b"PUT", b"PATCH"))  # RFC 9110 section 8.6
_NO_HEAD_YET = -3
_MAX_INTERIM = 16
_IDLE_FOR_TOO_LONG = b"HTTP/1.1 408 "  # as some servers close, and no fault
_FINISH_SECONDS = 10.0


class UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream. ``release`` is called whenever it can take another request, and when it ended.

    A response's head has at most ``max_head`` bytes and ``max_fields`` fields.
    """

    __slots__ = (
        "_buffer",
        "_checked",
        "_chunked",
        "_closed_properly",
        "_decoder",
        "_heard",
        "_interims",
        "_keep_alive",
        "_left",
        "_max_fields",
        "_max_head",
        "_method",
        "_paused",
        "_poll",
        "_receiver",
        "_release",
        "_table",
        "_tunnelled",
        "_upgrade",
        "closed",
        "fault",
        "idle_until",
        "request_ended",
        "served",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        table: FieldTable,
        release: Callable[[UpstreamConnection], None],
        *,
        max_head: int = 65536,
        max_fields: int = 256,
    ) -> None:
        self._table = table
        self._release = release
        self._max_head = max_head
        self._max_fields = max_fields
        self._receiver: ResponseReceiver | None = None
        self._decoder: ChunkedDecoder | None = None
        self._buffer = self._method = self._upgrade = b""
        self._left = _NO_HEAD_YET
        self._interims = self._checked = 0
        self._poll: select.poll | None = None
        self._chunked = self._closed_properly = self._heard = self._tunnelled = False
        self._keep_alive = self._paused = self.closed = self.request_ended = False
        self.served = 0
        self.idle_until = 0.0
        self.fault: UpstreamError | None = None
        """An upstream's fault outside its responses, for the pool to report."""

    def __repr__(self) -> str:
        """Show what the connection is doing."""
        state = "closed" if self.closed else "busy" if self._receiver else "idle"
        return f"<UpstreamConnection {state} served={self.served}>"

    def request(
        self, head: RequestHead, target: bytes, authority: bytes, fields: bytes, receiver: ResponseReceiver
    ) -> None:
        """Send a request's head."""
        method, length = head.method, head.length
        self._receiver = receiver
        self._method = method
        self._left = _NO_HEAD_YET
        self._interims = self._checked = 0
        self._heard = False
        self._chunked = length == CHUNKED
        self.request_ended = not length
        if length > 0:
            framing = b"Content-Length: %d\r\n" % length
        elif length:
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            framing = b"Content-Length: 0\r\n" if method in _SENDS_LENGTH_ZERO else b""
        if head.expects_continue:
            framing += b"Expect: 100-continue\r\n"
        upgrade = self._upgrade = head.upgrade if head.upgrade and receiver.may_upgrade() else b""
        if upgrade:
            framing += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
        self.transport.write(b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (method, target, authority, fields, framing))

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send more of the request's body."""
        if self._chunked:
            data = chunk(data) if data else b""
            if ended:
                data += last_chunk(trailers)
        self.request_ended = ended
        self.transport.write(data)

    @property
    def is_usable(self) -> bool:
        """True when the connection is open, and the upstream has sent nothing since its last response.

        The kernel is asked, because bytes that have just arrived are not read yet: they would be taken for the next
        response.
        """
        if self.closed or self.transport.is_closing():
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    def release(self) -> None:
        """Give the connection back: it can take another request."""
        self._release(self)

    def pause(self) -> None:
        """Read no more of the response until ``resume``."""
        self._paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        self.transport.resume_reading()

    def close(self) -> None:
        """Close at once; the receiver, if any, hears nothing more."""
        self._receiver = None
        self.closed = True
        self.transport.abort()

    # the response

    def _head_received(self, data: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        while True:
            end = data.find(b"\r\n\r\n", 0, self._max_head)
            if end < 0:
                self._await_head(data)
                return
            head = parse_response(data[:end], self._table, self._method, self._max_fields)
            data = data[end + 4 :]
            self._checked = 0
            if head.status >= 200:
                break
            if head.status == 101:
                self._switch(head, data)
                return
            self._interims += 1
            if self._interims > _MAX_INTERIM:
                raise MessageError(502, "an interim response that nobody asked for")
            receiver.response_interim(head)
            if self._receiver is None:
                return
        self._buffer = b""
        self._keep_alive = head.keep_alive
        self._left = head.length
        if head.length == len(data):  # all of a small response in one read: the usual case
            self._complete()
            receiver.response_head(head, data, ended=True)
            return
        if head.length == CHUNKED:
            self._decoder = ChunkedDecoder()
        body, ended, trailers = self._decode(data)
        if not trailers:
            if ended:
                self._complete()
            receiver.response_head(head, body, ended=ended)
            return
        receiver.response_head(head, b"", ended=False)
        if self._receiver is receiver:
            self._complete()
            receiver.response_body(body, ended=True, trailers=trailers)

    def _switch(self, head: ResponseHead, data: bytes) -> None:
        """Become one side of a tunnel, if that was asked for (RFC 9110 section 15.2.2)."""
        receiver = self._receiver
        assert receiver is not None
        asked = self._upgrade.lower().split(b", ")
        if not self._upgrade or not head.upgrade or not set(head.upgrade.lower().split(b", ")).issubset(asked):
            raise MessageError(502, "a 101 to a protocol that nobody asked for")
        self._buffer = b""
        self._left = UNTIL_CLOSE
        self._keep_alive = False
        self._tunnelled = True
        tunnel = receiver.response_upgrade(head, self)
        if self.closed:
            return
        self._receiver = cast("ResponseReceiver", tunnel)  # of which only the part of a TunnelReceiver is used now
        if data:
            tunnel.response_body(data, ended=False, trailers=[])

    def half_close(self) -> bool:
        """End the writing half of a tunnel; uvloop's TLS cannot."""
        if self.transport.is_closing() or not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    def finish(self) -> None:
        """Close when what was sent is out, or the upstream has not taken it for a while."""
        self._receiver = None
        if self.closed:
            return
        self.closed = True
        self.transport.close()
        if self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_FINISH_SECONDS, self.transport.abort)

    def _await_head(self, data: bytes) -> None:
        if len(data) >= self._max_head:
            raise MessageError(502, f"a response head of more than {self._max_head} bytes")
        self._checked = check_response_part(data, self._checked, self._table)
        self._buffer = data

    def _body_received(self, data: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        body, ended, trailers = self._decode(data)
        if ended:
            self._complete()
        receiver.response_body(body, ended=ended, trailers=trailers)

    def _decode(self, data: bytes) -> tuple[bytes, bool, list[bytes]]:
        """Take the payload out of ``data``; tell whether the body ended, and with which trailers."""
        if self._left >= 0:
            excess = len(data) - self._left
            if excess > 0:
                self._said_too_much()
                data = data[: self._left]
            self._left -= len(data)
            return data, self._left == 0, []
        if self._decoder is None:
            return data, False, []
        payload = self._decoder.feed(data)
        if self._decoder.finished and self._decoder.rest:
            self._said_too_much()
        return payload, self._decoder.finished, self._decoder.trailers

    def _said_too_much(self) -> None:
        """Use the connection for no other request: the next response would start with what is left."""
        self._keep_alive = False
        self.fault = UpstreamError(502, "the upstream sent more than its response")

    def _complete(self) -> None:
        self._receiver = self._decoder = None
        self.served += 1
        if self._paused:
            self.resume()
        if self._keep_alive and self.request_ended and not self.closed:
            self._release(self)
        else:
            self.close()

    def _fail(self, error: UpstreamError) -> None:
        receiver = self._receiver
        if not self.closed:
            self.close()
        self._receiver = None
        if receiver is not None:
            receiver.response_failed(error, began=self._heard)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]  # a stream transport, as create_connection makes

    def data_received(self, data: bytes) -> None:
        """Take what the upstream sent."""
        if self._receiver is None:
            if not self.served:
                self.fault = UpstreamError(502, f"the upstream spoke before it was asked: {data[:16]!r}")
            elif not data.startswith(_IDLE_FOR_TOO_LONG):
                self._said_too_much()
            self.close()
            return
        self._heard = True
        try:
            if self._left == _NO_HEAD_YET:
                self._head_received(self._buffer + data if self._buffer else data)
            else:
                self._body_received(data)
        except MessageError as error:
            self._fail(UpstreamError(502, f"the upstream broke the protocol: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the receiver, unless the end of the connection was the end of the response."""
        encrypted = self.transport.get_extra_info("ssl_object") is not None
        if error is not None and self._receiver is not None and not encrypted:
            for data in last_words(self.transport):
                if not self.closed:
                    self.data_received(data)
        self.closed = True
        self._release(self)
        if self._receiver is None:
            return
        # RFC 9112 section 9.8: over TLS, an end without close_notify may be somebody else's work.
        whole = self._closed_properly or not encrypted
        if self._left == UNTIL_CLOSE and error is None and whole:
            receiver, self._receiver = self._receiver, None
            receiver.response_body(b"", ended=True, trailers=[])
            return
        reason = "the upstream closed the connection" if error is None else f"the upstream connection broke: {error}"
        self._fail(UpstreamError(502, reason))

    def eof_received(self) -> bool:
        """Note a proper end; uvloop tells of one over TLS only when close_notify came. A tunnel has two."""
        self._closed_properly = True
        if not self._tunnelled or self._receiver is None or not self.transport.can_write_eof():
            return False
        self._receiver.response_body(b"", ended=True, trailers=[])
        return not self.closed

    def pause_writing(self) -> None:
        """Pass the upstream's back-pressure on."""
        if self._receiver is not None:
            self._receiver.pause_request()

    def resume_writing(self) -> None:
        """Pass the end of the upstream's back-pressure on."""
        if self._receiver is not None:
            self._receiver.resume_request()
