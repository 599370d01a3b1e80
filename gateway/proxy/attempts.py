"""The attempts of a request at its targets: which one, over which connection, and whether once more.

A request goes to another target when nothing of it was sent, or when to send it twice is the same as once (RFC 9110
section 9.2.2) and nothing of a response came. How many do is bounded by the API's retry budget.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.errors import UpstreamError
from gateway.proxy.affinity import request_key, sticky_line

if TYPE_CHECKING:
    from gateway.http.downstream import Downstream
    from gateway.http.head import RequestHead
    from gateway.http.proxy_protocol import Ends
    from gateway.http.upstream import UpstreamStream
    from gateway.proxy.pool import Pool
    from gateway.proxy.server import ProxyServer
    from gateway.routing.balancer import Balancer
    from gateway.routing.snapshot import Api, Upstream

_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
_MAX_ATTEMPTS = 3  # at kept connections, each of which may just have been closed


class Attempts:
    """The part of an exchange that finds it a connection to an upstream."""

    deadline = inf
    _server: ProxyServer
    _connection: Downstream
    _head: RequestHead
    _api: Api | None = None
    _target: Upstream  # from `_connect` on
    _pool: Pool | None = None
    _upstream: UpstreamStream | None = None
    _set_cookie: bytes | None = None
    _tried: tuple[int, ...] = ()
    _attempts = 0
    _held = b""
    _done = False

    def _connect(self, *, reuse: bool) -> None:
        api = self._api
        assert api is not None
        self._attempts += 1
        balancer = api.balancer
        if balancer is None:
            self._target = api.upstreams[0]
        elif balancer.turns is not None and not self._tried:  # the usual case, without a call of ours
            balancer.requests += 1
            self._target = next(balancer.turns)
        elif not self._choose(balancer):
            return
        pool = self._pool = self._server.upstreams.pool(self._target)
        upstream = pool.take(self) if reuse else None
        if upstream is not None:
            if self._attempts > 1 and self._head.length:  # an earlier one waited for a connection, and reading with it
                self._connection.resume_body()
            self._forward(upstream)
            return
        if self._head.length:  # where no body is to come, reading goes on: a client that leaves is heard
            self._connection.pause_body()
        try:
            # Dialling has its own deadline, after which a pool of shared connections may still let this one wait.
            patience = 0.0 if pool.ask(self) else self._target.connect_timeout
            self.deadline = self._server.now + patience + self._target.queue_timeout
        except UpstreamError as error:
            self._retry_or_fail(error)

    def _choose(self, balancer: Balancer) -> bool:
        """Choose the target of this attempt; false, and the client told, when there is none."""
        key = None
        if balancer.key_from:
            key = request_key(balancer.key_from, self._head.lines, self._client)
        target = balancer.choose(key, self._server.upstreams.load, self._tried)
        if target is None:
            self._fail(503, "all hosts are down")  # Tyk's words
            return False
        self._target = target
        if balancer.key_from:
            self._set_cookie = sticky_line(balancer, target, key)
        return True

    def connected(self, upstream: UpstreamStream) -> None:
        """Take the connection that was asked for."""
        if self._done:
            upstream.release()
            return
        if self._head.length:
            self._connection.resume_body()
        self._forward(upstream)

    def wants_http_1(self) -> bool:
        """Whether the request would switch protocols, which HTTP/2 has no 101 for."""
        return bool(self._head.upgrade) and self.may_upgrade()

    def ends(self) -> Ends:
        """Tell whose request it is, for upstreams that are told by the PROXY protocol."""
        ends = self._connection.peer.ends
        assert ends is not None
        return ends

    def connect_failed(self, error: UpstreamError) -> None:
        """Try another target: nothing was sent, so nothing can happen twice."""
        if not self._done:
            self._note_failure(error)
            self._retry_or_fail(error)

    def _note_failure(self, error: UpstreamError) -> None:
        assert self._api is not None
        self._server.upstreams.failed(self._api.balancer, self._target, error)

    def _retry_or_fail(self, error: UpstreamError) -> None:
        """Try another target, if there is one and the budget allows it."""
        assert self._api is not None
        assert self._pool is not None
        balancer = self._api.balancer
        if balancer is not None and balancer.may_retry(self._attempts, self._server.now):
            self._pool.retried(error)
            self._tried += (self._target.index,)
            self._connect(reuse=True)
        else:
            self._upstream_failed(error)

    def _attempt_failed(self, error: UpstreamError, *, kept: bool, began: bool) -> None:
        """Act on a connection that failed; ``kept`` when it had served others, ``began`` when a response came."""
        if error.unprocessed and not began and error.body is not None and self._attempts < _MAX_ATTEMPTS:
            self._held = error.body
            self._connect(reuse=True)
            return
        safe = not began and self._head.method in _IDEMPOTENT and self._head.length == 0
        if kept and not began:  # closed while it was kept, which is no sign of ill health
            if safe and self._attempts < _MAX_ATTEMPTS:
                self._connect(reuse=False)
            else:
                self._upstream_failed(error)
            return
        self._note_failure(error)
        if safe:
            self._retry_or_fail(error)
        else:
            self._upstream_failed(error)

    def may_upgrade(self) -> bool:
        """Whether the API allows what the client asks for."""
        return self._api is not None and self._api.upgrades

    def _client(self) -> str:
        raise NotImplementedError

    def _forward(self, upstream: UpstreamStream) -> None:
        raise NotImplementedError

    def _fail(self, status: int, message: str) -> None:
        raise NotImplementedError

    def _upstream_failed(self, error: UpstreamError) -> None:
        raise NotImplementedError
