"""A worker: serves traffic from one generation at a time, and listens to control beside it.

It reads the store and never writes it. While control is away it serves on; when control is back, its
``Hello`` says which generation it has, and control sends it the newer one if there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from gateway.errors import GatewayError, StoreError
from gateway.proxy.server import ProxyServer
from gateway.routing import snapshot
from gateway.runtime import role
from gateway.runtime.messages import (
    MAX_LINE,
    MAX_TARGETS,
    Applied,
    Apply,
    Counters,
    Failed,
    Hello,
    Inquire,
    Meet,
    Met,
    Ping,
    Probed,
    Targets,
    decode,
    encode,
)
from gateway.runtime.service_ports import WorkerPorts
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from OpenSSL import SSL

    from gateway.observe.events import EventLog
    from gateway.proxy.shares import Share
    from gateway.runtime.listeners import Listeners
    from gateway.runtime.role import Inherited

_REDIAL_SECONDS = (0.05, 2.0)
"""The first and the longest wait before control is dialled again."""


def run(number: int, inherited: Inherited, events: EventLog) -> int:
    """Be worker ``number`` until SIGTERM; return how many requests were cut by the end of the drain time.

    Raises StoreError when there is nothing to serve from.
    """
    listeners = inherited.listeners
    control = Path(listeners.workers.getsockname())
    listeners.control.close()
    listeners.workers.close()
    inherited.deposit.close()
    cut = 0
    with contextlib.closing(Store.open(inherited.data_dir, writable=False)) as store:

        async def serve(stop: asyncio.Event) -> None:
            nonlocal cut
            share = inherited.shares.of(number)
            cut = await _Worker(number, control, store, inherited.base, events, share).serve(listeners, stop)

        role.run(serve, lifeline=inherited.lifeline, events=events, loop_factory=uvloop.new_event_loop)
    return cut


class _Worker:
    _ports: WorkerPorts  # once it serves

    def __init__(
        self,
        number: int,
        control: Path,
        store: Store,
        base: SSL.Context,
        events: EventLog,
        share: Share | None = None,
    ) -> None:
        """``control`` is where control listens to its workers."""
        self._number = number
        self._control = control
        self._store = store
        self._events = events
        self._generation = store.newest()
        self._snapshot = snapshot.build(self._generation.configuration, self._generation.number)
        self._server = ProxyServer(
            base=base, sites=store.choose, snapshot=self._snapshot, events=events, share=share,
            cookie_key=store.derived_key(b"sticky cookies"),
        )  # fmt: skip

    async def serve(self, listeners: Listeners, stop: asyncio.Event) -> int:
        """Serve until ``stop``, then drain; return how many requests were cut."""
        self._server.listen(listeners.main)
        if listeners.redirect:
            self._server.listen(listeners.redirect, redirect=True)
        self._ports = WorkerPorts(listeners.services, self._control)
        self._ports.serve(self._server, self._snapshot.own_ports)
        conversation = asyncio.create_task(self._keep_in_touch(), name="conversation with control")
        self._events.info("worker.started", "serving", generation=self._generation.number)
        await stop.wait()
        seconds = role.drain_seconds(self._generation.configuration.settings)
        draining = asyncio.create_task(self._server.drain(seconds), name="drain")
        await asyncio.sleep(0)  # it stops listening first; after that the kernel shall refuse new connections
        listeners.close()
        cut = await draining
        conversation.cancel()
        if cut:
            self._events.warning("worker.cut", "requests were cut at the end of the drain time", requests=cut)
        self._events.info("worker.stopped", "stopped")
        return cut

    async def _keep_in_touch(self) -> None:
        first, longest = _REDIAL_SECONDS
        delay = first
        while True:
            with contextlib.suppress(OSError, ValueError):  # control is away, or died in the middle of a line
                reader, writer = await asyncio.open_unix_connection(self._control, limit=MAX_LINE)
                delay = first
                await self._complete_ports()
                try:
                    await self._converse(reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(delay)
            delay = min(2 * delay, longest)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(Hello(self._number, os.getpid(), self._generation.number)))
        async for line in reader:
            match decode(line):
                case Apply() as order:
                    writer.write(encode(await self._apply(order)))
                case Ping():
                    writer.write(encode(Counters(self._server.counters())))
                case Probed(down=down):
                    self._server.upstreams.probed(frozenset(down))
                case Inquire(number=number, api_ids=api_ids):
                    states = islice(self._server.upstreams.states(api_ids), MAX_TARGETS)
                    writer.write(encode(Targets(number, tuple(states))))
                case Meet(number=number, name=name):
                    front = self._server.front(name)
                    writer.write(encode(Met(number, self._generation.number, front)))
                case message:
                    raise ValueError(f"control does not say {message}")

    async def _complete_ports(self) -> None:
        """Listen on what was opened while this worker was being started, if anything."""
        try:
            await self._ports.fetch(self._snapshot.own_ports)
        except GatewayError as error:
            self._events.error("port.missing", str(error))
        self._ports.serve(self._server, self._snapshot.own_ports)

    async def _apply(self, order: Apply) -> Applied | Failed:
        """Serve the newest generation, which is the one ordered or one that will be ordered next."""
        try:
            generation = self._store.newest(self._generation)
            if generation.number < order.generation:
                raise StoreError(f"generation {order.generation} is not in the store")  # noqa: TRY301
            # Of a later generation than the one ordered, the names are not known yet.
            known = order.names is not None and generation.number == order.generation
            changed = frozenset(order.names or ()) if known else None
            if generation.origin == self._generation.origin:
                following = snapshot.renumbered(self._snapshot, generation.number)
            else:
                following = snapshot.build(generation.configuration, generation.number)
            await self._ports.fetch(following.own_ports)
            self._server.upstreams.sign_cookies_with(self._store.derived_key(b"sticky cookies"))
            self._server.apply(following, changed)
            self._ports.serve(self._server, following.own_ports)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one serves on
            self._events.error(
                "generation.refused", f"cannot serve the new generation: {error}", generation=order.generation
            )
            return Failed(order.generation, str(error))
        self._generation, self._snapshot = generation, following
        return Applied(generation.number)
