"""The node's database: generations of the configuration, and the certificate of every name.

One process writes (the supervisor before it forks, control after that), any number read; in WAL mode neither
waits for the other. A change is one transaction with ``synchronous=FULL``: when ``publish`` has returned, a
power cut loses nothing, and whenever a process is killed, the database holds the old state or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from gateway.certs import describe
from gateway.certs.pem import CertificatePair
from gateway.certs.seal import Sealer
from gateway.config.load import Configuration
from gateway.errors import StoreError
from gateway.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.certs.pem import PrivateKey

DATABASE = "gateway.db"
GENERATIONS_KEPT = 100

_BUSY_SECONDS = 5.0
_FIND = "SELECT digest, chain, key FROM names JOIN materials USING (material) WHERE name = ? ORDER BY key_type"


@dataclass(frozen=True, slots=True)
class Generation:
    """A configuration that was accepted, with its place in the order of such."""

    number: int
    created: datetime
    cause: str
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """``name`` (canonical, ``*.`` and a name, or "" for the default site) is served with ``pair``."""

    name: str
    pair: CertificatePair
    source: str


class Store:
    """A connection to the database, for the thread that opened it; it must not cross a fork."""

    def __init__(self, path: Path, connection: sqlite3.Connection, sealer: Sealer) -> None:
        self._path = path
        self._connection = connection
        self._sealer = sealer

    @classmethod
    def open(cls, data_dir: Path, *, writable: bool) -> Self:
        """Open the database in ``data_dir``; a writer makes both when they are missing. Raises StoreError."""
        path = data_dir / DATABASE
        with _explained(path):
            if writable:
                data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                _make_private(path)
            # Readers open for writing too, and then promise not to: WAL needs its shared-memory file even to read.
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
            )
            try:
                if writable:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = FULL")
                    connection.execute("PRAGMA foreign_keys = ON")
                    schema.migrate(connection)
                else:
                    connection.execute("PRAGMA query_only = ON")
                return cls(path, connection, Sealer.open(data_dir))
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def current(self) -> Generation | None:
        """Return the newest generation, or None before the first. Raises StoreError."""
        row = self._newest_row()
        if row is None:
            return None
        number, created, cause, plain = row
        return Generation(number, datetime.fromisoformat(created), cause, Configuration.model_validate_json(plain))

    def newest(self) -> Generation:
        """Return the newest generation. Raises StoreError, also when there is none."""
        generation = self.current()
        if generation is None:
            raise StoreError(f"{self._path} holds no generation; the gateway writes the first one when it starts")
        return generation

    def find(self, name: str) -> tuple[CertificatePair, ...]:
        """Return the pairs for exactly ``name``, one per key type, or (). Raises StoreError."""
        with _explained(self._path):
            rows = self._connection.execute(_FIND, (name,)).fetchall()
        return tuple(self._pair(*row) for row in rows)

    def expired(self, now: datetime) -> tuple[str, ...]:
        """Return the names, in order, that are served with a certificate past its end. Raises StoreError."""
        with _explained(self._path):
            rows = self._connection.execute(
                "SELECT DISTINCT name FROM materials JOIN names USING (material)"
                " WHERE expires < ? AND name != '' ORDER BY name",
                (int(now.timestamp()),),
            ).fetchall()
        return tuple(name for (name,) in rows)

    def publish(
        self, configuration: Configuration, entries: Sequence[SiteEntry], default: str | None, cause: str
    ) -> tuple[Generation, frozenset[str]]:
        """Make a configuration and exactly these entries the next generation, durably and in one transaction.

        ``default`` is the name whose certificates the default site serves too. Of entries with the same name
        and key type the last one counts. Returns the generation and the names whose certificates are not what
        they were. Raises StoreError, and then nothing has changed.
        """
        wanted: dict[tuple[str, str], SiteEntry] = {(entry.name, entry.pair.key_type): entry for entry in entries}
        wanted |= {("", kind): entry for (name, kind), entry in wanted.items() if name == default}
        with _explained(self._path), self._transaction():
            self._newest_row()  # raises when other keys sealed it: half of this database could never be read again
            changed = self._replace_names(wanted)
            generation = self._append_generation(configuration, cause)
        return generation, changed

    def _replace_names(self, wanted: Mapping[tuple[str, str], SiteEntry]) -> frozenset[str]:
        """Have exactly ``wanted`` in the table. Return the names whose material is not what it was."""
        execute = self._connection.execute
        rows = execute("SELECT name, key_type, material, source FROM names").fetchall()
        old = {(name, kind): (material, source) for name, kind, material, source in rows}
        materials = dict(execute("SELECT digest, material FROM materials").fetchall())
        new = {key: (self._material(entry.pair, materials), entry.source) for key, entry in wanted.items()}
        for key in old.keys() - new.keys():
            execute("DELETE FROM names WHERE name = ? AND key_type = ?", key)
        for key, row in new.items():
            if old.get(key) != row:
                execute(
                    "REPLACE INTO names (name, key_type, material, source) VALUES (?, ?, ?, ?)",
                    key + row,
                )
        execute("DELETE FROM materials WHERE material NOT IN (SELECT material FROM names)")
        return frozenset(key[0] for key in old.keys() | new.keys() if old.get(key, (0,))[0] != new.get(key, (0,))[0])

    def _material(self, pair: CertificatePair, known: dict[str, int]) -> int:
        """Return the row of the pair; a new pair is written, and added to ``known`` by its digest."""
        digest = hashlib.sha256(b"".join(part.public_bytes(Encoding.DER) for part in pair.chain)).hexdigest()
        if digest not in known:
            sealed = self._sealer.seal(pair.key_pem, _key_context(digest))
            expires = int(pair.not_after.timestamp())
            (known[digest],) = self._connection.execute(
                "INSERT INTO materials (digest, fingerprint, chain, key, expires) VALUES (?, ?, ?, ?, ?)"
                " RETURNING material",
                (digest, pair.fingerprint, pair.chain_pem, sealed, expires),
            ).fetchone()
        return known[digest]

    def _newest_row(self) -> tuple[int, str, str, bytes] | None:
        with _explained(self._path):
            rows = self._connection.execute(
                "SELECT number, created, cause, configuration FROM generations ORDER BY number DESC LIMIT 1"
            ).fetchall()
            for number, created, cause, sealed in rows:
                return number, created, cause, self._sealer.unseal(sealed, _generation_context(number))
        return None

    def _append_generation(self, configuration: Configuration, cause: str) -> Generation:
        execute = self._connection.execute
        (number,) = execute("SELECT coalesce(max(number), 0) + 1 FROM generations").fetchone()
        generation = Generation(number, datetime.now(UTC), cause, configuration)
        sealed = self._sealer.seal(configuration.model_dump_json().encode(), _generation_context(number))
        execute(
            "INSERT INTO generations VALUES (?, ?, ?, ?)",
            (number, generation.created.isoformat(), cause, sealed),
        )
        execute("DELETE FROM generations WHERE number <= ?", (number - GENERATIONS_KEPT,))
        return generation

    def _pair(self, digest: str, chain: bytes, sealed: bytes) -> CertificatePair:
        plain = self._sealer.unseal(sealed, _key_context(digest))
        # The key was checked when it came in and has been sealed since; checking an RSA key again takes 100 ms.
        key = load_pem_private_key(plain, None, unsafe_skip_rsa_key_validation=True)
        certificates = tuple(x509.load_pem_x509_certificates(chain))
        return CertificatePair(certificates, cast("PrivateKey", key), describe.names(certificates[0]))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say about ``path`` into what a person can do about it."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except sqlite3.OperationalError as error:
        cure = "check that the directory exists, is writable by this user, and has free space"
        raise StoreError(f"{path}: {error}; {cure}") from error
    except sqlite3.DatabaseError as error:
        cure = "restore a backup, or move it away: the next start builds it from the configuration"
        raise StoreError(f"{path}: {error}; {cure}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; gateway.data_dir must be a writable directory") from error


def _make_private(path: Path) -> None:
    """Create the file if it is missing, for its owner alone; SQLite gives its other files the same mode."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _key_context(digest: str) -> bytes:
    return b"key " + digest.encode()


def _generation_context(number: int) -> bytes:
    return b"generation %d" % number
