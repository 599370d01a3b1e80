"""What may be put into Tyk's certificate store: a pair, certificates without a key, or a public key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.certs import loading
from gateway.certs.blocks import read_blocks, refuse_trust
from gateway.certs.pem import CertificatePair, parse_pair
from gateway.errors import CertificateError
from gateway.store.certificates import Stored

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from gateway.certs.blocks import Block

# Where Tyk refuses too, it is with these words (certs.GetCertIDAndChainPEM).
_NO_PEM = "Failed to decode certificate. It should be PEM encoded."
_COMBINED = "Public keys can't be combined with certificates"
_MANY_KEYS = "Found multiple private keys"
_EXPIRED = "certificate is expired"


def examine(org_id: str, pem: bytes, passphrase: str | None, now: datetime) -> tuple[Stored, CertificatePair | None]:
    """Return what is to be stored, and the pair if it is one. Raises CertificateError.

    A pair may be for whatever it likes: Tyk keeps those that the gateway shows to upstreams here, too.
    """
    blocks = _blocks(pem)
    certificates = [block.pem for block in blocks if block.is_certificate or block.has_trust]
    public_keys = [block.pem for block in blocks if block.label == "PUBLIC KEY"]
    private_keys = {block.pem for block in blocks if block.label.endswith("PRIVATE KEY")}
    if not certificates and not public_keys:
        raise CertificateError(_NO_PEM)
    if certificates and public_keys:
        raise CertificateError(_COMBINED)
    if len(private_keys) > 1:
        raise CertificateError(_MANY_KEYS)
    if public_keys:
        return Stored(org_id, "public_key", loading.public_key(public_keys[0]), public_keys[0]), None
    if not private_keys:
        refuse_trust(blocks)
        chain = tuple(loading.certificate(one, f"certificate {at} of it") for at, one in enumerate(certificates, 1))
        _refuse_expired(chain, now)
        return Stored(org_id, "certificate", chain[0].public_bytes(Encoding.DER), b"".join(certificates)), None
    pair, _ = parse_pair(pem, passphrase=passphrase.encode() if passphrase else None, for_servers=False)
    _refuse_expired(pair.chain, now)
    return Stored(org_id, "pair", pair.leaf.public_bytes(Encoding.DER), pair.chain_pem), pair


def _blocks(pem: bytes) -> list[Block]:
    try:
        return read_blocks(pem)
    except CertificateError as error:
        if b"-----BEGIN " in pem:
            raise
        raise CertificateError(f"{_NO_PEM} ({error})") from error


def _refuse_expired(chain: tuple[x509.Certificate, ...], now: datetime) -> None:
    if any(now > certificate.not_valid_after_utc for certificate in chain):
        raise CertificateError(_EXPIRED)
