"""Keys that were made to keep us busy, curves that are written out, and what only a stapling server could serve."""

from __future__ import annotations

import time
from base64 import encodebytes

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from gateway.certs import der, loading
from gateway.certs.blocks import FOREIGN
from gateway.certs.pem import parse_pair
from gateway.certs.trusted import read_trusted
from gateway.errors import CertificateError
from gateway.store import uploads
from gateway.store.upstream_sources import authorities

PBES2, PBKDF2 = "06092a864886f70d01050d", "06092a864886f70d01050c"
AES256 = "301d0609608648016503040 12a0410".replace(" ", "") + "00" * 16
SCRYPT = der.SCRYPT.hex()


def tlv(tag: int, *parts: str) -> str:
    content = "".join(parts)
    size = len(content) // 2
    length = f"{size:02x}" if size < 128 else f"82{size:04x}"
    return f"{tag:02x}{length}{content}"


def integer(value: int) -> str:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1).hex())


def encrypted(derivation: str) -> bytes:
    """A key that nobody has, in the wrapping that says how it is opened."""
    scheme = tlv(0x30, PBES2, tlv(0x30, derivation, AES256))
    body = bytes.fromhex(tlv(0x30, scheme, tlv(4, "00" * 64)))
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n%b-----END ENCRYPTED PRIVATE KEY-----\n" % encodebytes(body)


def pbkdf2(rounds: int) -> bytes:
    return encrypted(tlv(0x30, PBKDF2, tlv(0x30, tlv(4, "00" * 8), integer(rounds))))


def scrypt(cost: int, block: int, parallel: int) -> bytes:
    numbers = integer(cost), integer(block), integer(parallel)
    return encrypted(tlv(0x30, SCRYPT, tlv(0x30, tlv(4, "00" * 8), *numbers)))


COSTLY = {
    "rounds": pbkdf2(2_000_001),
    "rounds for ever": pbkdf2(2**31),
    "rounds past every integer": pbkdf2(2**200),
    "scrypt's memory": scrypt(2**20, 8, 1),
    "scrypt's blocks": scrypt(2**14, 2**10, 1),
    "scrypt's width": scrypt(2**14, 8, 2**20),
}


@pytest.mark.parametrize("key", COSTLY.values(), ids=COSTLY)
def test_a_key_that_would_take_very_long_to_open_is_refused_at_once(pair, key):
    began = time.process_time()
    for read in (
        lambda: parse_pair(pair.chain_pem, key, passphrase=b"x"),
        lambda: uploads.examine("", pair.chain_pem + key, "x", pair.not_before),
    ):
        with pytest.raises(CertificateError, match="takes too long to open"):
            read()
    assert time.process_time() - began < 1


@pytest.mark.parametrize("key", [pbkdf2(2048), scrypt(2**14, 8, 1)], ids=["rounds", "scrypt"])
def test_what_openssl_writes_is_opened(pair, key):
    with pytest.raises(CertificateError, match="passphrase of the private key is wrong"):
        parse_pair(pair.chain_pem, key, passphrase=b"x")
    proper = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert parse_pair(pair.chain_pem, proper, passphrase=b"x")[0].fingerprint == pair.fingerprint


def test_a_must_staple_certificate_is_told_of(odd):
    stapled = odd.issue(x509.TLSFeature([x509.TLSFeatureType.status_request]), names=["a.test"])
    _, warnings = parse_pair(stapled.chain_pem + stapled.key_pem)
    assert any("must-staple" in warning for warning in warnings)


