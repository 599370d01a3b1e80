"""What the files said when they were last read, and how what they say now becomes the next generation.

A reload reads and checks everything before it changes anything. A definition that is wrong harms itself alone. Whatever
else is wrong, the generation that runs keeps serving and the event log says why. Reading may take long where there are
many files: other changes wait only while its result is written and the workers confirm it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.admin.operations import ReloadResult
from gateway.config.load import load_what_can_be_served
from gateway.config.problems import Problem, Severity
from gateway.errors import ConfigurationError, GatewayError, StoreError
from gateway.routing.policies import HostPolicies
from gateway.runtime import renewal
from gateway.runtime.naming import Naming
from gateway.runtime.service_ports import Openings
from gateway.store import admin_secret

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from gateway.config.load import Configuration
    from gateway.config.settings import Settings
    from gateway.config.standing import Refused
    from gateway.observe.events import EventLog
    from gateway.runtime.role import Inherited
    from gateway.runtime.roster import Roster
    from gateway.store.audit import Deed
    from gateway.store.sqlite import Generation

APPLY_SECONDS = 10.0
"""How long a change waits for the workers to confirm."""

_NAMES_LOGGED = 10
_NOTHING = "nothing has changed"


@dataclass(frozen=True, slots=True)
class Current:
    """The configuration that is served, with what can be looked up in it. ``watched`` are its files."""

    configuration: Configuration
    naming: Naming
    hosts: HostPolicies
    watched: frozenset[Path]

    @classmethod
    def of(cls, configuration: Configuration) -> Current:
        """Index a configuration."""
        return cls(
            configuration,
            Naming(configuration),
            HostPolicies.of(configuration.of_port(0)),
            renewal.watched(configuration),
        )

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.configuration.settings


@dataclass(frozen=True, slots=True)
class LastReload:
    """What became of the last one. ``refusal`` is "" when it was applied; ``time`` is when that was decided."""

    time: datetime
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class _Pass:
    """What was read and is served now, at the ``generation``; ``message`` says if that is what was served before."""

    candidate: renewal.Candidate
    generation: int
    message: str
    changed: frozenset[str]
    shortfalls: tuple[str, ...]


class Reloads:
    """Makes what the files say the next generation. ``changing`` is held while what is served changes.

    ``unwritten``: the last time the store could not be read or written, so the same files may do another time.
    """

    def __init__(self, inherited: Inherited, generation: Generation, roster: Roster, events: EventLog) -> None:
        self._inherited = inherited
        self._roster = roster
        self._events = events
        self._running = asyncio.Lock()
        # One thread for all: the C library keeps the memory that each thread has used, of 100,000 files 50 MB.
        self._thread = ThreadPoolExecutor(1, "reload")
        self.changing = asyncio.Lock()
        self.openings = Openings(inherited, events)
        self.current = Current.of(generation.configuration)
        self.last = LastReload(generation.created)
        self.unwritten = False
        self.main_file = inherited.config_path
        self.secret_digest = admin_secret.digest(inherited.settings.secret, inherited.data_dir)

    async def run(self, deed: Deed) -> ReloadResult:
        """Read everything again and have the workers serve it, or keep what runs and say why."""
        async with self._running:
            began = time.monotonic()
            try:
                done = await self._pass(deed)
                while done.candidate.collected.postponed:
                    done = await self._pass(deed, done)
            except Exception as error:  # noqa: BLE001 - no new configuration, however odd, may take control down
                self.unwritten = isinstance(error, StoreError)
                return self._refuse(deed, error)
            self.unwritten = False
            with contextlib.suppress(StoreError):  # the generated one is lost: the one that is known stays
                self._know_secret(done.candidate.configuration)
            self._tell(deed, done, time.monotonic() - began)
        unconfirmed = [Problem(Severity.WARNING, "", "workers", shortfall) for shortfall in done.shortfalls]
        problems = (*done.candidate.problems, *self.openings.missing.values(), *unconfirmed)
        refused = self.refused
        said = f"refused definitions: {len(refused)}" if refused else ""
        return ReloadResult(
            ok=True,
            generation=done.generation,
            message="; ".join(filter(None, (done.message, said))),
            problems=problems,
            refused=refused,
        )

    async def _pass(self, deed: Deed, before: _Pass | None = None) -> _Pass:
        """Read everything, but only so many of the certificate files that changed, and have the workers serve it."""
        inherited, roster = self._inherited, self._roster

        def read() -> tuple[renewal.Candidate, Current]:
            candidate = renewal.read(
                inherited.config_path, inherited.environ, inherited.data_dir, anew=False, most=renewal.FILES_AT_ONCE
            )
            return candidate, Current.of(candidate.configuration)

        loop = asyncio.get_running_loop()
        candidate, current = await loop.run_in_executor(self._thread, read)
        async with self.changing:
            with self.openings.opened(candidate.configuration) as opened:
                generation, changed = await loop.run_in_executor(
                    self._thread, renewal.publish, inherited.data_dir, candidate, deed
                )
            renewal.log_refused(self._events, candidate.configuration, self.current.configuration)
            self.current, self.last = current, LastReload(datetime.now(UTC))
            message = before.message if before else _NOTHING
            if generation.number == roster.generation and not opened:
                short = roster.shortfalls()
            else:
                message = ""
                short = await roster.apply(generation.number, changed, APPLY_SECONDS)
            self.openings.close_all_but(candidate.configuration)
        return _Pass(candidate, generation.number, message, changed | (before.changed if before else set()), short)

    @property
    def refused(self) -> tuple[Refused, ...]:
        """The definitions that are not served as they are written, each with its place and the reason."""
        configuration = self.current.configuration
        return configuration.refused + self.openings.refused(configuration)

    async def open_what_is_missing(self) -> None:
        """Try again to open the ports that could not be opened, and have the workers serve those that can now."""
        if not self.openings.missing:
            return
        async with self.changing:
            with self.openings.opened(self.current.configuration) as opened:
                pass
            if opened:
                await self._roster.apply(self._roster.generation, frozenset(), APPLY_SECONDS)
            self.openings.close_all_but(self.current.configuration)

    async def recall_secret(self) -> None:
        """Know the secret of now: what was reloaded before this control may have changed it, and no copy holds it."""
        with contextlib.suppress(GatewayError):
            path, environ = self._inherited.config_path, self._inherited.environ
            self._know_secret(await asyncio.to_thread(load_what_can_be_served, path, environ))

    def renew_secret(self) -> Path | None:
        """Make another admin secret, and return its file; None when the one in use is configured. Raises StoreError."""
        path = admin_secret.renew(self._inherited.data_dir, self.secret_digest)
        if path:
            self.secret_digest = admin_secret.digest(None, self._inherited.data_dir)
        return path

    def _know_secret(self, configuration: Configuration) -> None:
        self.secret_digest = admin_secret.digest(configuration.settings.secret, self._inherited.data_dir)

    def _tell(self, deed: Deed, done: _Pass, seconds: float) -> None:
        renewal.log_problems(self._events, done.candidate.warnings)
        for key in renewal.needs_restart(self._inherited.settings, self.current.settings):
            self._events.warning("reload.restart_needed", f"{key} changed; that takes effect at the next start")
        for shortfall in done.shortfalls:
            self._events.error("reload.incomplete", shortfall, generation=done.generation)
        self._events.info(
            "reload.applied", done.message or "configuration applied", cause=deed.who, generation=done.generation,
            certificates_changed=listed(done.changed), workers=self._roster.serving(),
            duration_ms=round(seconds * 1000),
        )  # fmt: skip

    def _refuse(self, deed: Deed, error: Exception) -> ReloadResult:
        serving = f"generation {self._roster.generation} keeps serving"
        problems: tuple[Problem, ...] = ()
        if isinstance(error, ConfigurationError):
            problems = error.problems
            renewal.log_problems(self._events, problems)
            reason = f"{len(problems)} problems, the first: {problems[0]}" if problems[1:] else str(problems[0])
        else:
            reason = f"{type(error).__name__}: {error}"
        self._events.error("reload.refused", f"the reload was refused, {serving}", cause=deed.who, reason=reason)
        self.last = LastReload(datetime.now(UTC), f"the last reload was refused, {serving}: {reason}")
        return ReloadResult(ok=False, generation=self._roster.generation, message=reason, problems=problems)


def listed(names: Collection[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    shown = ", ".join(name or "(default)" for name in sorted(names)[:_NAMES_LOGGED])
    more = len(names) - _NAMES_LOGGED
    return f"{shown} and {more} more" if more > 0 else shown
