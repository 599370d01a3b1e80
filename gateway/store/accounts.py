"""Administrators of the admin API and their sessions, in the node's database.

Of a password only its hash is kept, of a session's token only the SHA-256: whoever reads the database can log in with
neither. A session goes with its account, with a new password, when it was idle for too long, and at its end at the
latest. Each change is one transaction with its line in the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.errors import ConflictError, NotFoundError
from gateway.store import audit
from gateway.store.database import DatabaseUser, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.audit import Deed

MOST_ACCOUNTS = 1000
SESSIONS_PER_ACCOUNT = 20
"""The one that was quiet for longest makes way for the next."""

_ACCOUNT = "SELECT name, role, created FROM administrators"
_SESSION = """SELECT name, role, token, begun, used, ends FROM sessions JOIN administrators USING (name)
    WHERE token = :token AND ends > :now AND used > :now - :idle"""


@dataclass(frozen=True, slots=True)
class Account:
    """An administrator, without the hash of the password."""

    name: str
    role: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """Who has logged in, and until when that lasts; ``token`` is the SHA-256 of what is sent. Seconds since 1970."""

    name: str
    role: str
    token: bytes
    begun: int
    used: int
    ends: int


class AccountStore(DatabaseUser):
    """Every method raises StoreError."""

    def accounts(self) -> Sequence[Account]:
        """Return all administrators by name."""
        with self._database.reading():
            return list(map(_account, self._database.execute(f"{_ACCOUNT} ORDER BY name")))

    def password(self, name: str) -> str | None:
        """Return the hash of an administrator's password; None when there is no such administrator."""
        with self._database.reading():
            row = self._database.execute("SELECT password FROM administrators WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def add(self, name: str, role: str, password: str, deed: Deed) -> Account:
        """Add an administrator. Raises ConflictError when there is one of that name, or there are too many."""
        database, now = self._database, datetime.now(UTC)
        with database.writing():
            if database.execute("SELECT 1 FROM administrators WHERE name = ?", (name,)).fetchone():
                raise ConflictError(f"there is an administrator {name} already")
            if database.execute("SELECT count(*) FROM administrators").fetchone()[0] >= MOST_ACCOUNTS:
                raise ConflictError(f"there are {MOST_ACCOUNTS} administrators already; delete those that are gone")
            database.execute(
                "INSERT INTO administrators (name, role, password, created) VALUES (?, ?, ?, ?)",
                (name, role, password, now.isoformat()),
            )
            audit.append(database, deed)
        return Account(name, role, now)

    def remove(self, name: str, deed: Deed) -> None:
        """Remove an administrator with all sessions. Raises NotFoundError."""
        database = self._database
        with database.writing():
            database.execute("DELETE FROM sessions WHERE name = ?", (name,))
            if not database.execute("DELETE FROM administrators WHERE name = ?", (name,)).rowcount:
                raise NotFoundError(f"there is no administrator {name}")
            audit.append(database, deed)

    def set_password(self, name: str, password: str, deed: Deed) -> None:
        """Change the hash of a password, which ends all sessions that began with the old one. Raises NotFoundError."""
        database = self._database
        with database.writing():
            database.execute("DELETE FROM sessions WHERE name = ?", (name,))
            row = database.execute("UPDATE administrators SET password = ? WHERE name = ?", (password, name))
            if not row.rowcount:
                raise NotFoundError(f"there is no administrator {name}")
            audit.append(database, deed)

    def begin(self, session: Session, password: str, deed: Deed) -> bool:
        """Keep a new session, and forget those that are over.

        False when the account is not any more what the password was checked against.
        """
        database = self._database
        with database.writing():
            database.execute("DELETE FROM sessions WHERE ends <= ?", (session.begun,))
            known = database.execute("SELECT password FROM administrators WHERE name = ?", (session.name,)).fetchone()
            if known is None or known[0] != password:
                return False
            database.execute(
                "DELETE FROM sessions WHERE token IN (SELECT token FROM sessions WHERE name = ?"
                " ORDER BY used DESC, begun DESC LIMIT -1 OFFSET ?)",
                (session.name, SESSIONS_PER_ACCOUNT - 1),
            )
            database.execute(
                "INSERT INTO sessions (token, name, begun, used, ends) VALUES (?, ?, ?, ?, ?)",
                (session.token, session.name, session.begun, session.used, session.ends),
            )
            audit.append(database, deed)
        return True

    def session(self, token: bytes, now: int, idle: int) -> Session | None:
        """Return the session of a token (its SHA-256), unless it is over or was idle for that many seconds."""
        with self._database.reading():
            row = self._database.execute(_SESSION, {"token": token, "now": now, "idle": idle}).fetchone()
        return Session(*row) if row else None

    def use(self, token: bytes, now: int) -> None:
        """Remember that a session is not idle."""
        with self._database.writing():
            self._database.execute("UPDATE sessions SET used = ? WHERE token = ?", (now, token))

    def end(self, token: bytes, deed: Deed) -> None:
        """Forget a session."""
        with self._database.writing():
            if self._database.execute("DELETE FROM sessions WHERE token = ?", (token,)).rowcount:
                audit.append(self._database, deed)


def _account(row: tuple[str, str, str]) -> Account:
    return Account(row[0], row[1], timestamp(row[2]))
