"""HTTP/2 connections fed with frames: what they cost, whom they wait for, and how they end."""

from __future__ import annotations

import hpack
import pytest
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.unit.http.h2_workshop import GET, POST, Workshop, headers

PROTOCOL, FLOW, CLOSED, CANCEL, CALM = 1, 3, 5, 8, 11


# flow control: what the client may send


def test_a_window_is_given_back_when_the_exchange_takes_the_body() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False))
    shop.read()
    exchange = shop.exchanges[0]
    exchange.downstream.pause_body()
    for _ in range(3):
        shop.send(DataFrame(1, b"x" * 16384))
    assert shop.got(WindowUpdateFrame, 1) == []
    exchange.downstream.resume_body()
    assert [frame.window_increment for frame in shop.got(WindowUpdateFrame, 1)] == [3 * 16384]
    assert len(exchange.body) == 3 * 16384


@pytest.mark.parametrize("padded", [False, True])
def test_more_than_the_window_resets_the_stream_alone(padded: bool) -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False), headers(3))
    shop.exchanges[0].downstream.pause_body()
    filler = DataFrame(1, b"", pad_length=255, flags=["PADDED"]) if padded else DataFrame(1, b"x" * 256)
    for _ in range(256):
        shop.send(filler)
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [FLOW]
    assert shop.exchanges[0].gone
    shop.exchanges[1].answer(b"well")
    assert [frame.data for frame in shop.got(DataFrame, 3)] == [b"well"]


def test_the_window_of_the_connection_comes_back_whoever_pauses() -> None:
    shop = Workshop()
    shop.send(*(headers(number, POST, ended=False) for number in range(1, 41, 2)))
    shop.read()
    for exchange in shop.exchanges:
        exchange.downstream.pause_body()
    shop.send(*(DataFrame(number, b"x" * 16384) for number in range(1, 41, 2) for _ in range(3)))
    assert sum(frame.window_increment for frame in shop.got(WindowUpdateFrame, 0)) >= 1 << 19
    assert not shop.errors


def test_a_window_grows_where_all_is_taken_and_shrinks_with_the_end() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False))
    allowed = 65535
    for _ in range(300):
        shop.send(DataFrame(1, b"x" * 16384))
        allowed += sum(frame.window_increment for frame in shop.got(WindowUpdateFrame, 1)) - 16384
    assert 1 << 19 <= allowed <= 1 << 20
    shop.exchanges[0].answer(b"enough")
    assert shop.connection.spare_window == 1 << 20


def test_what_comes_before_a_tunnel_stands_is_one_window() -> None:
    shop = Workshop()
    shop.send(headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]], ended=False))
    shop.read()
    exchange = shop.exchanges[0]
    exchange.downstream.pause_body()
    exchange.downstream.resume_body()  # there is a connection to the upstream, and no answer yet
    shop.send(*(DataFrame(1, b"x" * 16383) for _ in range(4)))
    assert shop.got(WindowUpdateFrame, 1) == []
    shop.send(DataFrame(1, b"xxxx"))
    assert [frame.error_code for frame in shop.got(RstStreamFrame, 1)] == [FLOW]


# flow control: what the client takes


def test_a_response_waits_for_the_stream_and_for_the_connection() -> None:
    shop = Workshop()
    shop.send(headers(1), headers(3))
    first, second = shop.exchanges
    first.answer(b"a" * 100_000)
    assert sum(len(frame.data) for frame in shop.got(DataFrame)) == 65535
    second.answer(b"b" * 10)
    assert shop.got(DataFrame) == []  # the connection's window is used up as well
    shop.send(WindowUpdateFrame(0, 20))
    assert [(frame.stream_id, frame.data) for frame in shop.got(DataFrame)] == [(3, b"b" * 10)]
    shop.send(WindowUpdateFrame(1, 100_000))
    assert sum(len(frame.data) for frame in shop.got(DataFrame, 1)) == 10
    shop.send(WindowUpdateFrame(0, 100_000))
    rest = shop.got(DataFrame, 1)
    assert sum(len(frame.data) for frame in rest) == 100_000 - 65535 - 10
    assert "END_STREAM" in rest[-1].flags
    assert shop.connection.running == 0


def test_the_exchange_pauses_while_its_client_does_not_take_it() -> None:
    shop = Workshop(settings={4: 10})
    shop.send(headers(1))
    exchange = shop.exchanges[0]
    exchange.answer(b"x" * 11, ended=False)
    assert exchange.paused
    shop.send(WindowUpdateFrame(1, 1))
    assert not exchange.paused
    exchange.downstream.send_body(b"", [b"x-sum: 1"], ended=True)
    assert [type(frame) for frame in shop.read()][-1] is HeadersFrame
    assert shop.connection.running == 0


def test_settings_may_make_a_window_negative() -> None:
    shop = Workshop(settings={4: 100})
    shop.send(headers(1))
    shop.exchanges[0].answer(b"x" * 100, ended=False)
    shop.send(SettingsFrame(0, {4: 40}))
    shop.exchanges[0].downstream.send_body(b"y" * 30, [], ended=True)
    shop.read()
    shop.send(WindowUpdateFrame(1, 60))
    assert shop.got(DataFrame) == []
    shop.send(WindowUpdateFrame(1, 30))
    assert [frame.data for frame in shop.got(DataFrame)] == [b"y" * 30]


