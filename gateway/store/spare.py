"""A copy of the database from before an upgrade, which may bring another schema and another configuration.

The gateway that takes over makes it before it writes anything. If it then cannot serve, the one before puts the copy
back, into the database that its workers have open: for them it is one more transaction.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from gateway.store.database import DATABASE, explained, make_private

if TYPE_CHECKING:
    from pathlib import Path

_SPARE = f"{DATABASE}.before-upgrade"


def make(data_dir: Path) -> None:
    """Copy the database. Raises StoreError, and then there is no copy."""
    path, unfinished = data_dir / _SPARE, data_dir / f"{_SPARE}.unfinished"
    with explained(path):
        unfinished.unlink(missing_ok=True)
        make_private(unfinished)
        _copy(data_dir / DATABASE, unfinished)
        unfinished.rename(path)


def put_back(data_dir: Path) -> bool:
    """Make the database what the copy is, if there is one, and tell whether there was. Raises StoreError."""
    path = data_dir / _SPARE
    if not path.exists():
        return False
    with explained(data_dir / DATABASE):
        _copy(path, data_dir / DATABASE)
    drop(data_dir)
    return True


def drop(data_dir: Path) -> None:
    """Forget the copy: what is newer has proved good, or what is older is not to come back."""
    with contextlib.suppress(OSError):
        (data_dir / _SPARE).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as read,
        contextlib.closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=rw", uri=True)) as written,
    ):
        written.execute("PRAGMA synchronous = FULL")
        read.backup(written)
