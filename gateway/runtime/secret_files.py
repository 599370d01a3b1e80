"""Secrets that a command has for the gateway: files in its data directory that nobody else can read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from gateway import files
from gateway.errors import FileError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTORY = "secrets"


@dataclass(frozen=True, slots=True)
class SecretFile:
    """``path`` is to hold ``content``, in place of all files that there are for the same ``purpose``; None: no file.

    Each has a name of its own: until the configuration names the new one, the old one is what is used.
    """

    purpose: str
    path: Path
    content: str | None = field(repr=False)

    @classmethod
    def new(cls, data_dir: Path, purpose: str, content: str | None) -> Self:
        """Choose a name; nothing is written yet."""
        return cls(purpose, data_dir / _DIRECTORY / f"{purpose}.{secrets.token_hex(4)}", content)

    def write(self) -> None:
        """Write the file, for the owner of the data directory alone. Raises StoreError."""
        if self.content is None:
            return
        directory = self.path.parent
        try:
            directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
            files.create(self.path, f"{self.content}\n".encode())
            owner = directory.parent.stat()
            with suppress(PermissionError):
                for place in (directory, self.path):
                    os.chown(place, owner.st_uid, owner.st_gid)
        except FileError as error:
            raise StoreError(f"{error}; nothing has changed") from error
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}; nothing has changed") from error

    def forget(self) -> None:
        """Remove the file: what it is for was refused."""
        self.path.unlink(missing_ok=True)

    def succeed(self) -> None:
        """Remove all files that were there for the same purpose before."""
        for other in self.path.parent.glob(f"{self.purpose}.????????"):
            if other != self.path:
                with suppress(OSError):
                    other.unlink()
