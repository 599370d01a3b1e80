"""The node's database: generations of the configuration, the certificate of every name, Tyk's store, the audit log.

One process writes (the supervisor before it forks, control after that), any number read; in WAL mode neither
waits for the other. A change is one transaction with ``synchronous=FULL``: when its method has returned, a
power cut loses nothing, and whenever a process is killed, the database holds the old state or the new one.

Each method here is one transaction; what happens in it stands in a module for each subject.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.config.client_trust import with_crls
from gateway.errors import DamagedError, NotFoundError, StoreError
from gateway.store import (
    audit,
    certificates,
    default_certificate,
    domains,
    generations,
    materials,
    readings,
    resealing,
    schema,
    sites,
)
from gateway.store.audit import Deed
from gateway.store.database import Database, DatabaseUser
from gateway.store.generations import Generation
from gateway.store.readings import FilesRead
from gateway.store.sites import SiteEntry
from gateway.tls.names import candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cryptography import x509

    from gateway.certs.choice import Choice, Validity
    from gateway.certs.pem import CertificatePair
    from gateway.config.load import Configuration
    from gateway.store.certificates import Stored
    from gateway.store.domains import Swap
    from gateway.store.readings import Remembered

__all__ = ["Generation", "SiteEntry", "Store"]


class Store(DatabaseUser):
    """Every method raises StoreError when the database cannot be read or written, and then nothing has changed."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._remembers = database.version > schema.BEFORE_READINGS

    def derived_key(self, purpose: bytes) -> bytes:
        """Return a key that belongs to this data directory and to ``purpose``; see `Sealer.derived_key`."""
        return self._database.sealer.derived_key(purpose)

    def sealed_rows(self) -> int:
        """Count what is sealed."""
        with self._database.reading():
            return resealing.total(self._database)

    def reseal(self, place: resealing.Place, most: int) -> resealing.Step:
        """Seal what an older master key sealed with the one that seals now: at most so many rows behind ``place``."""
        with self._database.writing():
            return resealing.step(self._database, place, most)

    def regenerated(self, now: datetime, deed: Deed) -> tuple[int, frozenset[str]]:
        """Make a generation of the new keys, with a new certificate where the gateway made the one that serves.

        Return it, and the names that are served with something else.
        """
        database = self._database
        with database.writing():
            changed = default_certificate.renew(database, now)
            number = generations.succeed(database, f"{deed.action} by {deed.who}")
            audit.append(database, deed, generation=number)
        return number, changed

    def current(self, known: Generation | None = None) -> Generation | None:
        """Return the newest generation, or None before the first.

        ``known`` is one that the caller has: where it is of the same configuration, that is not read again.
        """
        with self._database.reading():
            return generations.newest(self._database, known)

    def last_good(self) -> Configuration | None:
        """Return the configuration that is served; None where there is none, or none that can be read."""
        try:
            generation = self.current()
        except DamagedError:
            return None
        return generation.configuration if generation else None

    def lost_configuration(self) -> str:
        """Say what is wrong with the configuration that is served; "" where it can be read."""
        with self._database.reading():
            return generations.damage(self._database)

    def is_empty(self) -> bool:
        """Whether there was no generation yet."""
        with self._database.reading():
            return self._database.execute("SELECT 1 FROM generations LIMIT 1").fetchone() is None

    def newest(self, known: Generation | None = None) -> Generation:
        """Return the newest generation. Raises StoreError, also when there is none."""
        generation = self.current(known)
        if generation is None:
            raise StoreError(f"{self._database.path} holds no generation; the gateway writes the first when it starts")
        return generation

    def find(self, name: str) -> tuple[CertificatePair, ...]:
        """Return the pairs that serve exactly ``name`` now, one per key type, or (). "" is the default site."""
        return self.choose(name).chosen

    def choose(self, name: str, now: float | None = None) -> Choice[CertificatePair]:
        """Return what `find` finds at a moment (seconds since 1970; None: now), and until when it is that."""
        with self._database.reading():
            return sites.find(self._database, name, now)

    def served(self, name: str) -> tuple[sites.Served, ...]:
        """Return what `find` finds, without keys."""
        with self._database.reading():
            return sites.served(self._database, name)

    def names(self, after: str, limit: int, match: str = "*") -> Sequence[str]:
        """Return at most ``limit`` names that are served, in order, beginning behind ``after``; see `sites.names`."""
        with self._database.reading():
            return sites.names(self._database, after, limit, match)

    def expired(self, now: datetime) -> tuple[str, ...]:
        """Return the names, in order, that are served with a certificate past its end."""
        with self._database.reading():
            return sites.expired(self._database, now)

    def end_of_self_signed(self) -> datetime | None:
        """Return the last moment of the self-signed certificate; None when it does not serve."""
        with self._database.reading():
            return sites.end_of_self_signed(self._database)

    def validity(self, material: int) -> Validity:
        """Return from when to when a `Kept` is valid."""
        with self._database.reading():
            return materials.validity(self._database, material)

    def hidden(self) -> frozenset[str]:
        """Return the names for which a certificate was put that is valid now: it hides the configuration's."""
        with self._database.reading():
            return sites.hidden(self._database)

    def has_put(self, name: str | None = None) -> bool:
        """Whether what was put serves ``name``, or with None any name."""
        with self._database.reading():
            return sites.has_put(self._database, name)

    def configured_from(self, source: str) -> Sequence[sites.KeptEntry]:
        """Return what the configuration serves with certificates of that source; ``directory/`` is all files in it."""
        with self._database.reading():
            return sites.configured_from(self._database, source)

    def pair(self, material: int) -> CertificatePair:
        """Return the pair of a `Kept`."""
        with self._database.reading():
            return materials.pair(self._database, material)

    def chain(self, material: int) -> tuple[x509.Certificate, ...]:
        """Return the chain of a `Kept`."""
        with self._database.reading():
            return materials.chain(self._database, material)

    def default_name(self) -> str:
        """Return the name whose certificates the default site serves; "" when it is nobody else's."""
        with self._database.reading():
            return generations.default_name(self._database)

    def readings(self, first: str, last: str) -> dict[str, Remembered]:
        """Return what the files from ``first`` to ``last`` held, by source. An older database knows nothing of it."""
        with self._database.reading():
            return readings.between(self._database, first, last) if self._remembers else {}

    def publish(
        self,
        configuration: Configuration,
        entries: Sequence[SiteEntry],
        default: str | None,
        cause: str,
        *,
        files: FilesRead | None = None,
        deed: Deed | None = None,
    ) -> tuple[Generation, frozenset[str]]:
        """Make a configuration and exactly these entries the next generation.

        ``default`` is the name whose certificates the default site serves too; None leaves it to one that was put.
        Of entries for one name those count that `certs.choice` chooses at each moment. Returns the generation and the
        names whose certificates are not what they were. Where ``files`` were read for it and nothing differs, that is
        the present generation.
        """
        database = self._database
        deed = deed or Deed("gateway", "", cause, "")
        found = files or FilesRead(datetime.now(UTC))
        with database.writing():
            loose = readings.replace(database, found.readings) if found.readings else set()
            before = generations.default_name(database)
            if default is None:
                default = before if sites.has_put(database, before) else ""
            changed, replaced, differs = sites.configure(database, entries)
            materials.sweep(database, loose | replaced)
            same = files and not differs and found.unresolved == self._unresolved()
            if same and (generation := generations.unchanged(database, configuration, default, found.at)):
                audit.append(database, deed, result=audit.NOTHING)
                return generation, frozenset()
            generation = generations.append(database, configuration, default, cause, found.at)
            if default != before or not changed.isdisjoint(candidates(default)):
                changed |= {""}
            database.execute("DELETE FROM unresolved")
            for problem in found.unresolved:
                database.execute("INSERT INTO unresolved VALUES (?)", (problem,))
            audit.append(database, deed, generation=generation.number)
        return generation, changed

    def unresolved(self) -> tuple[str, ...]:
        """Return what the last `publish` could not read."""
        with self._database.reading():
            return self._unresolved()

    def _unresolved(self) -> tuple[str, ...]:
        return tuple(problem for (problem,) in self._database.execute("SELECT problem FROM unresolved"))

    def put(self, name: str, pair: CertificatePair, check: Callable[[Collection[str]], None], deed: Deed) -> Swap:
        """Serve ``name`` with ``pair`` from now on; what it replaces is kept for `roll_back`.

        ``check`` is given the fingerprints that are served for the name, and raises to prevent the change.
        """
        return self._swap(lambda: domains.put(self._database, name, pair), name, check, deed)

    def put_all(
        self,
        pairs: Sequence[tuple[str, CertificatePair]],
        deeds: Sequence[Deed],
        refusals: Sequence[tuple[Deed, str]],
    ) -> Sequence[Swap]:
        """`put` many, a deed for each, with one generation; ``refusals`` are written into the audit log with them."""
        database = self._database
        swaps, number = [], None
        with database.writing():
            for (name, pair), deed in zip(pairs, deeds, strict=True):
                swap = domains.put(database, name, pair, number)
                number = swap.generation if swap.changed else number
                audit.append(database, deed, old=swap.old, new=swap.new, generation=swap.generation)
                swaps.append(swap)
            for deed, reason in refusals:
                audit.append(database, deed, result=f"refused: {reason}")
        return swaps

    def roll_back(
        self, name: str, check: Callable[[Collection[str]], None], deed: Deed, *, force: bool = False
    ) -> Swap:
        """Undo the last change of ``name``.

        Raises NotFoundError, ConflictError, and what ``check`` raises; and CertificateError, unless it is forced, when
        nothing that is valid now would serve.
        """
        return self._swap(lambda: domains.roll_back(self._database, name, force=force), name, check, deed)

    def remove(self, name: str, check: Callable[[Collection[str]], None], deed: Deed) -> Swap:
        """Forget what was put for ``name``. Raises NotFoundError, ConflictError, and what ``check`` raises."""
        return self._swap(lambda: domains.remove(self._database, name), name, check, deed)

    def _swap(
        self, change: Callable[[], Swap], name: str, check: Callable[[Collection[str]], None], deed: Deed
    ) -> Swap:
        database = self._database
        with database.writing():
            check([served.fingerprint for served in sites.served(database, name)])
            swap = change()
            audit.append(database, deed, old=swap.old, new=swap.new, generation=swap.generation)
        return swap

    def add_certificate(self, stored: Stored, pair: CertificatePair | None, deed: Deed) -> None:
        """Keep an entry of Tyk's store, with its ``pair`` if it is one. Raises ConflictError when it is there."""
        database = self._database
        with database.writing():
            certificates.add(database, stored, pair)
            audit.append(database, deed, new=stored.id)

    def remove_certificate(self, certificate_id: str, deed: Deed) -> None:
        """Remove an entry of Tyk's store, if there is one."""
        database = self._database
        with database.writing():
            if certificates.remove(database, certificate_id):
                audit.append(database, deed, old=certificate_id)

    def certificates(self, org_id: str | None) -> Sequence[Stored]:
        """Return the entries of an organisation, or all, in the order in which they came."""
        with self._database.reading():
            return certificates.listed(self._database, org_id)

    def certificate(self, certificate_id: str) -> Stored | None:
        """Return an entry of Tyk's store."""
        with self._database.reading():
            return certificates.get(self._database, certificate_id)

    def stored_pair(self, certificate_id: str) -> CertificatePair | None:
        """Return the pair of that id in Tyk's store; None when there is none with a key."""
        with self._database.reading():
            return certificates.pair(self._database, certificate_id)

    def crls(self) -> dict[str, str]:
        """Return the revocation lists that were put, in PEM, by their names: also those that are damaged."""
        with self._database.reading():
            return self._crls()

    def _crls(self) -> dict[str, str]:
        rows = self._database.execute("SELECT CAST(name AS TEXT), CAST(crl AS TEXT) FROM crls ORDER BY name")
        return dict(rows.fetchall())

    def set_crl(self, name: str, pem: str | None, deed: Deed) -> Generation:
        """Put a revocation list, or remove one (None), and make the present configuration with it the next generation.

        Raises NotFoundError when there is none to remove.
        """
        database = self._database
        with database.writing():
            if pem is None:
                if not database.execute("DELETE FROM crls WHERE name = ?", (name,)).rowcount:
                    raise NotFoundError(f"there is no revocation list {name}")
            else:
                database.execute("INSERT OR REPLACE INTO crls VALUES (?, ?)", (name, pem))
            present = generations.newest(database, None)
            assert present is not None, "what is changed at runtime has been published"
            configuration = with_crls(present.configuration, self._crls())
            default = generations.default_name(database)
            cause = f"{deed.action} {name}"
            generation = generations.append(database, configuration, default, cause, present.files_read)
            audit.append(database, deed, generation=generation.number)
        return generation

    def note(self, deed: Deed, result: str) -> None:
        """Write into the audit log what became of a deed that changed nothing here."""
        with self._database.writing():
            audit.append(self._database, deed, result=result)

    def audit(self, limit: int) -> Sequence[audit.Entry]:
        """Return the last lines of the audit log, the newest first."""
        with self._database.reading():
            return audit.last(self._database, limit)
