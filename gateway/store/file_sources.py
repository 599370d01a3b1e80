"""From the certificates that a configuration names, in files, inline or in the store, to the entries that it serves.

Precedence for one name is Tyk's: a certificate of an API, then ``certificates[].domain_name``, then the names
in ``ssl_certificates``, then the names in the files of ``certificates[]``; at last come those of
``gateway.certificates_dir``. Only the highest source that has the name counts; within it the last certificate of
each key type does.

A certificate that cannot be read harms nobody else: the names that it served keep its last good state, which is
still in the store, and the problem says so. Only when nothing at all is left to serve is that an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.certs.blocks import MAX_BYTES
from gateway.certs.pem import CertificatePair, check_dates, check_names, parse_pair, refuse_foreign_use
from gateway.config.kinds import is_inline_pem, is_store_id
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.store.sites import SiteEntry
from gateway.tls.names import candidates, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gateway.config.load import Configuration
    from gateway.config.settings import CertificateFiles
    from gateway.store.sqlite import Store


@dataclass(frozen=True, slots=True)
class Collected:
    """The entries, the name that the default site shares its certificates with, and what is wrong.

    ``unresolved`` are those of the problems that say that a certificate could not be read. With an error among
    the problems the entries are those that are left, which nobody should serve.
    """

    entries: tuple[SiteEntry, ...]
    default: str | None
    problems: tuple[Problem, ...]
    unresolved: tuple[Problem, ...] = ()


class _Rank(IntEnum):
    """Where a certificate comes from; the higher one wins a name."""

    DIRECTORY = 0
    FILE_PAIR = 1
    SSL_CERTIFICATES = 2
    DOMAIN_NAME = 3
    API = 4


def collect(configuration: Configuration, now: datetime, store: Store | None = None) -> Collected:
    """Read and check every certificate that ``configuration`` names, as of ``now`` (aware).

    ``store`` has those that are named by id, and the last good state of those that cannot be read.
    Raises StoreError when it cannot be read itself.
    """
    collection = _Collection(now, store)
    options = configuration.settings.http_server_options
    for index, files in enumerate(options.certificates):
        collection.add_files(f"http_server_options.certificates[{index}]", files)
    collection.add_references("http_server_options.ssl_certificates", options.ssl_certificates, _Rank.SSL_CERTIFICATES)
    served = [api for api in configuration.apis if api.active and not api.internal and not api.domain_disabled]
    for api in served:
        collection.add_references(f"apis[{api.api_id}].certificates", api.certificates, _Rank.API)
    if directory := configuration.settings.gateway.certificates_dir:
        collection.add_directory("gateway.certificates_dir", directory)
    default = collection.default(options.server_name)
    if options.use_ssl:
        collection.miss_domains((f"apis[{api.api_id}].domain", api.domain) for api in served)
    return collection.collected(default)


class _Collection:
    """What has been found so far."""

    def __init__(self, now: datetime, store: Store | None) -> None:
        self._now = now
        self._store = store
        self._problems: list[Problem] = []
        self._unresolved: list[Problem] = []
        self._first: str | None = None
        self._sites: dict[str, tuple[_Rank, dict[str, SiteEntry]]] = {}
        self._read: dict[str, CertificatePair | None] = {}

    def collected(self, default: str | None) -> Collected:
        """Return everything. That nothing could be read turns the reasons into errors."""
        if self._unresolved and not self._sites and not (self._store and self._store.has_put()):
            self._problems = [
                replace(problem, severity=Severity.ERROR) if problem in self._unresolved else problem
                for problem in self._problems
            ]
        # In the order in which the names first came up.
        entries = tuple(entry for _, entries in self._sites.values() for entry in entries.values())
        return Collected(entries, default, tuple(self._problems), tuple(self._unresolved))

    def add_files(self, path: str, files: CertificateFiles) -> None:
        """Add a pair that is given as separate files."""
        source, domain = str(files.cert_file), ""
        try:
            domain = canonical(files.domain_name) if files.domain_name else ""
            passphrase = files.passphrase.get_secret_value().encode() if files.passphrase else None
            if files.passphrase_file:
                passphrase = (_content(files.passphrase_file).splitlines() or [b""])[0]
            certificate, key = _content(files.cert_file), _content(files.key_file)
            chain = _content(files.chain_file) if files.chain_file else b""
            pair, warnings = parse_pair(certificate, key, chain_pem=chain, passphrase=passphrase)
            self._refuse_worse(source, pair, domain)
            self._examine(path, source, pair, warnings, keys_in=files.key_file)
        except (OSError, CertificateError, ValueError) as error:
            self._keep_last_good(path, source, error, _Rank.FILE_PAIR, domain)
            return
        if domain:
            self._report(path, source, check_names(pair, domain))
            self._serve(domain, pair, source, _Rank.DOMAIN_NAME)
        self._serve_all(pair, source, _Rank.FILE_PAIR)

    def add_references(self, path: str, references: Sequence[str], rank: _Rank) -> None:
        """Add pairs that are given as one PEM text each, in a file or inline, or as an id of the store."""
        for index, reference in enumerate(references):
            place = f"{path}[{index}]"
            inline = is_inline_pem(reference)
            source = place if inline else reference
            if reference not in self._read:  # one file may serve a thousand APIs
                self._read[reference] = self._referred(place, reference, inline=inline)
            if pair := self._read[reference]:
                self._serve_all(pair, source, rank)
            else:
                self._serve_last_good(source, rank)

    def add_directory(self, path: str, directory: Path) -> None:
        """Add every bundle ``*.pem`` and every ``name.crt`` with its ``name.key``."""
        try:
            files = sorted(file for file in directory.iterdir() if not file.name.startswith("."))
        except OSError as error:
            self._keep_last_good(path, f"{directory}/", error, _Rank.DIRECTORY)
            return
        for file in files:
            if file.suffix in (".pem", ".crt"):
                self._add_file(path, file)

    def _add_file(self, path: str, file: Path) -> None:
        """Add a bundle, or a certificate whose key is beside it; what is neither may be there for others."""
        source = str(file)
        try:
            content, key, keys_in = _content(file), None, file
            if b"PRIVATE KEY-----" not in content and file.with_suffix(".key").exists():
                keys_in = file.with_suffix(".key")
                key = _content(keys_in)
            if missing := _missing(content + (key or b"")):
                self._pass_over(path, source, missing)
                return
            pair, warnings = parse_pair(content, key)
            self._refuse_worse(source, pair)
            self._examine(path, source, pair, warnings, keys_in=keys_in)
        except (OSError, CertificateError) as error:
            self._keep_last_good(path, source, error, _Rank.DIRECTORY)
            return
        self._serve_all(pair, source, _Rank.DIRECTORY)

    def _pass_over(self, path: str, source: str, missing: str) -> None:
        """Leave a file alone that may be there for others, unless it is one that was served, half written."""
        if self._store and self._store.configured_from(source):
            self._keep_last_good(path, source, CertificateError(f"there is no {missing} in it"), _Rank.DIRECTORY)
        else:
            message = f"there is no {missing} in it, so it is not served"
            self._problems.append(Problem(Severity.NOTE, path, source, message))

    def default(self, server_name: str) -> str | None:
        """The name that the default site shares its certificates with: the configured or the first one."""
        if not server_name:
            return self._first
        for name in _keys(server_name):
            if self._has(name):
                return name
        message = f"no certificate covers {server_name}, so the first certificate is the default"
        self._warn("http_server_options.server_name", message, "name a certificate that does")
        return self._first

    def miss_domains(self, domains: Iterable[tuple[str, str]]) -> None:
        """Warn of every domain that has no certificate. Patterns are left alone."""
        if self._first is None and not (self._store and self._store.has_put()):
            message = "there is no certificate, so every TLS handshake will be refused"
            self._warn("http_server_options.use_ssl", message, "name one in ssl_certificates or certificates")
            return
        for path, domain in domains:
            if (names := _keys(domain)) and not any(map(self._has, names)):
                message = f"no certificate covers {domain}, so its clients get the default certificate"
                self._warn(path, message, "name one in ssl_certificates or certificates")

    def _has(self, name: str) -> bool:
        return name in self._sites or bool(self._store and self._store.has_put(name))

    def _referred(self, path: str, reference: str, *, inline: bool) -> CertificatePair | None:
        source = "inline PEM" if inline else reference
        try:
            if is_store_id(reference):
                return self._stored(path, reference)
            pair, warnings = parse_pair(reference.encode() if inline else _content(Path(reference)))
            self._refuse_worse(source, pair)
            self._examine(path, source, pair, warnings, keys_in=None if inline else Path(reference))
        except (OSError, CertificateError) as error:
            self._tell_unresolved(path, source, error)
            return None
        return pair

    def _stored(self, path: str, certificate_id: str) -> CertificatePair:
        pair = self._store.stored_pair(certificate_id) if self._store else None
        if pair is None:
            raise CertificateError("the certificate store has no certificate with a key under this id; add it there")
        refuse_foreign_use(pair.leaf)
        self._report(path, certificate_id, check_dates(pair, self._now))
        return pair

    def _keep_last_good(self, path: str, source: str, error: Exception, rank: _Rank, domain: str = "") -> None:
        self._tell_unresolved(path, source, error)
        self._serve_last_good(source, rank, domain)

    def _serve_last_good(self, source: str, rank: _Rank, domain: str = "") -> None:
        """Serve what the store has of a source: ``directory/`` is all files in it, ``domain`` what it is named for."""
        for entry in self._store.configured_from(source) if self._store else ():
            own = bool(domain) and entry.name == domain
            self._serve(entry.name, entry.pair, entry.source, _Rank.DOMAIN_NAME if own else rank)

    def _tell_unresolved(self, path: str, source: str, error: Exception) -> None:
        message, cure = str(error), ""
        if isinstance(error, OSError):
            source = str(error.filename or source)
            message, cure = f"cannot be read: {error.strerror}", "check the path and who may read the file"
        problem = Problem(Severity.WARNING, path, source, message, cure)
        self._problems.append(problem)
        self._unresolved.append(problem)

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
        # An expired certificate is served all the same where there is nothing better.
        self._report(path, source, check_dates(pair, self._now))
        if keys_in and keys_in.stat().st_mode & 0o007:
            self._warn(path, "every user of this host can read the private key", f"chmod o= {keys_in}", str(keys_in))

    def _refuse_worse(self, source: str, pair: CertificatePair, domain: str = "") -> None:
        """Refuse a pair that clients would refuse, if the one that is served from the same place is none such."""
        fault = self._fault(pair, domain)
        if not fault or not self._store:
            return
        for entry in self._store.configured_from(source):
            if entry.pair.fingerprint != pair.fingerprint and not self._fault(entry.pair, domain):
                raise CertificateError(f"{fault}, while the one that is served is good")

    def _fault(self, pair: CertificatePair, domain: str) -> str:
        """Why clients of ``domain`` ("" for none in particular) refuse the pair today, if they do."""
        if not pair.not_before <= self._now <= pair.not_after:
            return f"the certificate is valid from {pair.not_before:%Y-%m-%d} to {pair.not_after:%Y-%m-%d} only"
        wrong = check_names(pair, domain) if domain else ()
        return wrong[0].message if wrong else ""

    def _report(self, path: str, source: str, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self._problems.append(replace(problem, severity=Severity.WARNING, path=path, source=source))

    def _warn(self, path: str, message: str, cure: str = "", source: str = "") -> None:
        self._problems.append(Problem(Severity.WARNING, path, source, message, cure))


def _keys(name: str) -> tuple[str, ...]:
    """The names under which a certificate for ``name`` may stand; () for none and for patterns."""
    try:
        return candidates(canonical(name))
    except ValueError:
        return ()


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _missing(pem: bytes) -> str:
    """Which half of a pair is not in there: "" when both seem to be."""
    if b"CERTIFICATE-----" not in pem:
        return "certificate"
    return "" if b"PRIVATE KEY-----" in pem else "private key"
