"""A listening socket, shared by all workers: whoever is awake takes the next connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.proxy.server import ProxyServer

# No more than this can wait in the kernel's queue.
_BACKLOG = 4096
_PAUSE_SECONDS = 0.1
# What of a response may wait in the kernel. A client that reads nothing would hold 4 MB there, and a few hundred such
# clients all that the kernel has for TCP (net.ipv4.tcp_mem). Downloads cost the same; at half of it, a tenth more.
_UNSENT_BYTES = 1 << 20
# Long enough for an idle worker to wake, too short to be noticed where all the others are busy.
_COURTESY_SECONDS = 0.005


class Listener:
    """Accepts from ``sock`` and hands what it accepts to ``server.admit``.

    With ``redirect`` the connections are only told to come back over https; those to an ``own_port``, if not 0, are for
    the services or the APIs that have opened it.
    """

    def __init__(self, server: ProxyServer, sock: socket.socket, *, redirect: bool = False, own_port: int = 0) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit both
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self.port: int = sock.getsockname()[1]
        self.redirect = redirect
        self.own_port = own_port
        self._server = server
        self._socket = sock
        self._stopped = self._paused = False
        server.loop.add_reader(sock.fileno(), self._wake)

    def __repr__(self) -> str:
        """Show the port and what it is for."""
        what = "redirect" if self.redirect else "own" if self.own_port else "main"
        return f"<Listener port={self.port} {what}>"

    def _wake(self) -> None:
        """Accept one connection, unless this worker has more than its share: then the others may go first.

        One at a time: whoever waits for the same socket gets its turn, and so does what else this worker has to do.
        """
        if self._server.share.is_large():
            self._server.loop.remove_reader(self._socket.fileno())
            self._server.loop.call_later(_COURTESY_SECONDS, self._resume, self._accept)
        else:
            self._accept()

    def _accept(self) -> bool:
        """Accept a connection, if there is one and room for it; tell whether there may be more."""
        server = self._server
        if not server.has_room():
            self._pause("this worker has as many connections as connections_per_worker or the open-files limit allow")
            return False
        try:
            sock, address = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # out of file descriptors or memory: what is connected goes on
            self._pause(f"cannot accept: {error.strerror}")
            return False
        self._paused = False
        sock.settimeout(0)
        server.admit(sock, address, self)
        return True

    def _pause(self, reason: str) -> None:
        """Leave new connections in the kernel's queue for a moment, where another worker may take them."""
        if not self._paused:
            self._paused = True
            self._server.event("accept.paused", "", reason)
        self._server.loop.remove_reader(self._socket.fileno())
        self._server.loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self, first: Callable[[], object] | None = None) -> None:
        if not self._stopped:
            self._server.loop.add_reader(self._socket.fileno(), self._wake)
            if first is not None:
                first()

    def stop(self) -> None:
        """Accept no more, but first who is connected already and waits in the kernel's queue."""
        self._stopped = True
        for _ in range(_BACKLOG):
            if not self._accept():
                break
        self._server.loop.remove_reader(self._socket.fileno())
