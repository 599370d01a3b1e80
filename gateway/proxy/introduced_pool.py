"""Connections to an upstream that is told, by the PROXY protocol, whose each one is.

A header stands at the beginning of a connection and holds for all of it. So a connection carries the requests of one
client's connection and of no other, from the same port; when there may be no more, one that waits idle makes room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from gateway.http.proxy_protocol import encode
from gateway.proxy.pool import Pool

if TYPE_CHECKING:
    from gateway.http.h1_client import UpstreamConnection
    from gateway.http.upstream import UpstreamStream
    from gateway.proxy.pool import Caller, Surroundings
    from gateway.routing.snapshot import Upstream


class IntroducedPool(Pool):
    """A pool each of whose connections begins with a PROXY header."""

    def __init__(self, upstream: Upstream, surroundings: Surroundings) -> None:
        super().__init__(upstream, surroundings)
        self._introduced: dict[UpstreamStream, bytes] = {}

    @override
    def take(self, caller: Caller) -> UpstreamConnection | None:
        wanted = self._introduction(caller)
        for connection in reversed(self._idle):
            if self._introduced.get(connection) == wanted and connection.is_usable:
                self._idle.remove(connection)
                return connection
        return None

    @override
    def _introduction(self, caller: Caller) -> bytes:
        assert self.upstream.proxy_protocol is not None
        return encode(self.upstream.proxy_protocol, caller.ends())

    @override
    async def _dial(self, caller: Caller) -> UpstreamStream:
        connection = await super()._dial(caller)
        self._introduced[connection] = self._introduction(caller)
        return connection

    @override
    def _release(self, connection: UpstreamConnection) -> None:
        if connection.closed:
            self._introduced.pop(connection, None)
        elif self._line and self._introduced.get(connection) != self._introduction(next(iter(self._line))):
            connection.close()  # whoever is first in line has one made in its place
            return
        elif self._idle and len(self._idle) >= self.upstream.max_idle:
            self._idle.pop(0).close()  # its client is likelier to be gone than this one's
        super()._release(connection)
