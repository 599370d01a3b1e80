"""Which certificates serve which name: what was put for it at runtime, else what the configuration says.

A name has at most one pair of each key type, all of one origin: a pair that was put hides every one that the
configuration has for that name, as long as it is valid or none is (``certs.choice``). A pair that was put before its
time leaves the name to the one that it replaced until then. The name "" is the default site, which shares another
name's certificates.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from gateway.certs import describe, loading
from gateway.certs.choice import Choice, Contender, Validity, best, choose
from gateway.errors import CertificateError
from gateway.store import generations, materials, schema
from gateway.store.materials import Kept
from gateway.tls.names import candidates

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

_PUT_RANK, _REPLACED = 100, 101
_CANDIDATES = f"""
    SELECT key_type, {{rank}} AS rank, {{place}} AS place, source, digest, chain, key, NULL
        FROM names JOIN materials USING (material) WHERE name = :name
    UNION ALL SELECT key_type, {_REPLACED}, 0, '{ADMIN}', digest, chain, key, NULL
        FROM domains JOIN materials ON materials.material = domains.previous WHERE name = :name
    UNION ALL SELECT key_type, {_PUT_RANK}, 0, '{ADMIN}', digest, chain, key,
            (SELECT fingerprint FROM materials WHERE materials.material = domains.previous)
        FROM domains JOIN materials USING (material) WHERE name = :name
    ORDER BY rank, place"""  # noqa: S608 - constants
_NAMES_BEHIND = """
    SELECT * FROM (SELECT DISTINCT name FROM domains WHERE name > :after AND name >= :first AND name < :last
        AND name GLOB :match AND material IS NOT NULL ORDER BY name LIMIT :limit)
    UNION SELECT * FROM (SELECT DISTINCT name FROM names WHERE name > :after AND name >= :first AND name < :last
        AND name GLOB :match AND name != :control ORDER BY name LIMIT :limit)
    ORDER BY name LIMIT :limit"""
# CROSS JOIN has SQLite begin with the expired materials, of which there are few. Of those that are left it is looked
# up whether another one serves in their place, under the name itself or under its wildcard.
_EXPIRED = """
    SELECT name FROM (
        SELECT name FROM materials CROSS JOIN domains USING (material) WHERE expires <= :now
        UNION SELECT name FROM materials CROSS JOIN names USING (material) WHERE expires <= :now AND name != ''
    ) AS over WHERE NOT EXISTS (
        SELECT 1 FROM names AS other JOIN materials USING (material) WHERE expires > :now AND begins <= :now
            AND other.name IN (over.name, '*' || substr(over.name, instr(over.name, '.')))
    ) AND NOT EXISTS (
        SELECT 1 FROM domains AS other JOIN materials USING (material) WHERE expires > :now AND begins <= :now
            AND other.name IN (over.name, '*' || substr(over.name, instr(over.name, '.')))
    ) ORDER BY name"""
_HIDING = "SELECT name FROM domains JOIN materials USING (material) WHERE begins <= :now AND expires > :now"


class SiteEntry(NamedTuple):  # of which 100,000 are made at each reload, in a third of a dataclass's time
    """``name`` (canonical, ``*.`` and a name, or "" for the default site) is served with ``pair``.

    ``source`` says where the certificate comes from: a file, a store id, or a place in the configuration. Of several
    for one name the highest ``rank`` wins.
    """

    name: str
    pair: CertificatePair | Kept
    source: str
    rank: int = 0


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


def find(database: Database, name: str, now: float | None = None) -> Choice[CertificatePair]:
    """Return what serves exactly ``name`` at a moment (seconds since 1970; None: now). "" is the default site.

    A damaged row leaves its place to the others. Raises CertificateError when there is no other.
    """
    damaged: list[str] = []
    reason = CertificateError("")
    while True:
        choice, pairs = _choose(database, name, now, damaged), []
        if damaged and not choice.chosen:
            raise reason
        for row in choice.chosen:
            try:
                pairs.append(materials.restore(database, *row.sealed))
            except CertificateError as error:  # another may serve in its place
                damaged.append(row.digest)
                reason = error
        if len(pairs) == len(choice.chosen):
            return Choice(tuple(pairs), choice.current, choice.until)


def served(database: Database, name: str, now: float | None = None) -> tuple[Served, ...]:
    """Return the pairs that `find` finds, without keys."""
    return tuple(row.served for row in _choose(database, name, now).chosen)


class _Row(NamedTuple):
    """A candidate as it is in the database."""

    key_type: str
    rank: int
    place: int
    source: str
    digest: str
    chain: bytes
    key: bytes
    previous: str | None

    @property
    def sealed(self) -> tuple[str, bytes, bytes]:
        return self.digest, self.chain, self.key

    @property
    def served(self) -> Served:
        return Served(loading.certificate(self.chain), self.key_type, self.source, self.previous)


def _choose(database: Database, name: str, now: float | None, damaged: Sequence[str] = ()) -> Choice[_Row]:
    """Choose for a name; for the default site, for the name whose certificates it shares, or that one's wildcard."""
    moment = time.time() if now is None else now
    wanted = (name,) if name else candidates(generations.default_name(database))
    return best(choose(_contenders(database, one, moment, damaged), moment) for one in wanted)