def test_an_end_without_data_needs_no_window() -> None:
    shop = Workshop(settings={4: 5})
    shop.send(headers(1))
    shop.exchanges[0].answer(b"12345", ended=False)
    shop.send(SettingsFrame(0, {4: 0}))
    shop.exchanges[0].downstream.send_body(b"", [], ended=True)
    assert "END_STREAM" in shop.got(DataFrame)[-1].flags


def test_responses_take_turns() -> None:
    shop = Workshop(settings={4: 1 << 20})
    shop.send(headers(1), headers(3))
    for exchange in shop.exchanges:
        exchange.answer(b"x" * 200_000)
    shop.read()
    shop.send(WindowUpdateFrame(0, 1 << 20))
    order = [frame.stream_id for frame in shop.got(DataFrame)]
    assert order[:6] in ([1, 3] * 3, [3, 1] * 3)


def test_a_full_socket_pauses_all_and_room_resumes_them() -> None:
    shop = Workshop(settings={4: 1 << 20})
    shop.send(headers(1), headers(3))
    shop.transport.full = True
    shop.exchanges[0].answer(b"x" * 10, ended=False)
    shop.turn()
    assert all(exchange.paused for exchange in shop.exchanges)
    shop.exchanges[0].downstream.send_body(b"late", [], ended=True)
    shop.transport.full = False
    shop.connection.resume_writing()
    assert not shop.exchanges[1].paused
    assert [frame.data for frame in shop.got(DataFrame)] == [b"x" * 10, b"late"]


def test_too_much_that_waits_pauses_the_others() -> None:
    shop = Workshop(settings={4: 0})
    shop.send(*(headers(number) for number in range(1, 23, 2)))
    for exchange in shop.exchanges[:10]:
        exchange.answer(b"x" * 250_000, ended=False)
    assert shop.exchanges[10].paused
    for number in range(1, 21, 2):
        shop.send(WindowUpdateFrame(number, 250_000))
    shop.send(WindowUpdateFrame(0, 10_000_000))
    assert not any(exchange.paused for exchange in shop.exchanges)


def test_an_empty_piece_is_nothing_to_wait_for() -> None:
    shop = Workshop(settings={4: 0}, write_idle_timeout=5)
    shop.send(headers(1))
    shop.exchanges[0].answer(b"", ended=False)
    shop.exchanges[0].downstream.send_body(b"", [], ended=False)
    shop.connection.pause_writing()
    shop.exchanges[0].downstream.send_body(b"", [], ended=False)
    shop.connection.resume_writing()
    shop.wait(6)
    assert shop.connection.running == 1
    assert shop.got(DataFrame) == []


# deadlines


def test_a_response_that_is_never_taken_ends_the_connection() -> None:
    shop = Workshop(settings={4: 0}, write_idle_timeout=5)
    shop.send(headers(1))
    shop.exchanges[0].answer(b"x" * 10)
    shop.wait(4)
    assert not shop.floods
    shop.wait(2)
    assert shop.floods == ["a response that was not read in time"]
    assert shop.goaway() == CALM


def test_a_response_that_is_held_beside_others_is_reset_alone() -> None:
    shop = Workshop(settings={4: 0}, write_idle_timeout=5)
    shop.send(headers(1), headers(3))
    shop.exchanges[0].answer(b"x" * 10, ended=False)
    shop.wait(6)
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [CANCEL]
    assert (shop.exchanges[0].gone, shop.exchanges[1].gone) == (True, False)
    assert shop.slowness == ["slow_readers"]
    assert not shop.floods


def test_a_slow_reader_that_reads_is_left_alone() -> None:
    shop = Workshop(settings={4: 0}, write_idle_timeout=5)
    shop.send(headers(1))
    shop.exchanges[0].answer(b"x" * 20_000)
    for _ in range(5):
        shop.send(WindowUpdateFrame(1, 2000))
        shop.wait(4.5)
    assert shop.connection.running == 1
    assert shop.goaway() is None


def test_a_socket_that_takes_nothing_is_given_up() -> None:
    shop = Workshop(write_idle_timeout=5)
    shop.send(headers(1))
    shop.transport.full = True
    shop.exchanges[0].answer(b"x", ended=False)
    shop.turn()
    shop.wait(6)
    assert shop.transport.aborted


def test_a_body_that_stops_is_answered_with_408() -> None:
    shop = Workshop(body_idle_timeout=5)
    shop.send(headers(1, POST, ended=False))
    shop.wait(4)
    shop.send(DataFrame(1, b"x"))
    shop.wait(4)
    assert not shop.exchanges[0].failed
    shop.send(DataFrame(1))  # says nothing
    shop.wait(2)
    assert shop.exchanges[0].failed == 408
    shop.wait(6)
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [0]


