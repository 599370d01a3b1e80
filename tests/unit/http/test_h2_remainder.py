"""Answers over HTTP/2 before the end of a request: what is still sent is thrown away, within bounds."""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from gateway.http.remainder import REMAINDER_BYTES
from tests.unit.http.h2_workshop import GET, POST, Workshop, headers

FLOW, CANCEL, STREAM_CLOSED = 3, 8, 5
CONNECT = [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]]
LONG = [*POST, ("content-length", "3000000")]


def opened(shop: Workshop, stream: int) -> int:
    """Count by how much a window was opened."""
    return sum(frame.window_increment for frame in shop.got(WindowUpdateFrame, stream))


@pytest.mark.parametrize("body", [b"", b"too much"])
def test_an_early_answer_leaves_the_client_its_stream(body: bytes) -> None:
    shop = Workshop()
    shop.send(headers(1, LONG, ended=False), DataFrame(1, b"x" * 16384))
    shop.read()
    shop.exchanges[0].answer(body, status=b"413")
    frames = shop.read()
    assert [type(frame) for frame in frames][:3] == [WindowUpdateFrame, WindowUpdateFrame, HeadersFrame]
    assert "END_STREAM" in frames[-1].flags
    assert shop.connection.running == 0
    for _ in range(182):
        shop.send(DataFrame(1, b"x" * 16384))
    shop.send(DataFrame(1, b"x" * 1728, flags=["END_STREAM"]))
    assert shop.got(RstStreamFrame) == []
    shop.send(headers(3))
    shop.exchanges[1].answer()
    assert "END_STREAM" in shop.got(HeadersFrame, 3)[0].flags
    assert shop.exchanges[0].body == b"x" * 16384  # nothing after the answer


def test_the_window_for_the_rest_comes_before_the_end_of_the_answer() -> None:
    shop = Workshop()
    shop.send(headers(1, LONG, ended=False))
    shop.exchanges[0].downstream.pause_body()  # no upstream takes it
    shop.send(*[DataFrame(1, b"x" * 13107)] * 5)
    shop.read()
    shop.exchanges[0].answer(b"x", ended=False)
    assert opened(shop, 1) == 0
    shop.exchanges[0].respond(b"last", ended=True)
    frames = shop.read()
    assert isinstance(frames[-1], DataFrame)
    assert "END_STREAM" in frames[-1].flags
    updates = {frame.stream_id: frame.window_increment for frame in frames if isinstance(frame, WindowUpdateFrame)}
    assert updates[1] == 3_000_000 - 65535
    assert updates[0] >= 3_000_000 - 65535


def test_a_request_of_unknown_length_gets_more_window_as_it_comes() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False))
    shop.read()
    shop.exchanges[0].answer(status=b"404")
    allowed = 65535 + opened(shop, 1)
    for _ in range(2000):
        shop.send(DataFrame(1, b"x" * 16384))
        allowed += opened(shop, 1) - 16384
        assert allowed >= 8 << 20
    shop.send(headers(1, [("x-sum", "1")]))
    assert shop.got(RstStreamFrame) == []
    assert shop.connection.resting_since < shop.now + 1  # nothing is left of it


def test_an_upload_whose_head_is_refused_may_be_sent_to_its_end() -> None:
    shop = Workshop()
    shop.send(headers(1, [*LONG, *((f"x-{k}", "") for k in range(110))], ended=False))
    assert shop.refusals == [431]
    assert opened(shop, 1) > 3_000_000
    shop.send(*[DataFrame(1, b"x" * 16384)] * 183, DataFrame(1, b"x" * 1728, flags=["END_STREAM"]))
    assert shop.got(RstStreamFrame) == []


def test_all_that_a_connection_throws_away_at_a_time_is_bounded() -> None:
    shop = Workshop()
    for number in range(1, 41, 2):
        shop.send(headers(number, [*POST, ("content-length", str(100 << 20))], ended=False))
        shop.exchanges[-1].answer(status=b"413")
    frames = [frame for frame in shop.read() if isinstance(frame, WindowUpdateFrame)]
    assert sum(frame.window_increment for frame in frames if frame.stream_id) == REMAINDER_BYTES
    assert sum(frame.window_increment for frame in frames if not frame.stream_id) == REMAINDER_BYTES + (1 << 20) - 65535
    shop.send(RstStreamFrame(1, CANCEL))
    shop.send(headers(41, [*POST, ("content-length", "70000")], ended=False))
    shop.exchanges[-1].answer(status=b"413")
    assert opened(shop, 41) == 70000 - 65535
    assert not shop.errors


