"""What the files said when they were last read, and how what they say now becomes the next generation.

A reload reads and checks everything before it changes anything; whatever is wrong, the generation that runs keeps
serving and the event log says why. Reading may take long where there are many files: other changes wait only while
its result is written and the workers confirm it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.admin.operations import ReloadResult
from gateway.config.load import load
from gateway.config.problems import Problem, Severity
from gateway.errors import ConfigurationError, GatewayError, StoreError
from gateway.routing.policies import HostPolicies
from gateway.runtime import renewal
from gateway.runtime.naming import Naming
from gateway.store import admin_secret

if TYPE_CHECKING:
    from collections.abc import Collection, Set
    from pathlib import Path

    from gateway.config.load import Configuration
    from gateway.config.settings import Settings
    from gateway.observe.events import EventLog
    from gateway.runtime.role import Inherited
    from gateway.runtime.roster import Roster
    from gateway.store.audit import Deed
    from gateway.store.sqlite import Generation

APPLY_SECONDS = 10.0
"""How long a change waits for the workers to confirm."""

_NAMES_LOGGED = 10


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
        return cls(configuration, Naming(configuration), HostPolicies.of(configuration), renewal.watched(configuration))

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.configuration.settings


@dataclass(frozen=True, slots=True)
class LastReload:
    """What became of the last one. ``refusal`` is "" when it was applied; ``time`` is when that was decided."""

    time: datetime
    refusal: str = ""


class Reloads:
    """Makes what the files say the next generation. ``changing`` is held while what is served changes."""

    def __init__(self, inherited: Inherited, generation: Generation, roster: Roster, events: EventLog) -> None:
        self._inherited = inherited
        self._roster = roster
        self._events = events
        self._running = asyncio.Lock()
        self.changing = asyncio.Lock()
        self.current = Current.of(generation.configuration)
        self.last = LastReload(generation.created)
        self.secret_digest = admin_secret.digest(inherited.settings.secret, inherited.data_dir)

    async def run(self, deed: Deed) -> ReloadResult:
        """Read everything again and have the workers serve it, or keep what runs and say why."""
        async with self._running:
            began = time.monotonic()
            inherited = self._inherited
            try:
                candidate = await asyncio.to_thread(
                    renewal.read, inherited.config_path, inherited.environ, inherited.data_dir
                )
                current = await asyncio.to_thread(Current.of, candidate.configuration)
                async with self.changing:
                    generation, changed = await asyncio.to_thread(
                        renewal.publish, inherited.data_dir, candidate, deed.who, deed
                    )
                    self.current, self.last = current, LastReload(generation.created)
                    short = await self._roster.apply(generation.number, changed, APPLY_SECONDS)
            except Exception as error:  # noqa: BLE001 - no new configuration, however odd, may take control down
                return self._refuse(error)
            with contextlib.suppress(StoreError):  # the generated one is lost: the one that is known stays
                self._know_secret(candidate.configuration)
            self._tell(deed, candidate, generation, changed, short, time.monotonic() - began)
        unconfirmed = [Problem(Severity.WARNING, "", "workers", shortfall) for shortfall in short]
        return ReloadResult(ok=True, generation=generation.number, problems=(*candidate.warnings, *unconfirmed))

    async def recall_secret(self) -> None:
        """Know the secret of now: what was reloaded before this control may have changed it, and no copy holds it."""
        with contextlib.suppress(GatewayError):
            self._know_secret(await asyncio.to_thread(load, self._inherited.config_path, self._inherited.environ))

    def _know_secret(self, configuration: Configuration) -> None:
        self.secret_digest = admin_secret.digest(configuration.settings.secret, self._inherited.data_dir)

    def _tell(
        self, deed: Deed, candidate: renewal.Candidate, generation: Generation, changed: Set[str],
        shortfalls: Collection[str], seconds: float,
    ) -> None:  # fmt: skip
        renewal.log_problems(self._events, candidate.warnings)
        for key in renewal.needs_restart(self._inherited.settings, self.current.settings):
            self._events.warning("reload.restart_needed", f"{key} changed; that takes effect at the next start")
        for shortfall in shortfalls:
            self._events.error("reload.incomplete", shortfall, generation=generation.number)
        self._events.info(
            "reload.applied", "configuration applied", cause=deed.who, generation=generation.number,
            certificates_changed=listed(changed), workers=self._roster.serving(),
            duration_ms=round(seconds * 1000),
        )  # fmt: skip

    def _refuse(self, error: Exception) -> ReloadResult:
        serving = f"generation {self._roster.generation} keeps serving"
        problems: tuple[Problem, ...] = ()
        if isinstance(error, ConfigurationError):
            problems = error.problems
            renewal.log_problems(self._events, problems)
            reason = f"{len(problems)} problems, the first: {problems[0]}"
        else:
            reason = f"{type(error).__name__}: {error}"
        self._events.error("reload.refused", f"the reload was refused, {serving}", reason=reason)
        self.last = LastReload(datetime.now(UTC), f"the last reload was refused, {serving}: {reason}")
        return ReloadResult(ok=False, generation=self._roster.generation, message=reason, problems=problems)


def listed(names: Collection[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    shown = ", ".join(name or "(default)" for name in sorted(names)[:_NAMES_LOGGED])
    more = len(names) - _NAMES_LOGGED
    return f"{shown} and {more} more" if more > 0 else shown