def _contenders(database: Database, name: str, now: float, damaged: Sequence[str]) -> list[Contender[_Row]]:
    ranks = {"rank": "rank", "place": "place"} if database.version > schema.BEFORE_RANKS else {"rank": 0, "place": 0}
    rows = [_Row(*row) for row in database.execute(_CANDIDATES.format(**ranks), {"name": name})]
    found = []
    for row in rows:
        with suppress(CertificateError, TypeError, AttributeError):  # a damaged row
            if row.digest not in damaged:
                validity = Validity.of(loading.certificate(row.chain))
                found.append(Contender(row, row.key_type, row.rank, validity))
    # A replaced certificate competes with its successor until the successor's time comes, and never again.
    early = {one.key_type for one in found if one.rank == _PUT_RANK and now < one.validity.begins}
    return [
        one._replace(rank=min(one.rank, _PUT_RANK)) for one in found if one.rank != _REPLACED or one.key_type in early
    ]


def names(database: Database, after: str, limit: int, match: str = "*") -> Sequence[str]:
    """Return at most ``limit`` names that are served, in order, beginning behind ``after``.

    ``match`` is a name, in which ``*`` stands for any characters. Those names are looked at that begin with what
    stands before the ``*``; all of 100,000 take a tenth of a second.
    """
    first = match.partition("*")[0]
    asked = {
        "after": after,
        "limit": limit,
        "control": CONTROL_PORT,
        "first": first,
        "last": f"{first}\U0010ffff",
        "match": match,
    }
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
    return datetime.fromtimestamp(row[0], UTC) if row and isinstance(row[0], int) else None


def configure(database: Database, entries: Sequence[SiteEntry]) -> tuple[frozenset[str], set[int], bool]:
    """Have exactly ``entries`` for what the configuration serves; of equals the last counts.

    Return the names that are served with something else now (or may be, later), the materials that may be nobody's any
    more (for `materials.sweep`), and whether anything is not as it was. To be called within a transaction.
    """
    old = {
        (name, key_type, material): (source, rank, place)
        for name, key_type, material, source, rank, place in database.execute(
            "SELECT name, key_type, material, source, rank, place FROM names"
        )
    }
    new = _rows(database, entries)
    gone = old.keys() - new.keys()
    fresh = [key + row for key, row in new.items() if old.get(key) != row]
    database.connection.executemany("DELETE FROM names WHERE name = ? AND key_type = ? AND material = ?", gone)
    database.connection.executemany(
        "REPLACE INTO names (name, key_type, material, source, rank, place) VALUES (?, ?, ?, ?, ?, ?)", fresh
    )
    changed = {name for name, *_ in gone}
    changed.update(row[0] for row in fresh if old.get(row[:3], ("", None, None))[1:] != row[4:])
    loose = {material for _, _, material in old} - {material for _, _, material in new}
    return frozenset(changed) - hidden(database), loose, bool(gone or fresh)


def hidden(database: Database) -> frozenset[str]:
    """Return the names for which a certificate was put that is valid now: it hides the configuration's."""
    if database.version <= schema.BEFORE_RANKS:
        return frozenset()
    return frozenset(name for (name,) in database.execute(_HIDING, {"now": int(time.time())}))


def _rows(database: Database, entries: Sequence[SiteEntry]) -> dict[tuple[str, str, int], tuple[str, int, int]]:
    """Return the rows of ``names``: by name, key type and material the source, the rank and the place."""
    kept: dict[int, int] = {}  # one pair may serve a thousand names
    places: dict[tuple[str, str], int] = {}
    rows: dict[tuple[str, str, int], tuple[str, int, int]] = {}
    for entry in entries:
        pair = entry.pair
        if isinstance(pair, Kept):
            material = pair.material
        elif (known := kept.get(id(pair))) is not None:
            material = known
        else:
            material = kept[id(pair)] = materials.keep(database, pair)
        same = entry.name, pair.key_type
        place = places[same] = places.get(same, -1) + 1
        key = (*same, material)
        if key not in rows or rows[key][1] <= entry.rank:
            rows[key] = (entry.source, entry.rank, place)
    return rows
