"""Any sequence of frames, judged by the gateway and by the h2 package: they agree on what breaks the protocol."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.http.h2_workshop import GET, POST, PREFACE, Workshop, block

streams = st.sampled_from([1, 1, 1, 3, 3, 5, 2, 7])
heads = st.sampled_from(
    [
        GET,
        POST,
        [*POST, ("content-length", "4")],
        [("x-sum", "1")],
        GET[1:],
        [*GET, ("connection", "close")],
        [*GET, ("X-Upper", "1")],
        [*GET, (":path", "/again")],
        [("a", "b"), *GET],
        [*GET, (":unknown", "")],
        [*GET, ("te", "gzip")],
        [*GET[:3], (":path", "")],
        [*GET, ("cookie", "a=1"), ("cookie", "b=2")],
        [*GET, ("x", " padded ")],
    ]
)


@st.composite
def frames(draw: st.DrawFn) -> list[Frame]:
    """Draw a frame, or a head in two."""
    number = draw(streams)
    ended = ["END_STREAM"] if draw(st.booleans()) else []
    match draw(st.sampled_from("HHHHHHDDDDCRWWPGS")):
        case "H":
            fields = draw(heads)
            if fields[-1][0] == "content-length":
                ended = []  # h2 does not miss a body that does not begin
            return [HeadersFrame(number, block(fields), flags=["END_HEADERS", *ended])]
        case "C":
            data = block(draw(heads.filter(lambda fields: fields[-1][0] != "content-length")))
            after = draw(st.sampled_from([number, number, 9]))
            rest = ContinuationFrame(after, data[6:], flags=["END_HEADERS"])
            return [HeadersFrame(number, data[:6], flags=ended), rest]
        case "D":
            data = draw(st.sampled_from([b"", b"body", b"x" * 16000]))
            if (padding := draw(st.sampled_from([None, None, 0, 3, 255]))) is None:
                return [DataFrame(number, data, flags=ended)]
            return [DataFrame(number, data, pad_length=padding, flags=[*ended, "PADDED"])]
        case "R":
            return [RstStreamFrame(number, 8)]
        case "W":
            size = draw(st.sampled_from([1, 1, 65535, (1 << 31) - 1]))
            return [WindowUpdateFrame(draw(st.sampled_from([0, number])), size)]
        case "P":
            return [PriorityFrame(number, depends_on=draw(st.sampled_from([0, 9])))]
        case "G":
            return [PingFrame(0, b"12345678", flags=draw(st.sampled_from([[], ["ACK"]])))]
        case _:
            return [SettingsFrame(0, {4: draw(st.sampled_from([0, 10, 65535, (1 << 31) - 1]))})]


class Oracle:
    """The h2 package as a server, which takes bodies as they come and answers nothing."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window((1 << 20) - 65535)
        self.h2.receive_data(PREFACE + SettingsFrame(0).serialize() + SettingsFrame(0, flags=["ACK"]).serialize())
        self.h2.data_to_send()

    def takes(self, wire: bytes) -> bool:
        """Tell whether these bytes cause neither a reset nor the end of the connection."""
        try:
            events = self.h2.receive_data(wire)
        except h2.exceptions.ProtocolError:
            return False
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return b"\x00\x00\x04\x03\x00" not in self.h2.data_to_send()


@given(st.lists(frames(), max_size=12))
def test_the_gateway_and_h2_agree(drawn: list[list[Frame]]) -> None:
    shop, oracle = Workshop(), Oracle()
    for group in drawn:
        wire = b"".join(frame.serialize() for frame in group)
        shop.send(wire)
        ours = not any(isinstance(frame, GoAwayFrame | RstStreamFrame) for frame in shop.read())
        theirs = oracle.takes(wire)
        if theirs and not ours and isinstance(group[0], RstStreamFrame):
            return  # h2 does not mind the reset of an idle stream (RFC 9113 section 6.4 does)
        assert ours == theirs, f"the gateway {'takes' if ours else 'refuses'} {group}"
        if not ours:
            return
