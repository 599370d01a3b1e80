"""The tables of the node's database, and how an older database becomes a newer one.

* ``materials``       each chain with its sealed key once, however many names it serves; a row never changes
* ``names``           what the configuration may serve a name with, now or when time has changed what is valid; the
                      choice is made at each look-up (``certs.choice``); rewritten at every reload
* ``domains``         what was put for a name at runtime, and goes before ``names``; a swap touches nothing else
* ``certificates``    Tyk's certificate store
* ``configurations``  each configuration once, sealed, since it may contain passwords; its number is that of the
                      generation that brought it
* ``generations``     the last changes of what is served; most of them share their configuration. The newest says
                      whose certificates the default site, the name "", serves
* ``readings``        what each certificate file held when it was last read, so that an unchanged one is not read again
* ``crls``            revocation lists for clients' certificates that were put at runtime
* ``unresolved``      what the last reload could not read, as one sentence each
* ``administrators``  who may use the admin API by name, and ``sessions``, their log-ins; see ``accounts``
* ``expiry_told``     of which certificates it was told lately that they end; see ``expiry``
* ``audit``           who changed what, and who tried; nothing in it changes, and only the oldest lines go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.certs import loading
from gateway.certs.choice import Validity
from gateway.errors import CertificateError, StoreError

if TYPE_CHECKING:
    import sqlite3

BEFORE_READINGS = 2
"""The last version without ``readings``. A reader does without them until the writer has brought the database on."""

BEFORE_RANKS = 6
"""The last version without ``names.rank`` and ``materials.begins``; a reader does without them likewise."""

AUDIT_KEPT = 100_000
"""Lines of the audit log that nothing removes: a trigger refuses to."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE materials (
            material INTEGER PRIMARY KEY,
            digest TEXT NOT NULL UNIQUE,      -- SHA-256 of the chain in DER
            fingerprint TEXT NOT NULL,        -- SHA-256 of the leaf in DER: the certificate's name for people
            chain BLOB NOT NULL,              -- PEM, leaf first
            key BLOB NOT NULL,                -- PKCS #8, sealed
            expires INTEGER NOT NULL          -- the leaf's notAfter, seconds since 1970
        )""",
        "CREATE INDEX materials_by_expiry ON materials (expires)",
        """CREATE TABLE names (
            name TEXT NOT NULL,
            key_type TEXT NOT NULL,
            material INTEGER NOT NULL REFERENCES materials,
            source TEXT NOT NULL,             -- where the certificate came from, for people
            PRIMARY KEY (name, key_type)
        ) WITHOUT ROWID""",
        "CREATE INDEX names_by_material ON names (material)",
        """CREATE TABLE generations (
            number INTEGER PRIMARY KEY,
            created TEXT NOT NULL,            -- ISO 8601, UTC
            cause TEXT NOT NULL,
            configuration BLOB NOT NULL       -- JSON, sealed
        )""",
    ),
    (
        """CREATE TABLE configurations (
            configuration INTEGER PRIMARY KEY,
            content BLOB NOT NULL             -- JSON, sealed
        )""",
        "INSERT INTO configurations SELECT number, configuration FROM generations",
        """CREATE TABLE shared_generations (
            number INTEGER PRIMARY KEY,
            created TEXT NOT NULL,            -- ISO 8601, UTC
            cause TEXT NOT NULL,
            configuration INTEGER NOT NULL REFERENCES configurations,
            default_name TEXT NOT NULL,       -- whose certificates the default site serves
            files_read TEXT NOT NULL          -- ISO 8601, UTC: the files' state that it is of
        )""",
        "INSERT INTO shared_generations SELECT number, created, cause, number, '', created FROM generations",
        "DROP TABLE generations",
        "ALTER TABLE shared_generations RENAME TO generations",
        """CREATE TABLE domains (
            name TEXT NOT NULL,
            key_type TEXT NOT NULL,
            material INTEGER REFERENCES materials,  -- NULL: rolled back to what the configuration says
            previous INTEGER REFERENCES materials,  -- what a rollback brings back
            generation INTEGER NOT NULL,            -- which changed it last
            PRIMARY KEY (name, key_type)
        ) WITHOUT ROWID""",
        "CREATE INDEX domains_by_material ON domains (material)",
        "CREATE INDEX domains_by_previous ON domains (previous)",
        """CREATE TABLE certificates (
            entry INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,          -- organisation and SHA-256 of the leaf, or of a public key, in DER
            org_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            der BLOB NOT NULL,                -- of the leaf, or of the public key
            pem BLOB NOT NULL,                -- what is kept of the upload, without a private key
            material INTEGER REFERENCES materials  -- of a pair
        )""",
        "CREATE INDEX certificates_by_organisation ON certificates (org_id)",
        "CREATE INDEX certificates_by_material ON certificates (material)",
        "CREATE INDEX names_by_source ON names (source)",
        "CREATE TABLE unresolved (problem TEXT NOT NULL)",
        """CREATE TABLE audit (
            entry INTEGER PRIMARY KEY,
            time TEXT NOT NULL,               -- ISO 8601, UTC
            who TEXT NOT NULL,
            address TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            old TEXT,                         -- fingerprints
            new TEXT,
            result TEXT NOT NULL,
            generation INTEGER                -- that came of it
        )""",
        """CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
            BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END""",
        """CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
            WHEN old.entry > (SELECT max(entry) FROM audit) - 100000
            BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END""",
    ),
    (
        """CREATE TABLE readings (
            source TEXT PRIMARY KEY,          -- the file with the certificate
            others TEXT NOT NULL,             -- further files that it was read with, one a line
            status TEXT NOT NULL,             -- of all of them at that time, one a line
            material INTEGER NOT NULL REFERENCES materials,
            key_type TEXT NOT NULL,
            names TEXT NOT NULL,              -- of the leaf, with spaces between
            remarks TEXT NOT NULL,            -- what was said of it besides its dates: JSON, or "" for nothing
            quiet_from INTEGER NOT NULL,      -- seconds since 1970: between these two
            quiet_until INTEGER NOT NULL      -- there is nothing to say about its dates
        ) WITHOUT ROWID""",
        "CREATE INDEX readings_by_material ON readings (material)",
    ),
    (
        """CREATE TABLE administrators (
            name TEXT PRIMARY KEY,
            role TEXT NOT NULL,
            password TEXT NOT NULL,           -- Argon2id, as a PHC string
            created TEXT NOT NULL             -- ISO 8601, UTC
        ) WITHOUT ROWID""",
        """CREATE TABLE sessions (
            token BLOB PRIMARY KEY,           -- SHA-256 of what is sent
            name TEXT NOT NULL REFERENCES administrators,
            begun INTEGER NOT NULL,           -- seconds since 1970, as are all three
            used INTEGER NOT NULL,
            ends INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX sessions_by_name ON sessions (name)",
        "CREATE INDEX sessions_by_end ON sessions (ends)",
    ),
    (
        # The leaf's notAfter, seconds since 1970, of what has no key and no row in materials; NULL: not yet looked at.
        "ALTER TABLE certificates ADD COLUMN expires INTEGER",
        "CREATE INDEX certificates_by_expiry ON certificates (expires)",
        """CREATE TABLE expiry_told (
            certificate TEXT NOT NULL,        -- SHA-256 of the leaf
            expired INTEGER NOT NULL,         -- whether it was told that it is over, or that it will be
            time INTEGER NOT NULL,            -- seconds since 1970
            PRIMARY KEY (certificate, expired)
        ) WITHOUT ROWID""",
        "CREATE INDEX expiry_told_by_time ON expiry_told (time)",
    ),
    (
        """CREATE TABLE crls (
            name TEXT PRIMARY KEY,
            crl TEXT NOT NULL                 -- PEM
        ) WITHOUT ROWID""",
    ),
    (
        # The leaf's notBefore, seconds since 1970, as expires is its notAfter.
        "ALTER TABLE materials ADD COLUMN begins INTEGER NOT NULL DEFAULT 0",
        "UPDATE materials SET begins = not_before(chain)",
        """CREATE TABLE ranked_names (
            name TEXT NOT NULL,
            key_type TEXT NOT NULL,
            material INTEGER NOT NULL REFERENCES materials,
            source TEXT NOT NULL,             -- where the certificate came from, for people
            rank INTEGER NOT NULL,            -- the highest that is valid wins the name
            place INTEGER NOT NULL,           -- of equals the last one counts
            PRIMARY KEY (name, key_type, material)
        ) WITHOUT ROWID""",
        "INSERT INTO ranked_names SELECT name, key_type, material, source, 0, 0 FROM names",
        "DROP TABLE names",
        "ALTER TABLE ranked_names RENAME TO names",
        "CREATE INDEX names_by_material ON names (material)",
        "CREATE INDEX names_by_source ON names (source)",
    ),
)
"""Statement lists; a database's ``user_version`` says how many of them it has been through."""


def version(connection: sqlite3.Connection) -> int:
    """Return how many migrations the database has been through."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _not_before(chain: bytes) -> int:
    try:
        return int(Validity.of(loading.peer_certificate(chain)).begins)
    except CertificateError:
        return 0


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to this version in one transaction. Raises StoreError when it is newer already."""
    connection.execute("BEGIN IMMEDIATE")
    found = version(connection)
    if found > len(MIGRATIONS):
        raise StoreError(f"it was written by a newer gateway (schema {found}, this one knows {len(MIGRATIONS)})")
    connection.create_function("not_before", 1, _not_before, deterministic=True)
    for statements in MIGRATIONS[found:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
