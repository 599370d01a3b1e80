"""An HTTP/1.1 connection from a client, byte by byte: order, keep-alive, bodies, deadlines and the end."""

from __future__ import annotations

import pytest

from tests.unit.http.h1_workshop import GET, Workshop, post

EMPTY = b"Content-Length: 0"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"


# requests in order


def test_a_head_may_come_byte_by_byte() -> None:
    shop = Workshop()
    for byte in GET[:-1]:
        shop.send(bytes([byte]))
    assert shop.exchanges == []
    shop.send(GET[-1:])
    assert (shop.last.head.method, shop.last.head.host) == (b"GET", b"a.test")
    shop.last.answer(b"hello")
    assert shop.read() == b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello"
    assert not shop.transport.closing


def test_a_pipelined_request_waits_for_the_answer_before_it() -> None:
    shop = Workshop()
    shop.send(GET + GET.replace(b"/", b"/2", 1) + GET.replace(b"/", b"/3", 1)[:20])
    assert len(shop.exchanges) == 1
    shop.last.answer(b"1", ended=False)
    assert len(shop.exchanges) == 1
    shop.last.respond(b"", ended=True)
    assert [one.head.target for one in shop.exchanges] == [b"/", b"/2"]
    shop.last.answer(b"2")
    assert len(shop.exchanges) == 2
    shop.send(GET.replace(b"/", b"/3", 1)[20:])
    assert shop.last.head.target == b"/3"


def test_a_long_pipeline_of_answers_that_come_at_once_is_no_recursion() -> None:
    shop = Workshop(requests_per_connection=5000)
    exchange = shop.exchange

    def at_once(*asked: object) -> object:
        made = exchange(*asked)  # type: ignore[arg-type]
        made.start = lambda: made.answer(b"", EMPTY)  # type: ignore[method-assign]
        return made

    shop.exchange = at_once  # type: ignore[method-assign, assignment]
    shop.send(GET * 3000)
    assert shop.read().count(b"HTTP/1.1 200") == 3000


def test_a_client_that_pipelines_more_than_a_head_is_read_no_further_until_it_has_its_answer() -> None:
    shop = Workshop(head_bytes=1000)
    shop.send(GET)
    shop.send(GET * 40)
    assert not shop.transport.reading
    for _ in range(41):
        assert shop.connection.exchange is not None
        shop.last.answer(b"", EMPTY)
    assert shop.transport.reading
    assert shop.connection.exchange is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"\r\n\r\n" + GET, 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17000, 431),
    ],
)
def test_what_is_no_request_is_answered_and_nothing_behind_it_is_read_as_one(data: bytes, status: int) -> None:
    shop = Workshop()
    shop.send(data)
    assert shop.read().startswith(b"HTTP/1.1 %d " % status)
    assert shop.refusals == [status]
    assert shop.transport.ended
    shop.send(GET)
    assert (shop.exchanges, shop.read()) == ([], b"")


def test_one_empty_line_before_a_request_is_forgiven() -> None:
    shop = Workshop()
    shop.send(b"\r\n" + GET)
    assert len(shop.exchanges) == 1


# keep-alive


@pytest.mark.parametrize(
    ("asked", "closes"),
    [
        (GET, False),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), True),
        (GET.replace(b"1.1", b"1.0"), True),
    ],
)
def test_who_decides_that_a_connection_ends(asked: bytes, closes: bool) -> None:
    shop = Workshop()
    shop.send(asked)
    shop.last.answer(b"hello")
    assert (b"\r\nConnection: close\r\n" in shop.read()) == shop.transport.closing == closes


def test_the_last_request_of_a_connection_is_told() -> None:
    shop = Workshop(requests_per_connection=3)
    told = []
    for _ in range(3):
        shop.send(GET)
        shop.last.answer(b"hello")
        told.append(b"Connection: close" in shop.read())
    assert told == [False, False, True]
    assert shop.transport.closing


def test_a_drain_lets_the_response_end_and_says_that_it_is_the_last() -> None:
    shop = Workshop()
    shop.send(GET)
    shop.draining = True
    shop.connection.drain()
    assert not shop.transport.closing
    shop.last.answer(b"hello")
    assert b"Connection: close" in shop.read()
    assert shop.transport.closing


