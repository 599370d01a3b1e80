"""Generations: the last states that were served, each with its configuration, which most share with the one before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gateway.config.load import Configuration
from gateway.errors import DamagedError, StoreError
from gateway.store.database import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.database import Database

KEPT = 100

_NEWEST = "SELECT number, created, cause, configuration, files_read FROM generations ORDER BY number DESC LIMIT 1"
_OLDEST_ORIGIN = "SELECT configuration FROM generations ORDER BY number LIMIT 1"


@dataclass(frozen=True, slots=True)
class Generation:
    """A state that was accepted, with its place in the order of such.

    ``origin`` is the first generation with this configuration: between two with the same one nothing but
    certificates changed. ``files_read`` is when the files were read that it was made from.
    """

    number: int
    created: datetime
    cause: str
    origin: int
    files_read: datetime
    configuration: Configuration


def newest(database: Database, known: Generation | None) -> Generation | None:
    """Return the newest generation; one that shares its configuration with ``known`` is cheap to return.

    Raises DamagedError when it cannot be read, and StoreError for a configuration that another version wrote, with keys
    or values unknown to this one.
    """
    for number, created, cause, origin, files_read in database.execute(_NEWEST).fetchall():
        if known is not None and known.origin == origin:
            configuration = known.configuration
        else:
            configuration = _read(database, number, origin)
        read = timestamp(files_read)
        return Generation(number, timestamp(created), cause, origin, read, configuration)
    return None


def _read(database: Database, number: int, origin: int) -> Configuration:
    try:
        return Configuration.model_validate_json(_content(database, origin))
    except ValidationError as error:  # of a gateway that has taken over: what runs on must not fall over its words
        key = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        reason = f"generation {number} has a {key} that this gateway cannot read; another version wrote it"
        raise StoreError(f"{database.path}: {reason}") from None


def damage(database: Database) -> str:
    """Say why the newest configuration cannot be read; "" when it can."""
    try:
        for _, _, _, origin, _ in database.execute(_NEWEST).fetchall():
            _content(database, origin)
    except DamagedError as error:
        return str(error)
    return ""


def default_name(database: Database) -> str:
    """Return the name whose certificates the default site serves; "" when it is nobody else's."""
    row = database.execute("SELECT default_name FROM generations ORDER BY number DESC LIMIT 1").fetchone()
    return str(row[0]) if row else ""


def unchanged(database: Database, configuration: Configuration, default: str, read: datetime) -> Generation | None:
    """Return the newest generation if it is of that configuration and default; the files are ``read`` anew.

    To be called within a transaction.
    """
    plain = configuration.model_dump_json().encode()
    for number, created, cause, origin, _ in database.execute(_NEWEST).fetchall():
        if _is(database, origin, plain) and default_name(database) == default:
            database.execute("UPDATE generations SET files_read = ? WHERE number = ?", (read.isoformat(), number))
            return Generation(number, timestamp(created), cause, origin, read, configuration)
    return None


def append(
    database: Database, configuration: Configuration, default: str, cause: str, files_read: datetime
) -> Generation:
    """Make the next generation. To be called within a transaction.

    A configuration that cannot be read is none that this one could share. Raises StoreError when the keys are those of
    another database: half of this one could never be read again.
    """
    plain = configuration.model_dump_json().encode()
    number = origin = 1
    for before, _, _, configured, _ in database.execute(_NEWEST).fetchall():
        number = before + 1
        origin = configured if _is(database, configured, plain) else number
    if origin == number:
        sealed = database.sealer.seal(plain, context(origin))
        database.execute("INSERT INTO configurations VALUES (?, ?)", (origin, sealed))
    created = _insert(database, number, cause, (origin, default, files_read.isoformat()))
    return Generation(number, created, cause, origin, files_read, configuration)


def succeed(database: Database, cause: str, default: str | None = None) -> int:
    """Make the next generation with the present configuration, and return its number. It is not even read.

    ``default`` is the name whose certificates the default site serves from now on; None leaves it.
    To be called within a transaction, when there is a generation.
    """
    number, *rest = database.execute(
        "SELECT number + 1, configuration, coalesce(?, default_name), files_read"
        " FROM generations ORDER BY number DESC LIMIT 1",
        (default,),
    ).fetchone()
    _insert(database, number, cause, rest)
    return int(number)


def _insert(database: Database, number: int, cause: str, rest: Sequence[object]) -> datetime:
    created = datetime.now(UTC)
    row = (number, created.isoformat(), cause, *rest)
    database.execute("INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?)", row)
    database.execute("DELETE FROM generations WHERE number <= ?", (number - KEPT,))
    database.execute(f"DELETE FROM configurations WHERE configuration < ({_OLDEST_ORIGIN})")  # noqa: S608 - a constant
    return created


def _is(database: Database, origin: int, plain: bytes) -> bool:
    try:
        return _content(database, origin) == plain
    except DamagedError as error:
        if not database.replaceable(error):
            raise
        return False


def _content(database: Database, origin: int) -> bytes:
    row = database.execute("SELECT content FROM configurations WHERE configuration = ?", (origin,)).fetchone()
    try:
        return database.sealer.unseal(row and row[0], context(origin))
    except DamagedError as error:
        raise type(error)(f"the stored configuration of generation {origin} cannot be read: {error}") from error


def context(origin: int) -> bytes:
    """What a sealed configuration is bound to."""
    return b"generation %d" % origin
