"""Connections to one upstream: kept while idle, made when none is, never more than allowed.

Who finds no idle connection asks for one. When there may be no more of them it waits in line, first come first served:
a connection that becomes free goes to the first in line, and so does the place of one that ends.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from gateway.errors import UpstreamError
from gateway.http.h1_client import UpstreamConnection
from gateway.proxy.dialling import connect, say
from gateway.proxy.upstream_tls import Contexts, connect_tls, refuse_impostor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Coroutine

    from gateway.http.fields import FieldTable
    from gateway.http.h2_client import H2UpstreamConnection
    from gateway.http.proxy_protocol import Ends
    from gateway.http.upstream import UpstreamStream
    from gateway.observe.events import EventLog
    from gateway.proxy.resolver import Resolver
    from gateway.routing.snapshot import Upstream

    Connection = UpstreamConnection | H2UpstreamConnection

_EVENT_SECONDS = 1.0


class Caller(Protocol):
    """Who asks for a connection: an exchange."""

    def connected(self, upstream: UpstreamStream) -> None:
        """Take the connection that was asked for."""

    def connect_failed(self, error: UpstreamError) -> None:
        """Learn that there will be none."""

    def wants_http_1(self) -> bool:
        """Whether it is for a request that HTTP/2 cannot carry; asked where that is spoken."""

    def ends(self) -> Ends:
        """Tell whose connection it is for, where upstreams are told."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all pools of a worker share. ``spawn`` runs a coroutine as a task that the worker's end will end."""

    table: FieldTable
    events: EventLog
    clock: Callable[[], float]
    resolver: Resolver
    spawn: Callable[[Coroutine[None, None, None]], None]
    contexts: Contexts = field(default_factory=Contexts)


