"""Header compression: the examples of RFC 7541, another implementation as the judge, and what no encoder writes."""

from __future__ import annotations

import hpack as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import HeaderListTooLargeError, HpackError
from gateway.http.hpack import Decoder, FieldList, encode_field

ANY_SIZE = 1 << 30

# RFC 7541 appendix C, sections 3 to 6: the table's size, then blocks and what they mean, each on one connection.
REQUESTS: list[FieldList] = [
    ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")),
    (
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ),
    (
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ),
]
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
RESPONSES: list[FieldList] = [
    (
        (b":status", b"302"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"location", b"https://www.example.com"),
    ),
    (
        (b":status", b"307"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"location", b"https://www.example.com"),
    ),
    (
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
        (b"location", b"https://www.example.com"),
        (b"content-encoding", b"gzip"),
        (b"set-cookie", COOKIE),
    ),
]
APPENDIX_C = {
    "C.3 requests": (
        4096,
        REQUESTS,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
    ),
    "C.4 requests, Huffman": (
        4096,
        REQUESTS,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ),
    "C.5 responses that evict": (
        256,
        RESPONSES,
        [
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
                "6e1768747470733a2f2f7777772e6578616d706c652e636f6d"
            ),
            "4803333037c1c0bf",
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d"
                "4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b207665"
                "7273696f6e3d31"
            ),
        ],
    ),
    "C.6 responses that evict, Huffman": (
        256,
        RESPONSES,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960"
                "d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ),
        ],
    ),
}


@pytest.mark.parametrize("section", APPENDIX_C)
def test_the_examples_of_the_rfc(section: str) -> None:
    size, lists, blocks = APPENDIX_C[section]
    decoder = Decoder(size)
    assert [decoder.decode(bytes.fromhex(block), ANY_SIZE) for block in blocks] == lists


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header")),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),
        ("100870617373776f726406736563726574", (b"password", b"secret")),
        ("82", (b":method", b"GET")),
    ],
)
def test_the_representations_of_section_c_2(block: str, field: tuple[bytes, bytes]) -> None:
    assert Decoder().decode(bytes.fromhex(block), ANY_SIZE) == (field,)


names = st.sampled_from([b":path", b":status", b"accept", b"cookie", b"x-a", b"x-b", b"date"]) | st.binary(max_size=40)
values = st.sampled_from([b"/", b"200", b"GET", b"", b"gzip, deflate"]) | st.binary(max_size=200)
field_lists = st.lists(st.tuples(names, values), max_size=12)


@given(
    st.lists(st.tuples(field_lists, st.sampled_from([None, 0, 40, 300, 4096]), st.booleans()), max_size=8),
)
def test_whatever_another_encoder_writes_is_understood(blocks: list[tuple]) -> None:
    encoder, decoder = oracle.Encoder(), Decoder()
    for fields, size, huffman in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman=huffman), ANY_SIZE) == tuple(fields)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_mean_what_they_mean_to_another_decoder(blocks: list[bytes]) -> None:
    ours, theirs = Decoder(), oracle.Decoder(ANY_SIZE)
    for block in blocks:
        try:
            expected = theirs.decode(block, raw=True)
        except oracle.HPACKError:
            with pytest.raises(HpackError):
                ours.decode(block, ANY_SIZE)
            return
        try:
            assert ours.decode(block, ANY_SIZE) == tuple((name, value) for name, value in expected)
        except HpackError as error:
            assert "35 bits" in str(error)  # the oracle reads an integer of any length  # noqa: PT017
            return


@given(field_lists, st.booleans())
def test_another_decoder_understands_what_is_written(fields: list[tuple[bytes, bytes]], sensitive: bool) -> None:
    block = b"".join(encode_field(name, value, sensitive=sensitive) for name, value in fields)
    understood = oracle.Decoder(ANY_SIZE).decode(block, raw=True)
    assert list(understood) == fields
    assert all(field.indexable is not sensitive or not sensitive for field in understood)
    assert Decoder().decode(block, ANY_SIZE) == tuple(fields)


def test_fields_of_the_static_table_are_one_byte() -> None:
    assert encode_field(b":status", b"200") == b"\x88"
    assert encode_field(b":method", b"GET") == b"\x82"


def test_a_sensitive_field_is_marked_never_to_be_indexed() -> None:
    block = encode_field(b"authorization", b"Bearer x", sensitive=True)
    assert block[0] & 0xF0 == 0x10
    assert not oracle.Decoder().decode(block, raw=True)[0].indexable


def test_the_version_grows_with_each_change_of_the_table_and_only_then() -> None:
    decoder = Decoder()
    decoder.decode(b"\x82\x04\x01x\x10\x01a\x01b", ANY_SIZE)
    assert decoder.version == 0
    decoder.decode(b"\x40\x01a\x01b", ANY_SIZE)
    inserted = decoder.version
    assert inserted > 0
    decoder.decode(b"\xbe\x3f\xe1\x1f"[:1], ANY_SIZE)
    assert decoder.version == inserted
    decoder.decode(b"\x3f\xe1\x1f", ANY_SIZE)  # to 4,096, which it is already
    assert decoder.version == inserted
    decoder.decode(b"\x3e", ANY_SIZE)  # to 30: the entry is gone
    assert decoder.version > inserted
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe", ANY_SIZE)


def test_a_list_that_is_too_large_leaves_the_table_in_step() -> None:
    decoder = Decoder()
    with pytest.raises(HeaderListTooLargeError):
        decoder.decode(b"\x40\x01a\x01b" + b"\xbe" * 10, 10 * 34)
    assert decoder.decode(b"\xbe" * 10, 10 * 34) == ((b"a", b"b"),) * 10


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = Decoder(100)
    decoder.decode(b"\x40\x01a\x01b", ANY_SIZE)
    assert decoder.decode(b"\x40\x01c\x64" + b"x" * 100, ANY_SIZE) == ((b"c", b"x" * 100),)
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe", ANY_SIZE)


def test_the_table_stays_within_its_size() -> None:
    decoder = Decoder()
    for number in range(10_000):
        decoder.decode(b"\x40\x04%04d\x00" % number, ANY_SIZE)
    assert repr(decoder) == "<Decoder entries=113 size=4068 version=10000>"


MALFORMED = {
    "index 0": "80",
    "an index past the table": "be",
    "an index far past the table": "ff8080808001",
    "a name's index past the table": "7f0000",
    "an index cut short": "ff",
    "an integer that never ends": "ff" + "ff" * 40,
    "an integer padded with zeros": "ff" + "80" * 40 + "00",
    "a table larger than allowed": "3fe21f",
    "a new size after a field": "8220",
    "a size cut short": "3f",
    "a literal without a name": "40",
    "a literal without a value": "400161",
    "a name longer than the block": "400561",
    "a value longer than the block": "4001610562",
    "a length that would overflow": "4001617fffffffffffffff7f",
    "a Huffman-coded value that is broken": "40016181ff",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_blocks_are_refused(what: str) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(bytes.fromhex(MALFORMED[what]), ANY_SIZE)
