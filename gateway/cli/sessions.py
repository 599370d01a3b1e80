"""Where this user is logged in: a file in the user's configuration directory that nobody else can read.

Beside each session stands the certificate that was trusted for it, so that no other is taken for the gateway later.
"""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway import files
from gateway.cli.failures import AdminError
from gateway.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """A session at a server. ``certificate`` is the one that was trusted (PEM), "" where nothing had to be."""

    user: str
    token: str = field(repr=False)
    ends: str
    certificate: str = ""

    @property
    def pinned(self) -> bytes:
        """``certificate`` in DER."""
        return PEM_cert_to_DER_cert(self.certificate) if self.certificate else b""

    @property
    def is_over(self) -> bool:
        """Whether its end has come; it may be over before."""
        return datetime.fromisoformat(self.ends) <= datetime.now(UTC)


def place(environ: Mapping[str, str]) -> Path | None:
    """Return the file (XDG Base Directory Specification); None for a user who has no home, as in containers."""
    home = environ.get("HOME")
    if not home and not environ.get("XDG_CONFIG_HOME"):
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            return None
    return Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config") / "gateway" / "sessions.json"


def find(environ: Mapping[str, str], url: str) -> Kept | None:
    """Return the session at a server. Raises AdminError when others can read the file, or nobody understands it."""
    path = place(environ)
    return _read(path).get(_key(url)) if path else None


def keep(environ: Mapping[str, str], url: str, kept: Kept | None) -> None:
    """Remember a session, or with None forget it. Raises AdminError."""
    path = place(environ)
    if path is None:
        raise AdminError("a session is kept in your home, and this user has none; set HOME, or give --user each time")
    every = {name: one for name, one in _read(path).items() if name != _key(url)}
    if kept:
        every = {**dict(list(every.items())[1 - _MOST :]), _key(url): kept}
    text = json.dumps({name: asdict(one) for name, one in every.items()}, indent=2)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, f"{text}\n".encode(), secret=True)
    except (OSError, FileError) as error:
        raise AdminError(f"the session cannot be kept: {error}") from error


def _read(path: Path) -> dict[str, Kept]:
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0):
                raise AdminError(f"others can read or write {path}, where sessions are kept: chmod 600 {path}")
            return {name: Kept(**one) for name, one in json.load(file).items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AdminError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise AdminError(f"{path} is no file of sessions; remove it and log in again") from error


def _key(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"