class Pool:
    """The connections to ``upstream``; the one used last is used next, so that the others may grow old and go."""

    def __init__(self, upstream: Upstream, surroundings: Surroundings) -> None:
        self.upstream = upstream
        self._surroundings = surroundings
        self._clock = surroundings.clock
        self._idle: list[UpstreamConnection] = []
        self._addresses: dict[Connection, str] = {}  # of all connections, idle or not
        self._moved: set[Connection] = set()  # to addresses that the name no longer has
        self._line: dict[Caller, None] = {}
        self._dialling = self._dialled = 0
        self._retired = False
        self._silent_until = 0.0
        self._unreported = 0
        self.failures = self.retries = 0

    def __repr__(self) -> str:
        """Show where the connections go and how many wait."""
        return f"<Pool {self.upstream.name} idle={len(self._idle)} busy={self.in_flight} line={len(self._line)}>"

    @property
    def in_flight(self) -> int:
        """How many requests are being answered, or are about to be sent."""
        return len(self._addresses) - len(self._idle) + self._dialling

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self._line)

    def take(self, caller: Caller) -> UpstreamStream | None:  # noqa: ARG002 - not each pool serves all alike
        """Take an idle connection for ``caller``, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.close()
        return None

    def ask(self, caller: Caller) -> bool:
        """Have a connection made for ``caller``; true when it has to wait in line until there may be one.

        Raises:
            UpstreamError: 503, the line is full.
        """
        limit = self.upstream.max_connections
        if not limit or len(self._addresses) + self._dialling < limit:
            self._dial_for(caller)
            return False
        if len(self._line) >= self.upstream.queue_length:
            raise UpstreamError(503, f"all {limit} connections are busy, and {len(self._line)} requests wait for one")
        self._line[caller] = None
        if self._idle:  # who asks in spite of these does not trust them: one makes room
            self._idle.pop(0).close()
        return True

    def leave(self, caller: Caller) -> None:
        """Wait in line no longer."""
        self._line.pop(caller, None)

    def _dial_for(self, caller: Caller) -> None:
        self._dialling += 1
        self._surroundings.spawn(self._dial_and_tell(caller))

    async def _dial_and_tell(self, caller: Caller) -> None:
        try:
            connection = await self._dial(caller)
        except UpstreamError as error:
            self._dialling -= 1
            self._next_in_line()
            caller.connect_failed(error)
        except Exception as error:  # noqa: BLE001 - whatever is odd about an upstream, its client gets an answer
            self._dialling -= 1
            self._next_in_line()
            caller.connect_failed(UpstreamError(502, f"{type(error).__name__}: {error}"))
        else:
            self._dialling -= 1
            caller.connected(connection)

    def _next_in_line(self) -> None:
        """Let the first in line have a connection made, if there may be one more."""
        if self._line and len(self._addresses) + self._dialling < self.upstream.max_connections:
            self._dial_for(self._pop_line())

    def _pop_line(self) -> Caller:
        caller = next(iter(self._line))
        del self._line[caller]
        return caller

    def _introduction(self, caller: Caller) -> bytes:  # noqa: ARG002
        """What is said on a new connection before anything else, TLS included."""
        return b""

    async def _open(self, sock: socket.socket, caller: Caller) -> None:
        """Say and hear what comes before everything else."""
        if introduction := self._introduction(caller):
            await say(sock, introduction)

    async def _dial(self, caller: Caller) -> UpstreamStream:
        connection = await self._connect(caller)
        assert isinstance(connection, UpstreamConnection)
        return connection

    def _protocol(self) -> asyncio.Protocol:
        upstream = self.upstream
        return UpstreamConnection(
            self._surroundings.table, self._release, max_head=upstream.head_bytes, max_fields=upstream.head_fields
        )

    async def _connect(self, caller: Caller) -> Connection:
        """Make a connection for ``caller``.

        Raises:
            UpstreamError: 502 when the name, the address, or the certificate is no good; 504 when it takes too long.
        """
        upstream = self.upstream
        host = upstream.target.host
        tls = upstream.tls
        if upstream.trouble:
            raise UpstreamError(502, upstream.trouble)
        try:
            context = self._surroundings.contexts.get(tls, upstream.protocols) if tls is not None else None
            async with asyncio.timeout(upstream.connect_timeout):
                sock = await self._reach()
                try:
                    address = sock.getpeername()[0]
                    await self._open(sock, caller)
                    if context is None or tls is None:
                        transport, _ = await asyncio.get_running_loop().create_connection(self._protocol, sock=sock)
                    else:
                        transport = await connect_tls(self._protocol, sock, context, tls.server_name or host)
                except BaseException:
                    sock.close()  # where it is a transport's already, this waits until that is closed
                    raise
        except TimeoutError as error:
            raise UpstreamError(504, f"no connection within {upstream.connect_timeout:g} s") from error
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            raise UpstreamError(502, f"TLS with the upstream failed: {reason}") from error
        except OSError as error:
            ended = "the upstream ended the TLS handshake" if tls is not None else type(error).__name__
            system = os.strerror(error.errno) if error.errno and error.errno > 0 else ""  # in one word, on any loop
            raise UpstreamError(502, f"cannot connect: {system or error.strerror or str(error) or ended}") from error
        connection = cast("Connection", transport.get_protocol())
        if tls is not None and tls.checks_more:
            refuse_impostor(transport, tls, host)
        if connection.closed:
            raise connection.fault or UpstreamError(502, "the upstream closed the connection at once")
        self._addresses[connection] = address
        return connection

    async def _reach(self) -> socket.socket:
        """Connect to one of the addresses of the name."""
        upstream, resolver = self.upstream, self._surroundings.resolver
        addresses = await resolver.addresses(upstream.target.host, upstream.target.port, upstream.dns_interval)
        try:
            sock = await connect(addresses, self._dialled)
        except OSError:
            resolver.doubt(upstream.target.host)
            raise
        self._dialled += 1
        return sock

    def _release(self, connection: UpstreamConnection) -> None:
        """Keep a connection that can take another request, or forget one that closed."""
        if connection.closed:
            if connection in self._idle:
                self._idle.remove(connection)
            self._forget(connection)
        elif connection in self._moved or (self._line and not connection.is_usable):
            connection.close()
        elif self._line:
            self._pop_line().connected(connection)
        elif self._retired or len(self._idle) >= self.upstream.max_idle:
            connection.close()
        else:
            connection.idle_until = self._clock() + self.upstream.idle_timeout
            self._idle.append(connection)

    def _forget(self, connection: Connection) -> None:
        if self._addresses.pop(connection, None) is not None:
            if connection.fault is not None:
                self.failed(connection.fault)
            self._moved.discard(connection)
            self._next_in_line()

    def expire(self, now: float) -> None:
        """Close what has been idle for too long."""
        while self._idle and self._idle[0].idle_until <= now:
            self._idle.pop(0).close()

    def retire(self) -> None:
        """Close what is idle now, and whatever comes back: no route leads here any more."""
        self._retired = True
        while self._idle:
            self._idle.pop().close()

    def move(self, addresses: Collection[str]) -> None:
        """Leave the addresses that the name no longer has; requests under way finish where they are."""
        for connection, address in tuple(self._addresses.items()):
            if address not in addresses:
                self._moved.add(connection)
                if connection in self._idle:
                    self._idle.remove(connection)
                    connection.close()

    def retried(self, error: UpstreamError) -> None:
        """Count and log a failure after which the request goes elsewhere."""
        self.retries += 1
        self.failed(error)

    def failed(self, error: UpstreamError) -> None:
        """Log a failure; at most one line a second for one upstream, with the number of those left out."""
        now = self._clock()
        if now < self._silent_until:
            self._unreported += 1
            return
        self._silent_until = now + _EVENT_SECONDS
        self._surroundings.events.warning(
            "upstream.failed",
            f"upstream {self.upstream.name}: {error}",
            status=error.status,
            left_out=self._unreported,
        )
        self._unreported = 0
