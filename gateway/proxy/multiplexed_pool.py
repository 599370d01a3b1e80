"""Connections to an upstream that is asked for HTTP/2: few of them, each with room for many requests.

Who finds no room while a connection is being made waits for that one: a hundred requests that come at once share it,
and its failure. An upstream that prefers HTTP/1.1 (ALPN) is served as all others are. A request that would switch
protocols, which HTTP/2 has no 101 for, gets an HTTP/1.1 connection from a pool beside this one.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import override

from gateway.errors import UpstreamError
from gateway.http.h2_client import H2UpstreamConnection
from gateway.http.h2_response import ResponseBlocks
from gateway.proxy.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gateway.http.h1_client import UpstreamConnection
    from gateway.http.upstream import UpstreamStream
    from gateway.proxy.pool import Caller, Surroundings
    from gateway.routing.snapshot import Upstream


class MultiplexedPool(Pool):
    """A pool of connections that many requests share."""

    def __init__(self, upstream: Upstream, surroundings: Surroundings) -> None:
        super().__init__(upstream, surroundings)
        self._shared: dict[H2UpstreamConnection, None] = {}
        self._joining: dict[Caller, None] = {}
        self._failure: UpstreamError | None = None
        self._beside = None
        if upstream.tls is not None:
            self._beside = Pool(replace(upstream, protocols=("http/1.1",)), surroundings)
        self._is_spoken = True  # until an upstream that may choose chose HTTP/1.1

    @property
    @override
    def in_flight(self) -> int:
        beside = self._beside.in_flight if self._beside is not None else 0
        return super().in_flight - len(self._shared) + sum(one.streams for one in self._shared) + beside

    @property
    @override
    def waiting(self) -> int:
        return super().waiting + len(self._joining)

    @override
    def take(self, caller: Caller) -> UpstreamStream | None:
        if self._beside is not None and caller.wants_http_1():
            return self._beside.take(caller)
        for connection in self._shared:  # the oldest with room, so that the others may go
            if connection.has_room:
                return connection.open()
        return super().take(caller)

    @override
    def ask(self, caller: Caller) -> bool:
        if self._beside is not None and caller.wants_http_1():
            return self._beside.ask(caller)
        if self._dialling and self._is_spoken:
            self._joining[caller] = None
            return False
        return super().ask(caller)

    @override
    def leave(self, caller: Caller) -> None:
        self._joining.pop(caller, None)
        super().leave(caller)
        if self._beside is not None:
            self._beside.leave(caller)

    @override
    async def _dial_and_tell(self, caller: Caller) -> None:
        await super()._dial_and_tell(caller)
        failure, self._failure = self._failure, None
        joining, self._joining = self._joining, {}
        for one in joining:
            if failure is not None:
                one.connect_failed(failure)
            elif (stream := self.take(one)) is not None:
                one.connected(stream)
            else:
                self._ask_again(one)

    def _ask_again(self, caller: Caller) -> None:
        try:
            self.ask(caller)
        except UpstreamError as error:
            caller.connect_failed(error)

    @override
    async def _dial(self, caller: Caller) -> UpstreamStream:
        try:
            return await self._settled(await self._connect(caller))
        except UpstreamError as error:
            self._failure = error
            raise

    async def _settled(self, connection: UpstreamConnection | H2UpstreamConnection) -> UpstreamStream:
        """Begin the first request on a new connection, once the upstream has said how many it takes."""
        self._is_spoken = isinstance(connection, H2UpstreamConnection)
        if not isinstance(connection, H2UpstreamConnection):
            return connection
        patience = self.upstream.connect_timeout
        try:
            async with asyncio.timeout(patience):
                await connection.ready
        except TimeoutError as error:
            connection.retire()
            raise UpstreamError(504, f"no HTTP/2 settings within {patience:g} s") from error
        if not connection.has_room:
            connection.retire()
            raise UpstreamError(502, connection.end or "the upstream takes no requests")
        self._shared[connection] = None
        return connection.open()

    @override
    def _protocol(self) -> asyncio.Protocol:
        return self._h2() if self.upstream.tls is None else _ByAlpn(super()._protocol, self._h2)

    def _h2(self) -> H2UpstreamConnection:
        upstream = self.upstream
        blocks = ResponseBlocks(self._surroundings.table, upstream.head_bytes, upstream.head_fields)
        scheme = b"https" if upstream.tls is not None else b"http"
        return H2UpstreamConnection(scheme, blocks, self._changed, self._clock)

    def _changed(self, connection: H2UpstreamConnection) -> None:
        """Use the room that the end of a request has made, or forget a connection that closed."""
        if connection.closed:
            self._shared.pop(connection, None)
            self._forget(connection)
            return
        while self._line and connection.has_room:
            self._pop_line().connected(connection.open())
        if self._retired:
            connection.retire()
        elif not connection.streams:
            connection.idle_until = self._clock() + self.upstream.idle_timeout

    @override
    def expire(self, now: float) -> None:
        super().expire(now)
        if self._beside is not None:
            self._beside.expire(now)
        for connection in tuple(self._shared):
            if not connection.streams and connection.idle_until <= now:
                connection.retire()

    @override
    def retire(self) -> None:
        super().retire()
        if self._beside is not None:
            self._beside.retire()
        for connection in tuple(self._shared):
            connection.retire()

    @override
    def move(self, addresses: Collection[str]) -> None:
        super().move(addresses)
        if self._beside is not None:
            self._beside.move(addresses)
        for connection in tuple(self._shared):
            if self._addresses.get(connection) not in addresses:
                connection.retire()


class _ByAlpn(asyncio.Protocol):
    """The first moment of a TLS connection to an upstream that may choose: it becomes what that chose."""

    def __init__(self, h1: Callable[[], asyncio.Protocol], h2: Callable[[], asyncio.Protocol]) -> None:
        self._h1 = h1
        self._h2 = h2

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over; nothing was read yet."""
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        connection = self._h2() if chosen == "h2" else self._h1()
        transport.set_protocol(connection)
        connection.connection_made(transport)
