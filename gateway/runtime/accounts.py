"""Administrators and their sessions: ``admin.identity.Accounts`` within control, over the node's store.

A request is looked up in the store each time, so that a session is over the moment somebody ends it, and goes on when
another control comes. Its use is written down only now and then: no request waits for a disk because somebody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from gateway.admin.identity import Administrator, Identity, Role
from gateway.errors import StoreError
from gateway.runtime.passwords import Passwords
from gateway.store.accounts import AccountStore, Session
from gateway.store.audit import Deed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.admin.operations import Actor
    from gateway.config.settings import AdminSessions
    from gateway.observe.events import EventLog

_TOKEN_BYTES = 32
_LONGEST_TOKEN = 64
_ROLES = frozenset(Role)
_NOTED_SECONDS = 60
"""Use is written down when the last that was is this long ago, or a tenth of the time that a session may be idle."""

_Result = TypeVar("_Result")


class LiveAccounts:
    """Reads ``settings`` at every look, so that a reload counts at once."""

    def __init__(
        self,
        data_dir: Path,
        settings: Callable[[], AdminSessions],
        events: EventLog,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._events = events
        self._clock = clock
        self._passwords = Passwords()
        # One thread: strangers with made-up tokens take turns among themselves, and nobody else waits for them.
        self._thread = ThreadPoolExecutor(1, "accounts")

    async def log_in(self, name: str, password: str, address: str) -> Identity | None:
        """Begin a session; None when there is no such administrator with that password."""
        kept = await self._read(lambda store: store.password(name))
        if not await self._passwords.fits(password, kept) or kept is None:
            return None
        now, token = int(self._clock()), secrets.token_urlsafe(_TOKEN_BYTES)
        session = Session(name, "", _digest(token), now, now, now + int(self._settings().lifetime))
        deed = Deed(name, address, "log in", name)
        if not await self._write(lambda store: store.begin(session, kept, deed)):
            return None
        self._events.info("admin.login", "an administrator has logged in", who=name, address=address)
        return await self.identify(token)

    async def identify(self, token: str) -> Identity | None:
        """Return whose session that is, unless it is over."""
        if len(token) > _LONGEST_TOKEN:
            return None
        now, idle, digest = int(self._clock()), int(self._settings().idle_timeout), _digest(token)
        session = await self._read(lambda store: store.session(digest, now, idle))
        if session is None or session.role not in _ROLES:  # a damaged row lets nobody in
            return None
        if now - session.used >= min(_NOTED_SECONDS, idle / 10):
            with contextlib.suppress(StoreError):  # a full disk keeps nobody from looking what is the matter
                await self._write(lambda store: store.use(digest, now))
        return Identity(session.name, Role(session.role), token, datetime.fromtimestamp(session.ends, UTC))

    async def log_out(self, identity: Identity, address: str) -> None:
        """End a session; nothing happens when it is over."""
        deed = Deed(identity.name, address, "log out", identity.name)
        await self._write(lambda store: store.end(_digest(identity.token), deed))

    async def administrators(self) -> Sequence[Administrator]:
        """Return all administrators by name."""
        found = await self._read(lambda store: store.accounts())
        return [Administrator(one.name, Role(one.role), one.created) for one in found if one.role in _ROLES]

    async def add(self, name: str, role: Role, password: str, actor: Actor) -> Administrator:
        """Add an administrator."""
        kept, deed = await self._passwords.hashed(password), _deed(actor, "add administrator", f"{name} ({role})")
        made = await self._write(lambda store: store.add(name, role, kept, deed))
        self._events.info("admin.added", "an administrator was added", name=name, role=role, who=actor.who)
        return Administrator(made.name, role, made.created)

    async def remove(self, name: str, actor: Actor) -> None:
        """Remove an administrator and end all sessions."""
        await self._write(lambda store: store.remove(name, _deed(actor, "delete administrator", name)))
        self._events.info("admin.deleted", "an administrator was deleted", name=name, who=actor.who)

    async def set_password(self, name: str, password: str, actor: Actor) -> None:
        """Change a password and end all sessions of its owner."""
        kept, deed = await self._passwords.hashed(password), _deed(actor, "change password", name)
        await self._write(lambda store: store.set_password(name, kept, deed))
        self._events.info("admin.password", "a password was changed", name=name, who=actor.who)

    async def _read(self, ask: Callable[[AccountStore], _Result]) -> _Result:
        return await self._run(ask, writable=False)

    async def _write(self, change: Callable[[AccountStore], _Result]) -> _Result:
        return await self._run(change, writable=True)

    async def _run(self, use: Callable[[AccountStore], _Result], *, writable: bool) -> _Result:
        def work() -> _Result:
            with contextlib.closing(AccountStore.open(self._data_dir, writable=writable)) as store:
                return use(store)

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="replace")).digest()


def _deed(actor: Actor, action: str, subject: str) -> Deed:
    return Deed(actor.who, actor.address, action, subject)
