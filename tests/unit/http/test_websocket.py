"""The frames of a WebSocket, as a tunnel follows them; the websockets library says where they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from gateway.http.websocket import FrameFlow, going_away

LENGTHS = st.one_of(st.integers(0, 130), st.sampled_from([125, 126, 127, 65535, 65536, 70000]))
OPCODES = st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.PONG])


def frame(opcode: Opcode, length: int, *, masked: bool) -> bytes:
    return Frame(opcode, bytes(length if opcode < Opcode.CLOSE else min(length, 125))).serialize(mask=masked)


def cut(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(place % (len(wire) + 1) for place in cuts)
    return [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]


@given(
    st.lists(st.tuples(OPCODES, LENGTHS), min_size=1, max_size=5), st.booleans(), st.lists(st.integers(0), max_size=8)
)
def test_the_last_end_of_a_frame_is_found_wherever_the_stream_is_cut(
    frames: list[tuple[Opcode, int]], masked: bool, cuts: list[int]
) -> None:
    wire, ends = b"", {0}
    for opcode, length in frames:
        wire += frame(opcode, length, masked=masked)
        ends.add(len(wire))
    flow = FrameFlow(masked=masked)
    position = 0
    for piece in cut(wire, cuts):
        if not piece:
            continue
        within = [end for end in ends if position <= end <= position + len(piece)]
        expected = max(within) - position if within else -1
        assert flow.follow(piece) == expected
        position += len(piece)
    assert not flow.closed


@given(
    st.lists(st.tuples(OPCODES, LENGTHS), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0),
    st.lists(st.integers(0), max_size=6),
)
def test_a_flow_that_is_told_to_end_ends_between_two_frames(
    frames: list[tuple[Opcode, int]], masked: bool, told: int, cuts: list[int]
) -> None:
    whole = [frame(opcode, length, masked=masked) for opcode, length in frames]
    wire = b"".join(whole)
    told %= len(wire) + 1
    flow = FrameFlow(masked=masked)
    passed = flow.passing(wire[:told]) if told else b""
    passed += flow.leave()
    for piece in cut(wire[told:], cuts):
        passed += flow.passing(piece) if piece else b""
    goodbye = 8 if masked else 4
    assert flow.ended
    assert passed[-goodbye : -goodbye + 2] == (b"\x88\x82" if masked else b"\x88\x02")
    before = passed[:-goodbye]
    assert wire.startswith(before)
    assert before in {b"".join(whole[:count]) for count in range(len(whole) + 1)}


@pytest.mark.parametrize("masked", [True, False])
def test_going_away_is_status_1001(masked: bool) -> None:
    raw = going_away(masked=masked)
    assert bool(raw[1] & 0x80) is masked
    payload = raw[2:] if not masked else bytes(octet ^ raw[2 + place % 4] for place, octet in enumerate(raw[6:]))
    assert Close.parse(payload) == Close(1001, "")


def test_nothing_is_said_after_a_close_frame() -> None:
    flow = FrameFlow(masked=False)
    wire = Frame(Opcode.CLOSE, Close(1000, "").serialize()).serialize(mask=False)
    assert flow.passing(wire) == wire
    assert flow.closed
    assert flow.leave() == b""
