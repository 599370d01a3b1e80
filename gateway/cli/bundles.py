"""Which files in a directory or an archive belong together, and what is in them: one bundle for each certificate.

Files of one directory belong together when they are called the same up to their suffix (``a.crt`` and ``a.key``), or
when they are what certbot keeps in the directory of a certificate (``privkey.pem``, ``fullchain.pem`` and the like).
Nothing is unpacked to disk, so no name in an archive can reach anywhere.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from gateway.certs.blocks import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = frozenset({".pem", ".crt", ".cer", ".cert", ".key", ".chain", ".ca-bundle"})
_CERTBOTS = frozenset({"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem"})

UNREADABLE = (OSError, EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)
"""What reading a damaged archive, one with a password, or a file of others raises."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The PEM texts that belong to one certificate. ``place`` is the file, or the first of them."""

    place: str
    pem: bytes = field(repr=False)


class Source(Protocol):
    """A directory or an archive."""

    def names(self) -> list[str]:
        """The names of all files in it, with slashes."""

    def read(self, names: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        """Read these, up to a byte more than a certificate may have, in the order that costs least."""


class Collection:
    """What one path of the command line holds: ``bundles`` yields ``len`` of them. ``others`` files are left alone."""

    def __init__(self, path: Path) -> None:
        """Look at the names. Raises UNREADABLE."""
        self._path = path
        self._source = _source(path)
        self._groups = {name: group for name in self._source.names() if (group := _group(name))}
        self._sizes = Counter(self._groups.values())

    def __len__(self) -> int:
        return len(self._sizes)

    def bundles(self) -> Iterator[Bundle]:
        """Yield each bundle as soon as the last of its files is read. Raises UNREADABLE."""
        pending: dict[str, dict[str, bytes]] = {}
        missing = dict(self._sizes)
        for name, content in self._source.read(frozenset(self._groups)):
            group = self._groups[name]
            if group in missing:  # an archive may hold a name twice
                files = pending.setdefault(group, {})
                files[name] = content
                if len(files) == missing[group]:
                    del missing[group], pending[group]
                    yield Bundle(f"{self._path}/{min(files)}", b"\n".join(files[name] for name in sorted(files)))


def _group(name: str) -> str:
    """What the names of files that belong together have in common; "" for a file of another kind."""
    path = PurePosixPath(name)
    if path.suffix.lower() not in SUFFIXES or any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return ""
    return f"{path.parent}/" if path.name in _CERTBOTS else str(path.with_suffix(""))


def _source(path: Path) -> Source:
    if path.is_dir():
        return _Directory(path)
    if zipfile.is_zipfile(path):
        return _Zip(path)
    try:
        return _Tar(path)
    except tarfile.ReadError as error:
        raise tarfile.ReadError("it is neither a directory nor a .tar or .zip archive") from error


class _Directory:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        found = []
        for directory, below, files in os.walk(self._path, onerror=_fail):
            below[:] = [name for name in below if not name.startswith(".")]
            found += [os.path.relpath(Path(directory, name), self._path) for name in files]
        return sorted(found)

    def read(self, names: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names):
            with (self._path / name).open("rb") as file:
                yield name, file.read(MAX_BYTES + 1)


class _Zip:
    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)

    def names(self) -> list[str]:
        return [entry.filename for entry in self._archive.infolist() if not entry.is_dir()]

    def read(self, names: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        with self._archive:
            for entry in self._archive.infolist():
                if entry.filename in names:
                    with self._archive.open(entry) as file:
                        yield entry.filename, file.read(MAX_BYTES + 1)


class _Tar:
    def __init__(self, path: Path) -> None:
        self._archive = tarfile.open(path)  # noqa: SIM115 - `read` closes it, as `_Zip` does

    def names(self) -> list[str]:
        return [entry.name for entry in self._archive if entry.isreg()]

    def read(self, names: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        with self._archive:
            for entry in self._archive:  # in the order of the archive: in a compressed one, going back is dear
                if entry.isreg() and entry.name in names and (file := self._archive.extractfile(entry)):
                    yield entry.name, file.read(MAX_BYTES + 1)


def _fail(error: OSError) -> None:
    raise error
