"""Connections to one upstream address: kept while idle, made when none is, never more idle than allowed."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from gateway.errors import UpstreamError
from gateway.http.h1_client import UpstreamConnection
from gateway.tls.context import upstream_context
from gateway.tls.names import common_name_matches

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.http.fields import FieldTable
    from gateway.observe.events import EventLog
    from gateway.routing.snapshot import Upstream

_EVENT_SECONDS = 1.0


class Pool:
    """The connections to ``upstream``; the one used last is used next, so that the others may grow old and go."""

    def __init__(self, upstream: Upstream, table: FieldTable, events: EventLog, clock: Callable[[], float]) -> None:
        self.upstream = upstream
        self._table = table
        self._events = events
        self._clock = clock
        self._idle: list[UpstreamConnection] = []
        self._retired = False
        self._tls: ssl.SSLContext | None = None
        self._silent_until = 0.0
        self._unreported = 0

    def __repr__(self) -> str:
        """Show where the connections go and how many wait."""
        return f"<Pool {self.upstream.name} idle={len(self._idle)}>"

    def take(self) -> UpstreamConnection | None:
        """Take an idle connection, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if not (connection.closed or connection.transport.is_closing()):
                return connection
        return None

    async def dial(self) -> UpstreamConnection:
        """Make a connection.

        Raises:
            UpstreamError: 502 when the name, the address, or the certificate is no good; 504 when it takes too long.
        """
        upstream = self.upstream
        loop = asyncio.get_running_loop()
        if upstream.tls is not None and self._tls is None:
            self._tls = upstream_context(upstream.tls, verify=upstream.verify)
        connection = UpstreamConnection(self._table, self._release)
        try:
            async with asyncio.timeout(upstream.connect_timeout):
                await loop.create_connection(
                    lambda: connection,
                    upstream.target.host,
                    upstream.target.port,
                    ssl=self._tls,
                    server_hostname=upstream.target.host if self._tls is not None else None,
                )
        except TimeoutError as error:
            raise UpstreamError(504, f"no connection within {upstream.connect_timeout:g} s") from error
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            raise UpstreamError(502, f"TLS with the upstream failed: {reason}") from error
        except OSError as error:
            ended = "the upstream ended the TLS handshake" if self._tls is not None else type(error).__name__
            raise UpstreamError(502, f"cannot connect: {error.strerror or str(error) or ended}") from error
        if upstream.check_common_name and self._tls is not None:
            certificate = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            if certificate is None or not common_name_matches(certificate, upstream.target.host):
                connection.close()
                raise UpstreamError(502, "the common name of the upstream's certificate is not its host name")
        return connection

    def _release(self, connection: UpstreamConnection) -> None:
        """Keep a connection that can take another request, or forget one that closed."""
        if connection.closed:
            if connection in self._idle:
                self._idle.remove(connection)
        elif self._retired or len(self._idle) >= self.upstream.max_idle:
            connection.close()
        else:
            connection.idle_until = self._clock() + self.upstream.idle_timeout
            self._idle.append(connection)

    def expire(self, now: float) -> None:
        """Close what has been idle for too long."""
        while self._idle and self._idle[0].idle_until <= now:
            self._idle.pop(0).close()

    def retire(self) -> None:
        """Close what is idle now, and whatever comes back: no route leads here any more."""
        self._retired = True
        while self._idle:
            self._idle.pop().close()

    def failed(self, error: UpstreamError) -> None:
        """Log a failure; at most one line a second for one upstream, with the number of those left out."""
        now = self._clock()
        if now < self._silent_until:
            self._unreported += 1
            return
        self._silent_until = now + _EVENT_SECONDS
        self._events.warning(
            "upstream.failed",
            f"upstream {self.upstream.name}: {error}",
            status=error.status,
            left_out=self._unreported,
        )
        self._unreported = 0
