"""From an accepted socket to TLS: peek at the ClientHello, find the site, shake hands (RFC 8446 section 4.1.2).

The ClientHello is looked at without taking it from the socket (``MSG_PEEK``), so that the site is chosen before OpenSSL
starts: each policy can be the host's own, floor and suites included, and the choice may read the store.

A half-arrived ClientHello stays in the kernel and would wake the loop for ever. ``SO_RCVLOWAT`` is therefore set to
what must have come before there is more to say; a wake-up that brings no growth is the peer's close.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from OpenSSL import SSL

from gateway.errors import GatewayError
from gateway.http import responses
from gateway.tls import alerts
from gateway.tls.client_hello import LIMIT, ClientHello, ClientHelloError, PlainHttpError, missing, parse
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


_LAST_CALL_SECONDS = 1.0


class Handshake:
    """A connection that is not yet one; ``read_deadline`` bounds all of it."""

    __slots__ = (
        "_address",
        "_connection",
        "_fd",
        "_hello",
        "_policy",
        "_seen",
        "_server",
        "_socket",
        "_step",
        "_watching",
        "_writing",
        "port",
        "read_deadline",
        "server_name",
    )

    def __init__(self, server: ProxyServer, sock: socket.socket, address: str, port: int) -> None:
        self._server = server
        self._socket = sock
        self._fd = sock.fileno()
        self._address = address
        self._hello: ClientHello | None = None
        self._policy: TlsPolicy | None = None
        self._connection: SSL.Connection | None = None
        self._seen = 0
        self._step = self._peek
        self._watching = self._writing = False
        self.port = port
        self.server_name = ""
        self.read_deadline = server.now + server.limits.tls_handshake_timeout

    def __repr__(self) -> str:
        """Show who and how far."""
        return f"<Handshake {self._address} {'handshaking' if self._connection else 'peeking'}>"

    def start(self) -> None:
        """Look for the ClientHello, which often is there already, else when it comes."""
        self._step()
        if self._fd >= 0:
            self._watching = True
            self._server.loop.add_reader(self._fd, self._wake)

    def _wake(self) -> None:
        self._step()

    def _peek(self) -> None:
        try:
            data = self._socket.recv(LIMIT, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(alerts.explain(error))
            return
        if len(data) <= self._seen:
            self._fail("client closed before its ClientHello was complete" if data else "")
            return
        try:
            hello = parse(data)
        except ClientHelloError as error:
            self._send(_HTTPS_HERE if isinstance(error, PlainHttpError) else alerts.refusal(error.alert))
            self._fail(str(error))
            return
        if hello is None:
            self._seen = len(data)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(data) + missing(data))
            return
        if self._seen:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._hello = hello
        self.server_name = hello.server_name or ""
        self._choose()

    def _choose(self) -> None:
        server = self._server
        try:
            site = server.sites.find(self.server_name or self._socket.getsockname()[0], server.snapshot)
        except GatewayError as error:
            self._send(alerts.refusal(alerts.INTERNAL_ERROR))
            self._fail(str(error))
            return
        if site is None:
            self._send(alerts.refusal(alerts.UNRECOGNIZED_NAME))
            self._fail("no certificate for this server name")
            return
        self._policy = site.policy
        self._connection = accept(server.base, site, self._socket)
        self._step = self._shake
        self._shake()

    def _shake(self) -> None:
        assert self._connection is not None
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._watch_writes(wanted=False)
        except SSL.WantWriteError:
            self._watch_writes(wanted=True)
        except (SSL.Error, OSError) as error:
            self._fail(alerts.explain(error, self._hello, self._policy))
        else:
            self._let_go()
            self._server.handshaken(self, self._socket, self._connection, self._address)

    def expire(self) -> None:
        """Give up on a client that says nothing, or drips."""
        self._fail(alerts.explain(TimeoutError(), self._hello))

    def abort(self) -> None:
        """Let go of the connection without a word."""
        self._fail("")

    def drain(self) -> None:
        """Go on, for a request may follow; but a client that has said nothing yet must say it now."""
        if self._connection is None:
            self.read_deadline = min(self.read_deadline, self._server.now + _LAST_CALL_SECONDS)

    def _send(self, data: bytes) -> None:
        """Say a last word. What was only peeked at is taken first: closing over it would reset the connection."""
        with contextlib.suppress(OSError):  # the reason is logged; that the client was not told it is not worth a line
            self._socket.recv(LIMIT)
            self._socket.send(data)

    def _watch_writes(self, *, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._server.loop.add_writer(self._fd, self._wake)
            else:
                self._server.loop.remove_writer(self._fd)

    def _let_go(self) -> None:
        """Leave the socket to whoever comes next."""
        self._watch_writes(wanted=False)
        if self._watching:
            self._watching = False
            self._server.loop.remove_reader(self._fd)
        self._fd = -1

    def _fail(self, reason: str) -> None:
        """Close; log why, unless the peer only came and went (a health check's TCP connect, a scan)."""
        if self._fd >= 0:
            self._let_go()
            self._socket.close()
            self._server.handshake_failed(self, self._address, self.server_name, reason)
