"""A stream of HTTP/2 that shall carry a WebSocket: extended CONNECT (RFC 8441).

To the exchange, and to the upstream behind it, it is a request of HTTP/1.1 that asks for an upgrade; the handshake that
HTTP/2 does without is made here in the client's place. What the client sends before the upstream has switched waits, at
most one window of it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.http import responses
from gateway.http.h2_head import encode_response
from gateway.http.h2_stream import H2Stream
from gateway.http.websocket import accept_value, new_key

if TYPE_CHECKING:
    from gateway.http.downstream import Exchange
    from gateway.http.h2_server import H2Connection
    from gateway.http.head import RequestHead, ResponseHead

_ACCEPT = b"sec-websocket-accept"
_FAILED = 502


class H2Tunnel(H2Stream):
    """A stream whose DATA is a protocol of its own."""

    __slots__ = ("_early", "_early_end", "_key", "_switched")

    def __init__(self, connection: H2Connection, number: int, window: int) -> None:
        super().__init__(connection, number, window, remote_ended=False)
        self._key = new_key()
        self._early = b""
        self._early_end = self._switched = False
        self._paused = True

    def with_handshake(self, head: RequestHead) -> RequestHead:
        """Add the key of this handshake to the request, which may be remembered, and come again."""
        others = [line for line in head.lines if not line.startswith(b"sec-websocket-key:")]
        return head._replace(lines=[*others, b"Sec-WebSocket-Key: " + self._key])

    def start(self, exchange: Exchange, head: RequestHead) -> None:  # noqa: ARG002 - of which nothing is needed here
        """Begin the request."""
        self.exchange = exchange
        exchange.start()
        if not self._response_ended:
            self._limits = exchange.client_limits or self._limits

    def _deliver(self, data: bytes, *, done: bool, trailers: list[bytes]) -> None:
        if self._switched:
            super()._deliver(data, done=done, trailers=trailers)
        else:
            self._early += data
            self._early_end = self._body_ended = done

    def _await_body(self) -> None:
        self.read_deadline = inf  # the tunnel has a limit of its own

    def upgrade(self, head: ResponseHead, tunnel: Exchange) -> None:
        """Answer that the tunnel stands, if the upstream's part of the handshake is right (RFC 6455 section 4.1)."""
        self.exchange = tunnel
        accepted = b""
        lines = []
        for line in head.lines:
            name, _, value = line.partition(b":")
            if name.lower() == _ACCEPT:
                accepted = value.strip(b" \t")
            else:
                lines.append(line)
        if accepted != accept_value(self._key):
            tunnel.request_failed(_FAILED, "the upstream's handshake is wrong")
            return
        self._connection.write_headers(self.id, encode_response(responses.status_line(200), lines), ended=False)
        self._switched = True
        self._paused = False
        if self._held:
            tunnel.pause_response()
        if self._early or self._early_end:
            early, self._early = self._early, b""
            tunnel.request_body(early, ended=self._early_end, trailers=[])
        if not (self._paused or self._body_ended or self._response_ended):
            self._allow_more(grow=False)

    def resume_body(self) -> None:
        """Let the client send on, if there is somebody who takes it."""
        if self._switched:
            super().resume_body()

    def half_close(self) -> bool:
        """Leave it: a stream of which we end our half is forgotten here."""
        return False

    def respond(self, status_line: bytes, lines: list[bytes], length: int, body: bytes, *, ended: bool) -> None:
        """Answer that there will be no tunnel; what an upstream means by 2xx would say the contrary."""
        if not status_line.startswith(b"2", 9):
            super().respond(status_line, lines, length, body, ended=ended)
            return
        exchange = self.exchange
        message = responses.error_body(responses.UPSTREAM_MESSAGES[_FAILED])
        lines = responses.error_lines(_FAILED)
        super().respond(responses.status_line(_FAILED), lines, len(message), message, ended=True)
        if not ended and exchange is not None:
            exchange.abandoned()
