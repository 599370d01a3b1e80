"""Upstreams that speak HTTP/2, another implementation of it, asked through a real front by clients of HTTP/1.1."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import uvloop
from h2.settings import SettingCodes
from support.front import LOCALHOST, api, configuration, front, until
from support.h2_upstream import Stream, echo, h2_upstream
from support.upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

GET = (b"GET /x?y=1 HTTP/1.1", b"Host: localhost")


def upstream_tls(directory: Path, *protocols: str) -> ssl.SSLContext:
    """Make the context of an https upstream that takes ``protocols``."""
    bundle = directory / "upstream.pem"
    bundle.write_bytes(LOCALHOST.key_pem + LOCALHOST.chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    context.set_alpn_protocols(list(protocols))
    return context


async def test_a_request_arrives_as_rfc_9113_wants_it(tmp_path):
    async with h2_upstream() as up, front(tmp_path, configuration(api(up.url))) as gateway:
        response = await gateway.get(
            "/x?y=1", b"X-Mixed-Case: A", b"TE: trailers", b"Connection: TE, X-Hop", b"X-Hop: 1"
        )
    assert response.body == b"GET http %b /x?y=1|" % up.url.encode()[6:-1]
    (stream,) = up.streams
    assert [name for name, _ in stream.headers[:4]] == [b":method", b":scheme", b":authority", b":path"]
    assert stream.field(b"x-mixed-case") == [b"A"]
    assert stream.field(b"te") == [b"trailers"]
    assert stream.field(b"x-forwarded-host") == [b"localhost"]
    names = {name for name, _ in stream.headers}
    assert not names & {b"connection", b"host", b"x-hop", b"transfer-encoding", b"keep-alive"}
    assert all(name == name.lower() for name in names)


async def test_the_hosts_name_is_preserved_as_the_authority(tmp_path):
    definition = api("http://x/", proxy={"preserve_host_header": True})
    async with h2_upstream() as up:
        definition["proxy"]["target_url"] = up.url
        async with front(tmp_path, configuration(definition)) as gateway:
            await gateway.get("/")
    assert up.streams[0].field(b":authority") == [b"localhost"]


async def test_many_requests_share_one_connection(tmp_path):
    arrived = asyncio.Barrier(20)

    async def together(stream: Stream) -> None:
        await arrived.wait()
        await echo(stream)

    async with h2_upstream(together) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        responses = await asyncio.gather(*(gateway.get(f"/{number}") for number in range(20)))
    assert {response.status for response in responses} == {200}
    assert sorted(response.body.split(b" ")[3] for response in responses) == sorted(b"/%d|" % n for n in range(20))
    assert len(up.connections) == 1


async def test_no_connection_gets_more_streams_than_the_upstream_allows(tmp_path):
    arrived = asyncio.Barrier(4)

    async def together(stream: Stream) -> None:
        await arrived.wait()
        await echo(stream)

    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    async with (
        h2_upstream(together, settings=settings) as up,
        front(tmp_path, configuration(api(up.url))) as gateway,
    ):
        responses = await asyncio.gather(*(gateway.get("/") for _ in range(4)))
    assert [response.status for response in responses] == [200] * 4
    assert [len(connection.streams) for connection in up.connections] == [2, 2]


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_large_bodies_pass_both_ways_through_small_windows(tmp_path, framing):
    body = bytes(range(256)) * 4096
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1000, SettingCodes.MAX_FRAME_SIZE: 20000}
    async with h2_upstream(settings=settings) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await gateway.connect()
        head = b"POST / HTTP/1.1", b"Host: localhost"
        if framing == "length":
            response = await client.ask(*head, b"Content-Length: %d" % len(body), body=body)
        else:
            chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            response = await client.ask(*head, b"Transfer-Encoding: chunked", body=chunked)
        assert response.body.partition(b"|")[2] == body
        again = await client.ask(*GET)
        assert again.status == 200
        client.close()
    assert len(up.connections) == 1
    assert up.streams[0].field(b"content-length") == ([b"%d" % len(body)] if framing == "length" else [])


async def test_trailers_pass_both_ways(tmp_path):
    async def with_trailers(stream: Stream) -> None:
        body = await stream.body()
        stream.respond(200)
        await stream.send(body)
        stream.end([("x-checksum", "abc"), ("content-length", "9")])

    async with h2_upstream(with_trailers) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await gateway.connect()
        chunked = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n"
        lines = b"POST / HTTP/1.1", b"Host: localhost", b"Transfer-Encoding: chunked"
        response = await client.ask(*lines, body=chunked)
        client.close()
    assert response.body == b"abc"
    assert response.field(b"x-checksum") == [b"abc"]
    assert not response.field(b"content-length")
    assert up.streams[0].trailers == [(b"x-sum", b"1")]


async def test_interim_responses_pass(tmp_path):
    async def early(stream: Stream) -> None:
        stream.connection.h2.send_headers(stream.number, [(":status", "103"), ("link", "</a.css>")])
        stream.respond(204, ended=True)

    async with h2_upstream(early) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await gateway.connect()
        client.writer.write(b"\r\n".join((*GET, b"", b"")))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
        assert (await client.response()).status == 204
        client.close()


@pytest.mark.parametrize(
    ("method", "status", "headers", "body", "framing"),
    [
        (b"GET", 200, [], b"", b"transfer-encoding"),
        (b"GET", 200, [("content-length", "0")], b"", b"content-length"),
        (b"GET", 200, [("content-length", "3")], b"abc", b"content-length"),
        (b"GET", 204, [], b"", None),
        (b"GET", 304, [("content-length", "3")], b"", b"content-length"),
        (b"HEAD", 200, [("content-length", "3")], b"", b"content-length"),
        (b"HEAD", 200, [], b"", None),
    ],
)
async def test_the_end_of_each_response_is_where_a_client_of_http_1_sees_it(
    tmp_path, method, status, headers, body, framing
):
    async def answer(stream: Stream) -> None:
        stream.respond(status, headers, ended=not body)
        if body:
            await stream.send(body, ended=True)

    async with h2_upstream(answer) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await gateway.connect()
        for _ in range(2):  # on one connection: the first response must not leave anything behind
            response = await client.ask(method + b" / HTTP/1.1", b"Host: localhost")
            assert (response.status, response.body) == (status, body)
            framed = [name for name in (b"content-length", b"transfer-encoding") if response.field(name)]
            assert framed == ([framing] if framing else [])
        client.close()


async def test_a_client_that_does_not_read_stops_its_own_response_and_no_other(tmp_path):
    size = 1 << 25
    sent = 0

    async def pour(stream: Stream) -> None:
        nonlocal sent
        if stream.field(b":path") != [b"/large"]:
            await echo(stream)
            return
        stream.respond(200, [("content-length", str(size))])
        while sent < size:
            await stream.send(bytes(65536))
            sent += 65536
        stream.end()

    async with h2_upstream(pour) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        slow = await gateway.connect()
        slow.reader._limit = 1024  # what asyncio itself reads ahead
        slow.writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: bool(up.streams) and not up.connections[0].widened.is_set() and sent > 0)
        await until(lambda: up.connections[0].h2.local_flow_control_window(up.streams[0].number) == 0)
        assert (await gateway.get("/other")).status == 200
        assert sent < size
        slow.reader._limit = 1 << 26
        response = await slow.response()
        assert len(response.body) == size
        slow.close()
    assert len(up.connections) == 1


async def test_a_client_that_leaves_cancels_its_stream_and_no_other(tmp_path):
    release = asyncio.Event()

    async def wait(stream: Stream) -> None:
        if stream.field(b":path") == [b"/leaves"]:
            stream.respond(200)
            await stream.send(b"first")
        else:
            await release.wait()
            await echo(stream)

    async with h2_upstream(wait) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        stays = asyncio.create_task(gateway.get("/stays"))
        await until(lambda: len(up.streams) == 1)
        leaves = await gateway.connect()
        leaves.writer.write(b"GET /leaves HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await leaves.reader.readuntil(b"first")
        leaves.close()
        await up.streams[1].cancelled.wait()
        assert up.streams[1].reset_code == 8
        release.set()
        assert (await stays).status == 200
    assert len(up.connections) == 1


async def test_a_response_that_is_complete_before_its_request_is_delivered(tmp_path):
    async def early(stream: Stream) -> None:
        stream.respond(403, [("content-length", "2")])
        await stream.send(b"no", ended=True)

    async with h2_upstream(early) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await gateway.connect()
        response = await client.ask(b"POST / HTTP/1.1", b"Host: localhost", b"Content-Length: 100", body=b"x")
        assert (response.status, response.body) == (403, b"no")
        await up.streams[0].cancelled.wait()
        assert up.streams[0].reset_code == 8
        client.close()
        assert (await gateway.get("/")).status == 403
    assert len(up.connections) == 1


@pytest.mark.parametrize(
    ("code", "size", "status", "streams"), [(7, 0, 200, 2), (7, 65536, 200, 2), (7, 65537, 502, 1), (2, 0, 502, 1)]
)
async def test_a_stream_that_was_refused_is_asked_for_again_and_no_other(tmp_path, code, size, status, streams):
    async def once(stream: Stream) -> None:
        if stream.number == 1:
            await stream.body()
            stream.reset(code)
        else:
            await echo(stream)

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20}
    async with (
        h2_upstream(once, settings=settings) as up,
        front(tmp_path, configuration(api(up.url))) as gateway,
    ):
        client = await gateway.connect()
        chunked = b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (size, bytes(size)) if size else b"0\r\nX-Sum: 1\r\n\r\n"
        head = b"POST / HTTP/1.1", b"Host: localhost", b"Transfer-Encoding: chunked"
        response = await client.ask(*head, body=chunked)
        assert response.status == status
        if status == 200:
            assert response.body.partition(b"|")[2] == bytes(size)
            assert up.streams[1].trailers == [(b"x-sum", b"1")]
        client.close()
    assert len(up.streams) == streams
    assert len(up.connections) == 1


async def test_a_stream_that_is_reset_within_its_response_cuts_the_clients(tmp_path):
    async def breaks(stream: Stream) -> None:
        stream.respond(200)
        await stream.send(b"some")
        stream.reset(2)

    async with h2_upstream(breaks) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await gateway.connect()
        client.writer.write(b"\r\n".join((*GET, b"", b"")))
        rest = await client.ended()
        assert rest.endswith(b"4\r\nsome\r\n")
        await gateway.logged("reset the stream, code 2")
        client.close()


async def test_goaway_lets_requests_finish_and_sends_the_unprocessed_ones_elsewhere(tmp_path):
    release = asyncio.Event()

    async def leaving(stream: Stream) -> None:
        if len(up.connections) == 1:
            if stream.number == 3:
                stream.connection.go_away(last=1)
                release.set()
                return
            await release.wait()
        await echo(stream)

    async with h2_upstream(leaving) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        first = asyncio.create_task(gateway.get("/first"))
        await until(lambda: len(up.streams) == 1)
        client = await gateway.connect()
        second = await client.ask(b"POST /second HTTP/1.1", b"Host: localhost", b"Content-Length: 0")
        assert (await first).status == second.status == 200
        assert b"/second" in second.body
        client.close()
    assert [len(connection.streams) for connection in up.connections] == [2, 1]


async def test_a_silent_upstream_is_given_up_in_time_and_told(tmp_path):
    async def silent(stream: Stream) -> None:
        await stream.cancelled.wait()

    limits = {"upstream_response_timeout": 0.1}
    async with h2_upstream(silent) as up, front(tmp_path, configuration(api(up.url), limits=limits)) as gateway:
        assert (await gateway.get("/")).status == 504
        await until(lambda: up.streams[0].reset_code == 8)


async def test_an_idle_connection_is_closed_and_the_next_request_makes_another(tmp_path):
    limits = {"upstream_idle_timeout": 0.1}
    async with h2_upstream() as up, front(tmp_path, configuration(api(up.url), limits=limits)) as gateway:
        await gateway.get("/")
        await until(up.connections[0].writer.is_closing)
        assert (await gateway.get("/")).status == 200
    assert len(up.connections) == 2


async def test_an_upstream_without_http_2_is_a_bad_gateway(tmp_path):
    async def http_1(connection) -> None:
        await connection.head()
        await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with upstream(http_1) as up:
        async with front(tmp_path, configuration(api(up.url.replace("http:", "h2c:")))) as gateway:
            assert (await gateway.get("/")).status == 502
            await gateway.logged("it begins with b'HTTP/1.1 ', which is not HTTP/2")


async def test_an_upstream_that_says_nothing_at_first_is_given_up(tmp_path):
    async def mute(connection) -> None:
        await connection.reader.read()

    limits = {"upstream_connect_timeout": 0.1}
    async with upstream(mute) as up:
        target = api(up.url.replace("http:", "h2c:"))
        async with front(tmp_path, configuration(target, limits=limits)) as gateway:
            responses = await asyncio.gather(*(gateway.get("/") for _ in range(3)))
    assert [response.status for response in responses] == [504] * 3


async def test_an_https_upstream_is_offered_http_2_where_that_is_enabled(tmp_path):
    config = {"proxy_ssl_insecure_skip_verify": True}
    async with h2_upstream(tls=upstream_tls(tmp_path, "h2", "http/1.1")) as up:
        target = api(up.url.replace("h2c:", "https:"))
        async with front(tmp_path, configuration(target, proxy_enable_http2=True, **config)) as gateway:
            responses = await asyncio.gather(*(gateway.get("/") for _ in range(5)))
            assert all(response.body.startswith(b"GET https 127.0.0.1") for response in responses)
    assert len(up.connections) == 1


@pytest.mark.parametrize("enabled", [True, False])
async def test_an_https_upstream_may_choose_http_1(tmp_path, enabled):
    protocols = ("http/1.1",) if enabled else ("h2", "http/1.1")
    config = {"proxy_ssl_insecure_skip_verify": True, "proxy_enable_http2": enabled}
    async with upstream(tls=upstream_tls(tmp_path, *protocols)) as up:
        target = api(up.url.replace("http:", "https:"))
        async with front(tmp_path, configuration(target, **config)) as gateway:
            responses = await asyncio.gather(*(gateway.get("/") for _ in range(5)))
    assert [response.body for response in responses] == [b"GET / HTTP/1.1|"] * 5


async def test_a_request_that_would_switch_protocols_goes_over_http_1(tmp_path):
    async def switching(connection) -> None:
        assert connection.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        assert b"\r\nUpgrade: echo/1\r\n" in await connection.head()
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n")
        await connection.send(await connection.reader.readexactly(5))

    config = {"proxy_ssl_insecure_skip_verify": True, "proxy_enable_http2": True}
    async with upstream(switching, tls=upstream_tls(tmp_path, "h2", "http/1.1")) as up:
        target = api(up.url.replace("http:", "https:"))
        async with front(tmp_path, configuration(target, **config)) as gateway:
            client = await gateway.connect()
            client.writer.write(b"\r\n".join((*GET, b"Connection: Upgrade", b"Upgrade: echo/1", b"", b"hello")))
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await client.reader.readexactly(5) == b"hello"
            client.close()


async def test_requests_wait_in_line_where_no_more_connections_may_be_made(tmp_path):
    running = most = 0

    async def counted(stream: Stream) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await stream.body()
        running -= 1
        await echo(stream)

    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    limited = {"queue": {"max_connections": 1}}
    async with (
        h2_upstream(counted, settings=settings) as up,
        front(tmp_path, configuration(api(up.url, gateway=limited))) as gateway,
    ):
        responses = await asyncio.gather(*(gateway.get("/") for _ in range(5)))
    assert [response.status for response in responses] == [200] * 5
    assert (len(up.connections), most) == (1, 1)


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_the_loop_of_the_workers_hands_over_to_what_the_upstream_chose(tmp_path, protocol):
    async def ask() -> None:
        config = {"proxy_ssl_insecure_skip_verify": True, "proxy_enable_http2": True}
        serve = h2_upstream if protocol == "h2" else upstream
        async with serve(tls=upstream_tls(tmp_path, protocol)) as up:
            target = api(f"https://127.0.0.1:{up.port}/")
            async with front(tmp_path, configuration(target, **config)) as gateway:
                responses = await asyncio.gather(*(gateway.get("/") for _ in range(5)))
        assert {response.status for response in responses} == {200}

    uvloop.run(ask())
