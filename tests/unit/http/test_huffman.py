"""The Huffman code of HPACK, with another implementation as the judge."""

from __future__ import annotations

import hpack as oracle
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import HpackError
from gateway.http import huffman

ORACLE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@pytest.mark.parametrize("symbol", range(256))
def test_each_symbol_is_coded_as_in_appendix_b(symbol: int) -> None:
    data = bytes((symbol,)) * 3
    assert huffman.encode(data) == ORACLE.encode(data)
    assert huffman.decode(huffman.encode(data)) == data


@given(st.binary(max_size=300))
def test_what_is_encoded_is_decoded(data: bytes) -> None:
    assert huffman.encode(data) == ORACLE.encode(data)
    assert huffman.decode(huffman.encode(data)) == data


@given(st.binary(max_size=12))
def test_any_bytes_mean_what_they_mean_to_another_decoder(data: bytes) -> None:
    try:
        expected = decode_huffman(data)
    except oracle.HPACKDecodingError:
        with pytest.raises(HpackError):
            huffman.decode(data)
    else:
        assert huffman.decode(data) == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "eight bits of padding"),
        (b"\x1f\xff", "a symbol, three bits of padding, then eight more"),
        (b"\x18", "padding that is not of ones"),
        (b"\xff\xff\xff\xff", "EOS"),
        (b"\x1f\xff\xff\xff\xff", "EOS after a symbol"),
        (b"\xff\xff\xff", "the beginning of a long code"),
    ],
)
def test_strings_that_do_not_end_as_they_must_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(HpackError):
        huffman.decode(data)
