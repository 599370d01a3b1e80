"""What clients of PostgreSQL begin with."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tls.postgresql import SSL_REQUEST, NegotiationError, Opening, error_response, opening


def packet(code: int, rest: bytes = b"") -> bytes:
    return struct.pack(">II", 8 + len(rest), code) + rest


GSSENC, CANCEL, STARTUP = packet(80877104), packet(80877102, b"12345678"), packet(196608, b"user\0a\0\0")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (SSL_REQUEST, Opening.SSL_REQUEST),
        (GSSENC, Opening.GSSENC_REQUEST),
        (CANCEL, Opening.CANCEL),
        (CANCEL + STARTUP, Opening.CANCEL),
        (packet(80877102, bytes(260)), Opening.CANCEL),
        (CANCEL[:8], 8),
        (CANCEL[:15], 1),
        (STARTUP, Opening.PLAIN),
        (STARTUP[:8], Opening.PLAIN),
        (b"\x16", Opening.TLS),
        (b"\0", 7),
        (SSL_REQUEST[:7], 1),
    ],
)
def test_what_a_client_begins_with_is_told_as_soon_as_it_can_be(data: bytes, found: Opening | int) -> None:
    assert opening(data) == found


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (SSL_REQUEST + b"\x16", "unencrypted data after its request for encryption"),
        (GSSENC + STARTUP, "unencrypted data after its request for encryption"),
        (b"GET / HTTP/1.1\r\n", "neither TLS nor PostgreSQL"),
        (struct.pack(">II", 9, 80877103), "impossible length"),
        (packet(80877102, bytes(7)), "impossible length"),
        (packet(80877102, bytes(261)), "impossible length"),
        (struct.pack(">II", 7, 196608), "impossible length"),
        (struct.pack(">II", 10001, 196608), "impossible length"),
    ],
)
def test_what_is_no_beginning_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(NegotiationError, match=words):
        opening(data)


@given(st.binary(min_size=1, max_size=64) | st.binary(max_size=64).map(lambda key: packet(80877102, key) + key))
def test_any_bytes_are_told_or_refused_and_more_of_them_never_take_a_word_back(data: bytes) -> None:
    told: list[Opening | int | None] = []
    for end in range(1, len(data) + 1):
        try:
            told.append(opening(data[:end]))
        except NegotiationError:
            told.append(None)
    for end, (earlier, later) in enumerate(itertools.pairwise(told), start=1):
        if isinstance(earlier, int):
            assert later is None or not isinstance(later, int) or earlier == 1 or later == earlier - 1
        elif earlier in (Opening.TLS, Opening.CANCEL, Opening.PLAIN, None):
            assert later == earlier, data[: end + 1]


def test_a_refusal_is_a_message_of_the_protocol() -> None:
    message = error_response("no")
    assert message[:1] == b"E"
    assert int.from_bytes(message[1:5]) == len(message) - 1
    assert message[5:].split(b"\0") == [b"SFATAL", b"VFATAL", b"C28000", b"Mno", b"", b""]