def test_a_resting_connection_has_one_second_when_a_drain_begins() -> None:
    shop = Workshop()
    shop.send(GET)
    shop.last.answer(b"hello")
    shop.draining = True
    shop.connection.drain()
    shop.wait(0.5)
    assert not shop.transport.closing
    shop.wait(0.5)
    assert shop.transport.closing


def test_a_client_that_has_said_its_last_still_gets_its_answers() -> None:
    shop = Workshop()
    shop.send(GET + GET)
    assert shop.connection.eof_received()
    shop.last.answer(b"1")
    assert not shop.transport.closing
    shop.last.answer(b"2")
    assert shop.transport.closing
    assert shop.read().count(b"HTTP/1.1 200") == 2


def test_the_end_within_a_body_ends_the_exchange() -> None:
    shop = Workshop()
    shop.send(post(10, b"12345"))
    assert not shop.connection.eof_received()
    shop.connection.connection_lost(None)
    assert shop.last.gone
    assert shop.gone


# bodies


def test_a_body_of_known_length_ends_there_and_the_next_request_begins() -> None:
    shop = Workshop()
    shop.send(post(5, b"12"))
    assert (shop.last.body, shop.last.ended) == (b"12", False)
    shop.send(b"345" + GET)
    assert (shop.last.body, shop.last.ended) == (b"12345", True)
    shop.last.answer(b"", EMPTY)
    assert (len(shop.exchanges), shop.last.head.method) == (2, b"GET")


