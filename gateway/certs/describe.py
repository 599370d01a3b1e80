"""What one certificate says about itself, read once for every place that shows or judges it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from gateway.certs.loading import reading
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from datetime import datetime

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_SIGNATURES = {
    oid: name.lower() for name, oid in vars(SignatureAlgorithmOID).items() if isinstance(oid, x509.ObjectIdentifier)
}
# A-labels, the underscore of internal names, and a wildcard as the whole left-most label (RFC 9525, 6.3).
_DNS_NAME = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Description:
    """One certificate in words. ``days_left`` is rounded down, and negative once it has expired."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    serial: str
    not_before: datetime
    not_after: datetime
    days_left: int
    key_type: str
    key_bits: int
    signature_algorithm: str
    fingerprint: str
    is_ca: bool


def describe(certificate: x509.Certificate, now: datetime) -> Description:
    """Describe ``certificate``, which `loading.certificate` has read, as of ``now`` (aware)."""
    key_type, key_bits = key_size(certificate)
    oid = certificate.signature_algorithm_oid
    return Description(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=names(certificate),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        days_left=(certificate.not_valid_after_utc - now).days,
        key_type=key_type,
        key_bits=key_bits,
        signature_algorithm=_SIGNATURES.get(oid, oid.dotted_string),
        fingerprint=fingerprint(certificate),
        is_ca=is_ca(certificate),
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of the DER form, in lower-case hex: how a certificate is named everywhere."""
    return certificate.fingerprint(SHA256()).hex()


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's common name, "" when it has none."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names that clients accept it for: DNS names in lower case, then IP addresses, each once.

    The common name counts only when there is no subject alternative name at all, as in Tyk; clients stopped
    reading it long ago (RFC 9525 section 2). What is not a host name is left out.
    """
    san = extension(certificate, x509.SubjectAlternativeName)
    if san is None:
        dns = [str(entry.value) for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        addresses = []
    else:
        dns = san.get_values_for_type(x509.DNSName)
        addresses = [str(value) for value in san.get_values_for_type(x509.IPAddress)]
    plain = (name.lower().removesuffix(".") for name in dns)
    return tuple(dict.fromkeys([*filter(_DNS_NAME.fullmatch, plain), *addresses]))


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether it may sign others."""
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """The extension of that kind, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def key_size(certificate: x509.Certificate) -> tuple[str, int]:
    """Return what kind of key it is for, in Tyk's and OpenSSL's words, and the key's size in bits.

    A kind that the library does not know is "unknown", of 0 bits.
    """
    try:
        with reading("the public key"):
            key = certificate.public_key()
    except CertificateError:
        return "unknown", 0
    match key:
        case rsa.RSAPublicKey():
            return "rsa", key.key_size
        case ec.EllipticCurvePublicKey():
            return "ec", key.key_size
        case ed25519.Ed25519PublicKey():
            return "ed25519", 256
        case _:
            return type(key).__name__.removesuffix("PublicKey").lower(), 0
