"""Connections to a target of a service: each is one client's, from its first byte to its last."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from typing_extensions import override

from gateway.errors import UpstreamError
from gateway.http.h1_client import UpstreamConnection
from gateway.http.head import UNTIL_CLOSE
from gateway.http.proxy_protocol import encode
from gateway.proxy.dialling import say
from gateway.proxy.pool import Pool
from gateway.tls import postgresql

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gateway.http.fields import FieldTable
    from gateway.http.upstream import ResponseReceiver
    from gateway.proxy.pool import Caller
    from gateway.proxy.tunnel import Tunnel


class AskedCaller(Protocol):
    """Who asks for a connection to a service."""

    passes_request_for_tls: bool
    """Whether the client asked in plain words for the TLS that the target is to speak with it."""


class UpstreamBytes(UpstreamConnection):
    """A connection to an upstream that carries bytes: the upstream's side of a tunnel from the beginning.

    What comes before the tunnel stands waits: some servers speak first, and some of those hang up at once.
    """

    __slots__ = ("_early", "_early_end")

    def __init__(self, table: FieldTable, release: Callable[[UpstreamConnection], None]) -> None:
        super().__init__(table, release)
        self._tunnelled = True
        self._left = UNTIL_CLOSE
        self._early = b""
        self._early_end = False

    def begin(self, tunnel: Tunnel) -> None:
        """Deliver what comes to ``tunnel`` from now on."""
        self._receiver = cast("ResponseReceiver", tunnel)  # of which only the part of a TunnelReceiver is used
        early, self._early = self._early, b""
        if early:
            tunnel.response_body(early, ended=False, trailers=[])
        if self._early_end:
            tunnel.response_body(b"", ended=True, trailers=[])
        elif early and not self._paused and not self.closed:
            self.resume()

    @override
    def data_received(self, data: bytes) -> None:
        if self._receiver is None and not self.closed:
            self._early += data
            self.transport.pause_reading()
        else:
            super().data_received(data)

    @override
    def eof_received(self) -> bool:
        if self._receiver is None and not self.closed:
            self._early_end = self._closed_properly = True
            return self.transport.can_write_eof()
        return super().eof_received()


class ServicePool(Pool):
    """Connections to one target of services; none is ever used twice."""

    @override
    def take(self, caller: Caller) -> None:
        return None

    @override
    def _protocol(self) -> asyncio.Protocol:
        return UpstreamBytes(self._surroundings.table, self._release)

    @override
    def _introduction(self, caller: Caller) -> bytes:
        version = self.upstream.proxy_protocol
        return encode(version, caller.ends()) if version is not None else b""

    @override
    async def _open(self, sock: socket.socket, caller: Caller) -> None:
        await super()._open(sock, caller)
        upstream = self.upstream
        if not upstream.negotiate or (upstream.tls is None and not cast("AskedCaller", caller).passes_request_for_tls):
            return
        await say(sock, postgresql.SSL_REQUEST)
        if await asyncio.get_running_loop().sock_recv(sock, 1) != postgresql.ACCEPTED:
            raise UpstreamError(502, "the upstream does not speak TLS: it declined PostgreSQL's SSLRequest")
