"""Tyk's certificate store: pairs, certificates without a key and bare public keys, each under its id.

The id is the organisation followed by the SHA-256 of the leaf in DER, or of the public key (tyk.md: certs.Add).
All functions that change something are to be called within a transaction.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import ConflictError
from gateway.store import materials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.certs.pem import CertificatePair
    from gateway.store.database import Database

KINDS = ("pair", "certificate", "public_key")


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry without its key. ``kind`` is pair, certificate or public_key; ``der`` is the leaf's or the key's.

    ``pem`` is everything that is not secret.
    """

    org_id: str
    kind: str
    der: bytes
    pem: bytes

    @property
    def id(self) -> str:
        """What it is called everywhere."""
        return self.org_id + hashlib.sha256(self.der).hexdigest()


def add(database: Database, stored: Stored, pair: CertificatePair | None) -> None:
    """Keep an entry, with its ``pair`` if it is one. Raises ConflictError when it is there already."""
    if database.execute("SELECT 1 FROM certificates WHERE id = ?", (stored.id,)).fetchone():
        raise ConflictError(f"Certificate with {stored.id} id already exists")
    material = materials.keep(database, pair) if pair else None
    database.execute(
        "INSERT INTO certificates (id, org_id, kind, der, pem, material) VALUES (?, ?, ?, ?, ?, ?)",
        (stored.id, stored.org_id, stored.kind, stored.der, stored.pem, material),
    )


def remove(database: Database, certificate_id: str) -> bool:
    """Remove an entry; return whether there was one."""
    rows = database.execute("SELECT material FROM certificates WHERE id = ?", (certificate_id,)).fetchall()
    database.execute("DELETE FROM certificates WHERE id = ?", (certificate_id,))
    materials.sweep(database, [material for (material,) in rows])
    return bool(rows)


def listed(database: Database, org_id: str | None) -> Sequence[Stored]:
    """Return the entries of an organisation, or all, in the order in which they came."""
    condition = "" if org_id is None else "WHERE org_id = :org_id"
    rows = database.execute(
        f"SELECT org_id, kind, der, pem FROM certificates {condition} ORDER BY entry",  # noqa: S608 - constants
        {"org_id": org_id},
    )
    return [found for row in rows if (found := _stored(row))]


def get(database: Database, certificate_id: str) -> Stored | None:
    """Return an entry."""
    row = database.execute("SELECT org_id, kind, der, pem FROM certificates WHERE id = ?", (certificate_id,)).fetchone()
    return _stored(row) if row else None


def _stored(row: tuple[object, ...]) -> Stored | None:
    """Return an entry; None for a damaged row, which counts as one that is not there."""
    org_id, kind, der, pem = row
    if not (isinstance(org_id, str) and isinstance(kind, str) and isinstance(der, bytes) and isinstance(pem, bytes)):
        return None
    return Stored(org_id, kind, der, pem) if kind in KINDS else None


def pair(database: Database, certificate_id: str) -> CertificatePair | None:
    """Return the pair of that id; None when there is none with a key."""
    row = database.execute(
        "SELECT digest, chain, key FROM certificates JOIN materials USING (material) WHERE id = ?", (certificate_id,)
    ).fetchone()
    return materials.restore(database, *row) if row else None
