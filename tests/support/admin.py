"""The admin API in the test's own process, asked over ASGI."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
from support.fake_accounts import FakeAccounts
from support.fake_operations import MOMENT, FakeOperations

from gateway.admin.app import build
from gateway.admin.authentication import HEADER, Guard
from gateway.admin.health import Component, Status
from gateway.observe.events import EventLog

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "open sesame"
NO_EVENTS = EventLog(os.open(os.devnull, os.O_WRONLY))


class Patient:
    """A health that is whatever the test says."""

    def __init__(self, *, reason: str | None = None, **statuses: Status) -> None:
        self._reason = reason
        self._components = {
            name: Component(status, "system", MOMENT, "" if status is Status.PASS else f"{name} hurts")
            for name, status in (statuses or {"workers": Status.PASS}).items()
        }

    def components(self) -> Mapping[str, Component]:
        return self._components

    def unready(self) -> str | None:
        return self._reason


@dataclass
class Admin:
    """The API before ``operations``.

    ``now`` is the clock of its guard, which goes on by ``step`` seconds at every look; its delays go to ``slept``.
    """

    operations: FakeOperations = field(default_factory=FakeOperations)
    accounts: FakeAccounts = field(default_factory=FakeAccounts)
    patient: Patient = field(default_factory=Patient)
    loopback: bool = True
    now: float = 1000.0
    step: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        guard = Guard(
            lambda: sha256(SECRET.encode()).digest(), self.accounts, NO_EVENTS, loopback=self.loopback,
            clock=self._clock, sleep=self._sleep,
        )  # fmt: skip
        self.app = build(self.patient, self.operations, self.accounts, guard)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        secret: str | None = SECRET,
        address: str = "127.0.0.1",
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> httpx.Response:
        sent = {**({} if secret is None else {HEADER: secret}), **(headers or {})}
        transport = httpx.ASGITransport(self.app, client=(address, 50000), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9696") as client:
            return await client.request(method, path, headers=sent, **request)

    def _clock(self) -> float:
        self.now += self.step
        return self.now

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
