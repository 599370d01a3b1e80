"""What may be put into Tyk's certificate store, and in which words the rest is refused."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.certs.self_signed import Authority
from gateway.config.load import Configuration
from gateway.config.settings import HttpServerOptions, Settings
from gateway.errors import CertificateError
from gateway.store import file_sources
from gateway.store.audit import Deed
from gateway.store.sqlite import Store
from gateway.store.uploads import examine

if TYPE_CHECKING:
    from pathlib import Path

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
        (b"garbage", r"^Failed to decode certificate\. It should be PEM encoded\. \(this is not PEM"),
        (b"0\x82\x01\x02\x02\x01\x03\x30", "PKCS#12"),
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


def client_pair() -> bytes:
    """A certificate that is for clients and nothing else, as Tyk keeps for upstreams, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a gateway")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, now - timedelta(hours=1), now + timedelta(days=9))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_pair_for_clients_is_kept_but_not_served(tmp_path: Path) -> None:
    stored, pair = examine("org", client_pair(), None, NOW)
    assert pair
    assert (stored.kind, pair.fingerprint) == ("pair", stored.id.removeprefix("org"))
    with closing(Store.open(tmp_path, writable=True)) as store:
        store.add_certificate(stored, pair, Deed("test", "", "test", ""))
        options = HttpServerOptions(use_ssl=True, ssl_certificates=(stored.id,))
        settings = Settings(http_server_options=options)
        configuration = Configuration(settings=settings, apis=(), warnings=(), files=())
        collected = file_sources.collect(configuration, NOW, store)
    assert collected.entries == ()
    assert "not for servers" in str(collected.unresolved)
