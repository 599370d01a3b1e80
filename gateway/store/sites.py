"""Which certificates serve which name: what was put for it at runtime, else what the configuration says.

A name has at most one pair of each key type, all of one origin: a pair that was put hides every one that the
configuration has for that name. The name "" is the default site, which shares another name's certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from gateway.certs import describe, loading
from gateway.store import generations, materials
from gateway.store.materials import Kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from gateway.certs.pem import CertificatePair
    from gateway.store.database import Database

ADMIN = "admin"
"""The source of what was put at runtime."""
SELF_SIGNED = "self-signed"
"""The source of the certificate that the gateway made for itself; it goes when there is any other."""
CONTROL_PORT = "(control port)"
"""The name of the control port's own certificates: none that a client could ask for."""

_PUT = "FROM domains JOIN materials USING (material) WHERE name = ? ORDER BY key_type"
_CONFIGURED = "FROM names JOIN materials USING (material) WHERE name = ? ORDER BY key_type"
_PREVIOUS = "(SELECT fingerprint FROM materials WHERE materials.material = domains.previous)"
_NAMES_BEHIND = """
    SELECT * FROM (SELECT DISTINCT name FROM domains WHERE name > :after AND material IS NOT NULL
        ORDER BY name LIMIT :limit)
    UNION SELECT * FROM (SELECT DISTINCT name FROM names WHERE name > :after AND name != :control
        ORDER BY name LIMIT :limit)
    ORDER BY name LIMIT :limit"""
# CROSS JOIN has SQLite begin with the expired materials, of which there are few.
_EXPIRED = """
    SELECT name FROM materials CROSS JOIN domains USING (material) WHERE expires < :now
    UNION SELECT name FROM materials CROSS JOIN names USING (material) WHERE expires < :now AND name != ''
        AND NOT EXISTS (SELECT 1 FROM domains WHERE domains.name = names.name AND domains.material IS NOT NULL)
    ORDER BY name"""


class SiteEntry(NamedTuple):  # of which 100,000 are made at each reload, in a third of a dataclass's time
    """``name`` (canonical, ``*.`` and a name, or "" for the default site) is served with ``pair``.

    ``source`` says where the certificate comes from: a file, a store id, or a place in the configuration.
    """

    name: str
    pair: CertificatePair | Kept
    source: str


class KeptEntry(NamedTuple):
    """A `SiteEntry` that is in the database."""

    name: str
    pair: Kept
    source: str


@dataclass(frozen=True, slots=True)
class Served:
    """What is known of a pair that serves a name, without its key. ``previous`` is a fingerprint to go back to."""

    leaf: x509.Certificate
    key_type: str
    source: str
    previous: str | None

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the leaf."""
        return describe.fingerprint(self.leaf)


def find(database: Database, name: str) -> tuple[CertificatePair, ...]:
    """Return the pairs for exactly ``name``, one per key type, or ()."""
    name = name or generations.default_name(database)
    for origin in (_PUT, _CONFIGURED):
        rows = database.execute(f"SELECT digest, chain, key {origin}", (name,)).fetchall()
        if rows:
            return tuple(materials.restore(database, *row) for row in rows)
    return ()


def served(database: Database, name: str) -> tuple[Served, ...]:
    """Return what `find` finds, without keys."""
    for columns in (f"chain, key_type, '{ADMIN}', {_PREVIOUS} {_PUT}", f"chain, key_type, source, NULL {_CONFIGURED}"):
        rows = database.execute(f"SELECT {columns}", (name,)).fetchall()
        if rows:
            return tuple(Served(loading.certificate(chain), *rest) for chain, *rest in rows)
    return ()


def names(database: Database, after: str, limit: int) -> Sequence[str]:
    """Return at most ``limit`` names that are served, in order, beginning behind ``after``."""
    asked = {"after": after, "limit": limit, "control": CONTROL_PORT}
    return [name for (name,) in database.execute(_NAMES_BEHIND, asked)]


def expired(database: Database, now: datetime) -> tuple[str, ...]:
    """Return the names, in order, that are served with a certificate past its end."""
    return tuple(name for (name,) in database.execute(_EXPIRED, {"now": int(now.timestamp())}))


def configured_from(database: Database, source: str) -> tuple[KeptEntry, ...]:
    """Return what the configuration serves with certificates of that source; ``directory/`` is all files in it."""
    last = source + "\U0010ffff" if source.endswith("/") else source
    rows = database.execute(
        "SELECT name, source, material, key_type FROM names WHERE source BETWEEN ? AND ?", (source, last)
    ).fetchall()
    return tuple(KeptEntry(name, Kept(material, key_type), source) for name, source, material, key_type in rows)


def has_put(database: Database, name: str | None) -> bool:
    """Whether something was put for ``name``, or with None for any name, that serves."""
    condition = "" if name is None else "AND name = :name"
    query = f"SELECT 1 FROM domains WHERE material IS NOT NULL {condition} LIMIT 1"  # noqa: S608 - constants
    return database.execute(query, {"name": name}).fetchone() is not None


def retire_self_signed(database: Database) -> tuple[frozenset[str], set[int]]:
    """Have the configuration's place empty of the self-signed certificate; return its names and its material.

    To be called within a transaction.
    """
    rows = database.execute("SELECT name, material FROM names WHERE source = ?", (SELF_SIGNED,)).fetchall()
    database.execute("DELETE FROM names WHERE source = ?", (SELF_SIGNED,))
    return frozenset(name for name, _ in rows), {material for _, material in rows}


def end_of_self_signed(database: Database) -> datetime | None:
    """The last moment of the self-signed certificate; None when it does not serve."""
    row = database.execute(
        "SELECT expires FROM names JOIN materials USING (material) WHERE source = ? LIMIT 1", (SELF_SIGNED,)
    ).fetchone()
    return datetime.fromtimestamp(row[0], UTC) if row else None


def configure(database: Database, entries: Sequence[SiteEntry]) -> tuple[frozenset[str], set[int], bool]:
    """Have exactly ``entries`` for what the configuration serves; of two with the same key the last counts.

    Return the names that are served with something else now, the materials that may be nobody's any more (for
    `materials.sweep`), and whether anything is not as it was. To be called within a transaction.
    """
    old = {
        (name, key_type): (material, source)
        for name, key_type, material, source in database.execute("SELECT name, key_type, material, source FROM names")
    }
    kept: dict[int, int] = {}  # one pair may serve a thousand names
    new: dict[tuple[str, str], tuple[int, str]] = {}
    for entry in entries:
        pair = entry.pair
        if isinstance(pair, Kept):
            material = pair.material
        elif (known := kept.get(id(pair))) is not None:
            material = known
        else:
            material = kept[id(pair)] = materials.keep(database, pair)
        new[entry.name, pair.key_type] = (material, entry.source)
    gone = old.keys() - new.keys()
    fresh = [key + row for key, row in new.items() if old.get(key) != row]
    database.connection.executemany("DELETE FROM names WHERE name = ? AND key_type = ?", gone)
    database.connection.executemany("REPLACE INTO names (name, key_type, material, source) VALUES (?, ?, ?, ?)", fresh)
    changed = {name for name, _ in gone} | {
        name for name, key_type, material, _ in fresh if old.get((name, key_type), (0, ""))[0] != material
    }
    loose = {material for material, _ in old.values()} - {material for material, _ in new.values()}
    return frozenset(changed) - _hidden(database), loose, bool(gone or fresh)


def _hidden(database: Database) -> frozenset[str]:
    """The names that what was put serves, whatever the configuration says."""
    return frozenset(name for (name,) in database.execute("SELECT name FROM domains WHERE material IS NOT NULL"))
