"""The tables of the node's database, and how an older database becomes a newer one.

``materials`` holds each chain with its sealed key once, however many names it serves; a row never changes.
``names`` says which materials a name is served with: one per key type, so that RSA and ECDSA stand side by
side. The name "" is the default site. ``generations`` holds the last configurations, sealed, since a
configuration may contain keys and passwords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import StoreError

if TYPE_CHECKING:
    import sqlite3

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
)
"""Statement lists; a database's ``user_version`` says how many of them it has been through."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to this version in one transaction. Raises StoreError when it is newer already."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(f"it was written by a newer gateway (schema {version}, this one knows {len(MIGRATIONS)})")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
