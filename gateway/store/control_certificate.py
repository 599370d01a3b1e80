"""The certificate of the control port: from what the configuration names to what the store keeps, and back.

What is shown is kept in the store under a name of its own, sealed like every other, so that the port comes back
with its last good certificate whatever has become of a file, or of the domain whose certificate it shares.
"""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from gateway.certs.blocks import MAX_BYTES
from gateway.certs.choice import Choice, Validity, best
from gateway.certs.dates import check_dates
from gateway.certs.pem import CertificatePair, parse_pair, refuse_foreign_use
from gateway.config.kinds import is_inline_pem, is_store_id, source_of
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.store import file_status
from gateway.store.file_sources import Collected
from gateway.store.sites import CONTROL_PORT, SiteEntry
from gateway.tls import trial
from gateway.tls.names import candidates, canonical

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.config.settings import ControlTls
    from gateway.store.materials import Kept
    from gateway.store.sites import Served
    from gateway.store.sqlite import Store
    from gateway.tls.policy import TlsPolicy

_KEY = "gateway.control_tls"
_NOTHING = Collected((), None, ())


def collect(
    wanted: ControlTls | None, sites: Sequence[SiteEntry], now: datetime, policy: TlsPolicy, store: Store | None
) -> Collected:
    """Find the certificates that the control port is to show under ``policy``, as of ``now`` (aware).

    ``sites`` are those that the configuration serves. What is unusable leaves the last good ones, which ``store``
    has, and is an error only where there are none. Raises StoreError.
    """
    if wanted is None:
        return _NOTHING
    key, source = ("domain", wanted.domain) if wanted.domain else ("certificate", str(wanted.certificate))
    place = f"{_KEY}.{key}", source_of(source)
    last = tuple(pair for pair in _last(store) if not _fault(pair, policy))
    unresolved: tuple[Problem, ...] = ()
    try:
        pairs = _of_domain(source, sites, now, store) if wanted.domain else (_referred(source, store),)
        _refuse_unusable(pairs, last, now, policy)
        if any(now < pair.not_before for pair in pairs):
            pairs = *last, *pairs  # the store chooses between them when the time has come
    except (OSError, CertificateError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        severity = Severity.WARNING if last else Severity.ERROR
        cure = "the control port keeps its last good certificate" if last else "name one that it can show"
        unresolved, pairs = (Problem(severity, *place, reason, cure),), last
    said = [problem for pair in pairs for problem in check_dates(pair.chain, now)] + _exposed(source)
    problems = *unresolved, *(Problem(Severity.WARNING, *place, one.message, one.cure) for one in said)
    return Collected(tuple(SiteEntry(CONTROL_PORT, pair, _KEY) for pair in pairs), None, problems, unresolved)


def _last(store: Store | None) -> tuple[CertificatePair, ...]:
    try:
        return store.find(CONTROL_PORT) if store else ()
    except CertificateError:  # damaged, and written anew
        return ()


def find(wanted: ControlTls, store: Store) -> Choice[CertificatePair]:
    """Return the certificates that the control port shows now, and until when. Raises StoreError."""
    return best(map(store.choose, _names(wanted)))


def served(wanted: ControlTls, store: Store) -> tuple[Served, ...]:
    """Return what `find` finds, without keys. Raises StoreError."""
    now = time.time()
    found = list(filter(None, map(store.served, _names(wanted))))
    return min(found, key=lambda some: not Validity.of(some[0].leaf).holds(now), default=())


def _names(wanted: ControlTls) -> tuple[str, ...]:
    return (*_candidates(wanted.domain), CONTROL_PORT)


def _candidates(domain: str) -> tuple[str, ...]:
    try:
        return candidates(canonical(domain)) if domain else ()
    except ValueError:
        return ()


def _of_domain(
    domain: str, sites: Sequence[SiteEntry], now: datetime, store: Store | None
) -> tuple[CertificatePair, ...]:
    """Return the certificates of a domain: valid ones first, then those that were put for a name."""
    found: list[tuple[CertificatePair, ...]] = []
    for name in _candidates(domain):
        if store and store.has_put(name):
            found.append(store.find(name))
        found.append(tuple(_whole(entry.pair, store) for entry in sites if entry.name == name))
    if not any(found):
        raise CertificateError(f"there is no certificate for {domain}")
    return min(filter(None, found), key=lambda pairs: not all(_is_current(pair, now) for pair in pairs))


def _whole(pair: CertificatePair | Kept, store: Store | None) -> CertificatePair:
    if isinstance(pair, CertificatePair):
        return pair
    assert store is not None, "only a store remembers"
    return store.pair(pair.material)


def _referred(reference: str, store: Store | None) -> CertificatePair:
    if is_store_id(reference):
        pair = store.stored_pair(reference) if store else None
        if pair is None:
            raise CertificateError("the certificate store has no certificate with a key under this id")
        refuse_foreign_use(pair.leaf)
        return pair
    if is_inline_pem(reference):
        return parse_pair(reference.encode())[0]
    return parse_pair(file_status.read(reference, MAX_BYTES + 1)[0])[0]


def _exposed(reference: str) -> list[Problem]:
    """A warning when everybody may read the file, if it is one."""
    mode, *_ = file_status.status_of(reference) or (0,)
    if is_inline_pem(reference) or not stat.S_ISREG(mode) or not mode & 0o007:
        return []
    said = "every user of this host can read the private key"
    return [Problem(Severity.WARNING, "", "", said, f"chmod o= {reference}")]


def _refuse_unusable(
    pairs: Sequence[CertificatePair], last: Sequence[CertificatePair], now: datetime, policy: TlsPolicy
) -> None:
    """Refuse what OpenSSL will not show, and what has expired where the last one has not."""
    for pair in pairs:
        if fault := _fault(pair, policy):
            raise CertificateError(fault)
        if now > pair.not_after and any(_is_current(other, now) for other in last):
            raise CertificateError(f"it expired on {pair.not_after:%Y-%m-%d}, while the last one is good")


def _fault(pair: CertificatePair, policy: TlsPolicy) -> str:
    """Why OpenSSL would not show it; "" when it would."""
    try:
        trial.attempt("control-port", pair, policy)
    except CertificateError as error:
        return str(error)
    return ""


def _is_current(pair: CertificatePair, now: datetime) -> bool:
    return pair.not_before <= now <= pair.not_after
