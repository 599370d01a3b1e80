"""The ends of the certificates in the node's database, found by date, and what was told about them already.

A pair counts as long as something serves or keeps it: what only a rollback would bring back has been replaced.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from gateway.certs import describe, loading
from gateway.errors import CertificateError
from gateway.store.database import DatabaseUser
from gateway.store.sites import CONTROL_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptography import x509

SERVER, STORE = "server", "store"
"""The roles of what is here: served by name, or kept in Tyk's certificate store for whatever names it."""

_NAMES = 3
_UNDATED = 1000
_NEVER = 1 << 62

_USED = """(EXISTS (SELECT 1 FROM names WHERE names.material = materials.material)
    OR EXISTS (SELECT 1 FROM domains WHERE domains.material = materials.material)
    OR EXISTS (SELECT 1 FROM certificates WHERE certificates.material = materials.material))"""
_UNTOLD = """NOT EXISTS (SELECT 1 FROM expiry_told WHERE certificate = {fingerprint}
    AND expired = (expires <= :now))"""
# Both go along an index by date: what has long to live is not looked at.
_PAIRS = "SELECT material, fingerprint, chain, expires FROM materials WHERE expires < :before AND {more} LIMIT :limit"
_OTHERS = """SELECT id, der FROM certificates WHERE expires < :before AND {more} LIMIT :limit"""
_SERVED_NAMES = """SELECT name FROM domains WHERE material = :material UNION
    SELECT name FROM names WHERE material = :material AND name != '' ORDER BY name LIMIT :limit"""


@dataclass(frozen=True, slots=True)
class Ending:
    """A certificate with its end in sight. ``places`` are where it is used: names, an id, keys of the configuration."""

    fingerprint: str
    name: str
    expires: datetime
    role: str
    places: tuple[str, ...]
    api_id: str = ""

    @classmethod
    def of(cls, leaf: x509.Certificate, role: str, places: tuple[str, ...], api_id: str = "") -> Self:
        """Describe a certificate."""
        name = describe.common_name(leaf) or next(iter(describe.names(leaf)), "")
        return cls(describe.fingerprint(leaf), name, leaf.not_valid_after_utc, role, places, api_id)


class ExpiryStore(DatabaseUser):
    """Every method raises StoreError."""

    def ending(self, before: datetime, limit: int) -> Sequence[Ending]:
        """Return at most ``limit`` certificates that end before then, the first to end first."""
        with self._database.reading():
            return self._find(before, before, limit, "1", "1")

    def untold(self, before: datetime, now: datetime, limit: int) -> Sequence[Ending]:
        """Return those of `ending` of which nobody has been told lately that they end, or that they are over."""
        pairs, others = (_UNTOLD.format(fingerprint=one) for one in ("fingerprint", "substr(id, -64)"))
        with self._database.reading():
            return self._find(before, now, limit, pairs, others)

    def told(self, endings: Iterable[Ending], now: datetime) -> None:
        """Remember that somebody was told."""
        rows = [(one.fingerprint, one.expires <= now, int(now.timestamp())) for one in endings]
        with self._database.writing():
            self._database.connection.executemany(
                "REPLACE INTO expiry_told (certificate, expired, time) VALUES (?, ?, ?)", rows
            )

    def was_told(self, ending: Ending, now: datetime) -> bool:
        """Whether somebody has been told of one that is not in the database itself."""
        row = (ending.fingerprint, ending.expires <= now)
        with self._database.reading():
            found = self._database.execute("SELECT 1 FROM expiry_told WHERE certificate = ? AND expired = ?", row)
            return found.fetchone() is not None

    def prepare(self, told_before: datetime) -> None:
        """Forget what was told before then, and see when those certificates end of which that is not known yet."""
        database = self._database
        with database.writing():
            database.execute("DELETE FROM expiry_told WHERE time <= ?", (int(told_before.timestamp()),))
            rows = database.execute(
                "SELECT entry, der FROM certificates WHERE kind = 'certificate' AND expires IS NULL LIMIT ?",
                (_UNDATED,),
            ).fetchall()
            for entry, der in rows:
                try:
                    end = int(loading.certificate(der).not_valid_after_utc.timestamp())
                except (
                    CertificateError,
                    AttributeError,
                    TypeError,
                ):  # damaged, or kept by a version that looked less closely
                    end = _NEVER
                database.execute("UPDATE certificates SET expires = ? WHERE entry = ?", (end, entry))

    def _find(self, before: datetime, now: datetime, limit: int, pairs: str, others: str) -> list[Ending]:
        database = self._database
        asked = {"before": int(before.timestamp()), "now": int(now.timestamp()), "limit": limit}
        found: dict[str, Ending] = {}
        query = _PAIRS.format(more=f"{_USED} AND {pairs} ORDER BY expires")
        for material, fingerprint, chain, _ in database.execute(query, asked).fetchall():
            with suppress(CertificateError, AttributeError, TypeError):  # a damaged row
                if fingerprint not in found:
                    found[fingerprint] = self._pair(material, loading.certificate(chain))
        for certificate_id, der in database.execute(_OTHERS.format(more=f"{others} ORDER BY expires"), asked):
            with suppress(CertificateError, AttributeError, TypeError):
                one = Ending.of(loading.certificate(der), STORE, (certificate_id,))
                found.setdefault(one.fingerprint, one)
        return sorted(found.values(), key=lambda one: one.expires)[:limit]

    def _pair(self, material: int, leaf: x509.Certificate) -> Ending:
        asked = {"material": material, "limit": _NAMES}
        names = tuple(name for (name,) in self._database.execute(_SERVED_NAMES, asked))
        if names:
            return Ending.of(leaf, SERVER, tuple("the control port" if one == CONTROL_PORT else one for one in names))
        ids = self._database.execute("SELECT id FROM certificates WHERE material = :material LIMIT :limit", asked)
        return Ending.of(leaf, STORE, tuple(one for (one,) in ids))
