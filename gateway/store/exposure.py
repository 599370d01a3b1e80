"""The users besides the owner who can read a file with a secret, and the search for secrets in configuration files."""

from __future__ import annotations

import grp
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EVERYBODY = "every user of this host"

# What stands behind a key of such a name and is not empty, in JSON and in YAML, where it is no comment.
_SECRET = re.compile(
    rb"""(?:^|[{,])[ \t-]*["']?\w*(?:secret|password|passphrase)["']?[ \t]*:[ \t]*"""
    rb"""(?!["']{2}|null\b|~|[|>])["']?[^\s"',}\]#]""",
    re.IGNORECASE | re.MULTILINE,
)
_PRIVATE_KEY = b"PRIVATE KEY-----"
_MOST_BYTES = 10 << 20
_MOST_FILES = 20_000


def exposed(path: Path, what: str) -> str:
    """Say who else can read ``what`` in a file, and what keeps them from it if something does; "" for nobody.

    Raises OSError.
    """
    real = path.resolve()
    status = real.stat()
    if status.st_mode & 0o007:
        who, way = EVERYBODY, 0o001
    elif status.st_mode & 0o070:
        who, way = f"the group {_group(status.st_gid)}", 0o010
    else:
        return ""
    for directory in real.parents:
        there = directory.stat()
        if not there.st_mode & (way if there.st_gid == status.st_gid else 0o001):
            return f"{who} could read {what} if they could enter {directory}"
    return f"{who} can read {what}"


def holds_secret(path: Path) -> bool:
    """Return whether a file holds a private key or a password; False when it cannot be read."""
    try:
        status = path.stat()
        return _holds_secret(str(path), status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError:
        return False


@lru_cache(_MOST_FILES)
def _holds_secret(path: str, *_: int) -> bool:
    with Path(path).open("rb") as file:
        content = file.read(_MOST_BYTES)
    return _PRIVATE_KEY in content or bool(_SECRET.search(content))


def problems(files: Iterable[Path]) -> Iterator[Problem]:
    """Warn of every configuration file with a secret in it that every user of this host can read."""
    for path in files:
        try:
            if path.stat().st_mode & 0o007 and holds_secret(path):
                said = exposed(path, "it, and there is a key or a password in it")
                yield Problem(Severity.WARNING, "", str(path), said, f"chmod o= {path}")
        except OSError:  # whoever reads it tells
            continue


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
