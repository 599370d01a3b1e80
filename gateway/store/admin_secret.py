"""The administrator's secret: the configured one, or the one that is made, for there is no well-known default."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway import files
from gateway.errors import FileError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr


_FILE = "admin.secret"


def ensure(data_dir: Path) -> Path:
    """Return the file that holds the secret, readable by this user alone; it is made at the first call.

    Raises StoreError when it can be neither found nor made.
    """
    path = data_dir / _FILE
    return path if path.exists() else _make(path)


def renew(data_dir: Path, used: bytes) -> Path | None:
    """Make another secret, and return its file; None when ``used``, the digest of the one in use, was configured.

    Raises StoreError, and then the secret is the one before.
    """
    path = data_dir / _FILE
    if not path.exists() or digest(None, data_dir) != used:
        return None
    return _make(path)


def _make(path: Path) -> Path:
    try:
        files.write(path, f"{secrets.token_urlsafe(32)}\n".encode(), secret=True)
    except FileError as error:
        raise StoreError(f"{error}, or set `secret` (TYK_GW_SECRET)") from error
    return path


def digest(configured: SecretStr | None, data_dir: Path) -> bytes:
    """Return the SHA-256 of the secret that administrators send, for the admin API's guard to compare with.

    Raises StoreError when none is configured and the file of the one that was made cannot be read.
    """
    if configured is not None:
        return sha256(configured.get_secret_value().encode()).digest()
    path = ensure(data_dir)
    try:
        secret = files.read_first_line(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the admin secret in {path} cannot be read; make it readable, or set `secret`") from error
    if not secret:
        raise StoreError(f"{path} holds no secret in its first line; remove it, and the next start makes another")
    return sha256(secret.encode()).digest()
