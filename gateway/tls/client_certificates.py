"""Whom a list of certificates lets in: the decision, the same in a handshake and at each request.

A client is recognised by the one certificate whose key it has proved to hold, the leaf. That is listed itself, or its
public key is, or it comes through a verified chain from a listed authority; of what else a client sends, nothing is
ever taken for it. In all three cases the certificate must be one for clients, and its issuer must not have revoked it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from OpenSSL._util import lib

from gateway.certs.describe import extension, fingerprint, is_ca
from gateway.certs.loading import key_of, reading
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.certs.revocation import RevocationList
    from gateway.certs.trusted import Trusted

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL does not name
# For so long a decision is not taken anew; whatever has an end of its own is looked at in time.
_REMEMBERED = timedelta(minutes=1)
_LISTS_REMEMBERED = 16


class Standing(Enum):
    """What becomes of a certificate."""

    ALLOWED = auto()
    UNLISTED = auto()
    EXPIRED = auto()
    REVOKED = auto()
    UNSURE = auto()  # the issuer's revocation list is too old


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a certificate until a moment, seconds since 1970; ``chain`` are those that vouch for it."""

    standing: Standing
    until: float
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Revocations:
    """The revocation lists. ``strict``: by one that is over, nobody is good. ``missing``: one could not be read at all.

    ``authorities`` are all that are listed anywhere: they tell whether a list is genuine that a certificate's issuer
    would have to be asked about who is not in its chain.
    """

    lists: tuple[RevocationList, ...] = ()
    strict: bool = True
    authorities: tuple[x509.Certificate, ...] = ()
    missing: bool = False

    def standing(self, chain: Sequence[x509.Certificate], now: datetime) -> Standing:
        """Tell whether all of a chain, leaf first, are good; the last one is trusted, unless it is the leaf."""
        found = Standing.UNSURE if self.missing else Standing.ALLOWED
        for place, certificate in enumerate(chain[:-1] or chain):
            issuers = chain[place + 1 : place + 2] or self.authorities
            for revoked in self.lists:
                if revoked.issuer != certificate.issuer or not any(map(revoked.is_signed_by, issuers)):
                    continue
                if certificate.serial_number in revoked.serials:
                    return Standing.REVOKED
                if self.strict and revoked.is_over(now):
                    found = Standing.UNSURE
        return found


