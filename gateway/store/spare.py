"""A copy of the database from before an upgrade, which may bring another schema and another configuration.

The gateway that takes over makes it before it writes anything. If it then cannot serve, the one before puts the copy
back, into the database that its workers have open: for them it is one more transaction.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from gateway import files
from gateway.errors import StoreError
from gateway.store import schema
from gateway.store.database import DATABASE, Database, explained, make_private

if TYPE_CHECKING:
    from pathlib import Path

NAME = f"{DATABASE}.before-upgrade"
"""The name of the copy in the data directory."""

_UNFINISHED = f"{NAME}.unfinished"


def make(data_dir: Path) -> None:
    """Copy the database. Raises StoreError, and then there is no copy."""
    path, unfinished = data_dir / NAME, data_dir / _UNFINISHED
    with explained(path):
        unfinished.unlink(missing_ok=True)
        make_private(unfinished)
        _copy(data_dir / DATABASE, unfinished)
        unfinished.rename(path)


def exists(data_dir: Path) -> bool:
    """Return whether there is a copy."""
    return (data_dir / NAME).exists()


def put_back(data_dir: Path) -> bool:
    """Make the database what the copy is, if there is one, and tell whether there was. Raises StoreError."""
    if not exists(data_dir):
        return False
    with explained(data_dir / DATABASE):
        _copy(data_dir / NAME, data_dir / DATABASE)
    drop(data_dir)
    return True


def settle(data_dir: Path) -> str:
    """Put the copy back; where there is no room for that, give it up if this version can write the database as it is.

    Return why it was given up, or "". Nothing that was acknowledged is in one and not in the other. Raises StoreError
    when neither can be done; then nobody may write, or a later attempt would lose that.
    """
    try:
        put_back(data_dir)
    except StoreError as error:
        with contextlib.closing(Database.open(data_dir, writable=False).connection) as connection:
            if schema.version(connection) > len(schema.MIGRATIONS):
                raise
        drop(data_dir)
        return str(error)
    return ""


def sweep(data_dir: Path) -> None:
    """Remove what was left of a copy that was never finished."""
    for left in data_dir.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            left.unlink()


def drop(data_dir: Path) -> None:
    """Forget the copy, durably: what is newer has proved good. Raises StoreError."""
    if exists(data_dir):
        files.remove(data_dir / NAME)


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as read,
        contextlib.closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=rw", uri=True)) as written,
    ):
        written.execute("PRAGMA synchronous = FULL")
        read.backup(written)
