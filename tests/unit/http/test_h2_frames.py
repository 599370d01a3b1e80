"""HTTP/2 frames, against the hyperframe package and RFC 9113 sections 4 and 6."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import hyperframe.frame as peer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Http2Error
from gateway.http import h2_frames as h2
from gateway.http.h2_frames import ErrorCode, FrameReader, FrameType, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable

streams = st.integers(1, h2.MAX_STREAM)


def read(*pieces: bytes, max_block: int = 65536) -> list[h2.Frame]:
    reader = FrameReader(max_block)
    return [frame for piece in pieces for frame in reader.feed(piece)]


def error_of(*pieces: bytes, max_block: int = 65536) -> tuple[int, int]:
    with pytest.raises(Http2Error) as caught:
        read(*pieces, max_block=max_block)
    return caught.value.code, caught.value.stream


def cut(wire: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[a:b] for a, b in pairwise(edges)]


@st.composite
def data_frames(draw: st.DrawFn) -> tuple[bytes, list[h2.Frame]]:
    """Draw DATA and HEADERS as hyperframe writes them, with what should be read."""
    stream, body = draw(streams), draw(st.binary(max_size=300))
    flags = ["PADDED"] if draw(st.booleans()) else []
    padding = draw(st.integers(0, 255)) if flags else 0
    if draw(st.booleans()):
        data = peer.DataFrame(stream, body, pad_length=padding, flags=flags)
        wire = data.serialize()
        return wire, [(FrameType.DATA, wire[4], stream, wire[9:])]
    if draw(st.booleans()):
        flags.append("PRIORITY")
    pieces = cut(body, draw(st.lists(st.integers(0, 300), max_size=3)))
    head = peer.HeadersFrame(stream, pieces[0], pad_length=padding, flags=flags)
    rest = [peer.ContinuationFrame(stream, piece) for piece in pieces[1:]]
    (rest or [head])[-1].flags.add("END_HEADERS")
    wire = b"".join(frame.serialize() for frame in (head, *rest))
    return wire, [(FrameType.HEADERS, wire[4] | h2.END_HEADERS, stream, body)]


@given(st.lists(data_frames(), max_size=6), st.lists(st.integers(0, 4000), max_size=8))
def test_what_hyperframe_writes_is_read_wherever_it_is_cut(
    drawn: list[tuple[bytes, list[h2.Frame]]], places: list[int]
) -> None:
    wire = b"".join(one for one, _ in drawn)
    assert read(*cut(wire, places)) == [frame for _, frames in drawn for frame in frames]


@given(streams, st.binary(max_size=200), st.integers(1, 60), st.booleans())
def test_hyperframe_reads_a_header_block_in_as_many_frames_as_it_takes(
    stream: int, block: bytes, size: int, ended: bool
) -> None:
    wire = h2.headers(stream, block, size, ended=ended)
    frames = []
    while wire:
        frame, length = peer.Frame.parse_frame_header(memoryview(wire[:9]))
        assert length <= size
        frame.parse_body(memoryview(wire[9 : 9 + length]))
        frames.append(frame)
        wire = wire[9 + length :]
    assert b"".join(frame.data for frame in frames) == block
    assert [type(frame) for frame in frames[1:]] == [peer.ContinuationFrame] * (len(frames) - 1)
    assert ("END_STREAM" in frames[0].flags) is ended
    assert ["END_HEADERS" in frame.flags for frame in frames] == [False] * (len(frames) - 1) + [True]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (h2.rst_stream(5, ErrorCode.CANCEL), peer.RstStreamFrame(5, ErrorCode.CANCEL)),
        (h2.window_update(0, 77), peer.WindowUpdateFrame(0, 77)),
        (h2.ping(b"12345678", ack=True), peer.PingFrame(0, b"12345678", flags=["ACK"])),
        (h2.goaway(9, ErrorCode.ENHANCE_YOUR_CALM, "why"), peer.GoAwayFrame(0, 9, 11, b"why")),
        (h2.settings({Setting.MAX_FRAME_SIZE: 16384}), peer.SettingsFrame(0, {5: 16384})),
        (h2.SETTINGS_ACK, peer.SettingsFrame(0, flags=["ACK"])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_written_is_what_hyperframe_writes(ours: bytes, theirs: peer.Frame) -> None:
    assert ours == theirs.serialize()


def test_an_unknown_frame_is_read_as_such() -> None:
    assert read(h2.frame(0xFB, 0xFF, 3, b"whatever")) == [(0xFB, 0xFF, 3, b"whatever")]


def test_the_reserved_bit_of_a_stream_is_ignored() -> None:
    assert read(h2.frame(FrameType.DATA, 0, 0x80000003, b"x")) == [(0, 0, 3, b"x")]


def test_a_self_dependent_stream_is_marked() -> None:
    payload = b"\x80\x00\x00\x05\x10block"
    assert read(h2.frame(1, h2.END_HEADERS | h2.PRIORITY, 5, payload))[0][1] & h2.SELF_DEPENDENT
    assert not read(h2.frame(1, h2.END_HEADERS | h2.PRIORITY, 7, payload))[0][1] & h2.SELF_DEPENDENT


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", ErrorCode.FRAME_SIZE_ERROR),  # 16385 bytes, told by the header
        (h2.frame(FrameType.DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.HEADERS, h2.END_HEADERS, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.PRIORITY, 0, 0, b"12345"), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.RST_STREAM, 0, 0, b"1234"), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.RST_STREAM, 0, 1, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
        (h2.frame(FrameType.SETTINGS, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.PING, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.PING, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
        (h2.frame(FrameType.GOAWAY, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.GOAWAY, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
        (h2.frame(FrameType.WINDOW_UPDATE, 0, 1, b"123"), ErrorCode.FRAME_SIZE_ERROR),
        (h2.frame(FrameType.CONTINUATION, h2.END_HEADERS, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.CONTINUATION, h2.END_HEADERS, 0, b""), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.HEADERS, h2.PADDED, 1, b"\x03123"[:3]), ErrorCode.PROTOCOL_ERROR),
        (h2.frame(FrameType.HEADERS, h2.PADDED, 1, b""), ErrorCode.FRAME_SIZE_ERROR),
        (h2.frame(FrameType.HEADERS, h2.PRIORITY, 1, b"1234"), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_a_frame_that_is_broken_in_itself_ends_the_connection(wire: bytes, code: ErrorCode) -> None:
    assert error_of(wire) == (code, 0)


@pytest.mark.parametrize(
    "between",
    [
        h2.frame(FrameType.DATA, 0, 1, b"x"),
        h2.frame(FrameType.CONTINUATION, h2.END_HEADERS, 3, b"x"),
        h2.frame(FrameType.HEADERS, h2.END_HEADERS, 1, b"x"),
        h2.ping(b"12345678", ack=False),
        h2.frame(0xFB, 0, 1, b""),
    ],
)
def test_nothing_stands_between_the_frames_of_a_header_block(between: bytes) -> None:
    assert error_of(h2.frame(FrameType.HEADERS, 0, 1, b"x"), between) == (ErrorCode.PROTOCOL_ERROR, 0)


def test_a_header_block_is_bounded_in_bytes_and_in_frames() -> None:
    begin = h2.frame(FrameType.HEADERS, 0, 1, b"x" * 60)
    assert error_of(begin, h2.frame(FrameType.CONTINUATION, 0, 1, b"x" * 41), max_block=100)[0] == 11
    assert error_of(begin, h2.frame(FrameType.CONTINUATION, 0, 1, b"") * 100)[0] == ErrorCode.ENHANCE_YOUR_CALM


def test_frames_before_a_broken_one_are_read() -> None:
    reader = FrameReader(65536)
    frames = reader.feed(h2.ping(b"12345678", ack=False) + h2.frame(FrameType.DATA, 0, 0, b"x"))
    assert next(frames)[0] == FrameType.PING
    with pytest.raises(Http2Error):
        next(frames)


def test_the_reader_knows_whether_something_is_owed() -> None:
    reader = FrameReader(65536)
    for piece, owed in ((b"\x00", True), (h2.frame(1, 0, 1, b"x")[1:], True), (h2.frame(9, 4, 1, b""), False)):
        list(reader.feed(piece))
        assert reader.in_frame is owed


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"12345", ErrorCode.FRAME_SIZE_ERROR),
        (b"\x00\x02\x00\x00\x00\x02", ErrorCode.PROTOCOL_ERROR),
        (b"\x00\x04\x80\x00\x00\x00", ErrorCode.FLOW_CONTROL_ERROR),
        (b"\x00\x05\x00\x00\x3f\xff", ErrorCode.PROTOCOL_ERROR),
        (b"\x00\x05\x01\x00\x00\x00", ErrorCode.PROTOCOL_ERROR),
        (b"\x00\x08\x00\x00\x00\x02", ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_settings_with_forbidden_values_are_refused(payload: bytes, code: ErrorCode) -> None:
    with pytest.raises(Http2Error) as caught:
        h2.parse_settings(payload)
    assert caught.value.code == code


def test_settings_are_read_in_order_with_unknown_ones() -> None:
    payload = b"\x00\x04\x7f\xff\xff\xff\xfe\x01\x00\x00\x00\x07\x00\x04\x00\x00\x00\x00"
    assert h2.parse_settings(payload) == [(4, h2.MAX_WINDOW), (0xFE01, 7), (4, 0)]


@given(st.binary(max_size=40))
def test_padding_is_taken_off_as_hyperframe_does(payload: bytes) -> None:
    theirs = peer.DataFrame(1, flags=["PADDED"])
    try:
        theirs.parse_body(memoryview(payload))
    except peer.InvalidPaddingError:
        with pytest.raises(Http2Error):
            h2.unpadded(payload)
    except peer.InvalidFrameError:
        assert not payload
    else:
        assert h2.unpadded(payload) == theirs.data
