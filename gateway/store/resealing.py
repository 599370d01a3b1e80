"""Everything that is sealed in the database, sealed anew with the master key that seals now: a few rows at a time.

Whenever it is interrupted, each row is sealed with a key that the keyring has, and what is left shows in the rows
themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import StoreError
from gateway.store import generations, materials

if TYPE_CHECKING:
    from gateway.store.database import Database

# What a table's rows are called by, what of them is sealed, and what the seal is bound to.
_SEALED = (
    ("materials", "material", "key", "digest", materials.context),
    ("configurations", "configuration", "content", "configuration", generations.context),
)


class Place(NamedTuple):
    """How far it has come: all tables before ``table`` are done, and of this one the rows up to ``row``."""

    table: int = 0
    row: int = 0


class Step(NamedTuple):
    """What a few rows came to. ``place`` is None at the end; ``unreadable`` rows are as they were."""

    place: Place | None
    seen: int
    sealed: int
    unreadable: int


def total(database: Database) -> int:
    """Count the rows that hold something sealed."""
    counts = (database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table, *_ in _SEALED)  # noqa: S608
    return sum(map(int, counts))


def step(database: Database, place: Place, most: int) -> Step:
    """Seal at most so many rows anew, beginning behind ``place``. To be called within a transaction."""
    table, row_id, column, bound_to, context = _SEALED[place.table]
    rows = database.execute(
        f"SELECT {row_id}, {bound_to}, {column} FROM {table} WHERE {row_id} > ? ORDER BY {row_id} LIMIT ?",  # noqa: S608
        (place.row, most),
    ).fetchall()
    sealed = unreadable = 0
    for number, of, text in rows:
        if database.sealer.is_current(text):
            continue
        try:
            fresh = database.sealer.seal(database.sealer.unseal(text, context(of)), context(of))
        except StoreError:  # no one could use it before, either
            unreadable += 1
            continue
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {row_id} = ?", (fresh, number))  # noqa: S608
        sealed += 1
    if len(rows) == most:
        following: Place | None = Place(place.table, rows[-1][0])
    else:
        following = Place(place.table + 1) if place.table + 1 < len(_SEALED) else None
    return Step(following, len(rows), sealed, unreadable)
