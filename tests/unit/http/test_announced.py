"""The last barrier before the client: what is sent must be as long as what was announced."""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

from gateway.errors import MessageError
from gateway.http import announced
from gateway.http.announced import OPEN
from tests.unit.http.h2_workshop import GET, Workshop, headers


@pytest.mark.parametrize(
    ("method", "status", "length", "size", "ended", "left"),
    [
        (b"GET", 200, 5, 3, False, 2),
        (b"GET", 200, 5, 5, True, 0),
        (b"GET", 200, 5, 5, False, 0),
        (b"GET", 200, 0, 0, True, 0),
        (b"GET", 200, -1, 7, False, OPEN),
        (b"GET", 200, -2, 7, True, OPEN),
        (b"HEAD", 200, 0, 0, True, 0),
        (b"GET", 304, 0, 0, True, 0),
        (b"GET", 204, 0, 0, False, 0),
    ],
)
def test_what_fits_leaves_the_rest(method: bytes, status: int, length: int, size: int, ended: bool, left: int) -> None:
    assert announced.begun(method, b"HTTP/1.1 %d X" % status, length, size, ended=ended) == left


@pytest.mark.parametrize(
    ("method", "status", "length", "size", "ended"),
    [
        (b"GET", 200, 5, 6, False),
        (b"GET", 200, 5, 4, True),
        (b"GET", 200, 0, 1, False),
        (b"HEAD", 200, 0, 1, True),
        (b"HEAD", 200, 5, 5, True),
        (b"HEAD", 200, -1, 0, True),
        (b"GET", 204, 0, 1, True),
        (b"GET", 304, -1, 0, False),
        (b"GET", 304, 3, 3, True),
    ],
)
def test_what_does_not_fit_is_refused(method: bytes, status: int, length: int, size: int, ended: bool) -> None:
    with pytest.raises(MessageError):
        announced.begun(method, b"HTTP/1.1 %d X" % status, length, size, ended=ended)


@pytest.mark.parametrize(("size", "ended"), [(3, False), (1, True), (0, True)])
def test_more_and_less_than_what_is_left_is_refused(size: int, ended: bool) -> None:
    with pytest.raises(MessageError):
        announced.left(2, size, ended=ended)


def test_a_body_of_its_own_end_may_go_on() -> None:
    assert announced.left(OPEN, 100, ended=False) == OPEN
    assert announced.left(OPEN, 0, ended=True) == OPEN
    assert announced.left(2, 2, ended=True) == 0


@pytest.mark.parametrize(
    "pieces", [[b"hello!"], [b"hel", b"lo!"], [b"hel", b""], [b"hello", b"!"], [b"hello", b"", b"!"]]
)
def test_a_stream_of_http_2_is_reset_where_the_lengths_differ(pieces: list[bytes]) -> None:
    it = Workshop()
    it.send(headers(1, GET), headers(3, GET))
    exchange = it.exchanges[0]
    first, *more = pieces
    exchange.downstream.respond(b"HTTP/1.1 200 OK", [], 5, first, ended=len(pieces) == 1)
    for number, piece in enumerate(more, 1):
        if not exchange.refused:
            exchange.downstream.send_body(piece, [], ended=number == len(more))
    assert exchange.refused
    frames = it.read()
    assert [one.stream_id for one in frames if isinstance(one, RstStreamFrame)] == [1]
    assert b"".join(one.data for one in frames if isinstance(one, DataFrame)) in (b"", b"hel", b"hello")
    assert not any("END_STREAM" in one.flags for one in frames)
    it.exchanges[1].answer(b"whole")
    assert [one.data for one in it.got(DataFrame, 3)] == [b"whole"]


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", b"200 OK"), ("GET", b"304 Not Modified"), ("GET", b"204 No Content")]
)
def test_no_body_follows_where_none_may(method: str, status: bytes) -> None:
    it = Workshop()
    it.send(headers(1, [(":method", method), *GET[1:]]), headers(3, [(":method", method), *GET[1:]]))
    first, second = it.exchanges
    first.downstream.respond(b"HTTP/1.1 " + status, [], 5, b"hello", ended=True)
    second.downstream.respond(b"HTTP/1.1 " + status, [b"Content-Length: 5"], 0, b"", ended=True)
    frames = it.read()
    assert first.refused
    assert not second.refused
    assert [one.stream_id for one in frames if isinstance(one, HeadersFrame)] == [3]
    assert [one.stream_id for one in frames if isinstance(one, RstStreamFrame)] == [1]