class AllowList:
    """Who is let in. Two that say the same are equal."""

    __slots__ = ("_stores", "authorities", "digest", "keys", "pins", "revocations")

    def __init__(self, listed: Iterable[Trusted], revocations: Revocations) -> None:
        listed = tuple(listed)
        self.pins = {fingerprint(one.pin): one.pin for one in listed if one.pin is not None}
        self.keys = frozenset(one.key for one in listed if one.key is not None)
        self.authorities = tuple(dict.fromkeys(ca for one in listed for ca in one.authorities))
        self.revocations = revocations
        said = sha256(repr((sorted(self.pins), sorted(self.keys))).encode())
        for part in sorted(map(fingerprint, self.authorities)):
            said.update(part.encode())
        for one in revocations.lists:
            said.update(one.digest.encode())
        said.update(b"strict" if revocations.strict else b"")
        said.update(b"missing" if revocations.missing else b"")
        self.digest = said.hexdigest()
        self._stores: dict[int, crypto.X509Store] = {}

    def __eq__(self, other: object) -> bool:
        """Compare what they say."""
        return isinstance(other, AllowList) and self.digest == other.digest

    def __hash__(self) -> int:
        """Hash what it says."""
        return hash(self.digest)

    def __repr__(self) -> str:
        """Name it, without a word of who is listed."""
        return f"<AllowList {self.digest[:16]}>"

    @property
    def issuers(self) -> tuple[x509.Name, ...]:
        """Whose certificates a client may have; () when that is not known, because bare keys are listed."""
        if self.keys:
            return ()
        own = [pin.issuer for pin in self.pins.values() if pin not in self.authorities]
        return tuple(dict.fromkeys([*(ca.subject for ca in self.authorities), *own]))

    def trust(self, store: crypto.X509Store, flags: int = 0) -> crypto.X509Store:
        """Have a store of OpenSSL's trust the authorities, roots or not, for what they signed for clients."""
        for authority in self.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | flags)
        lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_CLIENT)  # noqa: SLF001 - pyOpenSSL has no name for it
        return store

    def judge(self, leaf: x509.Certificate, others: Sequence[x509.Certificate], now: datetime) -> Verdict:
        """Decide about the certificate of a client, which has sent ``others`` with it."""
        try:
            with reading("the client's certificate"):
                standing, chain = self._judge(leaf, others, now)
                end = leaf.not_valid_after_utc
                _ = [(one.issuer, one.subject) for one in chain]  # at which requests look
        except CertificateError:
            standing, chain, end = Standing.UNLISTED, (), now
        until = now + _REMEMBERED
        return Verdict(standing, (min(until, end) if standing is Standing.ALLOWED else until).timestamp(), chain)

    def _judge(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate], now: datetime
    ) -> tuple[Standing, tuple[x509.Certificate, ...]]:
        if fingerprint(leaf) in self.pins or (self.keys and key_of(leaf) in self.keys):
            if not is_for_clients(leaf) or now < leaf.not_valid_before_utc:
                return Standing.UNLISTED, ()
            chain: tuple[x509.Certificate, ...] = ()
            expired = now > leaf.not_valid_after_utc
        else:
            # A CA that is not listed is no client, though one that is listed may have signed it.
            found = None if is_ca(leaf) else self._verified(leaf, others)
            if found is None:
                return Standing.UNLISTED, ()
            chain, expired = found
        standing = self.revocations.standing((leaf, *chain), now)
        return (Standing.EXPIRED if expired and standing is not Standing.REVOKED else standing), chain

    def _verified(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate]
    ) -> tuple[tuple[x509.Certificate, ...], bool] | None:
        """The chain from the leaf's issuer to an authority, and whether the leaf has expired; None without a chain."""
        if not self.authorities:
            return None
        expired = False
        try:
            chain = self._chain(leaf, others, 0)
        except crypto.X509StoreContextError as error:
            code, depth, *_ = error.errors
            if (code, depth) != (lib.X509_V_ERR_CERT_HAS_EXPIRED, 0):
                return None
            try:
                chain = self._chain(leaf, others, _NO_CHECK_TIME)
            except crypto.X509StoreContextError:
                return None
            expired = True
        if any(isinstance(one.signature_hash_algorithm, MD5 | SHA1) for one in (leaf, *chain[:-1])):
            return None
        return chain, expired

    def _chain(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate], flags: int
    ) -> tuple[x509.Certificate, ...]:
        store = self._stores.get(flags)
        if store is None:
            store = self._stores[flags] = self.trust(crypto.X509Store(), flags)
        sent = list(map(crypto.X509.from_cryptography, others))
        context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), sent)
        return tuple(one.to_cryptography() for one in context.get_verified_chain()[1:])


class ClientCertificate:
    """The certificate of a connection's client, which has proved to hold its key, and what it sent along."""

    __slots__ = ("_others", "_verdicts", "fingerprint", "leaf")

    def __init__(self, leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> None:
        self.leaf = leaf
        self._others = others
        self._verdicts: dict[AllowList, Verdict] = {}
        self.fingerprint = fingerprint(leaf)

    def judged(self, allowed: AllowList) -> Verdict:
        """Decide by a list, as of now."""
        now = time()
        verdict = self._verdicts.get(allowed)
        if verdict is None or now > verdict.until:
            verdict = allowed.judge(self.leaf, self._others, datetime.fromtimestamp(now, UTC))
            self.remember(allowed, verdict)
        return verdict

    def remember(self, allowed: AllowList, verdict: Verdict) -> None:
        """Keep what was decided."""
        if len(self._verdicts) >= _LISTS_REMEMBERED:
            self._verdicts.clear()
        self._verdicts[allowed] = verdict


def is_for_clients(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may authenticate a client (RFC 5280 sections 4.2.1.3 and 4.2.1.12)."""
    bits = extension(certificate, x509.KeyUsage)
    if bits is not None and not (bits.digital_signature or bits.key_agreement):
        return False
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    wanted = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    return purposes is None or bool(wanted & {*purposes})
