"""A client's connection to a service: a target is found, connected, and then bytes pass both ways.

    made ──► connect ──► tunnel ──► end
               │           │         │
           502,503,504   as TCP   one access-log line

What the client says before the tunnel stands waits, one read of it at most. Who cancels a query without TLS is heard no
further: the target gets ``cancel_request``, and ends the tunnel.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, cast

from gateway.errors import UpstreamError
from gateway.http.unsent import reset
from gateway.proxy.service_pool import UpstreamBytes
from gateway.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from gateway.http.downstream import Peer
    from gateway.http.proxy_protocol import Ends
    from gateway.http.upstream import UpstreamStream
    from gateway.observe.access_log import Record
    from gateway.proxy.pool import Pool
    from gateway.proxy.server import ProxyServer
    from gateway.routing.services import Service
    from gateway.routing.snapshot import Upstream

_SERVED, _REFUSED, _ABANDONED = 200, 403, 499  # what access logs say, as nginx does of its streams


class ServiceConnection(asyncio.Protocol):
    """One connection of a client, once it is known for which service. ``protocol`` is as in access-log records."""

    has_served = False

    _target: Upstream

    def __init__(
        self,
        server: ProxyServer,
        peer: Peer,
        service: Service,
        *,
        protocol: int,
        passes_request_for_tls: bool = False,
        cancel_request: bytes = b"",
    ) -> None:
        self.peer = peer
        self.passes_request_for_tls = passes_request_for_tls
        self.transport: asyncio.Transport | None = None
        self._server = server
        self._service = service
        self._protocol = protocol
        self._pool: Pool | None = None
        self._tunnel: Tunnel | None = None
        self._tried: tuple[int, ...] = ()
        self._early = cancel_request
        self._deaf = bool(cancel_request)
        self._input_ended = self._blocked = self._ended = False
        self._status = self._received = self._sent = 0
        self._started = monotonic()
        self._connected_after = 0.0
        self.deadline = inf

    def __repr__(self) -> str:
        """Show whose it is and how far."""
        return f"<ServiceConnection {self._service.api_id} of {self.peer.address} {self._tunnel}>"

    # connect

    def _connect(self) -> None:
        balancer = self._service.api.balancer
        target: Upstream | None = self._service.api.upstreams[0]
        if balancer is not None:
            key = self.peer.address.encode() if balancer.key_from == "address" else None
            target = balancer.choose(key, self._server.upstreams.load, self._tried)
        if target is None:
            self._fail(UpstreamError(503, "all hosts are down"))
            return
        self._target = target
        self._pool = self._server.upstreams.pool(target)
        try:
            # Dialling has its own deadline, after which one that is shared may let this one wait.
            patience = target.queue_timeout if self._pool.ask(self) else inf
            self.deadline = self._server.now + patience
        except UpstreamError as error:
            self._retry_or_fail(error)

    def connected(self, upstream: UpstreamStream) -> None:
        """Let bytes pass."""
        assert isinstance(upstream, UpstreamBytes)
        if self._ended:
            upstream.close()
            return
        balancer = self._service.api.balancer
        if balancer is not None and balancer.health.troubled:
            balancer.health.succeeded(self._target.index)
        self._status = _SERVED
        self._connected_after = monotonic() - self._started
        tunnel = self._tunnel = Tunnel(
            self._server,
            self,
            upstream,
            limits=self._service.limits,
            websocket=False,
            client_limits=None,
            ended=self._tunnel_ended,
        )
        upstream.begin(tunnel)
        if self._blocked:
            tunnel.pause_response()
        early, self._early = self._early, b""
        if early:
            self.resume_body()  # first, for the target may not take all of it
            tunnel.request_body(early, ended=False, trailers=[])
        if self._deaf:
            tunnel.hear_no_more()
        if self._input_ended:
            tunnel.request_body(b"", ended=True, trailers=[])

    def connect_failed(self, error: UpstreamError) -> None:
        """Try another target: nothing was sent, so nothing can happen twice."""
        if not self._ended:
            self._server.upstreams.failed(self._service.api.balancer, self._target, error)
            self._retry_or_fail(error)

    def _retry_or_fail(self, error: UpstreamError) -> None:
        balancer, pool = self._service.api.balancer, self._pool
        assert pool is not None
        if balancer is not None and balancer.may_retry(len(self._tried) + 1, self._server.now):
            pool.retried(error)
            self._tried += (self._target.index,)
            self._connect()
        else:
            pool.failed(error)
            self._fail(error)

    def wants_http_1(self) -> bool:
        """Whether HTTP/2 will not do, which no service speaks by itself."""
        return False

    def ends(self) -> Ends:
        """Tell whose connection it is, for targets that are told by the PROXY protocol."""
        assert self.peer.ends is not None
        return self.peer.ends

    def _fail(self, error: UpstreamError) -> None:
        self._server.count("service_failures")
        self._status = error.status
        self._end()
        self.abort()

    # what a tunnel asks for

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:  # noqa: ARG002 - there are none
        """Send what the target sent; its end is the end."""
        assert self.transport is not None
        if data:
            self.transport.write(data)
        if ended:
            self.transport.close()
            # What the client does not take is not kept for ever.
            self.deadline = self._server.now + self._service.limits.write_idle_timeout

    def half_close(self) -> bool:
        """End what is sent; what the client sends is still read."""
        assert self.transport is not None
        if not self.transport.is_closing():
            self.transport.write_eof()
        return True

    def pause_body(self) -> None:
        """Read no more until ``resume_body``."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self.transport is not None:
            self.transport.resume_reading()

    def abort(self, code: int = 0) -> None:  # noqa: ARG002 - there is no way to say why
        """Cut the connection, so that the client sees that it did not end well."""
        if self.transport is not None:
            reset(self.transport)

    # what a worker asks for

    @property
    def running(self) -> int:
        """Whether it has not come to its end."""
        return not self._ended

    @property
    def resting_since(self) -> float:
        """Since when nothing is to come: nobody knows."""
        return inf

    def dismiss(self) -> None:
        """Stay: what rests here is not known to be at its end."""

    def drain(self) -> None:
        """Go on: the protocol is not known, nor whether it has a word of goodbye. The end of the drain cuts it."""

    def tick(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        if self._tunnel is not None and self._tunnel.deadline <= now:
            self._tunnel.expire()
        if self.deadline > now:
            return
        self.deadline = inf
        if self._ended:
            self.abort()
        elif self._pool is not None and self._tunnel is None:
            self._pool.leave(self)
            self._retry_or_fail(UpstreamError(503, "no connection became free in time"))

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look for a target."""
        self.transport = cast("asyncio.Transport", transport)  # which uvloop's is not by inheritance
        self._server.count("service_connections")
        if self._service.admits(self.peer.address):
            self._connect()
        else:
            self._status = _REFUSED
            self._end()
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on what the client sent."""
        if self._deaf:  # read all the same, for what is left unread would turn the end into a reset
            return
        if self._tunnel is not None:
            self._tunnel.request_body(data, ended=False, trailers=[])
        elif not self._ended:
            self._early += data
            self.pause_body()

    def eof_received(self) -> bool:
        """Pass on that the client sends no more; what is sent to it may go on."""
        self._input_ended = True
        if self._tunnel is not None:
            self._tunnel.request_body(b"", ended=True, trailers=[])
        return not self._ended

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature; nobody to tell
        """End the tunnel, or the search for a target."""
        if self._tunnel is not None:
            self._tunnel.abandoned()
        elif not self._ended:
            self._status = _ABANDONED
            if self._pool is not None:
                self._pool.leave(self)
            self._end()
        self._server.closed(self)

    def pause_writing(self) -> None:
        """Pass the client's back-pressure on."""
        self._blocked = True
        if self._tunnel is not None:
            self._tunnel.pause_response()

    def resume_writing(self) -> None:
        """Pass the end of the client's back-pressure on."""
        self._blocked = False
        if self._tunnel is not None:
            self._tunnel.resume_response()

    # the end

    def _tunnel_ended(self, received: int, sent: int) -> None:
        self._received, self._sent = received, sent
        self._end()

    def _end(self) -> None:
        self._ended = True
        self.deadline = inf
        self._server.count("service_bytes_received", self._received)
        self._server.count("service_bytes_sent", self._sent)
        self._server.log(self.record())

    def record(self) -> Record:
        """Tell what the access log says of this connection. Called at its end."""
        return (
            self._started, self.peer.address, self.peer, b"", b"-", self._service.api_id.encode(), self._protocol,
            self._status, self._received, self._sent, monotonic() - self._started,
            self._pool.upstream.name if self._pool is not None else "", self._connected_after, b"",
        )  # fmt: skip