# openssl ecparam -name prime256v1 -param_enc explicit -genkey, and a certificate for www.test of it
EXPLICIT = b"""
-----BEGIN EC PRIVATE KEY-----
MIIBaAIBAQQgs5dPCVlPSFCeE6ZG9kSxStHEh2YMdApf3vqs5BMxCjiggfowgfcC
AQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAAAAAAAAAAAAAA////////////////
MFsEIP////8AAAABAAAAAAAAAAAAAAAA///////////////8BCBaxjXYqjqT57Pr
vVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSdNgiG5wSTamZ44ROdJreBn36QBEEE
axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54W
K84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA//////////+85vqtpxeehPO5ysL8
YyVRAgEBoUQDQgAEbHqBrvY3s/6vRctbc0AyRnnxkkCMwL2xR0BbkxZjiR8O8DbT
eD7Brsw+PhV+cdRjvKQorNMcA0KTm9V3Q9hvtg==
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIICdjCCAhygAwIBAgIUHIPAyobZwz8yJAs3n4WwavGxmwYwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAeFw0yNjEyMDExNTI3MjhaFw0yNjEyMjExNTI3MjhaMAwx
CjAIBgNVBAMMAXgwggFLMIIBAwYHKoZIzj0CATCB9wIBATAsBgcqhkjOPQEBAiEA
/////wAAAAEAAAAAAAAAAAAAAAD///////////////8wWwQg/////wAAAAEAAAAA
AAAAAAAAAAD///////////////wEIFrGNdiqOpPns+u9VXaYhrxlHQawzFOw9jvO
PD4n0mBLAxUAxJ02CIbnBJNqZnjhE50mt4GffpAEQQRrF9Hy4SxCR/i85uVjpEDy
dwN9gS3rM6D0oTlF2JjClk/jQuL+Gn+bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1
AiEA/////wAAAAD//////////7zm+q2nF56E87nKwvxjJVECAQEDQgAEbHqBrvY3
s/6vRctbc0AyRnnxkkCMwL2xR0BbkxZjiR8O8DbTeD7Brsw+PhV+cdRjvKQorNMc
A0KTm9V3Q9hvtqNoMGYwHQYDVR0OBBYEFIAeqCGUK2DqBQSA8wFfBXrL42/DMB8G
A1UdIwQYMBaAFIAeqCGUK2DqBQSA8wFfBXrL42/DMA8GA1UdEwEB/wQFMAMBAf8w
EwYDVR0RBAwwCoIId3d3LnRlc3QwCgYIKoZIzj0EAwIDSAAwRQIhAPUyx3IXpHme
OZh4BmxQKmqxOkn61wqqLlhDki12BNSYAiAIF4RvGKTv8w9H89gB/zZ2CKm6m+kv
6hL4ASzsThIPGg==
-----END CERTIFICATE-----
"""


def test_a_curve_that_is_written_out_is_told_of():
    pair, warnings = parse_pair(EXPLICIT)
    assert pair.names == ("www.test",)
    assert any("parameters of its curve written out" in warning for warning in warnings)


def test_a_curve_that_is_written_out_and_unknown_is_named_as_such(pair):
    # Another generator: the same bytes but for one, so that it is no curve with a name.
    key = EXPLICIT.partition(b"-----BEGIN CERTIFICATE")[0]
    body = bytearray(loading.body(key.strip() + b"\n"))
    at = body.index(bytes.fromhex("046b17d1f2"))
    body[at + 5] ^= 1
    broken = b"-----BEGIN EC PRIVATE KEY-----\n%b-----END EC PRIVATE KEY-----\n" % encodebytes(bytes(body))
    with pytest.raises(CertificateError, match="the private key has the parameters of its curve written out"):
        parse_pair(pair.chain_pem, broken)


def trusted(certificate: x509.Certificate) -> bytes:
    """What `openssl x509 -trustout -addreject clientAuth` writes."""
    aux = bytes.fromhex(tlv(0x30, tlv(0xA0, "06082b06010505070302")))
    text = encodebytes(certificate.public_bytes(Encoding.DER) + aux)
    return b"-----BEGIN TRUSTED CERTIFICATE-----\n%b-----END TRUSTED CERTIFICATE-----\n" % text


def test_a_trusted_certificate_is_a_leaf_like_any_other(authority, pair):
    read, warnings = parse_pair(trusted(pair.leaf) + pair.key_pem + authority.pair.chain_pem)
    assert (read.leaf, warnings) == (pair.leaf, ())
    assert uploads.examine("", trusted(pair.leaf) + pair.key_pem, None, pair.not_before)[1] == read


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize("read", [read_trusted, authorities, lambda data: uploads.examine("", data, None, None)])
def test_a_trusted_certificate_is_no_authority(authority, pair, read, behind):
    others = authority.pair.chain_pem if behind else b""
    with pytest.raises(CertificateError, match="OpenSSL trusted certificate"):
        read(others + trusted(authority.pair.leaf))
    assert "TRUSTED CERTIFICATE" in FOREIGN


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x80", b"\x30\x85\x01", b"\x02\x01\x01", b"\x30\x04\x02\x09\x01\x01"]
)
def test_what_is_not_der_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"cut off|not DER|SEQUENCE"):
        der.integers(der.first(der.content(data)))


def test_integers_are_found_however_deep_but_for_a_bound():
    assert der.integers(bytes.fromhex(tlv(0x30, integer(5), tlv(0x30, integer(-3 % 256), tlv(4, "0201ff"))))) == [
        5,
        253,
    ]
    deep = ""
    for _ in range(40):
        deep = tlv(0x30, deep)
    with pytest.raises(ValueError, match="nested"):
        der.integers(bytes.fromhex(deep))
