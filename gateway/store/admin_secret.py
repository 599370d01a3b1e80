"""The administrator's secret that is made when none is configured: there is no well-known default."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from gateway.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


def ensure(data_dir: Path) -> Path:
    """Return the file that holds the secret, readable by this user alone; it is made at the first call.

    Raises StoreError when it can be neither found nor made.
    """
    path = data_dir / "admin.secret"
    if path.exists():
        return path
    draft = path.with_suffix(".draft")  # renamed when it is whole: half a secret must never be taken for one
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(fd)
        draft.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}; make gateway.data_dir writable, or set `secret` (TYK_GW_SECRET)"
        ) from error
    return path
