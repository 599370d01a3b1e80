"""What is on the disk: the configuration, certificates that fit their keys, and who may read the keys."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.certs.pem import CertificatePair
from gateway.cli.doctor.finding import Finding, ok, problem, warning
from gateway.cli.layout import listed
from gateway.config.load import load
from gateway.config.problems import Severity
from gateway.errors import ConfigurationError
from gateway.runtime import renewal
from gateway.store import exposure
from gateway.store.sites import ADMIN, CONTROL_PORT, SELF_SIGNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.load import Configuration
    from gateway.config.problems import Problem

_SHOWN = 50
_LOOKED_AT = 10_000
_OWN_SECRETS = ("root.key", "keyring.json", "data-keys.json", "admin.secret")


def configuration(path: Path, environ: Mapping[str, str]) -> tuple[renewal.Candidate | None, list[Finding]]:
    """Read it as a start would; return what would be served, if anything, and what is wrong."""
    try:
        candidate = renewal.read(path, environ)
    except ConfigurationError as error:
        return None, [_told(one) for one in error.problems if one.severity is not Severity.NOTE]
    found = [_told(one) for one in candidate.problems if one.severity is not Severity.NOTE]
    return candidate, found or [ok("configuration", f"{path}: nothing is wrong with it")]


def written(path: Path, environ: Mapping[str, str]) -> Configuration | None:
    """The configuration without what it names, for where that is what is wrong; None when it cannot be read either."""
    try:
        return load(path, environ)
    except ConfigurationError:
        return None


def certificates(candidate: renewal.Candidate) -> Iterator[Finding]:
    """Say of each certificate that it fits its key; those that do not are problems of the configuration."""
    found: dict[str, list[str]] = {}
    for entry in candidate.collected.entries:
        if isinstance(entry.pair, CertificatePair) and entry.source not in (ADMIN, SELF_SIGNED):
            found.setdefault(entry.source, []).append(entry.name)
    for source, names in [*found.items()][:_SHOWN]:
        if source != CONTROL_PORT:
            yield ok(
                "certificate and key", f"{source}: they belong together, for {listed(filter(None, names)) or 'no name'}"
            )
    if len(found) > _SHOWN:
        yield ok("certificate and key", f"{len(found) - _SHOWN} more belong together")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody as the system knows him."""

    uid: int
    gids: frozenset[int]

    @classmethod
    def of(cls, uid: int) -> User:
        """Look his groups up; one that is not in the user database, as in containers, has none."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(uid, frozenset(os.getgroups() if uid == os.getuid() else ()))
        return cls(uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))

    @property
    def name(self) -> str:
        """How he is called."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    def may(self, status: os.stat_result, bit: int) -> bool:
        """Whether he has this right (4 read, 1 enter); root has every."""
        if self.uid == 0:
            return True
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.gids else 0
        return bool(status.st_mode >> shift & bit)

    def reads(self, path: Path) -> bool:
        """Whether he can read a file, every directory on the way included. Raises OSError."""
        real = path.resolve()
        return self.may(real.stat(), 4) and all(self.may(parent.stat(), 1) for parent in real.parents)


def permissions(configuration: Configuration) -> Iterator[Finding]:
    """Say which files everybody may read that should not be, and which the gateway cannot."""
    data_dir = configuration.settings.gateway.data_dir
    user = User.of(data_dir.stat().st_uid if data_dir.is_dir() else os.getuid())
    looked_at, faults = 0, 0
    wanted: dict[Path, bool] = {}  # a file that is named twice is looked at once
    for path, is_secret in _files(configuration):
        wanted[path] = is_secret or wanted.get(path, False)
    for path, is_secret in wanted.items():
        looked_at += 1
        try:
            found = _judge(path, user, is_secret=is_secret)
        except OSError as error:
            cure = "give the right path, or run this as the gateway's user"
            found = problem("permissions", f"{path}: {error.strerror}", cure)
        if found:
            faults += 1
            if faults <= _SHOWN:
                yield found
    if not faults:
        message = (
            f"{looked_at} files are readable for the gateway's user ({user.name}), secrets in them for nobody else"
        )
        yield ok("permissions", message)


def _judge(path: Path, user: User, *, is_secret: bool) -> Finding | None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return None
    if not user.reads(path):
        mode = "600" if is_secret else "644"
        cure = f"chown {user.name} {path} && chmod {mode} {path}, and let it enter the directories"
        return problem("permissions", f"{path} cannot be read by {user.name}, as which the gateway runs", cure)
    if not is_secret and not exposure.holds_secret(path):
        return None
    said = exposure.exposed(path, "the secret in it")
    if not said or (status.st_uid != user.uid and not said.startswith(exposure.EVERYBODY)):
        return None
    tell = problem if said.startswith(exposure.EVERYBODY) else warning
    return tell("permissions", f"{path}: {said}", f"chmod 600 {path}")


def _files(configuration: Configuration) -> Iterator[tuple[Path, bool]]:
    """Yield a bounded number of configuration, certificate and key files, and whether each is only a secret."""
    settings = configuration.settings
    yield from ((path, False) for path in configuration.files[:_LOOKED_AT])
    options = settings.http_server_options
    for pair in options.certificates:
        yield pair.cert_file, False
        yield pair.key_file, True
        yield from ((path, False) for path in (pair.chain_file,) if path)
        yield from ((path, True) for path in (pair.passphrase_file,) if path)
    references = dict.fromkeys(
        (*options.ssl_certificates, *(one for api in configuration.apis for one in api.certificates))
    )
    yield from ((Path(one), False) for one in references if one.startswith("/"))
    if settings.gateway.certificates_dir:
        with os.scandir(settings.gateway.certificates_dir) as entries:
            for _, entry in zip(range(_LOOKED_AT), entries, strict=False):
                if entry.name.endswith((".pem", ".crt", ".key")) and not entry.name.startswith("."):
                    yield Path(entry.path), entry.name.endswith(".key")
    for name in _OWN_SECRETS:
        if (path := settings.gateway.data_dir / name).exists():
            yield path, True


def _told(one: Problem) -> Finding:
    place = "  ".join(part for part in (one.path, one.source) if part)
    message = f"{place}: {one.message}" if place else one.message
    tell = problem if one.severity is Severity.ERROR else warning
    return tell("configuration", message, one.cure)
