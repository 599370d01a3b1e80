"""One request and its response: what the upstream reads, what the client reads, and when each is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.front import api

from gateway.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.proxy.workshop import Gate

    Make = Callable[..., Gate]

GET = b"GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def asking(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"Host: a.test", *lines, b"", b""))


def posting(length: int, body: bytes = b"", *lines: bytes) -> bytes:
    return asking(b"Content-Length: %d" % length, *lines, first=b"POST / HTTP/1.1") + body


async def test_a_request_and_its_response_pass(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET)
    upstream = gate.accept()
    head = upstream.read()
    assert head.startswith(b"GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert client.read() == b""
    upstream.send(OK)
    answer = client.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")
    assert b"\r\nDate: " in answer
    assert gate.statuses == [200]


async def test_the_next_requests_use_the_connection_that_is_there_in_whatever_pieces(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET * 3)
    upstream = gate.accept()
    for _ in range(3):
        assert upstream.read().count(b"GET ") == 1
        for byte in OK:
            upstream.send(bytes([byte]))
        assert client.read().endswith(b"hello")
    assert gate.dials == []
    assert (gate.pool.idle, gate.pool.in_flight) == (1, 0)


# X-Request-Id


@pytest.mark.parametrize("given", [b"abc", b"A-z_0.9=+/", b"x" * 128])
async def test_a_request_id_that_is_fit_for_logs_is_kept(make_gate: Make, given: bytes) -> None:
    gate = make_gate()
    gate.client().send(asking(b"X-Request-Id: " + given))
    assert b"\r\nX-Request-Id: %b\r\n" % given in gate.accept().read()


@pytest.mark.parametrize("given", [b'"', b"a b", b"a,b", b"a;b", b"x" * 129, b"\xe4", b"%0a", b"", b"<a>", b"a\tb"])
async def test_a_request_id_that_is_not_gives_way_to_one_of_ours(make_gate: Make, given: bytes) -> None:
    gate = make_gate()
    gate.client().send(asking(b"X-Request-Id: " + given))
    upstream = gate.accept()
    head = upstream.read()
    assert head.lower().count(b"x-request-id") == 1
    assert b"\r\nX-Request-Id: made-1\r\n" in head
    upstream.send(OK)
    assert gate.records[0][-1] == b"made-1"


# Strict-Transport-Security


@pytest.mark.parametrize("encrypted", [True, False])
async def test_hsts_is_said_over_tls_alone(make_gate: Make, encrypted: bool) -> None:
    apis = [api(), api(listen_path="/blocked/", gateway={"blocked_networks": ["192.0.2.0/24"]})]
    gate = make_gate(*apis, gateway={"http_redirect": {"port": 8080, "hsts_max_age": 600}})
    client = gate.client(tls_version="TLSv1.3" if encrypted else "")
    client.send(GET)
    gate.accept().send(OK)
    of_upstream = client.read()
    client.send(asking(first=b"GET /blocked/ HTTP/1.1"))
    ours = client.read()
    assert ours.startswith(b"HTTP/1.1 403 ")
    for answer in (of_upstream, ours):
        assert answer.count(b"\r\nStrict-Transport-Security: max-age=600\r\n") == encrypted


# bodies, early answers, 100-continue


async def test_a_body_waits_for_its_connection_and_is_streamed_then(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(posting(10, b"12345"))
    assert not client.reading
    upstream = gate.accept()
    assert client.reading
    assert upstream.read().endswith(b"Content-Length: 10\r\n\r\n12345")
    client.send(b"678")
    assert upstream.read() == b"678"
    client.send(b"90")
    upstream.read()
    upstream.send(OK)
    assert client.read().endswith(b"hello")
    assert gate.pool.idle == 1


async def test_an_early_answer_passes_and_neither_connection_is_used_again(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(posting(10, b"1"))
    upstream = gate.accept()
    upstream.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
    answer = client.read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert (gate.pool.idle, upstream.lost) == (0, True)
    client.send(b"234567890" + GET)
    assert gate.statuses == [413]
    assert gate.dials == []


@pytest.mark.parametrize("expects", [True, False])
async def test_a_100_reaches_who_asked_for_it_and_nobody_else(make_gate: Make, expects: bool) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(posting(5, b"", *[b"Expect: 100-continue"] * expects))
    upstream = gate.accept()
    assert (b"\r\nExpect: 100-continue\r\n" in upstream.read()) is expects
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.read() == (b"HTTP/1.1 100 Continue\r\n\r\n" if expects else b"")
    client.send(b"12345")
    assert upstream.read() == b"12345"
    upstream.send(OK)
    assert client.read().startswith(b"HTTP/1.1 200 OK\r\n")


async def test_early_hints_pass_before_the_answer(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET)
    gate.accept().send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert client.read().startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(make_gate: Make, chunked: bool) -> None:
    gate = make_gate(api(gateway={"body_bytes": 4}))
    client = gate.client()
    if chunked:
        client.send(asking(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1") + b"4\r\n1234\r\n")
        upstream = gate.accept()
        assert client.read() == b""
        client.send(b"1\r\n5\r\n")
        assert upstream.lost
    else:
        client.send(posting(5))
    assert client.read().startswith(b"HTTP/1.1 413 ")
    assert gate.statuses == [413]


# what fails


async def test_an_upstream_that_does_not_answer_is_given_up_in_its_time(make_gate: Make) -> None:
    gate = make_gate(api(gateway={"timeouts": {"response": 7}}))
    client = gate.client()
    client.send(GET)
    upstream = gate.accept()
    gate.wait(6.5)
    assert client.read() == b""
    gate.wait(0.5)
    assert client.read().startswith(b"HTTP/1.1 504 ")
    assert (upstream.lost, gate.pool.failures) == (True, 1)


async def test_the_time_to_answer_begins_when_the_request_is_whole(make_gate: Make) -> None:
    gate = make_gate(api(gateway={"timeouts": {"response": 7}}))
    client = gate.client()
    client.send(posting(2, b"1"))
    gate.accept()
    gate.wait(20)
    client.send(b"2")
    gate.wait(6.5)
    assert client.read() == b""
    gate.wait(0.5)
    assert client.read().startswith(b"HTTP/1.1 504 ")


async def test_a_response_that_stops_is_cut_and_one_that_goes_on_is_not(make_gate: Make) -> None:
    gate = make_gate(api(gateway={"timeouts": {"idle": 5}}))
    client = gate.client()
    client.send(GET)
    upstream = gate.accept()
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(10):
        gate.wait(4.5)
        upstream.send(b"x")
    assert not client.lost
    gate.wait(5)
    assert (client.aborted, upstream.lost) == (True, True)


async def test_a_response_that_breaks_off_must_not_look_whole(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET)
    upstream = gate.accept()
    upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert client.read().endswith(b"3\r\nabc\r\n")
    upstream.break_off()
    assert (client.read(), client.aborted) == (b"", True)


@pytest.mark.parametrize(
    "nonsense", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"]
)
async def test_an_upstream_that_speaks_no_http_is_a_502_without_its_words(make_gate: Make, nonsense: bytes) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET)
    gate.accept().send(nonsense)
    answer = client.read()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"SSH" not in answer


async def test_no_connection_is_a_502_that_tells_the_client_no_address(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET)
    gate.dials[0].refuse(UpstreamError(502, "cannot connect: Connection refused"))
    answer = client.read()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"127.0.0.1" not in answer
    assert b"refused" not in answer
    assert "Connection refused" in gate.said[0]
    assert not client.lost


async def test_a_client_that_leaves_takes_its_request_with_it(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET)
    upstream = gate.accept()
    client.break_off()
    assert upstream.lost
    assert gate.statuses == [499]


async def test_a_client_that_left_while_its_connection_was_made_leaves_it_to_the_next(make_gate: Make) -> None:
    gate = make_gate()
    first = gate.client()
    first.send(GET)
    first.break_off()
    upstream = gate.accept()
    assert upstream.read() == b""
    assert gate.pool.idle == 1
    second = gate.client()
    second.send(GET)
    upstream.send(OK)
    assert second.read().endswith(b"hello")


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT"])
async def test_methods_that_are_not_served_reach_nobody(make_gate: Make, method: bytes) -> None:
    gate = make_gate()
    client = gate.client()
    target = b"a.test:80" if method == b"CONNECT" else b"/"
    client.send(asking(first=b"%b %b HTTP/1.1" % (method, target)))
    answer = client.read()
    assert answer.startswith((b"HTTP/1.1 405 ", b"HTTP/1.1 400 "))
    assert gate.dials == []
