"""From an accepted socket to TLS: peek at the ClientHello, find the site, shake hands (RFC 8446 section 4.1.2).

The ClientHello is looked at without taking it from the socket (``MSG_PEEK``), so that the site is chosen before OpenSSL
starts: each policy can be the host's own, floor and suites included, and the choice may read the store.

A half-arrived ClientHello stays in the kernel and would wake the loop for ever. ``SO_RCVLOWAT`` is therefore set to one
byte more than was seen before waiting again; a wake-up that brings no growth is the peer's close.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from OpenSSL import SSL

from gateway.errors import GatewayError
from gateway.http import responses
from gateway.tls import alerts
from gateway.tls.client_hello import LIMIT, ClientHello, ClientHelloError, PlainHttpError, parse
from gateway.tls.context import accept

if TYPE_CHECKING:
    from gateway.proxy.server import ProxyServer
    from gateway.tls.policy import TlsPolicy

_HTTPS_HERE = b"\r\n".join(
    (
        responses.status_line(400),
        b"Content-Type: application/json",
        b"Connection: close",
        b"",
        responses.error_body("this port speaks HTTPS: ask again with https://"),
    )
)


class Handshake:
    """A connection that is not yet one; ``read_deadline`` bounds all of it."""

    __slots__ = (
        "_address",
        "_connection",
        "_fd",
        "_hello",
        "_name",
        "_peeked",
        "_server",
        "_policy",
        "_socket",
        "_writing",
        "read_deadline",
    )

    def __init__(self, server: ProxyServer, sock: socket.socket, address: str) -> None:
        self._server = server
        self._socket = sock
        self._fd = sock.fileno()
        self._address = address
        self._hello: ClientHello | None = None
        self._name = ""
        self._policy: TlsPolicy | None = None
        self._connection: SSL.Connection | None = None
        self._peeked = 0
        self._writing = False
        self.read_deadline = server.now + server.limits.tls_handshake_timeout

    def __repr__(self) -> str:
        """Show who and how far."""
        return f"<Handshake {self._address} {'handshaking' if self._connection else 'peeking'}>"

    def start(self) -> None:
        """Look for the ClientHello, which often is there already, else when it comes."""
        self._server.loop.add_reader(self._fd, self._peek)
        self._peek()

    def _peek(self) -> None:
        try:
            data = self._socket.recv(LIMIT, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(alerts.explain(error))
            return
        if len(data) <= self._peeked:
            self._fail("client closed before its ClientHello was complete" if data else "")
            return
        try:
            hello = parse(data)
        except ClientHelloError as error:
            self._refuse(error)
            return
        if hello is None:
            self._peeked = len(data)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(data) + 1)
            return
        if self._peeked:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._hello = hello
        self._name = hello.server_name or ""
        self._choose()

    def _choose(self) -> None:
        try:
            name = self._name or self._socket.getsockname()[0]
            site = self._server.sites.find(name, self._server.snapshot)
        except GatewayError as error:
            self._send(alerts.refusal(alerts.INTERNAL_ERROR))
            self._fail(str(error))
            return
        if site is None:
            self._send(alerts.refusal(alerts.UNRECOGNIZED_NAME))
            self._fail("no certificate for this server name")
            return
        self._policy = site.policy
        self._connection = accept(self._server.base, site, self._socket)
        self._server.loop.add_reader(self._fd, self._shake)
        self._shake()

    def _shake(self) -> None:
        assert self._connection is not None
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            if self._writing:
                self._writing = False
                self._server.loop.remove_writer(self._fd)
            return
        except SSL.WantWriteError:
            if not self._writing:
                self._writing = True
                self._server.loop.add_writer(self._fd, self._shake)
            return
        except (SSL.Error, OSError) as error:
            self._fail(alerts.explain(error, self._hello, self._policy))
            return
        self._stop_watching()
        self._server.handshaken(self, self._socket, self._connection, self._address, self._name)

    def expire(self) -> None:
        """Give up on a client that says nothing, or drips."""
        self._fail(alerts.explain(TimeoutError(), self._hello))

    def abort(self) -> None:
        """Let go of the connection without a word."""
        self._fail("")

    def drain(self) -> None:
        """Go on: the handshake is bounded, and a request may follow."""

    def _refuse(self, error: ClientHelloError) -> None:
        self._send(_HTTPS_HERE if isinstance(error, PlainHttpError) else alerts.refusal(error.alert))
        self._fail(str(error))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError:
            pass  # the reason is logged; that the client could not be told it is not worth a line

    def _stop_watching(self) -> None:
        self._server.loop.remove_reader(self._fd)
        if self._writing:
            self._writing = False
            self._server.loop.remove_writer(self._fd)

    def _fail(self, reason: str) -> None:
        """Close; log why, unless the peer only came and went (a health check's TCP connect, a scan)."""
        if self._fd < 0:
            return
        self._stop_watching()
        self._fd = -1
        self._socket.close()
        self._server.handshake_failed(self, self._address, self._name, reason)
