"""What clients are recognised by: certificates without keys, authorities, and bare public keys."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from gateway.certs import describe
from gateway.certs.blocks import instead, read_blocks
from gateway.errors import CertificateError

_MOST = 200


@dataclass(frozen=True, slots=True)
class Trusted:
    """One thing that is named in a list of client certificates.

    ``pin`` is a certificate that is accepted itself, ``authorities`` accept whatever they have signed, and ``key`` is
    a public key (SubjectPublicKeyInfo) of which every certificate is accepted.
    """

    pin: x509.Certificate | None = None
    authorities: tuple[x509.Certificate, ...] = ()
    key: bytes | None = None
    pem: str = ""


def read_trusted(data: bytes) -> Trusted:
    """Read PEM, or one certificate in DER. Raises CertificateError.

    As in Tyk, a certificate alone is accepted itself, and if it is a CA, so are those that it signed; in a chain the
    CAs count for what they signed, and the first certificate for itself.
    """
    if data.startswith(b"\x30"):
        certificates = [_certificate(data, pem=False)]
    else:
        blocks = read_blocks(data)
        keys = [block.pem for block in blocks if block.label == "PUBLIC KEY"]
        certificates = [_certificate(block.pem, pem=True) for block in blocks if block.is_certificate]
        if keys and not certificates:
            if len(keys) > 1:
                raise CertificateError(f"{len(keys)} public keys were given; name each by itself")
            return Trusted(key=_public_key(keys[0]), pem=keys[0].decode())
        if not certificates:
            raise CertificateError(f"no certificate and no public key was given{instead(blocks)}")
        if len(certificates) > _MOST:
            raise CertificateError(f"{len(certificates)} certificates were given; name at most {_MOST} at once")
    try:
        authorities = tuple(one for one in certificates if describe.is_ca(one))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateError("a certificate has fields that cannot be read") from error
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
    return Trusted(certificates[0], authorities, pem=pem.decode())


def _certificate(data: bytes, *, pem: bool) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise CertificateError("a certificate is damaged; give the file whole and unedited") from error


def _public_key(pem: bytes) -> bytes:
    try:
        return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("the public key is damaged, or of a kind that is not known") from error
