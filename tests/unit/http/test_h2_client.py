"""The upstream side of HTTP/2 without a network: another implementation as the peer, and peers that break the rules."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hyperframe import frame as wire
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.h2_upstream_stream import STREAM_WINDOW
from gateway.http.head import CHUNKED
from tests.support.hostile_h2_tables import BROKEN_CONNECTIONS, MALFORMED_STREAMS, OK, data, headers, settings
from tests.unit.http.h2_line import Line, line


def test_settings_and_pings_are_acknowledged() -> None:
    def talk(it: Line) -> None:
        first = it.frames()
        assert [type(one) for one in first] == [wire.SettingsFrame, wire.WindowUpdateFrame]
        assert first[0].settings[wire.SettingsFrame.ENABLE_PUSH] == 0
        it.feed(settings(), wire.PingFrame(0, b"12345678"), wire.SettingsFrame(0, flags=["ACK"]))
        ack, pong = it.frames()
        assert "ACK" in ack.flags
        assert "ACK" in pong.flags
        assert pong.opaque_data == b"12345678"

    line(talk)


def test_a_response_in_one_read_is_passed_on_as_one() -> None:
    def talk(it: Line) -> None:
        receiver, _ = it.ask()
        it.feed(settings(), headers(1, OK, ("content-length", "6")), data(1, b"abc"), data(1, b"def", end=True))
        assert receiver.head is not None
        assert (receiver.head.status, receiver.head.length) == (200, 6)
        assert (receiver.body, receiver.ended) == (b"abcdef", True)
        assert it.changes == 1

    line(talk)


def test_padding_counts_for_the_windows_and_is_no_part_of_the_body() -> None:
    def talk(it: Line) -> None:
        receiver, _ = it.ask()
        it.feed(settings(), headers(1, OK))
        it.frames()
        for _ in range(STREAM_WINDOW // 256):
            it.feed(data(1, b"y", padding=254))
        given = [one for one in it.frames() if isinstance(one, wire.WindowUpdateFrame)]
        assert sum(one.window_increment for one in given if one.stream_id == 1) >= STREAM_WINDOW // 2
        it.feed(data(1, b"x", end=True, padding=7))
        assert (receiver.body, receiver.ended) == (b"y" * (STREAM_WINDOW // 256) + b"x", True)

    line(talk)


def test_what_comes_for_a_client_that_does_not_read_waits_and_gives_no_credit() -> None:
    def talk(it: Line) -> None:
        receiver, stream = it.ask()
        it.feed(settings(), headers(1, OK), data(1, b"first"))
        stream.pause()
        it.frames()
        for _ in range(STREAM_WINDOW // 16384 - 1):
            it.feed(data(1, bytes(16384)))
        assert receiver.body == b"first"
        assert not [one for one in it.frames() if one.stream_id == 1]
        it.feed(data(1, b"last", end=True))
        stream.resume()
        assert receiver.ended
        assert len(receiver.body) == 5 + STREAM_WINDOW - 16384 + 4

    line(talk)


def test_a_connection_that_ends_behind_a_waiting_response_fails_it_after_what_came() -> None:
    def talk(it: Line) -> None:
        receiver, stream = it.ask()
        it.feed(settings(), headers(1, OK), data(1, b"first"))
        stream.pause()
        it.feed(data(1, b"second"))
        it.connection.connection_lost(None)
        assert receiver.error is None
        stream.resume()
        assert receiver.body == b"firstsecond"
        assert receiver.error is not None
        assert receiver.began

    line(talk)


def test_a_request_waits_for_the_windows_and_says_so() -> None:
    def talk(it: Line) -> None:
        it.feed(settings(INITIAL_WINDOW_SIZE=10))
        receiver, stream = it.ask(CHUNKED, b"POST")
        it.frames()
        stream.send_body(b"0123456789abcdef", [], ended=False)
        assert receiver.paused
        assert [one.data for one in it.frames()] == [b"0123456789"]
        it.feed(settings(INITIAL_WINDOW_SIZE=5))  # less than what was sent: the window is negative
        it.feed(wire.WindowUpdateFrame(1, 5))
        assert [one for one in it.frames() if isinstance(one, wire.DataFrame)] == []
        it.feed(wire.WindowUpdateFrame(1, 100))
        assert not receiver.paused
        stream.send_body(b"", [b"X-Sum: 1"], ended=True)
        body, trailers = it.frames()
        assert body.data == b"abcdef"
        assert "END_STREAM" in trailers.flags

    line(talk)


def test_streams_take_turns_at_the_connections_window() -> None:
    def talk(it: Line) -> None:
        it.feed(settings(INITIAL_WINDOW_SIZE=1 << 20))
        asked = [it.ask(CHUNKED, b"POST") for _ in range(3)]
        it.frames()
        for _, stream in asked:
            stream.send_body(bytes(60000), [], ended=True)
        assert sum(len(one.data) for one in it.frames()) == 65535
        sent = set()
        for _ in range(4):
            it.feed(wire.WindowUpdateFrame(0, 30000))
            sent |= {one.stream_id for one in it.frames()}
        assert sent == {3, 5}
        assert not any(receiver.paused for receiver, _ in asked)

    line(talk)


def test_an_upstream_that_does_not_read_stops_the_requests() -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, stream = it.ask(CHUNKED, b"POST")
        it.connection.pause_writing()
        it.frames()
        stream.send_body(b"abc", [], ended=False)
        assert receiver.paused
        assert not it.frames()
        it.connection.resume_writing()
        assert not receiver.paused
        assert [one.data for one in it.frames()] == [b"abc"]

    line(talk)


def test_who_asks_without_reading_the_answers_is_left() -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, _ = it.ask()
        it.connection.pause_writing()
        it.feed(*[wire.PingFrame(0, b"12345678")] * 101)
        assert it.wire.closed
        assert receiver.error is not None

    line(talk)


def test_what_comes_late_for_a_stream_that_was_given_up_passes() -> None:
    def talk(it: Line) -> None:
        encoder = Encoder()
        it.feed(settings())
        receiver, stream = it.ask()
        stream.close()
        assert [one.error_code for one in it.frames() if isinstance(one, wire.RstStreamFrame)] == [8]
        it.feed(headers(1, OK, ("x-a", "1"), encoder=encoder), data(1, b"late", end=True))
        other, _ = it.ask()
        it.feed(headers(3, OK, ("x-a", "1"), end=True, encoder=encoder))  # the table is in step
        assert other.ended
        assert receiver.head is None
        assert not it.wire.closed

    line(talk)


def test_no_request_follows_where_nothing_was_heard_for_long() -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        it.now = 1.0
        _, stream = it.ask()
        it.now = 7.0
        stream.close()
        assert not it.connection.has_room
        assert it.wire.closed

    line(talk)


@pytest.mark.parametrize("what", MALFORMED_STREAMS)
def test_what_breaks_one_stream_costs_that_stream_and_the_connection_takes_no_more(what: str) -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, stream = it.ask()
        other, _ = it.ask()
        if "window" in what:
            stream.pause()
        it.frames()
        it.feed(*MALFORMED_STREAMS[what])
        stream.resume()
        assert receiver.error is not None
        assert receiver.error.status == 502
        assert [(one.stream_id, one.error_code) for one in it.frames() if isinstance(one, wire.RstStreamFrame)] == [
            (1, 1)
        ]
        assert not it.connection.has_room
        it.feed(headers(3, OK, end=True))
        assert other.ended
        assert it.wire.closed

    line(talk)


@pytest.mark.parametrize("what", ["a longer body", "a body to a 204"])
def test_nothing_of_a_piece_that_is_longer_than_its_body_is_passed_on(what: str) -> None:
    def talk(it: Line) -> None:
        receiver, _ = it.ask()
        it.feed(settings(), *MALFORMED_STREAMS[what])
        assert receiver.error is not None
        assert receiver.body == b""  # it would be the next response to a client of HTTP/1.1

    line(talk)


@pytest.mark.parametrize("what", BROKEN_CONNECTIONS)
def test_what_breaks_the_connection_ends_it_at_once(what: str) -> None:
    def talk(it: Line) -> None:
        receiver, _ = it.ask()
        other, _ = it.ask()
        it.frames()
        it.feed(*BROKEN_CONNECTIONS[what])
        assert it.wire.closed
        for one in (receiver, other):
            assert one.error is not None
            assert one.error.status == 502
            assert "broke the protocol" in str(one.error)
        assert it.connection.ready.done()
        assert not it.connection.has_room

    line(talk)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([settings().serialize(), headers(1, OK).serialize()])))
def test_whatever_an_upstream_sends_each_request_ends_once(pieces: list[bytes]) -> None:
    def talk(it: Line) -> None:
        receiver, _ = it.ask(CHUNKED, b"POST")
        for piece in pieces:
            it.feed(piece)
        if not it.connection.closed:
            it.connection.connection_lost(None)
        assert receiver.ended or receiver.error is not None

    line(talk)


@given(
    body=st.binary(max_size=3000),
    answer=st.binary(max_size=3000),
    window=st.integers(1, 3000),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20),
)
def test_bodies_arrive_whole_whatever_the_windows_and_wherever_the_bytes_are_cut(
    body: bytes, answer: bytes, window: int, cuts: list[int]
) -> None:
    def talk(it: Line) -> None:
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        peer.local_settings = Settings(client=False, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        peer.initiate_connection()
        it.connection.data_received(peer.data_to_send())
        receiver, stream = it.ask(CHUNKED, b"POST")
        stream.send_body(body, [b"X-Sum: 1"], ended=True)
        received = b""
        trailers = []
        while written := it.wire.take():
            for event in peer.receive_data(written):
                if isinstance(event, h2.events.DataReceived):
                    received += event.data
                    peer.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers = list(event.headers)
                elif isinstance(event, h2.events.StreamEnded):
                    peer.send_headers(1, [OK])
                    peer.send_data(1, answer)
                    peer.send_headers(1, [("x-sum", "2")], end_stream=True)
            answered = peer.data_to_send()
            position = turn = 0
            while position < len(answered):
                size = cuts[turn % len(cuts)]
                it.connection.data_received(answered[position : position + size])
                position += size
                turn += 1
        assert received == body
        assert trailers == [(b"x-sum", b"1")]
        assert (receiver.body, receiver.trailers, receiver.ended) == (answer, [b"x-sum: 2"], True)

    line(talk)
