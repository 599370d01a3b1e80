"""The audit log: who changed what and who tried, when, and what came of it. Lines are appended, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.store.database import timestamp
from gateway.store.schema import AUDIT_KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.database import Database

DONE = "ok"
"""The result of a change that took place; any other says why it did not."""

NOTHING = "ok: nothing had changed"
"""The result of a reload that left everything as it was, since it found it so."""

_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Deed:
    """A change as it is asked for: ``who`` from which ``address`` does what to which domain, id or file."""

    who: str
    address: str
    action: str
    subject: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A deed with its outcome. ``old`` and ``new`` are fingerprints, ``generation`` is what came of it."""

    time: datetime
    deed: Deed
    old: str | None
    new: str | None
    result: str
    generation: int | None


def append(
    database: Database,
    deed: Deed,
    *,
    old: str | None = None,
    new: str | None = None,
    result: str = DONE,
    generation: int | None = None,
) -> None:
    """Write a line. To be called within the transaction of the change."""
    now = datetime.now(UTC).isoformat()
    said = [text[:_LONGEST] for text in (deed.who, deed.address, deed.action, deed.subject, result)]
    cursor = database.execute(
        "INSERT INTO audit (time, who, address, action, subject, result, old, new, generation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (now, *said, old, new, generation),
    )
    database.execute("DELETE FROM audit WHERE entry <= ?", ((cursor.lastrowid or 0) - AUDIT_KEPT,))


def last(database: Database, limit: int) -> Sequence[Entry]:
    """Return the last lines, the newest first."""
    rows = database.execute(
        "SELECT time, who, address, action, subject, old, new, result, generation FROM audit"
        " ORDER BY entry DESC LIMIT ?",
        (limit,),
    )
    return [Entry(timestamp(row[0]), Deed(*row[1:5]), *row[5:]) for row in rows]
