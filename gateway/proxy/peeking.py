"""A connection that is looked at before anything is taken from it (``MSG_PEEK``).

What has half arrived stays in the kernel and would wake the loop for ever. ``SO_RCVLOWAT`` is therefore set to what
must have come before there is more to say; a wake-up that brings no growth is the peer's close, or shortage of room.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

from gateway.errors import MessageError
from gateway.http import proxy_protocol
from gateway.tls import alerts

if TYPE_CHECKING:
    from gateway.http.proxy_protocol import Ends
    from gateway.proxy.listener import Listener
    from gateway.proxy.server import ProxyServer

_LAST_CALL_SECONDS = 1.0
_PAUSE_SECONDS = 0.05


class Peeking:
    """Looks at what arrives until ``_look`` has seen enough; ``read_deadline`` bounds the wait."""

    __slots__ = (
        *("_deadline", "_fd", "_seen", "_server", "_socket", "_waits", "_wanted", "_watching"),
        *("ends", "read_deadline", "resting_since"),
    )

    has_served = False
    running = 0

    GLANCE: int
    """The least number of bytes to look at."""

    BROKE_OFF: str

    def __init__(self, server: ProxyServer, sock: socket.socket, ends: Ends, seconds: float) -> None:
        self._server = server
        self._socket = sock
        self._fd = sock.fileno()
        self._seen = self._wanted = 0
        self._watching = self._waits = False
        self.ends = ends
        self.resting_since = server.now
        self.read_deadline = self._deadline = server.now + seconds

    def start(self) -> None:
        """Look at what often is there already, else when it comes."""
        self._wake()
        self._watch()

    def _watch(self) -> None:
        if self._fd >= 0 and not (self._watching or self._waits):
            self._watching = True
            self._server.loop.add_reader(self._fd, self._wake)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._server.loop.remove_reader(self._fd)

    def _wake(self) -> None:
        self._peek()

    def _peek(self) -> None:
        try:
            data = self._socket.recv(max(self.GLANCE, self._wanted), socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:  # a balancer's health check may end with a reset, and has said nothing
            self._fail(alerts.explain(error) if self._seen else "")
            return
        if len(data) <= self._seen:
            if data and not self._hung_up():
                self._pause()
            else:
                self._fail(self.BROKE_OFF if data else "")
            return
        self.read_deadline = self._deadline  # a drain hurries only who has not begun
        missing = self._look(data)
        if missing:
            self._seen = len(data)
            self._wanted = len(data) + missing
            if self._wanted > self.GLANCE:  # the kernel makes room for what is waited for, and counts more than bytes
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 2 * self._wanted)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, self._wanted)

    def _hung_up(self) -> bool:
        poller = select.poll()
        poller.register(self._fd, select.POLLRDHUP)
        return bool(poller.poll(0))

    def _pause(self) -> None:
        """Look away for a moment: the kernel is short of room for what it shall wait for, and wakes without news."""
        self._unwatch()
        self._server.loop.call_later(_PAUSE_SECONDS, self._watch)

    def _look(self, data: bytes) -> int:
        """Act on what has arrived, or tell how many more bytes that takes at least."""
        raise NotImplementedError

    def _seen_enough(self) -> None:
        """Let the socket wake whoever reads it next as usual."""
        if self._seen:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def tick(self, now: float) -> None:
        """Act on the deadline if it has passed."""
        if self.read_deadline <= now:
            self.expire()

    def expire(self) -> None:
        """Give up on a client that says nothing, or drips."""
        self._fail("nothing was said in time")

    def abort(self) -> None:
        """Let go of the connection without a word."""
        self._fail("")

    def dismiss(self) -> None:
        """Close, to make room for others: the client takes its time."""
        self._fail("let go for others, since this worker has as many connections as it may")

    def drain(self) -> None:
        """Keep the connection, since a request may follow; but a client that has sent nothing yet must begin now."""
        if not self._seen:
            self.read_deadline = min(self.read_deadline, self._server.now + _LAST_CALL_SECONDS)

    def _let_go(self) -> None:
        """Leave the socket to whoever comes next."""
        self._unwatch()
        self._fd = -1

    def _fail(self, reason: str) -> None:
        """Close; log why, unless the peer only came and went (a health check's TCP connect, a scan)."""
        if self._fd >= 0:
            self._let_go()
            self._socket.close()
            self._failed(reason)

    def _failed(self, reason: str) -> None:
        raise NotImplementedError


class ProxyHeader(Peeking):
    """A proxy's connection, until it has said whose it is; exactly its header is taken from the socket."""

    __slots__ = ("_listener",)

    GLANCE = proxy_protocol.LIMIT
    BROKE_OFF = "the proxy closed before its PROXY header was complete"

    def __init__(
        self, server: ProxyServer, sock: socket.socket, ends: Ends, listener: Listener, seconds: float
    ) -> None:
        super().__init__(server, sock, ends, seconds)
        self._listener = listener

    def __repr__(self) -> str:
        """Show who has to speak."""
        return f"<ProxyHeader {self.ends.address} seen={self._seen}>"

    def _look(self, data: bytes) -> int:
        try:
            header = proxy_protocol.parse(data)
        except MessageError as error:
            self._fail(str(error))
            return 0
        if isinstance(header, int):
            return header
        self._seen_enough()
        self._socket.recv(header.length)
        self._let_go()
        self._server.introduced(self, self._socket, header.ends or self.ends, self._listener)
        return 0

    def _failed(self, reason: str) -> None:
        self._server.not_introduced(self, reason)