def test_a_chunked_body_and_its_trailers() -> None:
    shop = Workshop()
    shop.send(CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde")
    assert (shop.last.body, shop.last.ended) == (b"abcde", False)
    shop.send(b"\r\n0\r\nX-Sum: 5\r\n\r\n" + GET)
    assert (shop.last.body, shop.last.ended, shop.last.trailers) == (b"abcde", True, [b"X-Sum: 5"])
    shop.last.answer(b"", EMPTY)
    assert len(shop.exchanges) == 2


@pytest.mark.parametrize("broken", [b"x\r\n", b"3\r\nabcd\r\n", b"-1\r\n", b"3\nabc\n"])
def test_a_broken_chunk_fails_the_request_and_ends_the_connection(broken: bytes) -> None:
    shop = Workshop()
    shop.send(CHUNKED + broken)
    assert shop.last.failed == 400
    assert b"Connection: close" in shop.read()
    shop.send(GET)
    assert len(shop.exchanges) == 1


def test_an_answer_before_the_body_is_whole_is_the_last_and_the_rest_is_thrown_away() -> None:
    shop = Workshop()
    shop.send(post(100, b"some"))
    shop.last.answer(b"no", status=b"403")
    assert b"Connection: close" in shop.read()
    assert (shop.transport.ended, shop.transport.closing) == (True, False)
    shop.send(b"x" * 96 + GET)
    assert len(shop.exchanges) == 1
    shop.wait(4.5)
    assert not shop.transport.closing
    shop.wait(0.5)
    assert shop.transport.closing


def test_a_body_that_is_not_wanted_now_is_not_read_and_its_client_not_blamed() -> None:
    shop = Workshop(body_idle_timeout=5)
    shop.send(post(100, b"some"))
    shop.connection.pause_body()
    assert not shop.transport.reading
    shop.wait(60)
    assert shop.slowness == []
    shop.connection.resume_body()
    assert shop.transport.reading
    shop.wait(5)
    assert (shop.last.failed, shop.slowness) == (408, ["slow_bodies"])


# responses


def test_a_response_of_unknown_length_is_chunked_and_has_trailers() -> None:
    shop = Workshop()
    shop.send(GET)
    shop.last.answer(b"abc", ended=False)
    shop.connection.send_body(b"", [], ended=False)
    shop.connection.send_body(b"de", [b"X-Sum: 5"], ended=True)
    assert shop.read() == (
        b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
    )
    assert not shop.transport.closing


def test_to_http_1_0_the_end_of_the_connection_is_the_end_of_the_response() -> None:
    shop = Workshop()
    shop.send(GET.replace(b"1.1", b"1.0"))
    shop.connection.interim(b"HTTP/1.1 103 Early Hints", [])
    shop.last.answer(b"abc", ended=False)
    shop.connection.send_body(b"de", [], ended=True)
    assert shop.read() == b"HTTP/1.1 200\r\nConnection: close\r\n\r\nabcde"
    assert shop.transport.closing


def test_an_interim_response_is_no_answer() -> None:
    shop = Workshop()
    shop.send(GET)
    shop.connection.interim(b"HTTP/1.1 103 Early Hints", [b"Link: </a>"])
    assert shop.read() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    shop.last.answer(b"hello")
    assert shop.read().endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("body", [b"too much", b"few"])
def test_a_response_that_is_not_as_long_as_it_said_is_cut(body: bytes) -> None:
    shop = Workshop()
    shop.send(GET)
    shop.connection.respond(b"HTTP/1.1 200 OK", [], 5, b"", ended=False)
    shop.read()
    shop.connection.send_body(body, [], ended=True)
    assert (shop.read(), shop.transport.aborted) == (b"", True)
    assert shop.last.refused


def test_back_pressure_reaches_the_exchange_and_the_next_request_waits() -> None:
    shop = Workshop(write_idle_timeout=10)
    shop.send(GET + GET)
    shop.connection.pause_writing()
    assert shop.last.paused
    shop.last.answer(b"hello")
    assert len(shop.exchanges) == 1
    shop.connection.resume_writing()
    assert len(shop.exchanges) == 2
    shop.wait(60)
    assert not shop.transport.aborted


# time


def test_who_says_nothing_at_first_is_let_go_without_a_word() -> None:
    shop = Workshop(request_head_timeout=5)
    shop.wait(4.5)
    assert not shop.transport.closing
    shop.wait(0.5)
    assert (shop.transport.closing, shop.read(), shop.slowness) == (True, b"", ["connections_unused"])


def test_a_head_that_drips_is_refused_in_time() -> None:
    shop = Workshop(request_head_timeout=5)
    for byte in GET[:10]:
        shop.send(bytes([byte]))
        shop.wait(0.5)
    assert shop.read().startswith(b"HTTP/1.1 408 ")
    assert shop.refusals == [408]


def test_the_head_of_a_later_request_has_its_own_time_and_the_pause_before_it_another() -> None:
    shop = Workshop(request_head_timeout=5, keep_alive_timeout=60)
    shop.send(GET)
    shop.last.answer(b"hello")
    shop.wait(50)
    shop.send(GET[:5])
    shop.wait(4.5)
    assert shop.refusals == []
    shop.wait(0.5)
    assert shop.refusals == [408]


def test_a_resting_connection_is_closed_after_its_time() -> None:
    shop = Workshop(keep_alive_timeout=60)
    shop.send(GET)
    shop.last.answer(b"hello")
    rests = shop.connection.resting_since
    assert rests == shop.now
    shop.wait(59.5)
    assert not shop.transport.closing
    shop.wait(0.5)
    assert shop.transport.closing


def test_each_part_of_a_body_gives_the_next_one_time_but_the_whole_request_has_a_bound() -> None:
    shop = Workshop(body_idle_timeout=5)
    shop.read_timeout = 20.0
    shop.send(post(100))
    for _ in range(4):
        shop.wait(4.5)
        shop.send(b"x")
    assert shop.last.failed == 0
    shop.wait(2)
    assert shop.last.failed == 408


def test_who_takes_nothing_of_a_response_is_cut() -> None:
    shop = Workshop(write_idle_timeout=10)
    shop.send(GET)
    shop.last.answer(b"abc", ended=False)
    shop.connection.pause_writing()
    shop.wait(9.5)
    assert not shop.transport.aborted
    shop.wait(0.5)
    assert (shop.transport.aborted, shop.slowness) == (True, ["slow_readers"])


def test_who_takes_a_little_has_time_again_until_the_bound_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop(write_idle_timeout=10)
    shop.write_timeout = 25.0
    waiting = [1000]
    monkeypatch.setattr("gateway.http.h1_server.unsent", lambda _: waiting[0])
    shop.send(GET)
    shop.last.answer(b"abc", ended=False)
    shop.connection.pause_writing()
    for _ in range(2):
        waiting[0] -= 1
        shop.wait(10)
        assert not shop.transport.aborted
    waiting[0] -= 1
    shop.wait(5)
    assert shop.transport.aborted


def test_the_exchanges_own_deadline_is_told_to_it() -> None:
    shop = Workshop()
    shop.send(GET)
    shop.last.deadline = shop.now + 3
    shop.wait(2.5)
    assert not shop.last.expired
    shop.wait(0.5)
    assert shop.last.expired