def test_whole_requests_and_responses_have_a_deadline_where_one_is_set() -> None:
    shop = Workshop(body_idle_timeout=5)
    shop.read_timeout = 8.0
    shop.send(headers(1, POST, ended=False))
    for _ in range(5):
        shop.wait(2)
        shop.send(DataFrame(1, b"x"))
    assert shop.exchanges[0].failed == 408
    shop.write_timeout = 8.0
    shop.send(headers(3))
    shop.exchanges[1].answer(b"x", ended=False)
    shop.wait(9)
    assert shop.exchanges[1].gone


def test_pings_do_not_keep_an_idle_connection() -> None:
    shop = Workshop(keep_alive_timeout=5)
    for _ in range(6):
        shop.send(PingFrame(0, b"12345678"))
        shop.wait(1)
    assert shop.goaway() == 0
    assert shop.transport.ended


def test_a_head_that_drips_is_not_waited_for() -> None:
    shop = Workshop(request_head_timeout=5)
    wire = headers(1).serialize()
    for byte in wire[:9]:
        shop.send(bytes((byte,)))
        shop.wait(1)
    assert shop.goaway() == 0


# the rest


def test_answers_that_are_ready_together_leave_together() -> None:
    shop = Workshop()
    shop.send(headers(1), headers(3))
    shop.read()
    for exchange in shop.exchanges:
        exchange.answer(b"x")
    assert shop.transport.written == []
    shop.turn()
    assert len(shop.transport.written) == 1
    assert [frame.stream_id for frame in shop.got(DataFrame)] == [1, 3]


def test_a_smaller_table_is_acknowledged_in_the_next_block() -> None:
    shop = Workshop(settings={1: 0})
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 0
    shop.send(headers(1), headers(3))
    for exchange in shop.exchanges:
        exchange.answer(b"x", b"X-Own: 1")
    for frame in shop.got(HeadersFrame):
        assert (b"x-own", b"1") in decoder.decode(frame.data, raw=True)


def test_a_block_that_came_before_is_known() -> None:
    shop = Workshop()
    shop.send(headers(1), headers(3), headers(5, POST, ended=False))
    first, second, third = (exchange.head for exchange in shop.exchanges)
    assert first is second
    assert third is not first


def test_a_block_means_something_else_after_the_table_has_changed() -> None:
    shop = Workshop()
    encoder = hpack.Encoder()
    one, other = [*GET, ("x-own", "1")], [*GET, ("x-own", "2")]
    for number, fields in enumerate([one, one, one, other, other, one]):
        shop.send(headers(2 * number + 1, encoder.encode(fields)))
    assert [exchange.head.lines[0][-1:] for exchange in shop.exchanges] == [b"1", b"1", b"1", b"2", b"2", b"1"]


def test_credentials_are_not_kept_and_never_indexed() -> None:
    shop = Workshop()
    secret = [*GET, ("authorization", "Bearer secret"), ("cookie", "a=secret")]
    shop.send(headers(1, secret))
    shop.exchanges[0].answer(b"", b"Set-Cookie: a=secret")
    assert "secret" not in repr(shop.request_table.known) + repr(shop.request_table.pairs)
    data = shop.got(HeadersFrame)[0].data
    assert b"\x1f\x28" in data  # a literal that is never indexed, its name the static table's 55th


def test_a_goaway_of_the_client_lets_its_requests_finish() -> None:
    shop = Workshop()
    shop.send(headers(1), GoAwayFrame(0))
    shop.exchanges[0].answer(b"x")
    assert [frame.data for frame in shop.got(DataFrame)] == [b"x"]
    assert shop.transport.ended


def test_streams_after_the_last_goaway_are_ignored_but_decompressed() -> None:
    shop = Workshop()
    encoder = hpack.Encoder()
    shop.send(headers(1, encoder.encode(GET)))
    shop.connection.drain()
    shop.send(headers(3, encoder.encode([*GET, ("x", "y")])))  # before the ping's answer: still served
    shop.send(PingFrame(0, b"draining", flags=["ACK"]))
    shop.send(
        headers(5, encoder.encode([*GET, ("z", "z")]), ended=False), DataFrame(5, b"x"), RstStreamFrame(5, CANCEL)
    )
    assert [exchange.head.lines for exchange in shop.exchanges] == [[], [b"x: y"]]
    assert [(frame.last_stream_id, frame.error_code) for frame in shop.got(GoAwayFrame)] == [((1 << 31) - 1, 0), (3, 0)]
    assert not shop.errors
    for exchange in shop.exchanges:
        exchange.answer(b"x")
    assert shop.transport.ended


def test_what_was_under_way_when_we_reset_a_stream_is_no_fault() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False))
    shop.exchanges[0].downstream.abort()
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [2]
    shop.send(DataFrame(1, b"x"), WindowUpdateFrame(1, 5), headers(1, [("x", "y")]), RstStreamFrame(1, CANCEL))
    assert shop.goaway() is None
    assert shop.exchanges[0].body == b""


def test_the_end_of_the_connection_reaches_all_exchanges() -> None:
    shop = Workshop()
    shop.send(headers(1), headers(3, POST, ended=False))
    shop.connection.connection_lost(None)
    assert all(exchange.gone for exchange in shop.exchanges)
