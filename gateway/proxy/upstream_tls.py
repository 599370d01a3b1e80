"""TLS of connections to upstreams: contexts that pools share, and the last look at who is at the other end."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from gateway.errors import UpstreamError
from gateway.http.last_words import BelowTls
from gateway.tls.context import peer_chain, upstream_context

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from gateway.tls.upstream import UpstreamTls

_MOST = 1000


class Contexts:
    """The contexts of one worker, those asked for last: each costs milliseconds, and half a megabyte of authorities."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UpstreamTls, tuple[str, ...]], ssl.SSLContext] = OrderedDict()

    def get(self, tls: UpstreamTls, protocols: tuple[str, ...]) -> ssl.SSLContext:
        """Find or make the context for connections that offer ``protocols``. Raises ssl.SSLError."""
        key = tls, protocols
        context = self._known.get(key)
        if context is None:
            context = self._known[key] = upstream_context(tls, protocols)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return context


async def connect_tls(
    factory: Callable[[], asyncio.Protocol], sock: socket.socket, context: ssl.SSLContext, name: str
) -> asyncio.Transport:
    """Shake hands on ``sock`` with the upstream ``name``. Raises what the loop's ``start_tls`` does."""
    loop = asyncio.get_running_loop()
    below, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    protocol = factory()
    transport = await loop.start_tls(below, protocol, context, server_hostname=name)
    assert transport is not None
    BelowTls(below)
    protocol.connection_made(transport)
    return transport


def refuse_impostor(transport: asyncio.Transport, tls: UpstreamTls, host: str) -> None:
    """Close a connection whose handshake is over but whose other end is not who was meant. Raises UpstreamError."""
    chain = peer_chain(transport.get_extra_info("ssl_object"), verified=tls.verify)
    if reason := tls.refusal(chain, host):
        transport.abort()
        raise UpstreamError(502, f"TLS with the upstream failed: {reason}")
