"""The request path over real sockets and real TLS: what reaches the upstream, and what comes back."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING

import pytest
from support.front import LOCALHOST, api, configuration, front, until
from support.upstream import Connection, ok, silent, upstream

from gateway.routing import snapshot

if TYPE_CHECKING:
    from pathlib import Path

HOST = b"Host: localhost"


async def test_a_request_reaches_its_upstream_and_says_who_asked(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        response = await gate.get("/a?b=c", b"X-Own: 1", b"X-Forwarded-For: 6.6.6.6", b"Connection: x-own")
    assert (response.status, response.body) == (200, b"GET /a?b=c HTTP/1.1|")
    head = up.requests[0]
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head
    assert b"\r\nX-Forwarded-Proto: https\r\n" in head
    assert b"\r\nX-Forwarded-Host: localhost\r\n" in head
    assert b"\r\nX-Forwarded-Port: %d\r\n" % gate.port in head
    assert b"\r\nX-Request-Id: " in head
    assert b"6.6.6.6" not in head
    assert b"X-Own" not in head
    assert b"\r\nHost: 127.0.0.1:%d\r\n" % up.port in head


async def test_connections_are_kept_on_both_sides(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        for number in range(5):
            response = await client.ask(b"GET /%d HTTP/1.1" % number, HOST)
            assert response.body == b"GET /%d HTTP/1.1|" % number
        client.close()
    assert up.connections == 1


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(
            b"".join(
                b"POST /%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n%02d" % (n, n) for n in range(50)
            )
        )
        for number in range(50):
            response = await client.response()
            assert response.body == b"POST /%d HTTP/1.1|%02d" % (number, number)
        client.close()


async def test_a_long_pipeline_of_errors_is_answered_without_recursion(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api(listen_path="/only/"))) as gate:
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 900)
        for _ in range(900):
            assert (await client.response()).status == 404
        client.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_bodies_stream_up_whole(tmp_path: Path, framing: str) -> None:
    body = bytes(range(256)) * 4096
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        if framing == "length":
            client.writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        else:
            client.writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(body), 5000):
                piece = body[start : start + 5000]
                client.writer.write(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
            client.writer.write(b"0\r\n\r\n")
        response = await client.response()
        client.close()
    assert response.body == b"PUT / HTTP/1.1|" + body


async def test_a_body_of_known_length_keeps_its_length(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        await client.ask(b"POST / HTTP/1.1", HOST, b"Content-Length: 3", body=b"abc")
        await client.ask(b"POST / HTTP/1.1", HOST, b"Content-Length: 0")
        client.close()
    assert b"\r\nContent-Length: 3\r\n" in up.requests[0]
    assert b"\r\nContent-Length: 0\r\n" in up.requests[1]


async def trailing(connection: Connection) -> None:
    await connection.request()
    await connection.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n"
        b"X-Sum: 7\r\nContent-Length: 1\r\n\r\n"
    )


async def test_chunks_and_trailers_come_through(tmp_path: Path) -> None:
    async with upstream(trailing) as up, front(tmp_path, configuration(api(up.url))) as gate:
        response = await gate.get()
    assert response.body == b"abcdefg"
    assert response.field(b"X-Sum") == [b"7"]
    assert response.field(b"Content-Length") == []


async def until_close(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nsome")
    await connection.send(b" more")


async def test_a_response_that_ends_with_its_connection_becomes_chunks(tmp_path: Path) -> None:
    async with upstream(until_close) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        for _ in range(2):
            response = await client.ask(b"GET / HTTP/1.1", HOST)
            assert response.body == b"some more"
            assert response.field(b"Transfer-Encoding") == [b"chunked"]
        client.close()


async def test_an_http_1_0_client_is_answered_and_closed(tmp_path: Path) -> None:
    async with upstream(trailing) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        whole = await client.ended()
        client.close()
    assert whole.endswith(b"\r\n\r\nabcdefg")
    assert b"chunked" not in whole


async def bodiless(connection: Connection) -> None:
    while True:
        head, _ = await connection.request()
        if head.startswith(b"HEAD"):
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
        else:
            status = head.split(b" ")[1].removeprefix(b"/")
            await connection.send(b"HTTP/1.1 %b Whatever\r\nETag: x\r\n\r\n" % status)


async def test_responses_without_a_body_leave_the_connection_in_step(tmp_path: Path) -> None:
    async with upstream(bodiless) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        for request_line, status, length in (
            (b"HEAD / HTTP/1.1", 200, [b"12345"]),
            (b"GET /204 HTTP/1.1", 204, []),
            (b"GET /304 HTTP/1.1", 304, []),
            (b"HEAD / HTTP/1.1", 200, [b"12345"]),
        ):
            response = await client.ask(request_line, HOST)
            assert (response.status, response.field(b"Content-Length")) == (status, length)
        client.close()
    assert up.connections == 1


async def continuing(connection: Connection) -> None:
    head = await connection.head()
    assert b"\r\nExpect: 100-continue\r\n" in head
    await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await connection.reader.readexactly(5)
    await connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(body))


async def test_100_continue_comes_from_the_upstream_and_early_hints_pass(tmp_path: Path) -> None:
    async with upstream(continuing) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(b"12345")
        assert b"103 Early Hints\r\nLink: </a>" in await client.reader.readuntil(b"\r\n\r\n")
        assert (await client.response()).body == b"12345"
        client.close()


async def dying_when_reused(connection: Connection) -> None:
    await connection.request()
    await connection.send(ok(b"first of %d" % connection.number))
    await connection.head()  # the second request of a connection is read, and the connection closed


async def test_a_safe_request_on_a_stale_connection_is_sent_again(tmp_path: Path) -> None:
    async with upstream(dying_when_reused) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).body == b"first of 1"
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).body == b"first of 2"
        response = await client.ask(b"POST / HTTP/1.1", HOST, b"Content-Length: 0")
        assert response.status == 502  # it may have been acted on
        client.close()
    assert up.connections == 2


async def cutting(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


async def test_a_response_that_breaks_off_breaks_off_here_too(tmp_path: Path) -> None:
    async with upstream(cutting) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.ended()).endswith(b"half")
        await gate.logged("upstream.failed")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70000,
        b"",
    ],
)
async def test_a_broken_upstream_is_a_502_without_details(tmp_path: Path, answer: bytes) -> None:
    async def broken(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)

    async with upstream(broken) as up, front(tmp_path, configuration(api(up.url))) as gate:
        response = await gate.get()
        assert response.status == 502
        assert "error" in json.loads(response.body)
        assert str(up.port).encode() not in response.body
        await gate.logged("upstream.failed")


async def chatty(connection: Connection) -> None:
    await connection.request()
    await connection.send(ok(b"right") + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
    await connection.reader.read()


async def test_what_an_upstream_says_unasked_reaches_nobody(tmp_path: Path) -> None:
    async with upstream(chatty) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        for _ in range(3):
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).body == b"right"
        client.close()
    assert up.connections == 3


async def test_an_unreachable_upstream_is_a_502(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api("http://127.0.0.1:1/"))) as gate:
        assert (await gate.get()).status == 502
        assert "127.0.0.1:1" in await gate.logged("upstream http.*")


async def test_an_upstream_that_keeps_silent_is_a_504(tmp_path: Path) -> None:
    async with upstream(silent) as up:
        config = configuration(api(up.url), limits={"upstream_response_timeout": 0.1})
        async with front(tmp_path, config) as gate:
            assert (await gate.get()).status == 504


async def test_load_is_balanced_in_turns_and_around_what_is_down(tmp_path: Path) -> None:
    async def name(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(ok(str(connection.writer.get_extra_info("sockname")[1]).encode()))

    async with upstream(name) as one, upstream(name) as two:
        targets = [one.url, two.url, "127.0.0.1:1"]
        definition = api(one.url, proxy={"enable_load_balancing": True, "target_list": targets})
        async with front(tmp_path, configuration(definition)) as gate:
            client = await gate.connect()
            seen = [int((await client.ask(b"GET / HTTP/1.1", HOST)).body) for _ in range(12)]
            client.close()
    assert set(seen) == {one.port, two.port}
    assert 4 <= seen.count(one.port) <= 8


async def test_preserved_hosts_and_stripped_paths(tmp_path: Path) -> None:
    async with upstream() as up:
        definition = api(up.url + "base/", "/app/", proxy={"strip_listen_path": True, "preserve_host_header": True})
        async with front(tmp_path, configuration(definition)) as gate:
            response = await gate.get("/app/x?y=1")
    assert response.body == b"GET /base/x?y=1 HTTP/1.1|"
    assert b"\r\nHost: localhost\r\n" in up.requests[0]


async def test_unclean_paths_are_redirected_unless_asked_otherwise(tmp_path: Path) -> None:
    async with upstream() as up:
        async with front(tmp_path, configuration(api(up.url))) as gate:
            response = await gate.get("/a//b/../c?q")
            assert (response.status, response.field(b"Location")) == (301, [b"/a/c?q"])
        async with front(tmp_path, configuration(api(up.url), options={"skip_url_cleaning": True})) as gate:
            assert (await gate.get("/a//b")).body == b"GET /a//b HTTP/1.1|"


async def test_an_https_upstream_is_verified_unless_asked_otherwise(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(LOCALHOST.key_pem + LOCALHOST.chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    async with upstream(tls=context) as up:
        url = f"https://localhost:{up.port}/"
        async with front(tmp_path, configuration(api(url))) as gate:
            assert (await gate.get()).status == 502
            assert "certificate" in await gate.logged("TLS with the upstream failed.*")
        insecure = {"transport": {"ssl_insecure_skip_verify": True}}
        async with front(tmp_path, configuration(api(url, proxy=insecure))) as gate:
            assert (await gate.get()).status == 200
        insecure["transport"]["ssl_force_common_name_check"] = True
        async with front(tmp_path, configuration(api(url, proxy=insecure))) as gate:
            assert (await gate.get()).status == 200
        url = f"https://127.0.0.1:{up.port}/"
        async with front(tmp_path, configuration(api(url, proxy=insecure))) as gate:
            assert (await gate.get()).status == 502


# the ports around


async def test_without_tls_the_port_speaks_plain_http(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url), options={"use_ssl": False})) as gate:
        client = await gate.connect(None)
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).status == 200
        client.close()
    assert b"\r\nX-Forwarded-Proto: http\r\n" in up.requests[0]


async def test_drain_lets_a_request_finish_and_refuses_new_connections(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def held(connection: Connection) -> None:
        await connection.request()
        await release.wait()
        await connection.send(ok(b"in time"))

    async with upstream(held) as up, front(tmp_path, configuration(api(up.url))) as gate:
        busy, idle = await gate.connect(), await gate.connect()
        busy.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: bool(up.requests))
        draining = asyncio.create_task(gate.server.drain(20))
        assert await idle.ended() == b""
        release.set()
        response = await busy.response()
        assert (response.body, response.field(b"Connection")) == (b"in time", [b"close"])
        assert await draining == 0


async def test_a_response_that_began_before_the_drain_is_not_the_last_one_of_its_connection(tmp_path: Path) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def halting(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
            begun.set()
            await release.wait()
            await connection.send(b"lf")

    async with upstream(halting) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        assert b"Connection" not in await client.reader.readuntil(b"\r\n\r\nha")
        draining = asyncio.create_task(gate.server.drain(20))
        await until(lambda: gate.server.draining)
        release.set()
        assert await client.reader.readexactly(2) == b"lf"
        response = await client.ask(b"GET / HTTP/1.1", HOST)
        assert (response.body, response.field(b"Connection")) == (b"half", [b"close"])
        assert await client.ended() == b""
        assert await draining == 0


async def test_an_applied_snapshot_serves_the_next_request_of_the_same_connection(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).status == 200
        gate.server.apply(snapshot.build(configuration(api(up.url, "/other/")), 2), None)
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).status == 404
        assert (await client.ask(b"GET /other/ HTTP/1.1", HOST)).status == 200
        client.close()


async def test_two_apis_on_one_upstream_address_keep_their_own_paths(tmp_path: Path) -> None:
    async with upstream() as up:
        one = api(up.url + "base-a/", "/a/", proxy={"strip_listen_path": True})
        two = api(up.url + "base-b/?k=1", "/b/", proxy={"strip_listen_path": True})
        async with front(tmp_path, configuration(one, two)) as gate:
            client = await gate.connect()
            assert (await client.ask(b"GET /a/x HTTP/1.1", HOST)).body == b"GET /base-a/x HTTP/1.1|"
            assert (await client.ask(b"GET /b/x HTTP/1.1", HOST)).body == b"GET /base-b/x?k=1 HTTP/1.1|"
            moved = api(up.url + "moved/", "/a/", proxy={"strip_listen_path": True})
            gate.server.apply(snapshot.build(configuration(moved), 2), None)
            assert (await client.ask(b"GET /a/x HTTP/1.1", HOST)).body == b"GET /moved/x HTTP/1.1|"
            client.close()
    assert up.connections == 1


async def test_a_body_goes_on_when_the_second_target_is_tried(tmp_path: Path) -> None:
    async with upstream() as up:
        definition = api(up.url, proxy={"enable_load_balancing": True, "target_list": [up.url, "127.0.0.1:1"]})
        async with front(tmp_path, configuration(definition)) as gate:
            client = await gate.connect()
            await client.ask(b"GET / HTTP/1.1", HOST)  # leaves an idle connection; the next turn is the dead target's
            client.writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
            await until(lambda: len(up.requests) == 2)
            client.writer.write(b"body")
            assert (await client.response()).body == b"POST / HTTP/1.1|body"
            client.close()


async def test_trailers_in_one_read_leave_the_upstream_connection_usable(tmp_path: Path) -> None:
    async def trailing_at_once(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n"
            )

    async with upstream(trailing_at_once) as up, front(tmp_path, configuration(api(up.url))) as gate:
        for _ in range(3):
            response = await gate.get()
            assert (response.body, response.field(b"X-Sum")) == (b"abc", [b"3"])
    assert up.connections == 1


async def test_a_half_closed_pipeline_is_answered_to_its_end(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url), options={"use_ssl": False})) as gate:
        client = await gate.connect(None)
        client.writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(3)))
        client.writer.write_eof()
        answers = await client.ended()
        client.close()
    assert [b"GET /%d HTTP/1.1|" % number in answers for number in range(3)] == [True] * 3


@pytest.mark.parametrize("tls", [True, False])
async def test_every_answer_of_a_pipeline_arrives_when_the_last_request_is_reached(tmp_path: Path, tls: bool) -> None:
    async def large(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(ok(bytes(20_000)))

    config = {"limits": {"requests_per_connection": 20}, "options": {"use_ssl": tls}}
    async with upstream(large) as up, front(tmp_path, configuration(api(up.url), **config)) as gate:
        client = await gate.connect("localhost" if tls else None)
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 60)
        for _ in range(20):
            assert len((await client.response()).body) == 20_000
        client.close()


async def test_a_fault_in_one_connection_ends_that_connection_alone(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        loop = asyncio.get_running_loop()
        faults: list[object] = []
        loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
        client = await gate.connect()
        gate.server.next_request_id = None  # type: ignore[method-assign,assignment]
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.ended() == b""
        del gate.server.next_request_id
        assert (await gate.get()).status == 200
        assert len(faults) == 1
        client.close()


async def test_drain_waits_for_connections_that_were_just_accepted(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url), options={"use_ssl": False})) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        assert await gate.server.drain(5) == 0
        writer.close()
        assert await reader.read() == b""
