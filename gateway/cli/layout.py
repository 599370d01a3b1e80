"""How answers look on a terminal: tables, facts one below the other, moments in time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SOON_DAYS = 30
"""From when on the end of a certificate is told unasked."""


def clean(text: object) -> str:
    """Make text from elsewhere harmless: a name in a certificate must not move the cursor."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(text))


def table(rows: Iterable[Iterable[str]]) -> list[str]:
    """Align columns by their widest cell."""
    columns = list(zip(*([clean(cell) for cell in row] for row in rows), strict=True))
    widths = [max(map(len, column)) for column in columns]
    padded = [[cell.ljust(width) for cell in column] for column, width in zip(columns, widths, strict=True)]
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]


def facts(*pairs: tuple[str, object]) -> str:
    """Write one fact per line; those that are not known are left out."""
    return "\n".join(table((name, str(value)) for name, value in pairs if value not in (None, "")))


def moment(text: str) -> datetime:
    """Read a time of the API (RFC 3339)."""
    return datetime.fromisoformat(text)


def days_left(end: datetime, now: datetime) -> int:
    """Whole days until ``end``, negative once it is over."""
    return (end - now).days


def expiry(end: datetime, now: datetime) -> str:
    """Write the last day of a certificate and how many days are left."""
    return f"{end:%Y-%m-%d} ({days_left(end, now)} days)" if end >= now else f"{end:%Y-%m-%d} (expired)"


def expiry_of(text: str) -> str:
    """Write the last day of a certificate by a time of the API."""
    return f"{moment(text):%Y-%m-%d}"


def listed(names: Iterable[str], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