def test_the_connections_window_does_not_grow_with_every_answer() -> None:
    shop = Workshop()
    window = 65535 + opened(shop, 0)
    for number in range(1, 201, 2):
        shop.send(headers(number, [*POST, ("content-length", str(64 << 20))], ended=False))
        shop.exchanges[-1].answer(status=b"413")
        shop.send(RstStreamFrame(number, CANCEL))
        window += opened(shop, 0)
    assert window <= (1 << 20) + (64 << 20)


@pytest.mark.parametrize("fields", [LONG, POST, CONNECT])
@pytest.mark.parametrize(("every", "lasts"), [(6, 5), (4, 30)])
def test_a_request_that_goes_on_too_long_is_reset_in_a_record_of_its_own(
    fields: list[tuple[str, str]], every: int, lasts: int
) -> None:
    shop = Workshop()
    shop.send(headers(1, fields, ended=False))
    shop.exchanges[0].answer(b"no", status=b"413")
    began = shop.now
    records: list[bytes] = []
    while not any(isinstance(frame, RstStreamFrame) for frame in shop.frames):
        shop.read()
        shop.wait(0.5)
        records = [bytes(record) for record in shop.transport.written]
        if (shop.now - began) % every == 0:
            shop.send(DataFrame(1, b"x"))
        shop.read()
    assert records == [b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x00"]  # NO_ERROR
    assert shop.now - began == pytest.approx(lasts, abs=0.5)
    assert not shop.connection.running
    assert shop.slowness == []


def test_a_reset_never_shares_a_record_with_the_end_of_its_answer() -> None:
    shop = Workshop(settings={4: 1})
    shop.send(headers(1, POST, ended=False))
    shop.exchanges[0].answer(b"12345", status=b"413")
    shop.wait(40)  # the answer is not out yet: it is the response that the client is slow with
    assert shop.got(RstStreamFrame) == []
    shop.send(WindowUpdateFrame(1, 400))
    shop.wait(5)
    records = [record for record in shop.transport.written if record]
    assert len(records) == 2
    frames = shop.read()
    assert [type(frame) for frame in frames] == [DataFrame, RstStreamFrame]


def test_what_a_client_sends_while_it_takes_a_long_answer_is_taken() -> None:
    shop = Workshop(settings={4: 100})
    shop.send(headers(1, LONG, ended=False))
    shop.exchanges[0].answer(b"x" * 5000, status=b"403")
    assert shop.connection.running == 1
    for _ in range(183):
        shop.send(DataFrame(1, b"x" * 16384))
    shop.send(DataFrame(1, b"x" * 1728, flags=["END_STREAM"]))
    shop.send(WindowUpdateFrame(1, 5000))
    assert "END_STREAM" in shop.got(DataFrame)[-1].flags
    assert shop.connection.running == 0
    assert shop.connection.resting_since < 1e9


@pytest.mark.parametrize("length", [LONG, POST])
def test_nobody_minds_a_request_that_is_cut_short_after_its_answer(length: list[tuple[str, str]]) -> None:
    shop = Workshop()
    for number in range(1, 2401, 2):  # no flood either, as 1,200 resets without an answer are
        shop.send(headers(number, length, ended=False))
        shop.exchanges[-1].answer(status=b"401")
        shop.send(RstStreamFrame(number, 0) if number % 4 == 1 else DataFrame(number, b"", flags=["END_STREAM"]))
    assert shop.got(RstStreamFrame) == []
    assert shop.goaway() is None
    assert not shop.floods


def test_something_follows_the_end_of_a_request_that_was_answered_early() -> None:
    """curl 7.88 ends its half when it reads a 4xx, and sees that the stream is over when it reads again."""
    shop = Workshop()
    shop.send(headers(1, LONG, ended=False))
    shop.exchanges[0].answer(b"no", status=b"413")
    shop.read()
    shop.send(DataFrame(1, b"", flags=["END_STREAM"]))
    assert [(frame.stream_id, frame.window_increment) for frame in shop.got(WindowUpdateFrame)] == [(0, 1)]


def test_who_has_the_beginning_of_an_answer_may_stop_its_request() -> None:
    shop = Workshop()
    shop.send(headers(1, LONG, ended=False), DataFrame(1, b"x" * 100))
    shop.exchanges[0].answer(b"too", status=b"413", ended=False)
    shop.send(DataFrame(1, b"", flags=["END_STREAM"]))
    shop.exchanges[0].respond(b" large", ended=True)
    assert b"".join(frame.data for frame in shop.got(DataFrame)) == b"too large"
    assert not shop.exchanges[0].ended  # the upstream must not take it for whole
    assert not shop.connection.running


def test_who_has_no_answer_must_not_stop_its_request() -> None:
    shop = Workshop()
    shop.send(headers(1, LONG, ended=False), DataFrame(1, b"", flags=["END_STREAM"]))
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [1]
    assert shop.exchanges[0].gone


def test_more_than_the_length_that_was_said_resets_the_stream() -> None:
    shop = Workshop()
    shop.send(headers(1, [*POST, ("content-length", "70000")], ended=False))
    shop.exchanges[0].answer(status=b"413")
    shop.send(*[DataFrame(1, b"x" * 14000)] * 5)
    assert shop.got(RstStreamFrame) == []
    shop.send(DataFrame(1, b"x"))
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [FLOW]


def test_streams_that_are_answered_early_count_among_those_that_run_at_a_time() -> None:
    shop = Workshop(http2_streams=10)
    for number in range(1, 21, 2):
        shop.send(headers(number, POST, ended=False))
        shop.exchanges[-1].answer(status=b"404")
    shop.read()
    shop.send(headers(21, POST, ended=False), headers(23, [*POST, *((f"x-{k}", "") for k in range(110))], ended=False))
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [7, 7]  # REFUSED_STREAM
    shop.send(DataFrame(1, b"", flags=["END_STREAM"]), headers(25))
    assert len(shop.exchanges) == 11


def test_what_comes_after_a_reset_is_at_most_what_was_allowed_before_it() -> None:
    shop = Workshop()
    shop.send(headers(1, LONG, ended=False))
    shop.exchanges[0].answer(status=b"413")
    shop.wait(6)
    assert [frame.error_code for frame in shop.got(RstStreamFrame)] == [0]
    for _ in range(183):
        shop.send(DataFrame(1, b"x" * 16384))
    assert not shop.errors
    shop.send(DataFrame(1, b"x" * 16384))
    assert shop.errors == ["more DATA than the windows of streams that were reset"]
    assert shop.goaway() == FLOW


def test_a_drain_leaves_only_a_moment_for_the_rest() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False), headers(3, POST, ended=False))
    shop.exchanges[0].answer(status=b"413")
    shop.draining = True
    shop.connection.drain()
    shop.exchanges[1].answer(status=b"413")
    assert shop.connection.running == 0
    for _ in range(2):
        shop.send(DataFrame(1, b"x"), DataFrame(3, b"x"))
        shop.wait(1)
    assert [frame.stream_id for frame in shop.got(RstStreamFrame)] == [1, 3]
    assert shop.transport.ended


def test_the_last_answer_of_a_connection_may_come_early_too() -> None:
    shop = Workshop()
    shop.keep_alive = False
    shop.send(headers(1, LONG, ended=False))
    shop.exchanges[0].answer(b"no", status=b"413")
    assert [type(frame) for frame in shop.read()][-2:] == [DataFrame, GoAwayFrame]
    assert not shop.transport.ended  # windows are still to be opened
    shop.send(*[DataFrame(1, b"x" * 16384)] * 10, DataFrame(1, b"", flags=["END_STREAM"]))
    assert shop.transport.ended
    assert shop.got(RstStreamFrame) == []


def test_settings_change_the_window_of_a_stream_that_is_answered() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False))
    shop.exchanges[0].answer(status=b"413")
    shop.send(SettingsFrame(0, {4: 10}), WindowUpdateFrame(1, 10), DataFrame(1, b"x", flags=["END_STREAM"]))
    assert shop.got(RstStreamFrame) == []
    shop.send(DataFrame(1, b"x"))
    assert shop.goaway() == STREAM_CLOSED
