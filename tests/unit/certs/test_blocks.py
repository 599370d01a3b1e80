"""PEM text to blocks: what is read, what is repaired, what is refused with which name."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from hypothesis import given
from hypothesis import strategies as st

from gateway.certs.blocks import MAX_BYTES, instead, read_blocks
from gateway.errors import CertificateError

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
BLOCK = b"-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n"
CLEAN = b"-----BEGIN CERTIFICATE-----\nAAAABBBB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        BLOCK.replace(b"\n", b"\r\n"),
        BLOCK.replace(b"\n", b" "),
        BLOCK.replace(b"\n", rb"\n"),
        BLOCK.replace(b"\n", rb"\r\n"),
        BLOCK.replace(b"\n", b"\n   "),
        BLOCK.strip(),
        b"\xef\xbb\xbf" + BLOCK,
        BLOCK.decode().encode("utf-16"),
        b"Bag Attributes\n  friendlyName: a - b\n" + BLOCK + b"-- \nsent from my telephone\n",
    ],
    ids=["as is", "CRLF", "one line", "escaped", "escaped CRLF", "indented", "cut", "BOM", "UTF-16", "mail"],
)
def test_a_block_comes_out_the_same_whatever_happened_to_its_line_ends(text):
    assert [(b.label, b.pem, b.encrypted) for b in read_blocks(text)] == [("CERTIFICATE", CLEAN, False)]


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b" "])
def test_the_headers_of_a_traditionally_encrypted_key_are_kept(separator):
    first, last = b"-----BEGIN RSA PRIVATE KEY-----", b"-----END RSA PRIVATE KEY-----"
    lines = [first, b"Proc-Type: 4,ENCRYPTED", b"DEK-Info: AES-256-CBC,0A0B", b"", b"AAAA", b"BBBB", last]
    (block,) = read_blocks(separator.join(lines))
    assert block.encrypted
    assert block.pem == b"\n".join([*lines[:4], b"AAAABBBB", lines[-1], b""])


def test_a_block_never_shows_its_text():
    (block,) = read_blocks(BLOCK.replace(b"CERTIFICATE", b"PRIVATE KEY"))
    assert "AAAA" not in f"{block!r} {block}"


@pytest.mark.parametrize("text", [b"", b" \r\n\t"])
def test_no_text_is_no_block(text):
    assert read_blocks(text) == []


@pytest.mark.parametrize(
    "text", [BLOCK[:-30], BLOCK + BLOCK[:40], BLOCK.replace(b"END CERTIFICATE", b"END PRIVATE KEY")]
)
def test_a_block_that_does_not_end_is_refused(text):
    with pytest.raises(CertificateError, match="does not end properly"):
        read_blocks(text)


def test_a_text_over_a_mebibyte_is_refused():
    with pytest.raises(CertificateError, match=str(MAX_BYTES)):
        read_blocks(b"x" * (MAX_BYTES + 1))


def test_a_mebibyte_of_begin_lines_is_read_once_not_once_a_line():
    """Were it read once a line, this would take hours, not milliseconds."""
    line = b"-----BEGIN CERTIFICATE-----"
    start = time.process_time()
    with pytest.raises(CertificateError):
        read_blocks(line * (MAX_BYTES // len(line)))
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda pair: pair.leaf.public_bytes(DER), "openssl x509 -inform der"),
        (lambda pair: pkcs7.serialize_certificates(list(pair.chain), DER), "openssl pkcs7 -inform der"),
        (
            lambda pair: pkcs12.serialize_key_and_certificates(
                b"x", pair.key, pair.leaf, None, serialization.BestAvailableEncryption(b"secret")
            ),
            "openssl pkcs12 -in",
        ),
        (
            lambda pair: pair.key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            "openssl pkey -inform der",
        ),
        (
            lambda pair: pair.key.private_bytes(
                DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            ),
            "openssl pkey -inform der",
        ),
        (lambda pair: base64.b64encode(pair.leaf.public_bytes(DER)), "BEGIN CERTIFICATE"),
        (lambda _: b"/etc/ssl/certs/site.pem", "BEGIN CERTIFICATE"),
    ],
    ids=["certificate", "PKCS7", "PKCS12", "PKCS8", "traditional", "bare base64", "path"],
)
def test_what_is_not_pem_is_refused_with_the_way_to_pem(pair, make, name):
    with pytest.raises(CertificateError, match=f"not PEM text but .*{name}"):
        read_blocks(make(pair))


def test_what_was_given_instead_is_named_once():
    blocks = read_blocks(BLOCK.replace(b"CERTIFICATE", b"PUBLIC KEY") * 2 + BLOCK.replace(b"CERTIFICATE", b"X509 CRL"))
    assert instead(blocks) == ", only a public key and a block named X509 CRL"
    assert instead([]) == ""


@given(st.binary(max_size=400), st.binary(max_size=100))
def test_any_bytes_are_blocks_or_a_certificate_error(before, inside):
    for text in (before, before + BLOCK[:27] + inside + BLOCK[-26:]):
        try:
            blocks = read_blocks(text)
        except CertificateError:
            continue
        assert all(read_blocks(block.pem)[0].pem == block.pem for block in blocks)
