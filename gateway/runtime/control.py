"""Control: the only writer of the store after start. It reloads, tells the workers, and serves the control port.

A reload reads and checks everything before it changes anything; whatever is wrong, the generation that runs keeps
serving and the event log says why. Reading and writing happen in a thread, so ``/hello`` answers meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import override

from gateway.admin import app
from gateway.admin.app import Component, Status
from gateway.errors import ConfigurationError, StoreError
from gateway.runtime import renewal, role
from gateway.runtime.roster import Roster
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from gateway.observe.events import EventLog
    from gateway.runtime.role import Inherited

APPLY_SECONDS = 10.0
"""How long a reload waits for the workers to confirm."""

_LOOK_SECONDS = 5.0
_PATIENCE_SECONDS = 30.0
_NAMES_LOGGED = 10


def run(inherited: Inherited, events: EventLog) -> None:
    """Be control until SIGTERM. Raises StoreError when there is no generation to begin with."""
    inherited.listeners.main.close()
    if inherited.listeners.redirect:
        inherited.listeners.redirect.close()
    control = _Control(inherited, events)
    role.run(control.serve, lifeline=inherited.lifeline, events=events, hangup=control.ask_for_reload)


class _HttpServer(uvicorn.Server):
    """uvicorn without hands on the process's signals: those are ``role``'s."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Control:
    """The state of control; also the ``Health`` that the application asks."""

    def __init__(self, inherited: Inherited, events: EventLog) -> None:
        self._inherited = inherited
        self._events = events
        self._reload_asked = asyncio.Event()
        if inherited.reloads_begun.get() != inherited.reloads_asked.get():
            self.ask_for_reload()
        self._draining = False
        self._refusal = ""
        self._store_trouble = ""
        self._expired: tuple[str, ...] = ()
        with contextlib.closing(Store.open(inherited.data_dir, writable=False)) as store:
            generation = store.newest()
        self._settings = generation.configuration.settings
        self._renewed = generation.created
        self._looked = datetime.now(UTC)
        self._roster = Roster(generation.number, inherited.workers_wanted.get, events)

    async def serve(self, stop: asyncio.Event) -> None:
        """Be control until ``stop``; then answer that the node is not ready until the workers are gone."""
        config = uvicorn.Config(
            app.build(self), http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _HttpServer(config)
        conversations = await self._roster.listen(self._inherited.listeners.workers)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve([self._inherited.listeners.control]), name="control port")
            chores = [
                tasks.create_task(self._reload_when_asked(), name="reloads"),
                tasks.create_task(self._look_around(), name="looks around"),
            ]
            self._events.info("control.started", "attending to the workers", generation=self._roster.generation)
            await stop.wait()
            self._draining = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(role.drain_seconds(self._settings)):
                    await self._roster.emptied()
            for chore in chores:
                chore.cancel()
            server.should_exit = True
        conversations.close()

    def ask_for_reload(self) -> None:
        """Reload soon. Asking again before it has begun changes nothing."""
        self._reload_asked.set()

    async def reload(self, cause: str) -> None:
        """Read everything again and have the workers serve it, or keep what runs and say why."""
        began = time.monotonic()
        inherited = self._inherited
        try:
            candidate = await asyncio.to_thread(renewal.read, inherited.config_path, inherited.environ)
            generation, changed = await asyncio.to_thread(renewal.publish, inherited.data_dir, candidate, cause)
        except Exception as error:  # noqa: BLE001 - no new configuration, however odd, may take control down
            self._refuse(error)
            return
        self._refusal, self._renewed = "", generation.created
        self._settings = generation.configuration.settings
        renewal.log_problems(self._events, candidate.warnings)
        for key in renewal.needs_restart(inherited.settings, self._settings):
            self._events.warning("reload.restart_needed", f"{key} changed; that takes effect at the next start")
        shortfalls = await self._roster.apply(generation.number, changed, APPLY_SECONDS)
        for shortfall in shortfalls:
            self._events.error("reload.incomplete", shortfall, generation=generation.number)
        self._events.info(
            "reload.applied", "configuration applied", cause=cause, generation=generation.number,
            certificates_changed=_listed(changed), workers=self._roster.serving(),
            duration_ms=round((time.monotonic() - began) * 1000),
        )  # fmt: skip

    def components(self) -> Mapping[str, Component]:
        """Tell how workers, store, configuration and certificates are."""
        short, serving = self._roster.shortfalls(), self._roster.serving()
        workers = Status.PASS if not short else Status.WARN if serving else Status.FAIL
        said = "; ".join(short) or (
            f"{serving} workers serve generation {self._roster.generation},"
            f" {self._roster.counters().get('connections_open', 0)} connections are open"
        )
        expired = f"expired: {_listed(self._expired)}" if self._expired else ""
        now = datetime.now(UTC)
        return {
            "workers": Component(workers, "system", now, said),
            "store": _component("datastore", self._looked, self._store_trouble, Status.FAIL),
            "configuration": _component("component", self._renewed, self._refusal, Status.WARN),
            "certificates": _component("component", self._looked, expired, Status.WARN),
        }

    def unready(self) -> str | None:
        """Why this node should get no traffic, or None when it should."""
        if self._draining:
            return "Gateway is shutting down"
        if not self._roster.serving():
            return f"No worker serves generation {self._roster.generation} yet"
        return None

    def _refuse(self, error: Exception) -> None:
        serving = f"generation {self._roster.generation} keeps serving"
        if isinstance(error, ConfigurationError):
            renewal.log_problems(self._events, error.problems)
            reason = f"{len(error.problems)} problems, the first: {error.problems[0]}"
        else:
            reason = f"{type(error).__name__}: {error}"
        self._events.error("reload.refused", f"the reload was refused, {serving}", reason=reason)
        self._refusal, self._renewed = f"the last reload was refused, {serving}: {reason}", datetime.now(UTC)

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            self._inherited.reloads_begun.set(self._inherited.reloads_asked.get())
            await self.reload("SIGHUP")

    async def _look_around(self) -> None:
        """See now and then that the workers answer, the store can be read, and no certificate has expired."""
        while True:
            self._roster.ping(_PATIENCE_SECONDS)
            try:
                self._expired = await asyncio.to_thread(_expired, self._inherited.data_dir)
                self._store_trouble = ""
            except StoreError as error:
                if not self._store_trouble:
                    self._events.error("store.unreadable", str(error))
                self._store_trouble = str(error)
            self._looked = datetime.now(UTC)
            await asyncio.sleep(_LOOK_SECONDS)


def _expired(data_dir: Path) -> tuple[str, ...]:
    with contextlib.closing(Store.open(data_dir, writable=False)) as store:
        return store.expired(datetime.now(UTC))


def _component(kind: str, time: datetime, trouble: str, severity: Status) -> Component:
    return Component(severity if trouble else Status.PASS, kind, time, trouble)


def _listed(names: Collection[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    shown = ", ".join(name or "(default)" for name in sorted(names)[:_NAMES_LOGGED])
    more = len(names) - _NAMES_LOGGED
    return f"{shown} and {more} more" if more > 0 else shown
