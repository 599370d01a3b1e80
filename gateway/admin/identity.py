"""Who may use the admin API: administrators with a role each, beside whoever has the secret.

The API knows HTTP; ``Accounts`` knows administrators, hashes and sessions, and is implemented by the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.admin.operations import Actor


class Role(StrEnum):
    """What an administrator may do, from less to more."""

    VIEWER = "viewer"
    OPERATOR = "operator"

    def may(self, least: Role) -> bool:
        """Whether this role includes ``least``."""
        return list(Role).index(self) >= list(Role).index(least)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and as what. Whoever has the secret has no ``token`` and no ``ends``."""

    name: str
    role: Role
    token: str = field(default="", repr=False)
    ends: datetime | None = None


SECRET = Identity("secret", Role.OPERATOR)
"""Whoever sends the secret, as the audit log has it."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """An account."""

    name: str
    role: Role
    created: datetime


class Accounts(Protocol):
    """Administrators and their sessions. Every method raises StoreError when they cannot be read or written."""

    async def log_in(self, name: str, password: str, address: str) -> Identity | None:
        """Begin a session; None when there is no such administrator with that password, which takes as long.

        Raises OverloadedError when too many wait for this already.
        """

    async def identify(self, token: str) -> Identity | None:
        """Return whose session that is, unless it is over."""

    async def log_out(self, identity: Identity, address: str) -> None:
        """End a session; nothing happens when it is over."""

    async def administrators(self) -> Sequence[Administrator]:
        """Return all administrators by name."""

    async def add(self, name: str, role: Role, password: str, actor: Actor) -> Administrator:
        """Add an administrator. Raises ConflictError when there is one of that name, or there are too many."""

    async def remove(self, name: str, actor: Actor) -> None:
        """Remove an administrator and end all sessions. Raises NotFoundError."""

    async def set_password(self, name: str, password: str, actor: Actor) -> None:
        """Change a password and end all sessions of its owner. Raises NotFoundError."""
