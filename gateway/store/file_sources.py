"""From the certificates that a configuration names, in files or inline, to the entries that the store shall hold.

Precedence for one name is Tyk's: a certificate of an API, then ``certificates[].domain_name``, then the names
in ``ssl_certificates``, then the names in the files of ``certificates[]``. Only the highest source that has
the name counts; within it the last certificate of each key type does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.certs.blocks import MAX_BYTES
from gateway.certs.pem import CertificatePair, check_dates, check_names, parse_pair
from gateway.config.kinds import is_inline_pem
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.store.sqlite import SiteEntry
from gateway.tls.names import candidates, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gateway.config.load import Configuration
    from gateway.config.settings import CertificateFiles


@dataclass(frozen=True, slots=True)
class Collected:
    """The entries, the name that the default site shares its certificates with, and what is wrong.

    With an error among the problems the entries are those that are left, which nobody should serve.
    """

    entries: tuple[SiteEntry, ...]
    default: str | None
    problems: tuple[Problem, ...]


class _Rank(IntEnum):
    """Where a certificate comes from; the higher one wins a name."""

    FILE_PAIR = 0
    SSL_CERTIFICATES = 1
    DOMAIN_NAME = 2
    API = 3


def collect(configuration: Configuration, now: datetime) -> Collected:
    """Read and check every certificate that ``configuration`` names, as of ``now`` (aware)."""
    collection = _Collection(now)
    options = configuration.settings.http_server_options
    for index, files in enumerate(options.certificates):
        collection.add_files(f"http_server_options.certificates[{index}]", files)
    collection.add_references("http_server_options.ssl_certificates", options.ssl_certificates, _Rank.SSL_CERTIFICATES)
    served = [api for api in configuration.apis if api.active and not api.internal and not api.domain_disabled]
    for api in served:
        collection.add_references(f"apis[{api.api_id}].certificates", api.certificates, _Rank.API)
    default = collection.default(options.server_name)
    if options.use_ssl:
        collection.miss_domains((f"apis[{api.api_id}].domain", api.domain) for api in served)
    return Collected(collection.entries(), default, tuple(collection.problems))


class _Collection:
    """What has been found so far."""

    def __init__(self, now: datetime) -> None:
        self.problems: list[Problem] = []
        self._now = now
        self._first: str | None = None
        self._sites: dict[str, tuple[_Rank, dict[str, SiteEntry]]] = {}
        self._read: dict[str, CertificatePair | None] = {}

    def entries(self) -> tuple[SiteEntry, ...]:
        """All entries, in the order in which their names first came up."""
        return tuple(entry for _, entries in self._sites.values() for entry in entries.values())

    def add_files(self, path: str, files: CertificateFiles) -> None:
        """Add a pair that is given as separate files."""
        try:
            passphrase = files.passphrase.get_secret_value().encode() if files.passphrase else None
            if files.passphrase_file:
                passphrase = (_read(files.passphrase_file).splitlines() or [b""])[0]
            pair, warnings = parse_pair(
                _read(files.cert_file),
                _read(files.key_file),
                chain_pem=_read(files.chain_file) if files.chain_file else b"",
                passphrase=passphrase,
            )
            domain = canonical(files.domain_name) if files.domain_name else ""
            self._examine(path, str(files.cert_file), pair, warnings, keys_in=files.key_file)
        except (OSError, CertificateError, ValueError) as error:
            self._refuse(path, error, str(files.cert_file))
            return
        if domain:
            self._report(path, str(files.cert_file), check_names(pair, domain))
            self._serve(domain, pair, str(files.cert_file), _Rank.DOMAIN_NAME)
        self._serve_all(pair, str(files.cert_file), _Rank.FILE_PAIR)

    def add_references(self, path: str, references: Sequence[str], rank: _Rank) -> None:
        """Add pairs that are given as one PEM text each, in a file or inline."""
        for index, reference in enumerate(references):
            place = f"{path}[{index}]"
            inline = is_inline_pem(reference)
            source = "inline PEM" if inline else reference
            if reference not in self._read:  # one file may serve a thousand APIs
                self._read[reference] = self._bundle(place, source, reference, inline=inline)
            if pair := self._read[reference]:
                self._serve_all(pair, place if inline else source, rank)

    def default(self, server_name: str) -> str | None:
        """The name that the default site shares its certificates with: the configured or the first one."""
        if not server_name:
            return self._first
        for name in _keys(server_name):
            if name in self._sites:
                return name
        message = f"no certificate covers {server_name}, so the first certificate is the default"
        self._warn("http_server_options.server_name", message, "name a certificate that does")
        return self._first

    def miss_domains(self, domains: Iterable[tuple[str, str]]) -> None:
        """Warn of every domain that has no certificate. Patterns are left alone."""
        if self._first is None:
            message = "there is no certificate, so every TLS handshake will be refused"
            self._warn("http_server_options.use_ssl", message, "name one in ssl_certificates or certificates")
            return
        for path, domain in domains:
            if (names := _keys(domain)) and not any(name in self._sites for name in names):
                message = f"no certificate covers {domain}, so its clients get the default certificate"
                self._warn(path, message, "name one in ssl_certificates or certificates")

    def _bundle(self, path: str, source: str, reference: str, *, inline: bool) -> CertificatePair | None:
        try:
            pair, warnings = parse_pair(reference.encode() if inline else _read(Path(reference)))
            self._examine(path, source, pair, warnings, keys_in=None if inline else Path(reference))
        except (OSError, CertificateError) as error:
            self._refuse(path, error, source)
            return None
        return pair

    def _serve_all(self, pair: CertificatePair, source: str, rank: _Rank) -> None:
        # A certificate without any name can still be the default site's.
        for name in pair.names or ([""] if self._first is None else []):
            self._serve(name, pair, source, rank)

    def _serve(self, name: str, pair: CertificatePair, source: str, rank: _Rank) -> None:
        if self._first is None:
            self._first = name
        held, entries = self._sites.get(name, (rank, {}))
        if rank > held:
            entries = {}
        if rank >= held:
            self._sites[name] = (rank, {**entries, pair.key_type: SiteEntry(name, pair, source)})

    def _examine(
        self, path: str, source: str, pair: CertificatePair, warnings: Iterable[str], keys_in: Path | None
    ) -> None:
        for warning in warnings:
            self._warn(path, warning, source=source)
        # An expired certificate is served all the same: refusing it would take every other site down with it.
        self._report(path, source, check_dates(pair, self._now))
        if keys_in and keys_in.stat().st_mode & 0o007:
            self._warn(path, "every user of this host can read the private key", f"chmod o= {keys_in}", str(keys_in))

    def _report(self, path: str, source: str, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.problems.append(replace(problem, severity=Severity.WARNING, path=path, source=source))

    def _warn(self, path: str, message: str, cure: str = "", source: str = "") -> None:
        self.problems.append(Problem(Severity.WARNING, path, source, message, cure))

    def _refuse(self, path: str, error: Exception, source: str) -> None:
        if isinstance(error, OSError):
            source = str(error.filename or source)
            message, cure = f"cannot be read: {error.strerror}", "check the path and who may read the file"
        else:
            message, cure = str(error), ""
        self.problems.append(Problem(Severity.ERROR, path, source, message, cure))


def _keys(name: str) -> tuple[str, ...]:
    """The names under which a certificate for ``name`` may stand; () for none and for patterns."""
    try:
        return candidates(canonical(name))
    except ValueError:
        return ()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
