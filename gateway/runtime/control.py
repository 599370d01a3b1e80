"""Control: the only writer of the store after start. It serves the control port and watches the files.

What it changes, at the request of the admin API, of a signal or of a file that is not what it was, is in
``operations``; here is what keeps it alive and what it knows of the health of the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from gateway.admin import app
from gateway.admin.authentication import Guard
from gateway.admin.health import Component, Status
from gateway.admin.operations import Actor
from gateway.errors import CertificateError, DamagedError
from gateway.runtime import renewal, revocations, role
from gateway.runtime.accounts import LiveAccounts
from gateway.runtime.control_port import ControlPort, ControlSite
from gateway.runtime.expiry import ExpiryWatch
from gateway.runtime.operations import LiveOperations
from gateway.runtime.probes import Probes
from gateway.runtime.reloads import Reloads, listed
from gateway.runtime.roster import Roster
from gateway.runtime.watch import watch
from gateway.store.audit import Deed
from gateway.store.default_certificate import RENEWED
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from gateway.config.load import Configuration
    from gateway.observe.events import EventLog
    from gateway.runtime.role import Inherited
    from gateway.store.generations import Generation

_LOOK_SECONDS = 5.0
_PATIENCE_SECONDS = 30.0
_SIGNAL = Actor("SIGHUP", "")
_WATCH = Actor("watched files", "")
_RETRY = Actor("another try", "")
_EXPIRY = Actor("the self-signed or the default certificate ends", "")
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 60.0
_SUPERVISOR = Actor("supervisor", "")
_ASKERS = 10
_PROBLEMS_SHOWN = 10
_LAST_ANSWERS_SECONDS = 30
_ORPHAN_SECONDS = 1.0
_DAMAGED = (
    "revocation lists in the store that cannot be read, so that no client gets in by a certificate until they are put "
    "again or deleted"
)


def run(inherited: Inherited, events: EventLog) -> None:
    """Be control until SIGTERM. Raises StoreError when there is no generation to begin with."""
    inherited.listeners.main.close()
    if inherited.listeners.redirect:
        inherited.listeners.redirect.close()
    control = _Control(inherited, events)
    role.run(
        control.serve, lifeline=inherited.lifeline, events=events, hangup=control.ask_for_reload, leave=control.leave,
        orphaned=control.give_up,
    )  # fmt: skip


class _Control:
    """The state of control; also the ``Health`` that the application asks."""

    def __init__(self, inherited: Inherited, events: EventLog) -> None:
        self._inherited = inherited
        self._events = events
        self._reload_asked = asyncio.Event()
        self._askers: list[Actor] = []
        if inherited.reloads_begun.get() != inherited.reloads_asked.get():
            self.ask_for_reload(_SUPERVISOR)
        self._draining = False
        self._left = asyncio.Event()
        self._last_answers = _LAST_ANSWERS_SECONDS
        self._store_trouble = ""
        self._certificate_troubles = ""
        self._damaged: frozenset[str] = frozenset()
        generation = _generation(inherited, events)
        self._files_read = generation.files_read
        self._looked = datetime.now(UTC)
        self._roster = Roster(generation.number, inherited.workers_wanted.get, events, inherited.listeners.services)
        self._reloads = Reloads(inherited, generation, self._roster, events)
        self._probes = Probes(lambda: self._reloads.current.configuration, self._roster, events)
        self._expiry = ExpiryWatch(
            inherited.data_dir, lambda: self._reloads.current.configuration, lambda: self._roster.generation, events
        )
        self._operations = LiveOperations(
            inherited,
            self._reloads,
            self._roster,
            lambda: self._probes.down,
            self.ask_for_reload,
            self._expiry,
            events,
        )
        self._accounts = LiveAccounts(
            inherited.data_dir, lambda: self._reloads.current.settings.gateway.admin_sessions, events
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Be control until ``stop``; then answer that the node is not ready until the workers are gone."""
        listener = self._inherited.listeners.control
        # Accepted sockets inherit it; asyncio only sets it where the protocol number was named when they were made.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = listener.getsockname()[0]
        guard = Guard(
            lambda: self._reloads.secret_digest, self._accounts, self._events,
            loopback=ip_address(address).is_loopback,
        )  # fmt: skip
        config = uvicorn.Config(
            app.build(self, self._operations, self._accounts, guard), http="h11", ws="none", lifespan="off",
            log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        site = ControlSite(self._inherited.data_dir, self._events)
        await site.get(*self._served())  # what is wrong with it shows now, and not to the first who asks
        server = ControlPort(config, listener, self._inherited.base, site, self._served, self._events)
        conversations = await self._roster.listen(self._inherited.listeners.workers)
        announced = not self._inherited.confirmed.is_open
        if announced:  # until then nothing may change: the gateway before may come back, with the database as it was
            await _first(self._taken_over(), stop.wait(), self._left.wait())
            if stop.is_set() or self._left.is_set():
                conversations.close()
                return
        self._reloads.openings.reconcile(self._reloads.current.configuration)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(), name="control port")
            chores = [
                tasks.create_task(self._reload_when_asked(), name="reloads"),
                tasks.create_task(self._look_around(), name="looks around"),
                tasks.create_task(self._watch(), name="watches files"),
                tasks.create_task(self._probes.run(), name="probes hosts"),
                tasks.create_task(self._expiry.run(), name="watches the ends of certificates"),
            ]
            if not announced:
                chores.append(tasks.create_task(self._announce(), name="announces that all serve"))
            self._events.info("control.started", "attending to the workers", generation=self._roster.generation)
            await _first(stop.wait(), self._left.wait())
            if self._left.is_set():
                config.timeout_graceful_shutdown = self._last_answers
            else:
                self._draining = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(role.drain_seconds(self._reloads.current.settings)):
                        await _first(self._roster.emptied(), self._left.wait())
            for chore in chores:
                chore.cancel()
            server.should_exit = True
        conversations.close()

    def ask_for_reload(self, asker: Actor = _SIGNAL) -> None:
        """Reload soon: once for all who have asked by then."""
        if asker not in self._askers and len(self._askers) < _ASKERS:
            self._askers.append(asker)
        self._reload_asked.set()

    def leave(self) -> None:
        """End, with every answer that is under way given: the workers go on, and another control comes."""
        self._left.set()

    def give_up(self) -> None:
        """End at once: whoever is started next needs the lock and the port, and nobody is left to replace this one.

        A change that has been written stays; one that has not leaves nothing behind, whenever the process ends.
        """
        signal.setitimer(signal.ITIMER_REAL, _ORPHAN_SECONDS)  # a thread that works on a reload is not waited for
        self._last_answers = 1
        self._left.set()

    def components(self) -> Mapping[str, Component]:
        """Tell how workers, store, configuration and certificates are."""
        short, serving = self._roster.shortfalls(), self._roster.serving()
        workers = Status.PASS if not short else Status.WARN if serving else Status.FAIL
        said = "; ".join(short) or (
            f"generation {self._roster.generation}, workers that serve it: {serving},"
            f" open connections: {self._roster.counters().get('connections_open', 0)}"
        )
        reload = self._reloads.last
        now = datetime.now(UTC)
        counters = self._roster.counters()
        shaken = f"TLS handshakes: {counters.get('handshakes', 0)}, failed: {counters.get('handshakes_failed', 0)}"
        return {
            "workers": Component(workers, "system", now, said),
            "handshakes": Component(Status.PASS, "system", now, shaken),
            "store": _component("datastore", self._looked, self._store_trouble, Status.FAIL),
            "configuration": _component("component", reload.time, reload.refusal, Status.WARN),
            "certificates": self._certificates(),
            **self._definitions(),
            **self._hosts(),
        }

    def _certificates(self) -> Component:
        """What ends soon is worth a word, and no warning yet: most are renewed in time."""
        said = "; ".join(filter(None, (self._certificate_troubles, self._expiry.summary)))
        return Component(Status.WARN if self._certificate_troubles else Status.PASS, "component", self._looked, said)

    def _definitions(self) -> Mapping[str, Component]:
        """Tell which definitions are refused, if any: each with its place and the reason."""
        refused = self._reloads.refused
        if not refused:
            return {}
        said = "; ".join(map(str, refused[:_PROBLEMS_SHOWN]))
        more = len(refused) - _PROBLEMS_SHOWN
        output = f"refused: {len(refused)}: {said}{f'; and {more} more' if more > 0 else ''}"
        return {"definitions": Component(Status.WARN, "component", self._reloads.last.time, output)}

    def _hosts(self) -> Mapping[str, Component]:
        said = self._probes.summary()
        if said is None:
            return {}
        return {"hosts": Component(Status.WARN if self._probes.down else Status.PASS, "component", self._looked, said)}

    def unready(self) -> str | None:
        """Why this node should get no traffic, or None when it should."""
        if self._draining or self._inherited.leaving.get():
            return "Gateway is shutting down"
        if not self._roster.serving():
            return f"No worker serves generation {self._roster.generation} yet"
        return None

    def _served(self) -> tuple[Configuration, int]:
        return self._reloads.current.configuration, self._roster.generation

    async def _reload_when_asked(self) -> None:
        loop, delay = asyncio.get_running_loop(), 0.0
        retry: asyncio.TimerHandle | None = None
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            asked, self._askers = self._askers, []
            self._inherited.reloads_begun.set(self._inherited.reloads_asked.get())
            who = dict.fromkeys(asker.who for asker in asked)
            addresses = dict.fromkeys(asker.address for asker in asked if asker.address)
            await self._operations.reload(Actor(", ".join(who), ", ".join(addresses)), block=True)
            self._inherited.tell_supervisor()
            # No file will change again because a disk has room again.
            delay = min(2 * delay or _RETRY_SECONDS, _LONGEST_RETRY_SECONDS) if self._reloads.unwritten else 0.0
            if retry:
                retry.cancel()
            if delay:
                retry = loop.call_later(delay, self.ask_for_reload, _RETRY)

    async def _taken_over(self) -> None:
        """Say that all workers serve, and wait until the gateway before cannot come back any more."""
        await self._announce()
        loop, opened = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._inherited.confirmed.fd, opened.set)
        try:
            await opened.wait()
        finally:
            loop.remove_reader(self._inherited.confirmed.fd)

    async def _announce(self) -> None:
        await self._roster.completed()
        self._inherited.serving.set(1)
        self._inherited.tell_supervisor()

    async def _watch(self) -> None:
        """Reload when a file is not what it was."""
        await self._reloads.recall_secret()
        while True:
            try:
                await watch(
                    lambda: self._reloads.current.watched, lambda: self.ask_for_reload(_WATCH), self._events,
                    since=self._files_read.timestamp(),
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001 - whatever is wrong with files, the control port answers
                self._events.error("watch.failed", f"files are not watched for a while: {error}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look_around(self) -> None:
        """See now and then that the workers answer, the store can be read, and no certificate has expired."""
        while True:
            self._roster.ping(_PATIENCE_SECONDS)
            self._probes.follow()
            await self._reloads.open_what_is_missing()
            try:
                self._certificate_troubles, ends, damaged = await asyncio.to_thread(
                    _certificates,
                    self._inherited.data_dir,
                    self._reloads.current.configuration,
                    self._reloads.last.time,
                )
                self._store_trouble = ""
                for said in damaged.difference(self._damaged):
                    self._events.error("store.damaged", said)
                self._damaged = damaged
                if ends and not self._reloads.last.refusal:
                    self.ask_for_reload(_EXPIRY)
            except Exception as error:  # noqa: BLE001 - no row, however odd, may take control down
                if not self._store_trouble:
                    self._events.error("store.unreadable", str(error))
                self._store_trouble = str(error)
            self._looked = datetime.now(UTC)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._operations.changed.wait()
            self._operations.changed.clear()


def _generation(inherited: Inherited, events: EventLog) -> Generation:
    """Return what is served; where that cannot be read any more, what the files say becomes the next generation."""
    try:
        with contextlib.closing(Store.open(inherited.data_dir, writable=False)) as store:
            return store.newest()
    except DamagedError as error:
        events.error("store.damaged", f"{error}; the files are read anew")
        candidate = renewal.read(inherited.config_path, inherited.environ, inherited.data_dir)
        return renewal.publish(inherited.data_dir, candidate, Deed("gateway", "", "repair", ""))[0]


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait until one of them is over."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _certificates(data_dir: Path, configuration: Configuration, reloaded: datetime) -> tuple[str, bool, frozenset[str]]:
    """Return what is wrong with certificates ("" for nothing), whether to read all anew, and which rows are damaged."""
    now = datetime.now(UTC)
    with contextlib.closing(Store.open(data_dir, writable=False)) as store:
        expired, unresolved, end = store.expired(now), store.unresolved(), store.end_of_self_signed()
        put = store.crls()
        over, damaged = revocations.over(configuration, put, now), revocations.damaged(put)
        # The first certificate that is valid is the default; another one is found by looking at all of them.
        moments = (now, reloaded) if not configuration.settings.http_server_options.server_name else ()
        lost_configuration = store.lost_configuration()
        said = [lost_configuration] if lost_configuration else []
        said += [f"{_DAMAGED}: {listed(damaged)}"] if damaged else []
        lost = bool(lost_configuration)
        try:
            lost |= [store.choose("", moment.timestamp()).current for moment in moments] == [False, True]
        except CertificateError as error:
            said.append(f"the default site: {error}")
    found = {"expired": expired, "revocation lists past their nextUpdate": over}
    troubles = [f"{what}: {listed(names)}" for what, names in found.items() if names]
    troubles += [*said, *unresolved[:_PROBLEMS_SHOWN]]
    return "; ".join(troubles), lost or (end is not None and now > end - RENEWED), frozenset(said)


def _component(kind: str, time: datetime, trouble: str, severity: Status) -> Component:
    return Component(severity if trouble else Status.PASS, kind, time, trouble)
