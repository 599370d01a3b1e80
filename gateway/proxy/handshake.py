"""From an accepted socket to TLS: peek at the ClientHello, find the site, shake hands (RFC 8446 section 4.1.2).

The ClientHello is looked at without taking it from the socket (``peeking``), so that the site is chosen before OpenSSL
starts: each policy can be the host's own, floor and suites included, and the choice may read the store.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from OpenSSL import SSL

from gateway.errors import GatewayError
from gateway.http import responses
from gateway.proxy.peeking import Peeking
from gateway.tls import alerts
from gateway.tls.client_authentication import refusal
from gateway.tls.client_hello import ONE_RECORD, ClientHello, ClientHelloError, PlainHttpError, missing, parse
from gateway.tls.context import accept

if TYPE_CHECKING:
    from gateway.http.proxy_protocol import Ends
    from gateway.proxy.server import ProxyServer
    from gateway.routing.policies import HostPolicy
    from gateway.tls.context import Site

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 << 20
# The kernel keeps a ClientHello until it is whole; one that takes several records may be 144 KiB long.
_LONG_HELLOS = 64


class Handshake(Peeking):
    """A connection that is not yet one; ``read_deadline`` bounds all of it."""

    __slots__ = ("_connection", "_hello", "_left", "_reason", "_step", "_writing", "own_port", "policy", "server_name")

    GLANCE = ONE_RECORD
    BROKE_OFF = "client closed before its ClientHello was complete"

    def __init__(self, server: ProxyServer, sock: socket.socket, ends: Ends, own_port: int = 0) -> None:
        """``own_port`` is the port that APIs have opened, 0 for the gateway's."""
        super().__init__(server, sock, ends, server.limits.tls_handshake_timeout)
        self.own_port = own_port
        self._hello: ClientHello | None = None
        self.policy: HostPolicy | None = None
        self._connection: SSL.Connection | None = None
        self._step = self._peek
        self._writing = False
        self._reason = ""
        self._left = _LINGER_BYTES
        self.server_name = ""

    def __repr__(self) -> str:
        """Show who and how far."""
        return f"<Handshake {self.ends.address} {'handshaking' if self._connection else 'peeking'}>"

    def answer_to_http(self) -> bytes:
        """Write what a client is told that speaks HTTP without TLS."""
        return responses.last_error(400, "this port speaks HTTPS: ask again with https://")

    def _wake(self) -> None:
        self._step()

    def _look(self, data: bytes) -> int:
        try:
            hello = parse(data)
        except ClientHelloError as error:
            word = self.answer_to_http() if isinstance(error, PlainHttpError) else alerts.refusal(error.alert)
            self._refuse(word, str(error))
            return 0
        if hello is None:
            return self._missing(data)
        self._seen_enough()
        self._server.long_hellos.discard(self)
        self._hello = hello
        self.server_name = hello.server_name or ""
        if self._server.has_turn(self):
            self._choose()
        else:
            self._unwatch()  # what is not taken yet would wake the loop until its turn has come
            self._waits = True
        return 0

    def _missing(self, data: bytes) -> int:
        """Tell how many more bytes a ClientHello takes at least, if there is room for one that long."""
        count = missing(data)
        if len(data) + count > ONE_RECORD:
            waiting = self._server.long_hellos
            if self not in waiting and len(waiting) >= _LONG_HELLOS:
                self._refuse(alerts.refusal(alerts.INTERNAL_ERROR), "too many clients send very long ClientHellos")
                return 0
            waiting.add(self)
        return count

    def take_turn(self) -> None:
        """Do the costly part of the handshake: find the site, which may take building it, and sign."""
        self._waits = False
        if self._fd >= 0:
            self._choose()
            self._watch()

    def _choose(self) -> None:
        server = self._server
        try:
            self.policy, site = self._find_site(self.server_name or self.ends.local_address)
        except GatewayError as error:
            self._refuse(alerts.refusal(alerts.INTERNAL_ERROR), str(error))
            return
        if site is None:
            self._refuse(alerts.refusal(alerts.UNRECOGNIZED_NAME), "no certificate for this server name")
            return
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
        except Exception as error:  # noqa: BLE001 - what a callback of OpenSSL raised comes out here as well
            explained = alerts.explain(error, self._hello, self.policy.tls if self.policy is not None else None)
            self._linger(refusal(self._connection) or explained)
        else:
            self._shaken(self._connection)

    def _find_site(self, name: str) -> tuple[HostPolicy, Site | None]:
        snapshot = self._server.snapshot
        return self._server.sites.find(name, snapshot, snapshot.of_port(self.own_port))

    def _shaken(self, tls: SSL.Connection) -> None:
        self._let_go()
        self._server.handshaken(self, self._socket, tls)

    def _refuse(self, word: bytes, reason: str) -> None:
        """Say a last word where no TLS was spoken yet, and close."""
        with contextlib.suppress(OSError):  # the reason is logged; that the client was not told it is not worth a line
            self._socket.send(word)
        self._linger(reason)

    def _linger(self, reason: str) -> None:
        """Close when the client has read why.

        It may be sending the rest of a ClientHello or, in TLS 1.3, its request: closing over that would reset the
        connection, and the reset would overtake the alert.
        """
        self._reason = reason
        self._seen_enough()
        self._watch_writes(wanted=False)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self.read_deadline = min(self.read_deadline, self._server.now + _LINGER_SECONDS)
        self._step = self._discard
        self._discard()

    def _discard(self) -> None:
        try:
            while self._left > 0 and (data := self._socket.recv(ONE_RECORD)):
                self._left -= len(data)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._fail(self._reason)

    def expire(self) -> None:
        """Give up on a client that says nothing, or drips."""
        self._fail(self._reason or alerts.explain(TimeoutError(), self._hello))

    def drain(self) -> None:
        """Keep the connection, since a request may follow; but a client that has sent nothing yet must begin now."""
        if self._hello is None:
            super().drain()

    def _watch_writes(self, *, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._server.loop.add_writer(self._fd, self._wake)
            else:
                self._server.loop.remove_writer(self._fd)

    def _let_go(self) -> None:
        self._server.long_hellos.discard(self)
        self._watch_writes(wanted=False)
        super()._let_go()

    def _failed(self, reason: str) -> None:
        self._server.handshake_failed(self, reason)
