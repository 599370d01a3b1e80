"""What certificate files held when they were last read: an unchanged file is not read again.

A file is unchanged when its status (size, times, inode, device, mode) is what it was, and was old enough when it was
read: within the clock's granularity a file can be written again and show the same times (what git calls racy).
A certificate and its key in two files are one reading with both statuses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gateway.config.problems import Problem, Severity
from gateway.store import materials

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from gateway.certs.pem import CertificatePair
    from gateway.store.database import Database

_COLUMNS = "source, others, status, material, key_type, names, remarks, quiet_from, quiet_until"


Remembered: TypeAlias = tuple[str, str, str, int, str, str, str, int, int]
"""A row, with the columns in the order of the schema."""


class Reading(NamedTuple):
    """What ``source``, read together with ``others``, held at a ``status``; texts as they are in the database."""

    source: str
    others: str
    status: str
    pair: CertificatePair
    names: str
    remarks: str
    quiet_from: int
    quiet_until: int


class Readings(NamedTuple):
    """All that is to be remembered: what was read just now, and the sources that are as they were."""

    new: tuple[Reading, ...]
    unchanged: Collection[str]


@dataclass(frozen=True, slots=True)
class FilesRead:
    """What there is to keep of a look at all files: when it began, what was not to be had, what the others held."""

    at: datetime
    unresolved: tuple[str, ...] = ()
    readings: Readings | None = None


def between(database: Database, first: str, last: str) -> dict[str, Remembered]:
    """Return what is remembered of the sources from ``first`` to ``last``, by source."""
    rows = database.execute(f"SELECT {_COLUMNS} FROM readings WHERE source BETWEEN ? AND ?", (first, last))  # noqa: S608 - a constant
    return {row[0]: row for row in rows}


def replace(database: Database, readings: Readings) -> set[int]:
    """Remember exactly these. Return the materials that may be nobody's any more, for `materials.sweep`.

    To be called within a transaction.
    """
    old = dict(database.execute("SELECT source, material FROM readings").fetchall())
    gone = old.keys() - readings.unchanged
    database.connection.executemany("DELETE FROM readings WHERE source = ?", ((source,) for source in gone))
    for source, others, status, pair, names, remarks, begin, end in readings.new:
        row = (source, others, status, materials.keep(database, pair), pair.key_type, names, remarks, begin, end)
        database.execute(f"REPLACE INTO readings ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - a constant - a constant
    return {old[source] for source in gone}


def is_sound(row: tuple[object, ...]) -> bool:
    """Return whether a row is as `replace` wrote it: of a damaged one, the files are read again."""
    *texts, begin, end = row[:3] + row[4:]
    if not all(isinstance(one, kind) for kind, some in ((str, texts), (int, (begin, end))) for one in some):
        return False
    try:
        return bool(remarked(str(row[6]))) or not row[6]
    except (TypeError, ValueError):
        return False


def written(remarks: Iterable[Problem]) -> str:
    """Return remarks as the database keeps them."""
    parts = [[remark.source, remark.message, remark.cure] for remark in remarks]
    return json.dumps(parts) if parts else ""


def remarked(text: str) -> tuple[Problem, ...]:
    """Return what was `written`, as warnings."""
    if not text:
        return ()
    return tuple(Problem(Severity.WARNING, "", source, message, cure) for source, message, cure in json.loads(text))
