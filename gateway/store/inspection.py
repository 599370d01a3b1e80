"""The check that the database is as the last gateway left it, and the way back when it is not."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from typing import TYPE_CHECKING

from gateway.certs import keyring
from gateway.errors import StoreError
from gateway.store import schema, spare
from gateway.store.database import DATABASE, explained, for_reading

if TYPE_CHECKING:
    from pathlib import Path


def inspect(data_dir: Path) -> None:
    """Read every page of the database. Raises StoreError with the way back when something is wrong with it.

    A database that is not there is not wrong: a gateway that was never started has none, and one whose database was
    moved away begins anew with the keys that it has.
    """
    path = data_dir / DATABASE
    if not path.exists():
        return
    try:
        with explained(path), contextlib.closing(for_reading(path)[0]) as connection:
            found = " ".join(str(connection.execute("PRAGMA quick_check(1)").fetchone()[0]).split())
            is_new = schema.version(connection) == 0
    except StoreError as error:
        if isinstance(error.__cause__, sqlite3.OperationalError):  # what is wrong is not what is in it
            return
        found, is_new = str(error.__cause__), False
    if found != "ok":
        raise StoreError(f"{path} is damaged: {found}; {_way_back(data_dir)}")
    if is_new and keyring.load(data_dir) is not None:
        raise StoreError(f"{path} is empty, and the keyring beside it says that it was not; {_way_back(data_dir)}")


def _way_back(data_dir: Path) -> str:
    here = shlex.quote(str(data_dir))
    away = f"(cd {here} && mkdir -p damaged && mv {DATABASE} damaged/ && rm -f {DATABASE}-wal {DATABASE}-shm)"
    if spare.exists(data_dir):
        return f"an upgrade has left a copy from before it: {away} && mv {here}/{spare.NAME} {here}/{DATABASE}"
    return (
        "restore a backup of the directory, or move the database away: the next start builds another from the "
        f"configuration, without what was put at runtime: {away}"
    )
