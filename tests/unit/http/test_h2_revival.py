"""Once an upstream has broken a stream, nothing brings it back to life: nobody may read what comes after the fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hyperframe import frame as wire

from tests.unit.http.h2_line import MALFORMED_STREAMS, OK, Line, Receiver, data, headers, line, settings

if TYPE_CHECKING:
    from collections.abc import Callable

FORGED = headers(1, OK, ("content-length", "6")), data(1, b"forged", end=True)

AFTERWARDS: dict[str, list[wire.Frame]] = {
    "a whole response": [*FORGED],
    "the rest of a body": [data(1, b"lo", end=True)],
    "an end without a body": [data(1, b"", end=True)],
    "trailers": [headers(1, ("x-a", "1"), end=True)],
    "interim responses": [headers(1, (":status", "103"))] * 40,
    "a 100 with a length": [headers(1, (":status", "100"), ("content-length", "9")), *FORGED],
    "a reset and a response": [wire.RstStreamFrame(1, 8), *FORGED],
    "a refusal and a response": [wire.RstStreamFrame(1, 7), *FORGED],
    "a window widened by nothing": [wire.WindowUpdateFrame(1, 0), *FORGED],
    "a window widened too far": [wire.WindowUpdateFrame(1, 2**31 - 1), *FORGED],
    "settings that widen windows": [settings(INITIAL_WINDOW_SIZE=2**31 - 1), *FORGED],
    "values that are none": [headers(1, OK, ("x", "1\r\n")), headers(1, OK, ("x", "\0")), *FORGED],
    "the same fault and a response": [headers(1, OK, ("content-length", "5")), data(1, b"hel", end=True), *FORGED],
    "that all goes away": [wire.GoAwayFrame(0, last_stream_id=0), *FORGED],
}

HOW: dict[str, Callable[[Line, object, list[wire.Frame], list[wire.Frame]], None]] = {}


def how(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def note(feed: Callable[..., None]) -> Callable[..., None]:
        HOW[name] = feed
        return feed

    return note


@how("in the same read")
def at_once(it: Line, _: object, fault: list[wire.Frame], after: list[wire.Frame]) -> None:
    it.feed(*fault, *after)


@how("in a later read")
def later(it: Line, _: object, fault: list[wire.Frame], after: list[wire.Frame]) -> None:
    it.feed(*fault)
    it.feed(*after)


@how("frame by frame")
def one_by_one(it: Line, _: object, fault: list[wire.Frame], after: list[wire.Frame]) -> None:
    for one in (*fault, *after):
        it.feed(one)


@how("while the client does not read")
def paused(it: Line, stream: object, fault: list[wire.Frame], after: list[wire.Frame]) -> None:
    stream.pause()  # type: ignore[attr-defined]
    it.feed(*fault)
    it.feed(*after)
    stream.resume()  # type: ignore[attr-defined]


def assert_only_what_came_before(receiver: Receiver, fault: list[wire.Frame]) -> None:
    assert receiver.error is not None
    assert receiver.error.status == 502
    assert not receiver.ended
    assert receiver.trailers == []
    assert len(receiver.interims) <= 16
    sent = b"".join(one.data for one in fault if isinstance(one, wire.DataFrame))
    assert sent.startswith(receiver.body)
    if receiver.head is not None and receiver.head.length >= 0:
        assert len(receiver.body) <= receiver.head.length


@pytest.mark.parametrize("after", AFTERWARDS)
@pytest.mark.parametrize("manner", HOW)
def test_a_broken_stream_stays_broken(manner: str, after: str) -> None:
    def talk(it: Line) -> None:
        for what, fault in MALFORMED_STREAMS.items():
            if "stream's window" in what and manner == "frame by frame":
                continue  # the window is given back as the client takes what comes
            it = Line()
            it.feed(settings())
            receiver, stream = it.ask()
            other, _ = it.ask()
            HOW[manner](it, stream, fault, AFTERWARDS[after])
            assert_only_what_came_before(receiver, fault)
            if manner in ("in the same read", "while the client does not read"):
                assert receiver.head is None, what  # a malformed response is not forwarded
            if "goes away" not in after and "too far" not in what:
                it.feed(headers(3, OK, ("content-length", "4")), data(3, b"mine", end=True))
                assert (other.body, other.ended) == (b"mine", True), what

    line(talk)


@pytest.mark.parametrize("after", AFTERWARDS)
@pytest.mark.parametrize("code", [0, 2, 7, 8])
def test_a_stream_that_was_reset_stays_reset(code: int, after: str) -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, _ = it.ask()
        it.feed(wire.RstStreamFrame(1, code), *AFTERWARDS[after])
        assert receiver.head is None
        assert receiver.interims == []
        assert receiver.error is not None
        assert receiver.error.unprocessed is (code == 7)

    line(talk)


@pytest.mark.parametrize("after", AFTERWARDS)
def test_what_is_sent_on_a_stream_that_the_gateway_gave_up_is_for_nobody(after: str) -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, stream = it.ask()
        stream.close()
        it.feed(*AFTERWARDS[after])
        assert receiver.head is None
        assert receiver.interims == []
        assert not receiver.over

    line(talk)


@pytest.mark.parametrize("after", AFTERWARDS)
def test_a_response_that_is_whole_stays_so_whatever_follows(after: str) -> None:
    def talk(it: Line) -> None:
        for held in (False, True):
            it = Line()
            it.feed(settings())
            receiver, stream = it.ask()
            if held:
                stream.pause()
            it.feed(headers(1, OK, ("content-length", "5")), data(1, b"hello", end=True), *AFTERWARDS[after])
            stream.resume()
            assert (receiver.body, receiver.ended, receiver.error) == (b"hello", True, None)

    line(talk)


def test_data_behind_the_end_is_the_last_that_the_connection_is_used_for() -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        it.ask()
        it.feed(headers(1, OK, end=True))
        assert it.connection.has_room
        it.feed(data(1, b"more"))
        assert not it.connection.has_room

    line(talk)


def test_data_under_way_when_a_stream_is_given_up_is_no_fault() -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        _, stream = it.ask()
        it.feed(headers(1, OK))
        stream.close()
        for _ in range(16):
            it.feed(data(1, bytes(16384)))
        assert it.connection.has_room
        it.feed(data(1, b"one more"))
        assert not it.connection.has_room

    line(talk)


FLOODS: dict[str, wire.Frame | bytes] = {
    "PING": wire.PingFrame(0, b"12345678"),
    "answers to PING": wire.PingFrame(0, b"12345678", flags=["ACK"]),
    "SETTINGS": settings(),
    "SETTINGS of many values": b"\0\x17\x70\4\0\0\0\0\0" + b"\xf0\0\0\0\0\1" * 1000,
    "acknowledgements": wire.SettingsFrame(0, flags=["ACK"]),
    "empty DATA": data(1, b""),
    "empty DATA with padding": data(1, b"", padding=0),
    "empty DATA of a stream that is over": data(3, b""),
    "DATA of a stream that is over": data(3, bytes(8000)),
    "heads of a stream that is over": headers(3, OK),
    "PRIORITY": wire.PriorityFrame(1, depends_on=3),
    "PRIORITY of no stream": wire.PriorityFrame(9, depends_on=3),
    "RST_STREAM": wire.RstStreamFrame(3, 8),
    "WINDOW_UPDATE": wire.WindowUpdateFrame(1, 1),
    "WINDOW_UPDATE of the connection": wire.WindowUpdateFrame(0, 1),
    "GOAWAY": wire.GoAwayFrame(0, last_stream_id=100),
    "unknown frames": b"\0\0\1\xee\0\0\0\0\1x",
    "empty CONTINUATION": b"\0\0\0\1\0\0\0\0\3" + b"\0\0\0\t\0\0\0\0\3" * 60 + b"\0\0\1\t\4\0\0\0\3\x88",
}


@pytest.mark.parametrize("what", FLOODS)
@pytest.mark.parametrize("together", [1, 50])
def test_a_flood_ends_the_connection_and_its_reason_is_told(what: str, together: int) -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, _ = it.ask()
        it.ask()
        it.feed(headers(1, OK), headers(3, OK, end=True))
        count = 0
        while not it.wire.closed and count < 3000:
            it.feed(*[FLOODS[what]] * together)
            count += together
        assert it.wire.closed
        assert count <= 1100
        assert receiver.error is not None
        assert "too many frames that move nothing" in str(it.connection.fault)
        assert it.wire.take().endswith(b"\0\0\0\x0b")  # GOAWAY, ENHANCE_YOUR_CALM

    line(talk)


def test_time_and_useful_work_give_credit_back() -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, _ = it.ask()
        for _ in range(50):
            it.now += 1
            it.feed(*[FLOODS["PING"]] * 90)
        it.feed(headers(1, OK))
        for _ in range(3000):
            it.feed(data(1, bytes(300)), FLOODS["PING"], FLOODS["WINDOW_UPDATE"])
        it.feed(data(1, b"", end=True))
        assert receiver.ended
        for _ in range(500):
            receiver, _ = it.ask()
            it.feed(*[FLOODS["PING"]] * 9, headers(it.connection._last, OK, end=True))
            assert receiver.ended
        assert it.connection.has_room

    line(talk)


def test_an_upload_pays_for_the_windows_that_are_given_to_it() -> None:
    def talk(it: Line) -> None:
        it.feed(settings())
        receiver, stream = it.ask(-1, b"POST")
        for _ in range(3000):  # each KB is acknowledged for the stream and for the connection
            stream.send_body(bytes(1024), [], ended=False)
            it.feed(wire.WindowUpdateFrame(1, 1024), wire.WindowUpdateFrame(0, 1024))
        assert not receiver.over
        assert it.connection.has_room

    line(talk)


@pytest.mark.parametrize(
    "first",
    [
        b"H",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x16\x03\x01",
        b"220 mail ESMTP\r\n",
        b"\0\0\0\0",
        b"\0\0\0\4\1",
        b"\0\0\0\4\0\0\0\0\1",
        b"\0\0\4\x03\0\0\0\0\1",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\x08\x06\0\0\0\0\0",
        b"\xff",
    ],
)
def test_an_upstream_that_does_not_begin_with_settings_is_given_up_at_once(first: bytes) -> None:
    def talk(it: Line) -> None:
        receiver, _ = it.ask()
        for position in range(len(first)):
            it.feed(first[position : position + 1])
        assert it.wire.closed
        assert receiver.error is not None
        assert "not HTTP/2" in str(receiver.error)

    line(talk)


def test_settings_that_come_byte_by_byte_are_settings() -> None:
    def talk(it: Line) -> None:
        receiver, _ = it.ask()
        for byte in settings(MAX_CONCURRENT_STREAMS=5).serialize() + headers(1, OK, end=True).serialize():
            it.feed(bytes((byte,)))
        assert receiver.ended

    line(talk)
