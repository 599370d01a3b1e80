"""The schema: an empty database becomes this version, and becoming it again changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from gateway.errors import StoreError
from gateway.store.schema import MIGRATIONS, migrate


def tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_an_empty_database_is_brought_to_this_version_once() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        made = tables(connection)
        assert {"materials", "names", "generations"} <= {name for name, _ in made}
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        migrate(connection)
        assert tables(connection) == made


def test_a_newer_database_is_refused_and_untouched() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreError, match="schema 99"):
            migrate(connection)
        assert tables(connection) == []
