"""Which revocation lists are read, and what they say."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from support.clients import NOW, crl, identity

from gateway.certs import revocation
from gateway.certs.revocation import read_crl
from gateway.errors import CertificateError

CA, OTHER = identity("CA", ca=True), identity("CA", ca=True)
CAROL, DAVE = identity("carol", CA), identity("dave", CA)
LIST = crl(CA, CAROL).encode()


def special(extension: x509.ExtensionType, *, critical: bool = True) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(CA.leaf.subject).last_update(NOW)
    builder = builder.next_update(NOW + timedelta(days=1)).add_extension(extension, critical=critical)
    return builder.sign(CA.key, SHA256()).public_bytes(Encoding.DER)


def scope(**said: object) -> x509.IssuingDistributionPoint:
    nothing = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"), False
    )
    values = {"full_name": None, "relative_name": None, "only_some_reasons": None, **nothing, **said}
    return x509.IssuingDistributionPoint(**values)  # type: ignore[arg-type]  # one keyword each


def test_a_list_tells_who_is_revoked_in_pem_and_in_der() -> None:
    found = read_crl(b"text before\n" + LIST)
    assert found == read_crl(x509.load_pem_x509_crl(LIST).public_bytes(Encoding.DER)) == read_crl(found.pem)
    assert found.serials == {CAROL.leaf.serial_number}
    assert not found.is_over(NOW)
    assert found.is_over(NOW + timedelta(days=8))


def test_only_the_key_of_the_issuer_that_is_named_has_signed_it() -> None:
    found = read_crl(LIST)
    assert found.is_signed_by(CA.leaf)
    assert not found.is_signed_by(OTHER.leaf), "the same name, another key"
    assert not found.is_signed_by(identity("Another", ca=True, key=CA.key).leaf), "the same key, another name"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a certificate revocation list"),
        (CA.pem.encode(), "not a certificate revocation list"),
        (LIST[:-60], "not a certificate revocation list"),
        (special(x509.DeltaCRLIndicator(1)), "delta"),
        (special(scope(indirect_crl=True)), "complete"),
        (special(scope(only_contains_ca_certs=True)), "complete"),
        (special(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")), "1.2.3.4"),
        (b"0" * (revocation.MAX_BYTES + 1), "over"),
    ],
)
def test_what_is_no_complete_list_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(CertificateError, match=said):
        read_crl(data)


def test_a_list_of_end_entities_and_an_extension_that_is_not_critical_do_no_harm() -> None:
    assert read_crl(special(scope(only_contains_user_certs=True))).serials == frozenset()
    assert read_crl(special(x509.CRLNumber(7), critical=False)).serials == frozenset()


DER = x509.load_pem_x509_crl(LIST).public_bytes(Encoding.DER)


def overwritten(at: int, piece: bytes) -> bytes:
    return DER[:at] + piece + DER[at + len(piece) :]


@given(st.one_of(st.binary(max_size=300), st.builds(overwritten, st.integers(0, len(DER)), st.binary(max_size=4))))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with suppress(CertificateError):
        assert read_crl(data).serials is not None
