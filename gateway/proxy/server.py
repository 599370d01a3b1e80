"""One worker's front: its listeners, its connections, and what they share.

All of it lives in one event loop. A tick, twice a second, moves the coarse clock, looks at every deadline and writes
the rest of the access log; ``apply`` swaps the snapshot whenever control says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
from collections import Counter, deque
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from gateway.config.networks import contain, one_client
from gateway.http import fields
from gateway.http.downstream import Peer
from gateway.http.forwarding import Forwarding
from gateway.http.h1_server import H1Connection
from gateway.http.h2_server import H2Connection
from gateway.http.proxy_protocol import Ends
from gateway.observe.access_log import AccessLog
from gateway.proxy import room
from gateway.proxy.complaints import Complaints
from gateway.proxy.exchange import Exchange
from gateway.proxy.handshake import Handshake
from gateway.proxy.listener import Listener
from gateway.proxy.peeking import ProxyHeader
from gateway.proxy.services import Services
from gateway.proxy.shares import Shares
from gateway.proxy.sites import Sites
from gateway.proxy.upstreams import Upstreams
from gateway.routing.front import Front
from gateway.tls.client_authentication import shown
from gateway.tls.policy import HTTP2
from gateway.tls.transport import TlsTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from OpenSSL import SSL

    from gateway.certs.choice import Choice
    from gateway.certs.pem import CertificatePair
    from gateway.config.settings import Limits
    from gateway.http.downstream import Connection, Downstream
    from gateway.http.fields import FieldTable
    from gateway.http.head import RequestHead
    from gateway.observe.access_log import Record
    from gateway.observe.events import EventLog
    from gateway.proxy.peeking import Peeking
    from gateway.proxy.service_connection import ServiceConnection
    from gateway.proxy.shares import Share
    from gateway.proxy.sites import PortRules
    from gateway.routing.policies import HostPolicy
    from gateway.routing.snapshot import Snapshot

    PlainConnection = H1Connection | ServiceConnection
    Resident = Connection | Peeking  # a client's connection, or what may become one

_TICK_SECONDS = 0.5
_LONGEST_TICK_SECONDS = 1.0
_OTHER_FILES = 64


class ProxyServer:
    """The data plane of one worker. Make it in the loop that will run it."""

    snapshot: Snapshot
    limits: Limits
    forwarding: Forwarding
    request_table: FieldTable
    keep_alive: bool
    websockets: bool
    read_timeout: float
    write_timeout: float

    def __init__(
        self,
        *,
        base: SSL.Context,
        sites: Callable[[str], Choice[CertificatePair]],
        snapshot: Snapshot,
        events: EventLog,
        share: Share | None = None,
        cookie_key: bytes = b"",
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.base = base
        self.sites = Sites(sites)
        self.events = events
        self.share = share or Shares().of(0)
        self.now = self._ticked = monotonic()
        self.draining = False
        self._connections: set[Resident] = set()
        self._per_client: Counter[str] = Counter()
        self._hellos: deque[Handshake] = deque()
        self.long_hellos: set[Handshake] = set()
        self._turn_taken = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.upstreams = Upstreams(
            fields.response_fields(), events, lambda: self.now, self._spawn, cookie_key or secrets.token_bytes(32)
        )
        self._listeners: list[Listener] = []
        self.services = Services(self)
        # Each connection may need another one to an upstream.
        self._affordable = max((resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES) // 2, 1)
        self._request_prefix = secrets.token_hex(6).encode()
        self._request_number = 0
        self._complaints = Complaints(events)
        self._emptied: asyncio.Event = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._crowded_at = 0.0
        self._places = 0
        self._access_log: AccessLog | None = None
        self.snapshot = snapshot
        self.limits = snapshot.limits
        self.request_table = fields.request_fields()
        self._adopt(snapshot)
        self._tick()

    # what connections ask for (http.downstream.Front)

    def exchange(self, downstream: Downstream, head: RequestHead) -> Exchange:
        """Make the exchange of a request."""
        return Exchange(self, downstream, head)

    def refused(self, peer: Peer, status: int, reason: str) -> None:
        """Log a request that was too malformed to be one."""
        self._counts["requests_refused"] += 1
        self.event("request.refused", peer.address, f"bad request from {peer.address}: {reason}", status=status)
        if status == 408:
            self._counts["slow_heads"] += 1
        if self._access_log is not None:
            self._access_log.append(
                (monotonic(), peer.address, peer, b"", b"-", b"-", 1, status, 0, 0, 0.0, "", 0.0, b"")
            )

    def slow(self, peer: Peer, count: str, what: str = "") -> None:
        """Count a client that is given up for its slowness, and log what it did, unless that is nothing."""
        self._counts[count] += 1
        if what:
            self.event("client.slow", peer.address, f"{peer.address} {what}", server_name=peer.server_name)

    def broken_off(self, peer: Peer, reason: str, *, flood: bool) -> None:
        """Log an HTTP/2 connection that its client broke, or that floods us."""
        kind = "flood" if flood else "error"
        self._counts[f"http2_{kind}s"] += 1
        message = f"HTTP/2 {kind} by {peer.address}: {reason}"
        self.event(f"http2.{kind}", peer.address, message, server_name=peer.server_name)

    def count(self, what: str, number: int = 1) -> None:
        """Count something that the counters tell of."""
        self._counts[what] += number

    def log(self, record: Record) -> None:
        """Write a line of the access log, if there is one."""
        if self._access_log is not None:
            self._access_log.append(record)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._forget(connection, connection.peer.address)

    # what exchanges ask for

    def next_request_id(self) -> bytes:
        """Name a request: unique over workers and restarts, and cheap."""
        self._request_number += 1
        return b"%b%08x" % (self._request_prefix, self._request_number)

    def _spawn(self, coroutine: Coroutine[None, None, None], name: str | None = None) -> None:
        task = self.loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def served(self, exchange: Exchange) -> None:
        """Count and log a request that has had its answer."""
        self._counts["requests"] += 1
        if self._access_log is not None:
            self._access_log.append(exchange.record())

    # accepting

    def listen(self, sock: socket.socket, *, redirect: bool = False) -> None:
        """Accept connections from ``sock``; on a redirect port they are only told to come back over https."""
        self._listeners.append(Listener(self, sock, redirect=redirect))

    def enter(self, resident: Resident) -> None:
        """Look after what came to be connected, or to take over a connection."""
        self._connections.add(resident)
        self.share.set(len(self._connections))
        if self.draining:
            resident.drain()

    def succeed(self, handshake: Handshake, connection: Connection) -> None:
        """Look after ``connection`` in the place of its handshake."""
        self._connections.discard(handshake)
        self._connections.add(connection)

    def has_room(self) -> bool:
        """Whether another connection may be accepted; when there are enough, some that rest are let go for it."""
        beyond = len(self._connections) - min(self.limits.connections_per_worker, self._affordable)
        # Those that were let go may take a moment to leave: so many may come before them.
        return beyond < 0 or (beyond < room.AT_ONCE and self._make_room())

    def _make_room(self) -> bool:
        if not self._places:
            if self._crowded_at == self.now:
                return False  # looked in vain since the last tick
            resting = room.expendable(self._connections, self.now)
            if not resting:
                self._crowded_at = self.now
                return False
            for connection in resting:
                connection.dismiss()
            self._places = len(resting)
            self._counts["connections_dismissed"] += len(resting)
            self.event("connections.dismissed", "", "resting connections are closed: this worker has as many as it may")
        self._places -= 1
        return True

    def admit(self, sock: socket.socket, address: tuple[str, int], listener: Listener) -> None:
        """Begin to serve an accepted connection; what a proxy connected must say first whose it is."""
        name = sock.getsockname()
        ends = Ends(address[0].removeprefix("::ffff:"), address[1], name[0].removeprefix("::ffff:"), listener.port)
        service = self.services.ports.get(listener.own_port)
        proxies = self.snapshot.of_port(listener.own_port if service is None else 0).proxies
        if service is not None and not service.introduced:
            proxies = None
        if proxies is None:
            self._serve(sock, ends, listener)
        elif contain(proxies.networks, ends.address):
            header = ProxyHeader(self, sock, ends, listener, proxies.timeout)
            self.enter(header)
            header.start()
        elif proxies.exclusive:
            sock.close()
            self._counts["connections_refused"] += 1
            self.event(
                "proxy_protocol.refused", ends.address, f"{ends.address} is none of gateway.proxy_protocol.proxies"
            )
        else:
            self._serve(sock, ends, listener)

    def introduced(self, header: ProxyHeader, sock: socket.socket, ends: Ends, listener: Listener) -> None:
        """Serve the connection whose ends are known now."""
        self._serve(sock, ends, listener)
        self._left(header)

    def not_introduced(self, header: ProxyHeader, reason: str) -> None:
        """Log a proxy that did not say whose its connection is, if there is anything to say about it."""
        self._left(header)
        if reason:
            self._counts["proxy_headers_failed"] += 1
            address = header.ends.address
            self.event("proxy_protocol.failed", address, f"connection from {address} closed: {reason}")

    def _serve(self, sock: socket.socket, ends: Ends, listener: Listener) -> None:
        """Serve a connection, unless its address has too many."""
        port = listener.own_port
        if port and port not in self.services.ports and port not in self.snapshot.ports:
            sock.close()  # its port went while a proxy was saying whose connection it brings
            return
        client = one_client(ends.address)
        if self._per_client[client] >= self.limits.connections_per_address:
            sock.close()
            self._counts["connections_refused"] += 1
            reason = f"{client} has as many connections as connections_per_address allows"
            self.event("connection.refused", ends.address, reason)
            return
        self._counts["connections"] += 1
        self._per_client[client] += 1
        if port in self.services.ports:
            self.services.begin(sock, ends, self.services.ports[port])
        elif listener.redirect:
            self._serve_plain(sock, replace(self.peer(ends), redirect_port=self.snapshot.https_port))
        elif self.snapshot.of_port(port).hosts is None:
            self._serve_plain(sock, replace(self.peer(ends), own_port=port))
        else:
            handshake = Handshake(self, sock, ends, port)
            self.enter(handshake)
            handshake.start()

    def _serve_plain(self, sock: socket.socket, peer: Peer) -> None:
        connection = H1Connection(self, peer)
        self.enter(connection)
        self.connect(sock, connection)

    def connect(self, sock: socket.socket, connection: PlainConnection) -> None:
        """Hand ``sock`` to a connection that is spoken on as it is."""
        self._spawn(self._connect_plain(sock, connection), "accept")

    async def _connect_plain(self, sock: socket.socket, connection: PlainConnection) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            sock.close()
            self.closed(connection)

    def has_turn(self, handshake: Handshake) -> bool:
        """Tell whether a handshake may go on now; otherwise it is told when: one each time the loop has looked at all.

        A thousand that come at once would otherwise keep every request waiting for half a second.
        """
        if self._turn_taken:
            self._hellos.append(handshake)
            return False
        self._turn_taken = True
        self.loop.call_soon(self._next_turn)
        return True

    def _next_turn(self) -> None:
        self._turn_taken = bool(self._hellos)
        if self._turn_taken:
            self.loop.call_soon(self._next_turn)
            self._hellos.popleft().take_turn()

    def handshaken(self, handshake: Handshake, sock: socket.socket, tls: SSL.Connection) -> None:
        """Go from a finished handshake to requests."""
        self._counts["handshakes"] += 1
        peer = self.peer(handshake.ends, tls, handshake.server_name, handshake.policy, handshake.own_port)
        connection: H1Connection | H2Connection
        if tls.get_alpn_proto_negotiated() == HTTP2:
            self._counts["http2_connections"] += 1
            connection = H2Connection(self, peer)
        else:
            connection = H1Connection(self, peer)
        self.succeed(handshake, connection)
        TlsTransport(self.loop, sock, tls, connection, {"peername": handshake.ends.address, "socket": sock}).start()

    def handshake_failed(self, handshake: Handshake, reason: str) -> None:
        """Log a handshake that failed, if there is anything to say about it."""
        address = handshake.ends.address
        self._forget(handshake, address)
        if reason:
            self._counts["handshakes_failed"] += 1
            message = f"TLS handshake error from {address}: {reason}"
            self.event("tls.handshake", address, message, server_name=handshake.server_name)

    def peer(
        self,
        ends: Ends,
        tls: SSL.Connection | None = None,
        name: str = "",
        policy: HostPolicy | None = None,
        own_port: int = 0,
    ) -> Peer:
        """Tell what is known of a connection before it says anything itself."""
        address, port = ends.address, ends.local_port
        return Peer(
            address=address,
            local_port=port,
            trusted=contain(self.snapshot.trusted_proxies, address),
            forwarded_lines=self.forwarding.of_connection(address, encrypted=tls is not None, port=port),
            server_name=name,
            tls_version=tls.get_protocol_version_name() if tls is not None else "",
            tls_cipher=tls.get_cipher_name() or "" if tls is not None else "",
            ends=ends,
            policy=policy,
            own_port=own_port,
            certificate=shown(tls) if tls is not None and policy is not None and policy.clients is not None else None,
        )

    def _forget(self, connection: Resident, address: str) -> None:
        client = one_client(address)
        self._per_client[client] -= 1
        if self._per_client[client] <= 0:
            del self._per_client[client]
        self._left(connection)

    def _left(self, connection: Resident) -> None:
        self._connections.discard(connection)
        if not self.draining:
            self.share.set(len(self._connections))
        if not self._connections:
            self._emptied.set()

    # time

    def _tick(self) -> None:
        self._ticking = self.loop.call_later(_TICK_SECONDS, self._tick)  # first, so that nothing can stop the clock
        ticked, self._ticked = self._ticked, monotonic()
        # A worker that was kept from running did not listen: nobody is late because of that time.
        now = self.now = self.now + min(self._ticked - ticked, _LONGEST_TICK_SECONDS)
        self._complaints.tick(now)
        for connection in tuple(self._connections):
            connection.tick(now)
        self.upstreams.tick(now)
        if self._access_log is not None:
            self._access_log.flush()

    def event(self, event: str, address: str, message: str, **details: object) -> None:
        """Log what a stranger caused, once a minute: a flood of errors must not become one of logs."""
        self._complaints.note(self.now, event, address, message, details)

    # change and end

    def apply(self, snapshot: Snapshot, changed: frozenset[str] | None) -> None:
        """Swap the snapshot; connections and requests under way keep what they began with.

        ``changed`` are the names whose certificates changed, None when any may have.
        """
        old = self.snapshot
        self.sites.evict(None if _tls_rules(old) != _tls_rules(snapshot) else changed)
        self._adopt(snapshot)

    def _adopt(self, snapshot: Snapshot) -> None:
        log = self._access_log
        if log is None or snapshot.access_log != self.snapshot.access_log:
            wanted = snapshot.access_log  # opened before anything changes: it may fail
            log = AccessLog(wanted.format, wanted.path, self._lines_lost) if wanted.format != "off" else None
            if self._access_log is not None:
                self._access_log.close()
            self._access_log = log
        if snapshot.limits != self.limits:
            self.request_table = fields.request_fields()  # what it remembers was judged by the limits of before
        self.snapshot = snapshot
        self.limits = snapshot.limits
        self.forwarding = Forwarding(snapshot.forwarded, snapshot.trusted_proxies, snapshot.xff_depth)
        self.keep_alive = not snapshot.close_connections
        self.websockets = snapshot.upgrades
        self.read_timeout, self.write_timeout = snapshot.read_timeout, snapshot.write_timeout
        self.upstreams.adopt(snapshot)
        self.services.adopt(snapshot)

    def _lines_lost(self, count: int) -> None:
        self.events.warning("access_log.lost", "access-log lines could not be written in time", lines=count)

    def counters(self) -> dict[str, int]:
        """Tell what was counted since the start, and how many connections there are now."""
        return {
            **self._counts,
            "connections_open": len(self._connections),
            "events_left_out": self._complaints.left_out,
            "sites": len(self.sites),
        }

    def front(self, name: str) -> Front:
        """Tell what a client meets that asks for ``name`` ("" for none): on this port, else on one of a service."""
        ports: list[PortRules] = [self.snapshot, *self.snapshot.services.values()]
        port = next((one for one in ports if one.hosts is not None), None)
        front = self.sites.front(name, self.snapshot, port) if port else Front(tls=False)
        return replace(front, tls=self.snapshot.hosts is not None)

    async def drain(self, seconds: float) -> int:
        """Accept nothing more, let what runs finish for at most ``seconds``; return how many requests were cut."""
        self.draining = True
        self.share.leave()
        for listener in self._listeners:
            listener.stop()
        self._listeners.clear()
        self.services.stop()
        await asyncio.gather(*(task for task in self._tasks if task.get_name() == "accept"))
        for connection in tuple(self._connections):
            connection.drain()
        if self._connections:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), seconds)
        cut = sum(connection.running for connection in self._connections)
        for connection in tuple(self._connections):
            connection.abort()
        self.upstreams.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn
        self._ticking.cancel()
        self._complaints.close()
        if self._access_log is not None:
            self._access_log.close()
        return cut


def _tls_rules(snapshot: Snapshot) -> tuple[object, ...]:
    """What sites are made by, beside their certificates."""
    others = {port: rules.hosts for port, rules in snapshot.services.items()}
    others |= {port: rules.hosts for port, rules in snapshot.ports.items() if rules.hosts is not None}
    return snapshot.hosts, snapshot.protocols, snapshot.limits.active_sites, others
