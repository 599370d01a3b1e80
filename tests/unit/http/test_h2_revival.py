"""Once an upstream has broken a stream, nothing brings it back to life: nobody may read what comes after the fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hyperframe import frame as wire

from tests.support.hostile_h2_tables import (
    AFTERWARDS,
    FLOODS,
    MALFORMED_STREAMS,
    NOT_HTTP_2,
    OK,
    data,
    headers,
    settings,
)
from tests.unit.http.h2_line import Line, Receiver, line

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.mark.parametrize("first", NOT_HTTP_2)
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
