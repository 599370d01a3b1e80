"""The encrypted transport: OpenSSL on the non-blocking socket itself, behind asyncio's transport interface.

Theory of operation
-------------------
asyncio and uvloop put two memory buffers between OpenSSL and the socket, and a Python object graph around them: 26 to
280 kB for each idle connection, and two copies of each byte. Here OpenSSL reads and writes the socket (``SSL_set_fd``),
and the loop only says when that may succeed. An idle connection costs about 20 kB.

*Reading.* The socket is watched for as long as the protocol wants data. One ``recv`` returns at most one TLS record
(16 kB of plain text); OpenSSL without read-ahead never takes more than that record from the kernel, so nothing is
ever left inside OpenSSL while the kernel's buffer is empty, and level-triggered readiness is enough. A full record
is likely to be followed by another: up to ``_RECORDS_PER_WAKEUP`` are read before the loop gets its turn again.

*Writing.* ``write`` sends at once. Partial writes are off (``tls.context``), so a send takes all or, when the socket is
full, nothing that we may forget: OpenSSL must be given *the same* bytes again. They wait in ``_pending``, the protocol
is told to pause, and the loop tells when the socket has room. Whoever obeys ``pause_writing`` adds little to that
queue, which bounds it.

*Reading may want to write* (a TLS 1.3 key update asks for an answer). A peer that reads nothing and asks for updates
would keep the socket readable for ever; reading therefore stops until the socket is writable.

*Half of it.* ``write_eof`` sends what waits, then close_notify, and reading goes on (RFC 8446 section 6.1); a peer of
TLS 1.2 or a simple client takes it for the end of both halves, and closes.

*Closing.* ``close`` sends what waits, then close_notify, then lets go of the socket. ``abort`` does not wait. Both end
in exactly one ``connection_lost``, never from within the caller's own call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from gateway.tls.records import RECORD, receive, send

if TYPE_CHECKING:
    import socket

_RECORDS_PER_WAKEUP = 8


class TlsTransport(asyncio.Transport):
    """A connection whose handshake is done.

    ``extra`` answers ``get_extra_info``. The protocol's ``connection_made`` is called by ``start``.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_eof_due",
        "_fd",
        "_loop",
        "_paused",
        "_pending",
        "_protocol",
        "_socket",
        "_watching_reads",
        "_watching_writes",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        connection: SSL.Connection,
        protocol: asyncio.Protocol,
        extra: dict[str, Any],
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._connection = connection
        self._protocol = protocol
        self._pending: deque[bytes] = deque()
        self._eof_due = self._closing = self._paused = self._watching_writes = self._watching_reads = False

    def __repr__(self) -> str:
        """Show what the connection waits for."""
        state = "closing" if self._closing else "paused" if self._paused else "open"
        return f"<TlsTransport fd={self._fd} {state} pending={self.get_write_buffer_size()}>"

    def start(self) -> None:
        """Begin to read; what came together with the end of the handshake is read at once."""
        self._protocol.connection_made(self)
        self._watch_reads()
        if self._watching_reads:
            self._readable()

    # reading

    def pause_reading(self) -> None:
        self._paused = True
        self._unwatch_reads()

    def resume_reading(self) -> None:
        self._paused = False
        self._watch_reads()

    def is_reading(self) -> bool:
        return self._watching_reads

    def _watch_reads(self) -> None:
        if not self._watching_reads and not self._closing and self._fd >= 0:
            self._watching_reads = True
            self._loop.add_reader(self._fd, self._readable)

    def _unwatch_reads(self) -> None:
        if self._watching_reads:
            self._watching_reads = False
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        for _ in range(_RECORDS_PER_WAKEUP):
            try:
                data = receive(self._connection)
            except SSL.WantReadError:
                return
            except SSL.WantWriteError:
                self._unwatch_reads()
                self._watch_writes()
                return
            except SSL.ZeroReturnError:
                self._end_of_file()
                return
            except (SSL.Error, OSError) as error:
                self._drop(error)
                return
            try:
                self._protocol.data_received(data)
            except Exception as error:  # noqa: BLE001 - a fault must end one connection, and no other
                self._fault(error)
                return
            if len(data) < RECORD or not self._watching_reads:
                return

    def _end_of_file(self) -> None:
        self._unwatch_reads()
        try:
            if not self._protocol.eof_received():
                self.close()
        except Exception as error:  # noqa: BLE001
            self._fault(error)

    # writing

    def write(self, data: bytes) -> None:  # type: ignore[override]  # every caller has bytes
        if self._closing or not data:
            return
        if self._pending:
            self._pending.append(data)
            return
        try:
            send(self._connection, data)
        except SSL.WantWriteError:
            self._pending.append(data)
            self._watch_writes()
            self._protocol.pause_writing()
        except (SSL.Error, OSError) as error:
            self._drop(error)

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._pending))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End the writing half; nothing may be written after it."""
        if self._closing:
            return
        self._eof_due = True
        if not self._pending:
            self._send_eof()

    def _send_eof(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.WantWriteError:
            self._watch_writes()
        except (SSL.Error, OSError) as error:
            self._drop(error)
        else:
            self._eof_due = False

    def _watch_writes(self) -> None:
        if not self._watching_writes:
            self._watching_writes = True
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        had_pending = bool(self._pending)
        try:
            while self._pending:
                send(self._connection, self._pending[0])
                self._pending.popleft()
        except SSL.WantWriteError:
            return
        except (SSL.Error, OSError) as error:
            self._drop(error)
            return
        self._watching_writes = False
        self._loop.remove_writer(self._fd)
        if self._closing:
            self._finish()
            return
        if self._eof_due:
            self._send_eof()
        if not self._paused:
            self._watch_reads()
        if had_pending:
            try:
                self._protocol.resume_writing()
            except Exception as error:  # noqa: BLE001
                self._fault(error)

    # closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._unwatch_reads()
        if not self._pending:
            self._finish()

    def abort(self) -> None:
        self._drop(None)

    def _finish(self) -> None:
        with contextlib.suppress(SSL.Error, OSError):  # the peer is gone, or left no room for 24 bytes
            self._connection.shutdown()
        self._drop(None)

    def _fault(self, error: Exception) -> None:
        """Report what the protocol did not expect, and let the connection go."""
        context = {"message": "a connection's protocol failed", "exception": error, "transport": self}
        self._loop.call_exception_handler(context)
        self._drop(error)

    def _drop(self, error: BaseException | None) -> None:
        if self._fd < 0:
            return
        self._closing = True
        self._unwatch_reads()
        if self._watching_writes:
            self._watching_writes = False
            self._loop.remove_writer(self._fd)
        self._fd = -1
        self._pending.clear()
        self._socket.close()
        self._loop.call_soon(self._protocol.connection_lost, error if isinstance(error, Exception) else None)
