"""A connection to the node's database: opening it, transactions, and what its errors mean to a person."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from gateway.certs.seal import Sealer, UnknownKeyError
from gateway.errors import DamagedError, StoreError
from gateway.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "gateway.db"

_BUSY_SECONDS = 5.0
_TEXT = functools.partial(str, encoding="utf-8", errors="replace")  # one odd byte would fail a query of all rows
_UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}


class UnwritableError(StoreError):
    """The database is sound, but its directory cannot be written to: the disk is full, or read-only."""


class Database:
    """A connection, for the thread that opened it; it must not cross a fork. ``sealer`` seals what is secret.

    One for reading, where nothing can be written, takes the file for one that nobody changes (``frozen`` says how it
    was), and is opened anew when it is not what it was.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, sealer: Sealer, frozen: tuple[int, ...] = ()
    ) -> None:
        self.path = path
        self.sealer = sealer
        self._use(connection, frozen)

    def _use(self, connection: sqlite3.Connection, frozen: tuple[int, ...]) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.version = schema.version(connection)
        self._frozen = frozen

    @classmethod
    def open(cls, data_dir: Path, *, writable: bool) -> Self:
        """Open the database in ``data_dir``; a writer makes both when they are missing. Raises StoreError."""
        path = data_dir / DATABASE
        with explained(path):
            if writable:
                data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                make_private(path)
            connection, frozen = (_connect(path, "mode=rw"), ()) if writable else for_reading(path)
            try:
                if writable:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = FULL")
                    connection.execute("PRAGMA foreign_keys = ON")
                    schema.migrate(connection)
                return cls(path, connection, Sealer.open(data_dir), frozen)
            except BaseException:
                connection.close()
                raise

    def replaceable(self, error: DamagedError) -> bool:
        """Return whether a sealed row is damaged alone, rather than all of them for want of their keys."""
        rows = "SELECT * FROM (SELECT key FROM materials LIMIT 100) UNION ALL SELECT content FROM configurations"
        return not isinstance(error, UnknownKeyError) or any(self.sealer.knows(row[0]) for row in self.execute(rows))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read one state: what others commit meanwhile shows at the next reading. Raises StoreError."""
        with explained(self.path):
            if self._frozen and self._frozen != _state(self.path):
                self.connection.close()
                self._use(*for_reading(self.path))
            self.execute("BEGIN")
            try:
                yield
            except (TypeError, ValueError) as error:  # SQLite takes any value for any column
                raise DamagedError(
                    f"a row cannot be read: {error}; restore a backup, or put anew what it is"
                ) from error
            finally:
                self._leave()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Change all or nothing, durably when the block has ended. Raises StoreError."""
        with explained(self.path):
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                self._leave()
                raise

    def _leave(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.execute("ROLLBACK")


class DatabaseUser:
    """A connection to the database, for the thread that opened it; it must not cross a fork."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, data_dir: Path, *, writable: bool) -> Self:
        """Open the database in ``data_dir``; a writer makes both when they are missing. Raises StoreError."""
        return cls(Database.open(data_dir, writable=writable))

    def close(self) -> None:
        """Let go of the database."""
        self._database.connection.close()


def for_reading(path: Path) -> tuple[sqlite3.Connection, tuple[int, ...]]:
    """Open a database to read it. Return how the file is, too, if it is to be opened anew when it changes.

    Raises sqlite3.Error.
    """
    # Readers also open the file for writing, then set query_only: WAL needs its shared-memory file even to read.
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # only now the files are opened
    except sqlite3.OperationalError:
        connection.close()
        state = _state(path)
        if state[-1]:  # what is in the log would not be seen
            raise
        return _connect(path, "mode=ro&immutable=1"), state
    except BaseException:
        connection.close()
        raise
    return connection, ()


def _connect(path: Path, how: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = _TEXT
    return connection


def _state(path: Path) -> tuple[int, ...]:
    """Return values that change as soon as somebody writes to the database again."""
    status, log = path.stat(), path.with_name(f"{path.name}-wal")
    return status.st_ino, status.st_size, status.st_mtime_ns, log.stat().st_size if log.exists() else 0


def timestamp(text: str) -> datetime:
    """Return the time in a column. A damaged one is the beginning of 1970: it decides nothing."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say about ``path`` into what a person can do about it."""
    try:
        yield
    except StoreError as error:
        kind = DamagedError if isinstance(error, DamagedError) else StoreError
        raise kind(f"{path}: {error}") from error
    except sqlite3.OperationalError as error:
        cure = "check that the directory exists, is writable by this user, and has free space"
        code = getattr(error, "sqlite_errorcode", 0)  # which the module's own errors have not
        kind = UnwritableError if code & 0xFF in _UNWRITABLE else StoreError
        raise kind(f"{path}: {error}; {cure}") from error
    except sqlite3.DatabaseError as error:
        cure = "restore a backup, or move it away: the next start builds it from the configuration"
        raise StoreError(f"{path}: {error}; {cure}") from error
    except OSError as error:
        raise UnwritableError(f"{path}: {error.strerror}; gateway.data_dir must be a writable directory") from error


def make_private(path: Path) -> None:
    """Create the file if it is missing, for its owner alone; SQLite gives its other files the same mode."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)
