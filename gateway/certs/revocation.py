"""Certificate revocation lists (RFC 5280 section 5): which certificates of an issuer no longer count."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.certs import loading
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_BYTES = 4 << 20
"""The largest list that is read: about 100,000 revoked certificates."""

_SIGNERS = 64
_PEM = b"-----BEGIN X509 CRL-----"


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What an issuer says is revoked: the serial numbers. ``next_update`` is until when it says so; None: for ever.

    ``digest`` names the list as a whole.
    """

    issuer: x509.Name
    serials: frozenset[int] = field(repr=False)
    this_update: datetime
    next_update: datetime | None
    signed: x509.CertificateRevocationList = field(repr=False, compare=False)
    digest: str
    _signers: dict[x509.Certificate, bool] = field(default_factory=dict, repr=False, compare=False)

    @property
    def pem(self) -> bytes:
        """The list as it is kept."""
        return self.signed.public_bytes(Encoding.PEM)

    def is_signed_by(self, issuer: x509.Certificate) -> bool:
        """Whether the issuer's key has signed it, and the issuer is named in it."""
        known = self._signers.get(issuer)
        if known is None:  # a list of some megabytes takes milliseconds
            if len(self._signers) >= _SIGNERS:
                self._signers.clear()
            known = self._signers[issuer] = issuer.subject == self.issuer and self._is_signed_by(issuer)
        return known

    def _is_signed_by(self, issuer: x509.Certificate) -> bool:
        try:
            with loading.reading("the issuer"):
                return self.signed.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # the rest: TypeError
        except CertificateError:
            return False

    def is_over(self, now: datetime) -> bool:
        """Whether the issuer should have published the next one."""
        return self.next_update is not None and now > self.next_update


def read_crl(data: bytes) -> RevocationList:
    """Read a list in PEM or DER; who signed it is not looked at. Raises CertificateError.

    Lists that only say what changed, or speak for other issuers, are refused: a certificate would seem good by them.
    """
    if len(data) > MAX_BYTES:
        raise CertificateError(f"the revocation list is over {MAX_BYTES} bytes")
    start = data.find(_PEM)
    signed = loading.revocation_list(data[max(start, 0) :])
    with loading.reading("the revocation list"):
        for extension in signed.extensions:
            if isinstance(extension.value, x509.IssuingDistributionPoint):
                _refuse_partial(extension.value)
            elif isinstance(extension.value, x509.DeltaCRLIndicator):
                raise CertificateError("this is a delta list, which says only what changed; give the complete one")
            elif extension.critical:
                raise CertificateError(f"the list has a critical extension, {extension.oid.dotted_string}, not known")
        serials = frozenset(entry.serial_number for entry in signed)
        digest = signed.fingerprint(SHA256()).hex()
        signed.issuer.rfc4514_string()  # which is shown
        return RevocationList(signed.issuer, serials, signed.last_update_utc, signed.next_update_utc, signed, digest)


@lru_cache(maxsize=32)
def kept_crl(pem: str) -> RevocationList:
    """Return a list that was read before and is kept in PEM; most configurations only repeat that of before."""
    return read_crl(pem.encode(errors="replace"))


def readable(kept: Mapping[str, str]) -> dict[str, RevocationList]:
    """Return the lists of those that are kept in PEM which can be read, by their names."""
    found = {}
    for name, pem in kept.items():
        with suppress(CertificateError):
            found[name] = kept_crl(pem)
    return found


def _refuse_partial(scope: x509.IssuingDistributionPoint) -> None:
    partial = scope.only_contains_ca_certs or scope.only_contains_attribute_certs or scope.only_some_reasons
    if scope.indirect_crl or partial:
        raise CertificateError("the list speaks for some certificates or reasons only; give the complete one")
