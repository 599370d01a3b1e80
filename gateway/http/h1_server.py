"""An HTTP/1.1 connection from a client: requests in order, one at a time, each with its exchange (RFC 9112).

Theory of operation
-------------------
The connection cuts the bytes into heads and bodies and knows nothing of routes. For each head it asks its ``Front`` for
an ``Exchange``, hands it the body as it arrives, and writes the response as the exchange delivers it. While an exchange
runs, later (pipelined) requests wait in ``_buffer``; when that is full the socket is no longer read, which is all the
back-pressure that TCP needs.

Two deadlines, looked at by the worker's tick, bound every wait for the client: ``read_deadline`` (a head, a body, the
next request) and ``write_deadline`` (room for the response).

A response that is decided before the request was read whole (an error, mostly) is followed by a time in which what
still arrives is thrown away (``http.remainder``).
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from gateway.errors import MessageError
from gateway.http import announced, beginnings, responses
from gateway.http.body import ChunkedDecoder, chunk, last_chunk
from gateway.http.head import CHUNKED, RequestHead, ResponseHead, parse_request
from gateway.http.remainder import Remainder
from gateway.http.unsent import reset, unsent

if TYPE_CHECKING:
    from gateway.config.settings import Limits
    from gateway.http.downstream import Exchange, Front, Peer

# A client may be asking in the very moment in which a drain begins: closing then would lose its request.
_LAST_CALL_SECONDS = 1.0


class H1Connection(asyncio.Protocol):
    """A client's connection, on any asyncio transport."""

    __slots__ = (
        "_blocked",
        "_body",
        "_buffer",
        "_checked",
        "_chunked_response",
        "_close_after",
        "_front",
        "_input_ended",
        "_lingering",
        "_owed",
        "_paused",
        "_processing",
        "_request",
        "_requests",
        "_tunnelled",
        "_whole_request_deadline",
        "_whole_response_deadline",
        "exchange",
        "peer",
        "read_deadline",
        "transport",
        "write_deadline",
    )

    transport: asyncio.Transport

    def __init__(self, front: Front, peer: Peer) -> None:
        self._front = front
        self.peer = peer
        self.exchange: Exchange | None = None
        self._request: RequestHead | None = None
        self._buffer = b""
        self._body: int | ChunkedDecoder = 0  # what is still to come of the request's body
        self._requests = self._blocked = 0
        self._lingering: Remainder | None = None
        self._checked = 0  # where the last line of a head that is not whole begins; -1: behind an empty line
        self._processing = self._close_after = self._chunked_response = self._paused = self._input_ended = False
        self._tunnelled = False
        self._owed = announced.OPEN
        self.read_deadline = front.now + front.limits.request_head_timeout
        self.write_deadline = self._whole_request_deadline = self._whole_response_deadline = inf

    def __repr__(self) -> str:
        """Show who is served and what it waits for."""
        state = "lingering" if self._lingering else "busy" if self.exchange else "idle"
        return f"<H1Connection {self.peer.address} {state} requests={self._requests}>"

    @property
    def running(self) -> int:
        """How many requests have not had their whole answer."""
        return int(self.exchange is not None)

    # bytes from the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]  # a stream transport: ours, or the loop's

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._body:
            self._receive_body(data)
        elif self._lingering:
            self._lingering.take(len(data), self._front.now)
            self.read_deadline = self._lingering.deadline
        else:
            self._buffer = self._buffer + data if self._buffer else data
            if self.exchange is None and not self._blocked:
                self._next_requests()
            elif len(self._buffer) > self._front.limits.head_bytes:
                self._paused = True
                self.transport.pause_reading()

    def _next_requests(self) -> None:
        """Begin what the buffer holds, one request after the other. A pipeline must not become recursion."""
        self._processing = True
        while self.exchange is None and self._buffer and not (self._lingering or self._blocked):
            if not self._next_request():
                break
        self._processing = False
        self._after_requests()

    def _after_requests(self) -> None:
        """Nothing runs any more: read on, or close if the client has said its last."""
        if self.exchange is not None or self._lingering or self._blocked:
            return
        if self._input_ended:
            self._close()
        elif self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _next_request(self) -> bool:
        """Begin one request; false when its head is not there yet."""
        data = self._buffer
        front = self._front
        end = data.find(b"\r\n\r\n", 0, front.limits.head_bytes + 4)
        try:
            if end < 0 or data.startswith(b"\r\n"):
                return self._await_head(data)
            self._buffer = data[end + 4 :]
            self._checked = 0
            head = parse_request(data[:end], front.request_table, front.limits.head_fields)
        except MessageError as error:
            self.refuse(error.status, str(error))
            return False
        self._requests += 1
        self._request = head
        length = head.length
        self._body = ChunkedDecoder() if length == CHUNKED else length
        if front.read_timeout:
            self._whole_request_deadline = front.now + front.read_timeout
        self._close_after = not (
            head.keep_alive
            and head.minor_version
            and front.keep_alive
            and self._requests < front.limits.requests_per_connection
        )
        exchange = self.exchange = front.exchange(self, head)
        if length:
            self.read_deadline = self._body_deadline()
            rest, self._buffer = self._buffer, b""
            exchange.start()
            if self._body and self.read_deadline < inf:  # the API, which is known now, may have its own patience
                self.read_deadline = self._body_deadline()
            if rest and self._body:
                self._receive_body(rest)
        else:
            self.read_deadline = inf
            exchange.start()
        return True

    def _await_head(self, data: bytes) -> bool:
        limits = self._front.limits
        if data.startswith(b"\r\n"):  # RFC 9112 section 2.2: one empty line before a request is forgiven
            if self._checked < 0:
                raise MessageError(400, "more than one empty line before a request")
            self._checked = -1
            self._buffer = data[2:]
            return bool(self._buffer)
        self._checked = beginnings.check_request(data, self._checked, self._front.request_table, limits.head_bytes)
        if self._requests and self.read_deadline > self._front.now + limits.request_head_timeout:
            self.read_deadline = self._front.now + limits.request_head_timeout
        return False

    def _receive_body(self, data: bytes) -> None:
        exchange = self.exchange
        if self._tunnelled:
            if exchange is not None:
                exchange.request_body(data, ended=False, trailers=[])
            return
        body = self._body
        trailers: list[bytes] = []
        if isinstance(body, int):
            payload = data if len(data) <= body else data[:body]
            self._body = body - len(payload)
            rest = data[len(payload) :]
            ended = self._body == 0
        else:
            try:
                payload = body.feed(data)
            except MessageError as error:
                self._request_failed(error.status, str(error))
                return
            ended, rest, trailers = body.finished, body.rest, body.trailers
            if ended:
                self._body = 0
        self.read_deadline = inf if ended else self._body_deadline()
        if rest:
            self._buffer = rest
        if exchange is not None and (payload or ended):
            exchange.request_body(payload, ended=ended, trailers=trailers)
        elif exchange is None and ended:
            self._next_requests()

    def _patience(self) -> Limits:
        exchange = self.exchange
        return (exchange.client_limits if exchange is not None else None) or self._front.limits

    def _body_deadline(self) -> float:
        """By when more of the request's body must have come."""
        return min(self._front.now + self._patience().body_idle_timeout, self._whole_request_deadline)

    def _request_failed(self, status: int, reason: str) -> None:
        self._close_after = True
        if self.exchange is not None:
            self.exchange.request_failed(status, reason)
        else:
            self.transport.abort()

    def pause_body(self) -> None:
        """Stop reading the request's body; the client is not to blame for the time that follows."""
        self._paused = True
        self.transport.pause_reading()
        self.read_deadline = inf

    def resume_body(self) -> None:
        """Read the request's body again."""
        self._paused = False
        self.transport.resume_reading()
        if self._body and not self._tunnelled:
            self.read_deadline = self._body_deadline()

    # bytes to the client

    def interim(self, status_line: bytes, lines: list[bytes]) -> None:
        """Send a 1xx response; HTTP/1.0 has none (RFC 9110 section 15.2)."""
        if self._request is not None and self._request.minor_version:
            self.transport.write(b"\r\n".join((status_line, *lines, b"\r\n")))

    def respond(self, status_line: bytes, lines: list[bytes], length: int, body: bytes, *, ended: bool) -> None:
        """Send a response's head and the part of its body that is there."""
        request = self._request
        assert request is not None
        try:
            self._owed = announced.begun(request.method, status_line, length, len(body), ended=ended)
        except MessageError as error:
            self._refuse_response(error)
            return
        chunked = False
        if length > 0:
            lines.append(b"Content-Length: %d" % length)
        elif length and request.minor_version:
            chunked = True
            lines.append(b"Transfer-Encoding: chunked")
            if body:
                body = chunk(body)
            if ended:
                body += last_chunk([])
        elif length:
            self._close_after = True
        if self._close_after or self._front.draining or (ended and self._body):
            self._close_after = True
            lines.append(b"Connection: close")
        if not ended:
            self._chunked_response = chunked
            if self._front.write_timeout:
                self.write_deadline = self._whole_response_deadline = self._front.now + self._front.write_timeout
        self.transport.write(b"%b\r\n%b\r\n\r\n%b" % (status_line, b"\r\n".join(lines), body))
        if ended:
            self._responded()

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send more of the response's body."""
        try:
            self._owed = announced.left(self._owed, len(data), ended=ended)
        except MessageError as error:
            self._refuse_response(error)
            return
        if self._chunked_response:
            data = chunk(data) if data else b""
            if ended:
                data += last_chunk(trailers)
        if data:
            self.transport.write(data)
        if ended:
            self._responded()

    def _refuse_response(self, error: MessageError) -> None:
        """Cut the connection instead of writing what its head did not announce."""
        exchange = self.exchange
        self.abort()
        if exchange is not None:
            exchange.response_refused(str(error))

    def upgrade(self, head: ResponseHead, tunnel: Exchange) -> None:
        """Send the 101: what follows passes both ways as it is."""
        self.exchange = tunnel
        self._owed = announced.OPEN
        lines = [*head.lines, b"Connection: Upgrade", b"Upgrade: " + head.upgrade]
        self.transport.write(b"%b\r\n%b\r\n\r\n" % (head.status_line, b"\r\n".join(lines)))
        self._tunnelled = self._close_after = True
        self._body = 1  # nothing is read as a request any more
        early, self._buffer = self._buffer, b""
        if self._paused:
            self.resume_body()
        if self._blocked:
            tunnel.pause_response()
        if early:
            tunnel.request_body(early, ended=False, trailers=[])
        if self._input_ended:
            tunnel.request_body(b"", ended=True, trailers=[])

    def half_close(self) -> bool:
        """End what is sent through a tunnel; what the client sends is still read."""
        if not self.transport.is_closing():
            self.transport.write_eof()
        return True

    def abort(self, code: int = 0) -> None:  # noqa: ARG002 - HTTP/1.1 has no way to say why
        """Cut the connection: the response cannot be completed, and the client must see that.

        The end of the connection is the end of a response to HTTP/1.0, and of a tunnel: only a reset shows that it was
        none.
        """
        if self._tunnelled or (self._request is not None and not self._request.minor_version):
            reset(self.transport)
        else:
            self.transport.abort()

    def refuse(self, status: int, reason: str) -> None:
        """Answer what is no request, and close."""
        self._front.refused(self.peer, status, reason)
        self.transport.write(responses.last_error(status, reason))
        self._linger()

    def _responded(self) -> None:
        """Turn to the next request, or to the end."""
        self.exchange = self._request = None
        self._chunked_response = False
        self._whole_response_deadline = inf
        self.write_deadline = self._front.now + self._front.limits.write_idle_timeout if self._blocked else inf
        if self._body:  # RFC 9112 section 9.3: what is left of this request must not be read as the next one
            self._body = 0
            self._linger()
        elif self._close_after:
            if self._buffer or self._paused:  # closing over unread bytes would reset what was written
                self._linger()
            else:
                self._close()
        else:
            self._whole_request_deadline = inf
            self._turn_to_buffer()

    def _turn_to_buffer(self) -> None:
        """Go on with what was pipelined, once the response before it is out."""
        if self._blocked:
            self.read_deadline = inf  # the write deadline counts
            return
        front = self._front  # a response that had begun before the drain did not tell that it was the last one
        self.read_deadline = front.now + (_LAST_CALL_SECONDS if front.draining else front.limits.keep_alive_timeout)
        if self._processing:
            return
        if self._buffer:
            self._next_requests()
        else:
            self._after_requests()

    # the end

    def _linger(self) -> None:
        """Close when the client has sent the rest of its request, or too much of it."""
        self._lingering = Remainder(self._front.now, hurried=self._front.draining)
        self._buffer = b""
        if self._input_ended:
            self._close()
            return
        self.read_deadline = self._lingering.deadline
        self.transport.resume_reading()
        if not self.transport.is_closing():
            self.transport.write_eof()  # whoever reads to the end need not wait

    def _close(self) -> None:
        """Close when what waits is out; a client that never takes it is given up."""
        self._blocked = unsent(self.transport)
        self.write_deadline = self._front.now + self._front.limits.write_idle_timeout
        self.transport.close()

    @property
    def has_served(self) -> bool:
        """Whether there was a request."""
        return self._requests > 0

    @property
    def resting_since(self) -> float:
        """Since when the client has nothing to say, a monotonic time; ``inf`` while anything goes on."""
        # A write deadline is also that of a connection that is being closed.
        if self.exchange is not None or self._buffer or self.write_deadline < inf:
            return inf
        if self._lingering:
            return self._lingering.since
        limits = self._front.limits
        return self.read_deadline - (limits.keep_alive_timeout if self._requests else limits.request_head_timeout)

    def dismiss(self) -> None:
        """Close, to make room for others: nothing runs here."""
        self._close()

    def drain(self) -> None:
        """End with the next response; whoever does not ask for one now is let go."""
        if self._tunnelled and self.exchange is not None:
            self.exchange.drain()
        if self._lingering:
            self._lingering.hurry(self._front.now)
            self.read_deadline = self._lingering.deadline
        elif self.exchange is None and not self._buffer:
            self.read_deadline = min(self.read_deadline, self._front.now + _LAST_CALL_SECONDS)

    def eof_received(self) -> bool:
        """Let a client that has said all it will say still get its answer."""
        if self._tunnelled and self.exchange is not None and not self._input_ended:
            self._input_ended = True
            self.exchange.request_body(b"", ended=True, trailers=[])
            return True
        if self.exchange is None or self._body:
            return False
        self._input_ended = True
        return True

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature; nobody to tell
        """Tell the exchange, if one runs, that nobody waits for it."""
        self.read_deadline = self.write_deadline = inf
        self._front.closed(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandoned()

    # back-pressure and time

    def pause_writing(self) -> None:
        """The client does not read: stop the response, and give it a while."""
        self._blocked = unsent(self.transport)
        self.write_deadline = min(self.write_deadline, self._front.now + self._patience().write_idle_timeout)
        if self.exchange is not None:
            self.exchange.pause_response()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked = 0
        self.write_deadline = self._whole_response_deadline
        if self.exchange is not None:
            self.exchange.resume_response()
        elif not self._lingering:
            self._turn_to_buffer()

    def tick(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        if self.read_deadline <= now or self.write_deadline <= now:
            self.expire()
        elif self.exchange is not None and self.exchange.deadline <= now:
            self.exchange.expire()

    def expire(self) -> None:
        """Act on a deadline of the connection that has passed."""
        now = self._front.now
        if self.write_deadline <= now:
            waiting = unsent(self.transport)
            if waiting < self._blocked and self._whole_response_deadline > now:  # slow, but not stuck
                self._blocked = waiting
                idle = now + self._patience().write_idle_timeout
                self.write_deadline = min(idle, self._whole_response_deadline)
            else:
                self._front.slow(self.peer, "slow_readers", "took nothing of a response in time")
                reset(self.transport)
        elif self.read_deadline <= now:
            self.read_deadline = inf
            if self._body and not self._lingering:
                self._front.slow(self.peer, "slow_bodies", "sent nothing of a request's body in time")
                self._request_failed(408, "the request body did not arrive in time")
            elif self._buffer and not self._lingering:
                self.refuse(408, "the request head did not arrive in time")
            else:
                if not self._requests:
                    self._front.slow(self.peer, "connections_unused")
                self._close()
