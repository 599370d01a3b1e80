"""What may be put into Tyk's certificate store, and in which words the rest is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, PublicFormat

from gateway.certs.self_signed import Authority
from gateway.errors import CertificateError
from gateway.store.uploads import examine

NOW = datetime.now(UTC)
AUTHORITY = Authority.create()
PAIR, OTHER = AUTHORITY.leaf("a.test"), AUTHORITY.leaf("b.test")
OLD = AUTHORITY.leaf("old.test", days=1, now=NOW - timedelta(days=30))
SPKI = PAIR.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PUBLIC = PAIR.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "pem", [PAIR.chain_pem + PAIR.key_pem, PAIR.key_pem + AUTHORITY.pair.chain_pem + PAIR.chain_pem]
)
def test_a_pair_has_the_id_of_its_leaf_and_leaves_its_key_out_of_sight(pem: bytes) -> None:
    stored, pair = examine("org", pem, None, NOW)
    assert (stored.id, stored.kind, pair) == (f"org{PAIR.fingerprint}", "pair", PAIR)
    assert b"PRIVATE" not in stored.pem


def test_an_encrypted_key_is_opened_with_its_passphrase() -> None:
    key = PAIR.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    assert examine("", PAIR.chain_pem + key, "open sesame", NOW)[1] == PAIR
    with pytest.raises(CertificateError, match="no passphrase"):
        examine("", PAIR.chain_pem + key, None, NOW)


def test_certificates_without_a_key_have_the_id_of_the_first() -> None:
    stored, pair = examine("", AUTHORITY.pair.chain_pem + PAIR.chain_pem, None, NOW)
    assert (stored.id, stored.kind, pair) == (AUTHORITY.pair.fingerprint, "certificate", None)
    assert stored.pem.count(b"-----BEGIN CERTIFICATE-----") == 2


def test_a_public_key_has_the_id_of_its_der() -> None:
    stored, pair = examine("org", PUBLIC, None, NOW)
    assert (stored.id, stored.kind, stored.der, pair) == (f"org{sha256(SPKI).hexdigest()}", "public_key", SPKI, None)


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        (b"", r"^Failed to decode certificate\. It should be PEM encoded\.$"),
        (PAIR.key_pem, r"^Failed to decode certificate\. It should be PEM encoded\.$"),
        (PAIR.chain_pem + PUBLIC, "^Public keys can't be combined with certificates$"),
        (PAIR.chain_pem + PAIR.key_pem + OTHER.key_pem, "^Found multiple private keys$"),
        (OLD.chain_pem + OLD.key_pem, "^certificate is expired$"),
        (OLD.chain_pem, "^certificate is expired$"),
        (PAIR.chain_pem + OTHER.key_pem, "does not belong"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "damaged"),
    ],
)
def test_the_rest_is_refused_in_the_words_of_tyk_where_it_has_some(pem: bytes, said: str) -> None:
    with pytest.raises(CertificateError, match=said):
        examine("org", pem, None, NOW)
