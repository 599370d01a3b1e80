"""What clients are recognised by: certificates without keys, authorities, and bare public keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from gateway.certs import describe, loading
from gateway.certs.blocks import instead, read_blocks, refuse_trust
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from cryptography import x509

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
        certificates = [loading.certificate(data)]
    else:
        blocks = read_blocks(data)
        refuse_trust(blocks)
        keys = [block.pem for block in blocks if block.label == "PUBLIC KEY"]
        texts = [block.pem for block in blocks if block.is_certificate][: _MOST + 1]
        certificates = [loading.certificate(text, f"certificate {at} of it") for at, text in enumerate(texts, 1)]
        if keys and not certificates:
            if len(keys) > 1:
                raise CertificateError(f"{len(keys)} public keys were given; name each by itself")
            return Trusted(key=loading.public_key(keys[0]), pem=keys[0].decode())
        if not certificates:
            raise CertificateError(f"no certificate and no public key was given{instead(blocks)}")
        if len(certificates) > _MOST:
            raise CertificateError(f"over {_MOST} certificates were given; name at most so many at once")
    authorities = tuple(one for one in certificates if describe.is_ca(one))
    with loading.reading("a certificate"):
        for authority in authorities:
            crypto.X509.from_cryptography(authority)  # which OpenSSL would find out in the midst of a handshake
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
    return Trusted(certificates[0], authorities, pem=pem.decode())
