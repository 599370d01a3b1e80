"""Administrators that exist in memory only: ``Accounts`` for the tests of the admin API."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.admin.identity import Accounts, Administrator, Identity, Role
from gateway.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.admin.operations import Actor

LATER = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass
class FakeAccounts(Accounts):
    """``passwords`` and ``roles`` by name, ``sessions`` by token; ``any_password`` lets everybody in."""

    any_password: bool = False
    passwords: dict[str, str] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    changes: list[tuple[str, str, str]] = field(default_factory=list)

    async def log_in(self, name: str, password: str, address: str) -> Identity | None:
        if not self.any_password and self.passwords.get(name) != password:
            return None
        token = f"token-{next(self._numbers)}"
        self.sessions[token] = name
        return Identity(name, self.roles.get(name, Role.VIEWER), token, LATER)

    async def identify(self, token: str) -> Identity | None:
        name = self.sessions.get(token)
        return Identity(name, self.roles.get(name, Role.VIEWER), token, LATER) if name else None

    async def log_out(self, identity: Identity, address: str) -> None:
        self.sessions.pop(identity.token, None)

    async def administrators(self) -> Sequence[Administrator]:
        return [Administrator(name, role, LATER) for name, role in sorted(self.roles.items())]

    async def add(self, name: str, role: Role, password: str, actor: Actor) -> Administrator:
        if name in self.roles and not self.any_password:
            raise ConflictError(f"there is an administrator {name} already")
        self.roles[name], self.passwords[name] = role, password
        self.changes.append((actor.who, "add", name))
        return Administrator(name, role, LATER)

    async def remove(self, name: str, actor: Actor) -> None:
        if self.roles.pop(name, None) is None and not self.any_password:
            raise NotFoundError(f"there is no administrator {name}")
        self.passwords.pop(name, None)
        self._end_sessions(name)
        self.changes.append((actor.who, "remove", name))

    async def set_password(self, name: str, password: str, actor: Actor) -> None:
        if name not in self.roles and not self.any_password:
            raise NotFoundError(f"there is no administrator {name}")
        self.passwords[name] = password
        self._end_sessions(name)
        self.changes.append((actor.who, "password", name))

    def _end_sessions(self, name: str) -> None:
        if not self.any_password:
            self.sessions = {token: owner for token, owner in self.sessions.items() if owner != name}
