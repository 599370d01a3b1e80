"""Chains with their sealed keys: each is kept once, as long as something refers to it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.certs import loading
from gateway.certs.choice import Validity
from gateway.certs.pem import CertificatePair
from gateway.errors import CertificateError, DamagedError
from gateway.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

    from gateway.store.database import Database

# Each look-up has an index: what is removed costs the same however much there is.
_REMOVE = """DELETE FROM materials WHERE material = :material
    AND NOT EXISTS (SELECT 1 FROM names WHERE material = :material)
    AND NOT EXISTS (SELECT 1 FROM domains WHERE material = :material)
    AND NOT EXISTS (SELECT 1 FROM domains WHERE previous = :material)
    AND NOT EXISTS (SELECT 1 FROM certificates WHERE material = :material)
    AND NOT EXISTS (SELECT 1 FROM readings WHERE material = :material)"""

_CURE = "put it again, or start the gateway again, which reads the files"


class Kept(NamedTuple):
    """A pair that is in the database already: its row, and the kind of its key."""

    material: int
    key_type: str


def keep(database: Database, pair: CertificatePair) -> int:
    """Return the row that holds ``pair``; a new pair is written, and a damaged one mended. Call it in a transaction."""
    digest = hashlib.sha256(b"".join(part.public_bytes(Encoding.DER) for part in pair.chain)).hexdigest()
    known = database.execute("SELECT material, chain, key FROM materials WHERE digest = ?", (digest,)).fetchone()
    if known and _is_sound(database, digest, pair, *known[1:]):
        return int(known[0])
    sealed = database.sealer.seal(pair.key_pem, context(digest))
    if known:
        mended = (pair.fingerprint, pair.chain_pem, sealed, *map(int, Validity.of(pair.leaf)), known[0])
        database.execute(
            "UPDATE materials SET fingerprint = ?, chain = ?, key = ?, begins = ?, expires = ? WHERE material = ?",
            mended,
        )
        return int(known[0])
    cursor = database.execute(
        "INSERT INTO materials (digest, fingerprint, chain, key, begins, expires) VALUES (?, ?, ?, ?, ?, ?)",
        (digest, pair.fingerprint, pair.chain_pem, sealed, *map(int, Validity.of(pair.leaf))),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def restore(database: Database, digest: str, chain: bytes, sealed: bytes) -> CertificatePair:
    """Return the pair of a row. Raises CertificateError when it is damaged, or its key was sealed by others."""
    try:
        return CertificatePair.restore(chain, database.sealer.unseal(sealed, context(digest)))
    except (DamagedError, CertificateError, TypeError, IndexError) as error:
        raise CertificateError(f"a stored certificate (digest {digest}) cannot be read: {error}; {_CURE}") from error


def _is_sound(database: Database, digest: str, pair: CertificatePair, chain: bytes, sealed: bytes) -> bool:
    try:
        database.sealer.unseal(sealed, context(digest))
    except DamagedError as error:
        if not database.replaceable(error):
            raise
        return False
    return chain == pair.chain_pem


def pair(database: Database, material: int) -> CertificatePair:
    """Return the pair of a row that is there."""
    row = database.execute("SELECT digest, chain, key FROM materials WHERE material = ?", (material,)).fetchone()
    return restore(database, *row)


def chain(database: Database, material: int) -> tuple[x509.Certificate, ...]:
    """Return the chain of a row that is there; its key stays sealed."""
    (pem,) = database.execute("SELECT chain FROM materials WHERE material = ?", (material,)).fetchone()
    return loading.certificates(pem)


def validity(database: Database, material: int) -> Validity:
    """Return from when to when the leaf of a row that is there is valid."""
    if database.version <= schema.BEFORE_RANKS:
        return Validity.of(chain(database, material)[0])
    row = database.execute("SELECT begins, expires FROM materials WHERE material = ?", (material,)).fetchone()
    if not all(isinstance(moment, int) for moment in row):
        return Validity.of(chain(database, material)[0])
    return Validity(*row)


def sweep(database: Database, materials: Iterable[int | None]) -> None:
    """Remove those of ``materials`` that nothing refers to any more. To be called within a transaction."""
    for material in materials:
        if material is not None:
            database.execute(_REMOVE, {"material": material})


def context(digest: str) -> bytes:
    """What the sealed key of a chain is bound to."""
    return b"key " + digest.encode()
