"""What may stand in a list of client certificates, and how it counts."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from support.clients import identity

from gateway.certs.trusted import read_trusted
from gateway.errors import CertificateError

CA, ALICE = identity("CA", ca=True), identity("alice")
CAROL = identity("carol", CA)


def test_a_certificate_alone_counts_itself_and_a_ca_for_what_it_signed() -> None:
    assert (read_trusted(ALICE.pem.encode()).pin, read_trusted(ALICE.pem.encode()).authorities) == (ALICE.leaf, ())
    assert read_trusted(CA.leaf.public_bytes(Encoding.DER)).authorities == (CA.leaf,)


def test_of_a_chain_the_first_counts_itself_and_the_cas_for_what_they_signed() -> None:
    found = read_trusted((CAROL.pem + CA.pem).encode())
    assert (found.pin, found.authorities, found.key) == (CAROL.leaf, (CA.leaf,), None)
    other = identity("Other", ca=True)
    assert read_trusted((CA.pem + other.pem).encode()).authorities == (CA.leaf, other.leaf)


def test_one_line_is_as_good_and_what_is_kept_says_the_same() -> None:
    found = read_trusted(" ".join((CAROL.pem + CA.pem).split("\n")).encode())
    assert read_trusted(found.pem.encode()) == found


def test_a_public_key_is_kept_as_certificates_hold_it() -> None:
    assert read_trusted(ALICE.key_pem.encode()).key is not None
    with pytest.raises(CertificateError, match="2 public keys"):
        read_trusted((ALICE.key_pem + CAROL.key_pem).encode())


@pytest.mark.parametrize("text", ["", "x", ALICE.pem[:200], ALICE.pem.replace("MII", "AAA"), "-----BEGIN X-----"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(CertificateError):
        read_trusted(text.encode())


DER = CAROL.leaf.public_bytes(Encoding.DER)


def overwritten(at: int, piece: bytes) -> bytes:
    return DER[:at] + piece + DER[at + len(piece) :]


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(overwritten, st.integers(0, len(DER)), st.binary(max_size=4)),
        st.builds(lambda at: (CAROL.pem + CA.pem)[:at].encode(), st.integers(0, 2000)),
    )
)
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with suppress(CertificateError):
        found = read_trusted(data)
        assert found.pin is not None or found.key is not None
        assert read_trusted(found.pem.encode()).authorities == found.authorities
