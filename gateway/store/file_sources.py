"""From the certificates that a configuration names, in files, inline or in the store, to the entries that it serves.

A certificate that is valid now goes before one that is not. Then the precedence for one name is Tyk's: a certificate
of an API, then ``certificates[].domain_name``, then the names in ``ssl_certificates``, then the names in the files of
``certificates[]``; at last come those of ``gateway.certificates_dir``. Only the highest source that has the name
counts; within it the certificate of each key type that lasts longest does. What may come first when time has passed is
collected as well: the store chooses among them at each look-up (``certs.choice``).

A certificate that cannot be read harms nobody else: the names that it served keep its last good state, which is
still in the store, and the problem says so. Only when nothing at all is left to serve is that an error.

Files that are as they were at their last reading are not read again. Of very many others only so many are read at
once; the rest keeps its last good state until the next time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING

from gateway.certs.blocks import MAX_BYTES
from gateway.certs.choice import Validity
from gateway.certs.dates import check_dates
from gateway.certs.pem import CertificatePair, check_names, parse_pair, refuse_foreign_use, remarks
from gateway.config.kinds import is_copied_pem, is_inline_pem, is_store_id, source_of
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.store import file_status
from gateway.store.certificate_files import CertificateReader, Files, Held
from gateway.store.contest import TOLD as _TOLD
from gateway.store.contest import Contest, listed
from gateway.store.sites import SiteEntry
from gateway.tls.names import candidates, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from gateway.config.load import Configuration
    from gateway.config.settings import CertificateFiles
    from gateway.store.materials import Kept
    from gateway.store.readings import Readings
    from gateway.store.sqlite import Store

_NEIGHBOURS = 500
"""How many files of a directory are looked up at once."""

_FIRST = 1000
"""The most names to search for one that is fit to be the default."""

_KEY = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Collected:
    """The entries, the name that the default site shares its certificates with, and what is wrong.

    ``later`` are entries that are hidden by others now, and by none at some other time. ``unresolved`` are those of the
    problems that say that a certificate could not be read. With an error among the problems the entries are those that
    are left, which nobody should serve. ``postponed`` is how many files were not read yet, and ``readings`` what to
    remember of the others.
    """

    entries: tuple[SiteEntry, ...]
    default: str | None
    problems: tuple[Problem, ...]
    unresolved: tuple[Problem, ...] = ()
    postponed: int = 0
    readings: Readings | None = None
    later: tuple[SiteEntry, ...] = ()
    made: CertificatePair | None = None
    """A pair made for these sites that is in no store yet: it may be announced only once they are published."""


class _Rank(IntEnum):
    """Where a certificate comes from; the higher one wins a name."""

    DIRECTORY = 0
    FILE_PAIR = 1
    SSL_CERTIFICATES = 2
    DOMAIN_NAME = 3
    API = 4


def collect(
    configuration: Configuration,
    now: datetime,
    store: Store | None = None,
    *,
    anew: bool = True,
    most: int | None = None,
) -> Collected:
    """Read and check every certificate that ``configuration`` names, as of ``now`` (aware).

    ``store`` has those that are named by id, and the last good state of those that cannot be read. Unless ``anew``,
    it also has what unchanged files hold. At most ``most`` files are read (None: all).
    Raises StoreError when it cannot be read itself.
    """
    collection = _Collection(now, store, anew=anew, most=most)
    options = configuration.settings.http_server_options
    for index, files in enumerate(options.certificates):
        collection.add_files(f"http_server_options.certificates[{index}]", files)
    collection.add_references("http_server_options.ssl_certificates", options.ssl_certificates, _Rank.SSL_CERTIFICATES)
    served = [api for api in configuration.apis if api.active and not api.internal and not api.domain_disabled]
    closed = [api for api in configuration.closed if not api.domain_disabled]
    for api in (*closed, *served):
        if api.terminates_tls or not api.is_service:
            collection.add_references(f"apis[{api.api_id}].certificates", api.certificates, _Rank.API)
    if directory := configuration.settings.gateway.certificates_dir:
        collection.add_directory("gateway.certificates_dir", directory)
    any_name = any(one.domain_name == "*" for one in options.certificates)
    default = collection.default(options.server_name, any_name=any_name)
    needing = [api for api in served if api.terminates_tls or (options.use_ssl and not api.is_service)]
    if (needing or options.use_ssl) and not any_name:
        collection.miss_domains((f"apis[{api.api_id}].domain", api.domain) for api in needing)
    return collection.collected(default, needed=bool(needing or options.use_ssl))


class _Collection:
    """What has been found so far."""

    def __init__(self, now: datetime, store: Store | None, *, anew: bool, most: int | None) -> None:
        self._now = now
        self._store = store
        self._anew = anew
        self._reader = CertificateReader(now, None if anew else store, most)
        self._postponed = 0
        self._problems: list[Problem] = []
        self._unresolved: list[Problem] = []
        self._first: str | None = None
        self._sites: dict[str, list[SiteEntry]] = {}
        self._read: dict[str, Held | None] = {}
        self._told_of: set[tuple[str, str]] = set()

    def collected(self, default: str | None, *, needed: bool) -> Collected:
        """Return everything. That nothing could be read turns the reasons into errors, where one is ``needed``."""
        contest = Contest(self._now, self._validity)
        for name, entries in self._sites.items():  # in the order in which the names first came up
            contest.add(name, entries)
        self._problems += contest.problems()
        self._tell_hidden()
        nothing = needed and not self._sites and not self._postponed and not (self._store and self._store.has_put())
        if self._unresolved and nothing:
            self._problems = [
                replace(problem, severity=Severity.ERROR) if problem in self._unresolved else problem
                for problem in self._problems
            ]
        if self._postponed:
            message = f"certificate files that are not read yet: {self._postponed}; what they held before serves"
            self._unresolved.append(Problem(Severity.WARNING, "", "certificates", message))
        readings = None if self._anew else self._reader.readings()
        return Collected(
            tuple(contest.entries), default, tuple(self._problems), tuple(self._unresolved), self._postponed, readings,
            tuple(contest.later),
        )  # fmt: skip

    def add_files(self, path: str, named: CertificateFiles) -> None:
        """Add a pair that is given as separate files."""
        source, domain = str(named.cert_file), ""
        files = Files(source, str(named.key_file), str(named.chain_file or ""), str(named.passphrase_file or ""))
        try:
            domain = canonical(named.domain_name) if named.domain_name.strip("*") else ""
            passphrase = named.passphrase.get_secret_value().encode() if named.passphrase else None
            held = self._held(path, files, domain, passphrase)
        except (OSError, CertificateError, ValueError) as error:
            self._keep_last_good(path, source, error, _Rank.FILE_PAIR, domain)
            return
        if held is None:
            self._serve_last_good(source, _Rank.FILE_PAIR, domain)
            return
        if domain:
            self._report(path, source, check_names(held.names, domain))
            self._serve(domain, held.pair, source, _Rank.DOMAIN_NAME)
        self._serve_all(held, source, _Rank.FILE_PAIR, domain)
        if named.domain_name == "*":
            self._serve("", held.pair, source, _Rank.DOMAIN_NAME)

    def add_references(self, path: str, references: Sequence[str], rank: _Rank) -> None:
        """Add pairs that are given as one PEM text each, in a file or inline, or as an id of the store."""
        for index, reference in enumerate(references):
            place = f"{path}[{index}]"
            source = place if is_inline_pem(reference) or is_copied_pem(reference) else reference
            if reference not in self._read:  # one file may serve a thousand APIs
                self._read[reference] = self._referred(place, reference)
            if held := self._read[reference]:
                self._serve_all(held, source, rank)
            else:
                self._serve_last_good(source, rank)

    def add_directory(self, path: str, directory: Path) -> None:
        """Add every bundle ``*.pem`` and every ``name.crt`` with its ``name.key``."""
        try:
            names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
        except OSError as error:
            self._keep_last_good(path, f"{directory}/", error, _Rank.DIRECTORY)
            return
        there, wanted = frozenset(names), [name for name in names if name.endswith((".pem", ".crt"))]
        if not all(map(_is_text, wanted)):
            odd = next(name for name in wanted if not _is_text(name))
            self._warn(path, f"the name of the file {odd!a} is not UTF-8, so it is not served", "rename it")
            wanted = [name for name in wanted if _is_text(name)]
        for start in range(0, len(wanted), _NEIGHBOURS):
            near = wanted[start : start + _NEIGHBOURS]
            self._reader.approach(f"{directory}/{near[0]}", f"{directory}/{near[-1]}")
            for name in near:
                key = f"{name[:-4]}.key"
                self._add_file(path, f"{directory}/{name}", f"{directory}/{key}" if key in there else "")

    def _add_file(self, path: str, source: str, key: str) -> None:
        """Add a bundle, or a certificate whose key is beside it; what is neither may be there for others."""
        try:
            held = self._reader.recall(source, "", key)
            if held is None and not self._reader.exhausted:
                content, _ = file_status.read(source, MAX_BYTES + 1)
                if _KEY in content:
                    key = ""
                elif key:
                    content += file_status.read(key, MAX_BYTES + 1)[0]
                if missing := _missing(content):
                    self._pass_over(path, source, missing)
                    return
            if held is None:
                held = self._held(path, Files(source, key))
            elif held.problems:
                self._report(path, source, held.problems)
        except (OSError, CertificateError) as error:
            self._keep_last_good(path, source, error, _Rank.DIRECTORY)
            return
        if held:
            self._serve_all(held, source, _Rank.DIRECTORY)
        else:
            self._serve_last_good(source, _Rank.DIRECTORY)

    def _held(self, path: str, files: Files, domain: str = "", passphrase: bytes | None = None) -> Held | None:
        """What the files hold; None when there is no time to read them now. Raises OSError and CertificateError."""
        source = files.certificate
        held = None if passphrase else self._reader.recall(source, files.others)
        if held is None:
            if self._reader.exhausted:
                self._postponed += 1
                return None
            pair, reading = self._reader.read(files, passphrase)
            self._refuse_worse(source, pair, domain)
            held = self._reader.accept(pair, reading)
        return self._told(path, source, held)

    def _told(self, path: str, source: str, held: Held) -> Held:
        # An expired certificate is served all the same where there is nothing better.
        self._report(path, source, held.problems)
        return held

    def _pass_over(self, path: str, source: str, missing: str) -> None:
        """Leave a file alone that may be there for others, unless it is one that was served, half written."""
        if self._store and self._store.configured_from(source):
            self._keep_last_good(path, source, CertificateError(f"there is no {missing} in it"), _Rank.DIRECTORY)
        else:
            message = f"there is no {missing} in it, so it is not served"
            self._problems.append(Problem(Severity.NOTE, path, source, message))

    def default(self, server_name: str, *, any_name: bool = False) -> str | None:
        """Return the name that the default site shares its certificates with: the configured or the first one.

        With ``any_name`` a certificate was named for whoever matches nothing; it has no name.
        """
        if server_name in ("", "*"):
            return "" if any_name and "" in self._sites else self._first_valid()
        for name in _keys(server_name):
            if self._has(name):
                return name
        message = f"no certificate covers {server_name}, so the first certificate is the default"
        self._warn("http_server_options.server_name", message, "name a certificate that does")
        return self._first

    def _first_valid(self) -> str | None:
        """Return the first name that has a certificate which is valid now, else the first."""
        now = self._now.timestamp()
        for name, entries in islice(self._sites.items(), _FIRST):
            if any(self._validity(entry.pair).holds(now) for entry in entries):
                return name
        return self._first

    def miss_domains(self, domains: Iterable[tuple[str, str]]) -> None:
        """Warn of every domain that has no certificate. Patterns are left alone."""
        if self._first is None and not (self._store and self._store.has_put()):
            return  # there is more to say of it, where it is known what serves instead
        for path, domain in domains:
            if (names := _keys(domain)) and not any(map(self._has, names)):
                message = f"no certificate covers {domain}, so its clients get the default certificate"
                self._warn(path, message, "name one in ssl_certificates or certificates")

    def _has(self, name: str) -> bool:
        return name in self._sites or bool(self._store and self._store.has_put(name))

    def _referred(self, path: str, reference: str) -> Held | None:
        """What a reference stands for; None when that is not to be had, or not now."""
        source = source_of(reference)
        if is_copied_pem(reference):
            return None  # its definition cannot be read, which is told
        try:
            if is_store_id(reference):
                return self._told(path, source, self._stored(reference))
            if source == reference:
                return self._held(path, Files(reference))
            pair, warnings = parse_pair(reference.encode())
            problems = tuple(Problem(Severity.WARNING, "", "", warning) for warning in warnings)
            return self._told(path, source, Held(pair, pair.names, problems + check_dates(pair.chain, self._now)))
        except (OSError, CertificateError) as error:
            self._tell_unresolved(path, source, error)
            return None

    def _stored(self, certificate_id: str) -> Held:
        pair = self._store.stored_pair(certificate_id) if self._store else None
        if pair is None:
            raise CertificateError("the certificate store has no certificate with a key under this id; add it there")
        refuse_foreign_use(pair.leaf)
        said = tuple(Problem(Severity.WARNING, "", "", remark) for remark in remarks(pair.leaf))
        return Held(pair, pair.names, said + check_dates(pair.chain, self._now))

    def _keep_last_good(self, path: str, source: str, error: Exception, rank: _Rank, domain: str = "") -> None:
        self._tell_unresolved(path, source, error)
        self._serve_last_good(source, rank, domain)

    def _serve_last_good(self, source: str, rank: _Rank, domain: str = "", *, valid: bool = False) -> None:
        """Serve what the store has of a source: ``directory/`` is all files in it, ``domain`` what it is named for.

        With ``valid`` only what is valid now.
        """
        if not self._store:
            return
        entries = self._store.configured_from(source)
        if self._first is None:  # the default site stays with the name that it has, if that is one of these
            before = self._store.default_name()
            entries = sorted(entries, key=lambda entry: entry.name != before)
        for entry in entries:
            if valid and not self._validity(entry.pair).holds(self._now.timestamp()):
                continue
            own = bool(domain) and entry.name == domain
            try:
                pair = self._store.pair(entry.pair.material) if self._anew else entry.pair
            except CertificateError as error:
                self._tell_unresolved("", entry.source, error)
                continue
            self._serve(entry.name, pair, entry.source, _Rank.DOMAIN_NAME if own else rank)

    def _tell_unresolved(self, path: str, source: str, error: Exception) -> None:
        message, cure = str(error), ""
        if isinstance(error, OSError):
            source = str(error.filename or source)
            message, cure = f"cannot be read: {error.strerror}", "check the path and who may read the file"
        problem = Problem(Severity.WARNING, path, source, message, cure)
        self._problems.append(problem)
        self._unresolved.append(problem)

    def _serve_all(self, held: Held, source: str, rank: _Rank, domain: str = "") -> None:
        if held.early:  # what the same place had before serves on until then
            self._serve_last_good(source, rank, domain, valid=True)
        # A certificate without any name can still be the default site's.
        for name in held.names or ([""] if self._first is None else []):
            self._serve(name, held.pair, source, rank)

    def _serve(self, name: str, pair: CertificatePair | Kept, source: str, rank: _Rank) -> None:
        if self._first is None:
            self._first = name
        entry = SiteEntry(name, pair, source, rank)
        known = self._sites.get(name)
        if known is None:
            self._sites[name] = [entry]
        elif entry not in known:  # one file may be named for an API and in general
            known.append(entry)

    def _validity(self, pair: CertificatePair | Kept) -> Validity:
        if isinstance(pair, CertificatePair):
            return Validity.of(pair.leaf)
        assert self._store is not None, "only a store remembers"
        return self._store.validity(pair.material)

    def _tell_hidden(self) -> None:
        """Tell for whom what was put at runtime serves instead."""
        hidden: dict[str, list[str]] = {}
        put = self._store.hidden() if self._store else frozenset[str]()
        for name in put & self._sites.keys():
            for entry in self._sites[name]:
                hidden.setdefault(entry.source, []).append(name)
        for source, names in sorted(hidden.items())[:_TOLD]:
            message = f"what was put over the admin API serves instead for {listed(sorted(names))}"
            self._problems.append(Problem(Severity.NOTE, "certificates", source, message))

    def _refuse_worse(self, source: str, pair: CertificatePair, domain: str) -> None:
        """Refuse a pair that clients would refuse, if the one that is served from the same place is none such."""
        fault = self._fault(pair, domain)
        if not fault or not self._store or self._now < pair.not_before:
            return
        for entry in self._store.configured_from(source):
            served = self._store.pair(entry.pair.material)
            if served.fingerprint != pair.fingerprint and not self._fault(served, domain):
                raise CertificateError(f"{fault}, while the one that is served is good")

    def _fault(self, pair: CertificatePair, domain: str) -> str:
        """Why clients of ``domain`` ("" for none in particular) refuse the pair today, if they do."""
        if not pair.not_before <= self._now <= pair.not_after:
            return f"the certificate is valid from {pair.not_before:%Y-%m-%d} to {pair.not_after:%Y-%m-%d} only"
        wrong = check_names(pair.names, domain) if domain else ()
        return wrong[0].message if wrong else ""

    def _report(self, path: str, source: str, problems: Iterable[Problem]) -> None:
        """Warn of the problems of a file, once, however many places name the file."""
        for problem in problems:
            place = problem.source or source
            if (place, problem.message) in self._told_of:
                continue
            self._told_of.add((place, problem.message))
            self._problems.append(replace(problem, severity=Severity.WARNING, path=path, source=place))

    def _warn(self, path: str, message: str, cure: str) -> None:
        self._problems.append(Problem(Severity.WARNING, path, "", message, cure))


def _keys(name: str) -> tuple[str, ...]:
    """The names under which a certificate for ``name`` may stand; () for none and for patterns."""
    try:
        return candidates(canonical(name))
    except ValueError:
        return ()


def _is_text(name: str) -> bool:
    return name.isascii() or name.encode(errors="replace").decode() == name


def _missing(pem: bytes) -> str:
    """Which half of a pair is not in there: "" when both seem to be."""
    if b"CERTIFICATE-----" not in pem:
        return "certificate"
    return "" if _KEY in pem else "private key"
