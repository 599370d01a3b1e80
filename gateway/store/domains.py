"""Changes of one name's certificate at runtime. Each costs the same with ten names as with 100,000.

The pair that a change replaces stays beside it, so that a rollback can bring it back, and another rollback the
later one. Where the configuration's own certificate was replaced, a rollback goes back to that: nothing is put
any more, and what was put is kept as the previous pair.

All functions are to be called within a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.certs.choice import Validity
from gateway.certs.dates import check_dates
from gateway.errors import CertificateError, ConflictError, NotFoundError
from gateway.store import generations, materials, sites
from gateway.tls.names import candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.certs.pem import CertificatePair
    from gateway.store.database import Database

_SET = """INSERT INTO domains (name, key_type, material, previous, generation) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (name, key_type) DO UPDATE
    SET material = excluded.material, previous = excluded.previous, generation = excluded.generation"""


@dataclass(frozen=True, slots=True)
class Swap:
    """What a change did to a name: the fingerprints of the pair before, and of what serves in its place.

    ``changed`` are the names whose certificates changed: this one and, where it is the same, the default site.
    It is empty, and ``generation`` the present one, when the pair was served already.
    """

    old: str | None
    new: str | None
    generation: int
    changed: frozenset[str]


def put(database: Database, name: str, pair: CertificatePair, number: int | None = None) -> Swap:
    """Serve ``name`` with ``pair``; a pair of another key type that was put before stays beside it.

    ``number`` is a generation that was made for a `put` in the same transaction: this one then belongs to it.
    """
    before = sites.served(database, name)
    material = materials.keep(database, pair)
    row = database.execute(
        "SELECT material, previous FROM domains WHERE name = ? AND key_type = ?", (name, pair.key_type)
    ).fetchone()
    current, previous = row or (None, None)
    if material == current:
        return Swap(pair.fingerprint, pair.fingerprint, _present(database), frozenset())
    retired, loose = sites.retire_self_signed(database)
    if number is None:
        # The first certificate that there is also answers those who ask for no name, or for one that nobody serves.
        default = None if sites.served(database, generations.default_name(database)) else name
        number = generations.succeed(database, f"swap of {name}", default)
    database.execute(_SET, (name, pair.key_type, material, current, number))
    materials.sweep(database, [previous, *loose])
    changed = _changed(database, name) | retired
    return Swap(_same_kind(before, pair.key_type), pair.fingerprint, number, changed)


def roll_back(database: Database, name: str, *, force: bool = False) -> Swap:
    """Undo the last change of ``name``. Raises NotFoundError and ConflictError when there is none to undo.

    Unless it is forced, raises CertificateError when the name would be left with nothing that is valid now.
    """
    before = sites.served(database, name)
    row = database.execute(
        "SELECT key_type, material, previous FROM domains WHERE name = ? ORDER BY generation DESC LIMIT 1", (name,)
    ).fetchone()
    if row is None:
        if before:
            raise ConflictError(f"{name} has the certificate of the configuration, and none was put before it")
        raise NotFoundError(f"there is no certificate for {name}; the list of domains has the names that have one")
    key_type, current, previous = row
    number = generations.succeed(database, f"rollback of {name}")
    database.execute(_SET, (name, key_type, previous, current, number))
    after = sites.served(database, name)
    if not after:
        raise ConflictError(f"{name} had no certificate before this one; to stop serving it, delete it")
    now = datetime.now(UTC)
    if not force and not any(Validity.of(one.leaf).holds(now.timestamp()) for one in after):
        (reason, *_) = (problem.message for one in after for problem in check_dates([one.leaf], now))
        raise CertificateError(f"going back would not do: {reason}; put a valid one, or force it")
    return Swap(_same_kind(before, key_type), _in_its_place(after, key_type), number, _changed(database, name))


def remove(database: Database, name: str) -> Swap:
    """Forget everything that was put for ``name``, and what could be rolled back to."""
    before = sites.served(database, name)
    rows = database.execute("SELECT material, previous FROM domains WHERE name = ?", (name,)).fetchall()
    if not rows:
        if before:
            raise ConflictError(f"the certificate of {name} comes from the configuration ({before[0].source})")
        raise NotFoundError(f"there is no certificate for {name}; the list of domains has the names that have one")
    number = generations.succeed(database, f"removal of {name}")
    database.execute("DELETE FROM domains WHERE name = ?", (name,))
    materials.sweep(database, {material for row in rows for material in row})
    key_type = before[0].key_type if before else ""
    after = sites.served(database, name)
    return Swap(_same_kind(before, key_type), _in_its_place(after, key_type), number, _changed(database, name))


def _same_kind(served: Sequence[sites.Served], key_type: str) -> str | None:
    return next((entry.fingerprint for entry in served if entry.key_type == key_type), None)


def _in_its_place(served: Sequence[sites.Served], key_type: str) -> str | None:
    return _same_kind(served, key_type) or (served[0].fingerprint if served else None)


def _changed(database: Database, name: str) -> frozenset[str]:
    return frozenset({name, ""} if name in candidates(generations.default_name(database)) else {name})


def _present(database: Database) -> int:
    (number,) = database.execute("SELECT max(number) FROM generations").fetchone()
    return int(number)
