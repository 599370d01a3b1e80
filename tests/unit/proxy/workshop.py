"""The request path without sockets: a client's bytes go in and come out, and a test plays the upstreams.

What is between is real: the connection, the exchange with its attempts, the pools and the balancers. Time passes when a
test says so, and nothing runs by itself.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from support.front import api, configuration

from gateway.http.downstream import Peer
from gateway.http.fields import response_fields
from gateway.http.forwarding import Forwarding
from gateway.http.h1_server import H1Connection
from gateway.proxy.exchange import Exchange
from gateway.proxy.pool import Pool
from gateway.proxy.upstreams import Upstreams
from gateway.routing import snapshot
from tests.unit.http.fake_front import FakeFront, FakeTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    import pytest

    from gateway.errors import UpstreamError
    from gateway.http.downstream import Downstream
    from gateway.http.h1_client import UpstreamConnection
    from gateway.http.head import RequestHead
    from gateway.proxy.pool import Caller


class Wire(FakeTransport):
    """One end of a connection: what is written is kept, and an end is heard of in the loop's next turn."""

    def __init__(self, gate: Gate, protocol: Any, sock: socket.socket | None = None) -> None:
        super().__init__()
        self._gate, self.protocol, self._sock = gate, protocol, sock
        self.lost = False
        protocol.connection_made(self)

    def get_extra_info(self, name: str) -> object:
        return self._sock if name == "socket" else None

    def close(self) -> None:
        self._end()
        super().close()

    def abort(self) -> None:
        self._end()
        super().abort()

    def _end(self) -> None:
        if not self.closing:
            self._gate.soon.append(self.break_off)

    def break_off(self, error: Exception | None = None) -> None:
        """Let the connection end."""
        if not self.lost:
            self.lost = self.closing = True
            self.protocol.connection_lost(error)
            self._gate.turn()

    def send(self, data: bytes) -> None:
        """Let this arrive from the other end in one read."""
        assert self.reading
        self.protocol.data_received(data)
        self._gate.turn()

    def read(self) -> bytes:
        """Return what was written since the last time."""
        data = b"".join(self.written)
        self.written.clear()
        return data


class Dial:
    """A connection that is being made: a test says what comes of it."""

    def __init__(self, gate: Gate, pool: Pool) -> None:
        self._gate, self._pool = gate, pool
        self.coroutine: Coroutine[Any, Any, None]

    def __await__(self) -> Generator[Dial, UpstreamConnection, UpstreamConnection]:
        return (yield self)

    @property
    def host(self) -> str:
        """Where to."""
        return self._pool.upstream.target.host

    def accept(self) -> Wire:
        """Let it succeed; return the upstream's view of it."""
        protocol = self._pool._protocol()
        self._gate.dials.remove(self)
        wire = Wire(self._gate, protocol, self._gate.silent)
        self._finish(lambda: self.coroutine.send(protocol))
        return wire

    def refuse(self, error: UpstreamError) -> None:
        """Let it fail."""
        self._gate.dials.remove(self)
        self._finish(lambda: self.coroutine.throw(error))

    def _finish(self, step: Callable[[], object]) -> None:
        try:
            step()
        except StopIteration:
            self._gate.turn()
        else:
            raise AssertionError("it should have ended")


class Gate(FakeFront):
    """A worker's front with real pools. Make it in a loop: the resolver wants one, and does nothing with it here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *apis: dict[str, Any], **settings: Any) -> None:
        super().__init__()
        self.snapshot = snapshot.build(configuration(*apis or [api()], **settings), 1)
        self.limits = self.snapshot.limits  # type: ignore[assignment]
        self.forwarding = Forwarding(self.snapshot.forwarded, self.snapshot.trusted_proxies, self.snapshot.xff_depth)
        self.soon: list[Callable[[], None]] = []
        self.dials: list[Dial] = []
        self.clients: list[Wire] = []
        self.records: list[Any] = []
        self.said: list[str] = []
        """The lines of the event log."""
        say = lambda event, message, **more: self.said.append(f"{event}: {message} {more}")  # noqa: E731
        self.events = SimpleNamespace(warning=say, error=say, info=say)
        self.silent, self.other_end = socket.socketpair()  # of every upstream: each is asked whether it has spoken
        self.silent.setblocking(False)
        self.upstreams = Upstreams(
            response_fields(), cast("Any", self.events), lambda: self.now, self._spawn, b"k" * 32
        )
        self.upstreams.adopt(self.snapshot)
        self._ids = 0

        async def connect(pool: Pool, caller: Caller) -> UpstreamConnection:
            connection = await Dial(self, pool)
            pool._addresses[connection] = "192.0.2.9"
            return connection

        monkeypatch.setattr(Pool, "_connect", connect)

    def close(self) -> None:
        """Leave no socket behind."""
        self.silent.close()
        self.other_end.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        dial = coroutine.send(None)
        dial.coroutine = coroutine
        self.dials.append(dial)

    # what exchanges ask of the server

    def exchange(self, downstream: Downstream, head: RequestHead) -> Exchange:  # type: ignore[override]
        return Exchange(cast("Any", self), downstream, head)

    def next_request_id(self) -> bytes:
        self._ids += 1
        return b"made-%d" % self._ids

    def served(self, exchange: Exchange) -> None:
        self.records.append(exchange.record())

    # what a test does

    def client(self, **peer: Any) -> Wire:
        """Connect; ``peer`` is what is known of the client."""
        known = {"address": "192.0.2.1", "local_port": 443, "trusted": False, "forwarded_lines": b"", **peer}
        self.clients.append(Wire(self, H1Connection(cast("Any", self), Peer(**known))))
        return self.clients[-1]

    def accept(self) -> Wire:
        """Let the only connection that is being made succeed."""
        (dial,) = self.dials
        return dial.accept()

    def turn(self) -> None:
        """Let the loop turn until nothing is left to do."""
        while self.soon:
            self.soon.pop(0)()

    def wait(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            for client in self.clients:
                if not client.lost:
                    client.protocol.tick(self.now)
            self.upstreams.tick(self.now)
            self.turn()

    @property
    def pool(self) -> Pool:
        """The only pool."""
        (pool,) = self.upstreams._pools.values()
        return pool

    @property
    def statuses(self) -> list[int]:
        """The statuses of all requests that ended, as the access log has them."""
        return [record[7] for record in self.records]
