"""From what a configuration names to recognise clients by, in files, inline or in the store, to what is found there.

A file that cannot be read keeps its last good content, which the present generation has. An id of the store that is
gone was withdrawn, and lets nobody in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.certs import blocks, revocation
from gateway.certs.dates import check_dates
from gateway.certs.revocation import RevocationList, read_crl
from gateway.certs.trusted import Trusted, read_trusted
from gateway.config.client_trust import ClientTrust, references
from gateway.config.kinds import is_inline_pem, is_store_id, source_of
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.store import file_status
from gateway.tls.client_certificates import is_for_clients

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from gateway.config.load import Configuration
    from gateway.store.sqlite import Store

_CRLS = "gateway.client_crls"


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found, and what is wrong; ``unresolved`` are the problems that say that something could not be read."""

    trust: ClientTrust
    problems: tuple[Problem, ...]
    unresolved: tuple[Problem, ...]


def collect(configuration: Configuration, now: datetime, store: Store | None) -> Collected:
    """Find everything, as of ``now`` (aware). Raises StoreError when ``store`` cannot be read."""
    return _Collection(now, store).collected(configuration)


def check_crl(crl: RevocationList, authorities: Sequence[x509.Certificate], now: datetime) -> tuple[str, ...]:
    """What should be known of a revocation list. Raises CertificateError when a listed CA is named and has not signed.

    ``authorities`` are those that are listed.
    """
    named = [authority for authority in authorities if authority.subject == crl.issuer]
    if named and not any(map(crl.is_signed_by, named)):
        raise CertificateError(f"the revocation list names {crl.issuer.rfc4514_string()}, whose key has not signed it")
    warnings = []
    if not named:
        warnings.append(
            f"no listed CA is {crl.issuer.rfc4514_string()}, so the revocation list counts only where a client's chain"
            " has that CA in it"
        )
    if crl.is_over(now):
        warnings.append(f"the revocation list of {crl.issuer.rfc4514_string()} is past its nextUpdate")
    return tuple(warnings)


class _Collection:
    def __init__(self, now: datetime, store: Store | None) -> None:
        self._now = now
        self._store = store
        self._problems: list[Problem] = []
        self._unresolved: list[Problem] = []
        self._found: dict[str, str] = {}
        self._authorities: list[x509.Certificate] = []

    def collected(self, configuration: Configuration) -> Collected:
        seen = set()
        for place, reference in references(configuration.settings, configuration.apis):
            if reference not in seen:  # one file may serve a thousand APIs
                seen.add(reference)
                self._take(place, reference)
        crls = {
            str(path): pem
            for index, path in enumerate(configuration.settings.gateway.client_crls)
            if (pem := self._crl(f"{_CRLS}[{index}]", path))
        }
        files = map(str, configuration.settings.gateway.client_crls)
        missing = tuple(path for path in files if path not in crls)
        return Collected(
            ClientTrust(found=self._found, crls=crls, missing=missing), tuple(self._problems), tuple(self._unresolved)
        )

    def _take(self, place: str, reference: str) -> None:
        source = source_of(reference)
        try:
            trusted = self._read(reference)
        except (OSError, CertificateError) as error:
            last = None if is_store_id(reference) else self._last.found.get(reference)
            self._unread(place, source, error, "its last content counts" if last else "nobody gets in by it")
            if not last:
                return
            trusted = read_trusted(last.encode())
        if source == reference:
            self._found[reference] = trusted.pem
        self._authorities += trusted.authorities
        self._report(place, source, trusted)

    def _read(self, reference: str) -> Trusted:
        if is_inline_pem(reference):
            return read_trusted(reference.encode())
        if is_store_id(reference):
            stored = self._store.certificate(reference) if self._store else None
            if stored is None:
                raise CertificateError("the certificate store has nothing under this id")
            return read_trusted(stored.pem)
        return read_trusted(file_status.read(reference, blocks.MAX_BYTES + 1)[0])

    def _crl(self, place: str, path: Path) -> str | None:
        found: str | None
        try:
            crl = read_crl(file_status.read(str(path), revocation.MAX_BYTES + 1)[0])
            warnings = check_crl(crl, self._authorities, self._now)
            found = crl.pem.decode()
        except (OSError, CertificateError) as error:
            found, warnings = self._last.crls.get(str(path)), ()
            consequence = "its last content counts" if found else "no client gets in by a certificate until it can"
            self._unread(place, str(path), error, consequence)
        for warning in warnings:
            self._problems.append(Problem(Severity.WARNING, place, str(path), warning, "have its CA publish a new one"))
        return found

    @cached_property
    def _last(self) -> ClientTrust:
        """What the present generation has; asked for only where something cannot be read."""
        configuration = self._store.last_good() if self._store else None
        return configuration.client_trust if configuration else ClientTrust()

    def _report(self, place: str, source: str, trusted: Trusted) -> None:
        pin = trusted.pin
        if pin is None:
            return
        said = [
            (problem.message, "take it off the list, or list the new one") for problem in check_dates([pin], self._now)
        ]
        if pin not in trusted.authorities and not trusted.authorities and not is_for_clients(pin):
            said.append(("is not for clients by its key usage, so nobody gets in by it", "list one that is"))
        self._problems += [Problem(Severity.WARNING, place, source, message, cure) for message, cure in said]

    def _unread(self, place: str, source: str, error: Exception, consequence: str) -> None:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        problem = Problem(
            Severity.WARNING, place, source, f"{reason}; {consequence}", "correct it, or take it off the list"
        )
        self._problems.append(problem)
        self._unresolved.append(problem)
