"""Certificates, revocation lists and keys from bytes: the only file that asks the library for them.

The library raises much more than ValueError: some of it late, when a field of a certificate is first read, and some of
it as a warning. This file turns all of it into CertificateError. A certificate that `certificate` returns can be
described and compared without further care. Peers' certificates come from OpenSSL and are read within `reading`.
"""

from __future__ import annotations

import base64
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.certs import der
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_DAMAGED = "is damaged; give the file whole and unedited"
_PEM, _TRUSTED = b"-----BEGIN ", b"-----BEGIN TRUSTED CERTIFICATE-----"

# A key that takes longer than a second or two to open is an attempt to tie us up. OpenSSL writes 2,048 rounds of PBKDF2
# and 16 MiB of scrypt; NIST and OWASP ask for up to 1,300,000 rounds and 128 MiB.
_MOST_ROUNDS = 2_000_000
_MOST_SCRYPT = 1 << 21
_MOST_SCRYPT_BYTES = 128 << 20

# What a later version of the library will refuse, and what X.520 bounds: a stranger's certificate is no news.
for _message in ("Parsed a serial number", "Invalid ASN.1", "Attribute's length"):
    warnings.filterwarnings("ignore", message=_message, category=UserWarning)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever the library raises while something is read into CertificateError: "``what`` cannot be read"."""
    try:
        yield
    except CertificateError:
        raise
    except Exception as error:
        raise CertificateError(f"{what} has fields that cannot be read; ask its issuer for a new one") from error
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # the Rust part of the library gave up: no Exception to Python
            raise
        raise CertificateError(f"{what} cannot be read") from error


def certificate(data: bytes, what: str = "the certificate") -> x509.Certificate:
    """Read a certificate, PEM or DER, whose dates, names and extensions can be read as well.

    OpenSSL's trusted certificates are read without what they are trusted for. The public key and the signature may be
    of kinds that are not known. Raises CertificateError.
    """
    found = peer_certificate(data, what)
    with reading(what):
        describable(found)
    return found


def peer_certificate(data: bytes, what: str = "the certificate") -> x509.Certificate:
    """Read the certificate of a peer, whose fields may still be unreadable: look at them within `reading`.

    Raises CertificateError.
    """
    try:
        with reading(what):
            if data.startswith(_TRUSTED):
                data = der.first(body(data))
            return x509.load_pem_x509_certificate(data) if _PEM in data else x509.load_der_x509_certificate(data)
    except CertificateError as error:
        cause = error.__cause__
        if isinstance(cause, x509.InvalidVersion):
            raise CertificateError(f"{what} is of a version of X.509 that does not exist") from cause
        raise CertificateError(f"{what} {_DAMAGED}") from cause


def certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates that the gateway itself has written one after the other. Raises CertificateError."""
    with reading("a certificate"):
        return tuple(x509.load_pem_x509_certificates(pem))


def describable(found: x509.Certificate) -> None:
    """Look at everything that is shown or compared of a certificate; raises whatever the library does."""
    _ = (found.version, found.serial_number, found.not_valid_before_utc, found.not_valid_after_utc, found.extensions)
    _ = (found.issuer.rfc4514_string(), found.subject.rfc4514_string(), found.signature_algorithm_oid)


def revocation_list(data: bytes) -> x509.CertificateRevocationList:
    """Read a revocation list, PEM (from its first line on) or DER. Raises CertificateError."""
    try:
        with reading("the revocation list"):
            return x509.load_pem_x509_crl(data) if data.startswith(_PEM) else x509.load_der_x509_crl(data)
    except CertificateError as error:
        raise CertificateError("this is not a certificate revocation list, or a damaged one") from error.__cause__


def public_key(pem: bytes) -> bytes:
    """Read a public key; return it as SubjectPublicKeyInfo (DER). Raises CertificateError."""
    try:
        with reading("the public key"):
            return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except CertificateError as error:
        raise CertificateError("the public key is damaged, or of a kind that is not known") from error.__cause__


def key_of(found: x509.Certificate) -> bytes:
    """Return the public key of a certificate as `public_key` does. Raises CertificateError when it is not known."""
    with reading("the certificate"):
        return found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def private_key(pem: bytes, passphrase: bytes | None = None) -> PrivateKeyTypes:
    """Read a private key; RSA's numbers are not proven to fit (`pem.parse_pair` does). Takes time if it is encrypted.

    Raises CertificateError, also for a key that would take very long to open.
    """
    if passphrase is not None:
        refuse_costly(pem)
    with reading("the private key"):
        return load_pem_private_key(pem, passphrase, unsafe_skip_rsa_key_validation=True)


def refuse_costly(pem: bytes) -> None:
    """Refuse an encrypted key whose derivation (RFC 8018, RFC 7914) was made to cost too much.

    Raises CertificateError.
    """
    try:
        scheme = der.first(der.content(body(pem)))
        numbers = der.integers(scheme)
    except ValueError:
        return  # no PKCS#8: the traditional encryption of PEM costs next to nothing, and the rest will not be read
    if der.SCRYPT in scheme:
        cost, block, parallel, *_ = (*numbers, 1, 1, 1)
        costly = cost * block * 128 > _MOST_SCRYPT_BYTES or cost * block * parallel > _MOST_SCRYPT
    else:
        costly = max(numbers, default=0) > _MOST_ROUNDS
    if costly:
        raise CertificateError(
            "the private key is encrypted in a way that takes too long to open; encrypt it anew: openssl pkcs8 -topk8"
        )


def has_explicit_curve(pem: bytes) -> bool:
    """Tell whether a key, in one PEM block that is not encrypted, has the parameters of its curve written out."""
    try:
        return der.has_explicit_curve(body(pem))
    except ValueError:
        return False


def body(pem: bytes) -> bytes:
    """Return the DER form of one PEM block without headers. Raises ValueError."""
    lines = pem.split(b"-----")
    if len(lines) != 5:
        raise ValueError("not one PEM block")
    return base64.b64decode(lines[2], validate=False)
