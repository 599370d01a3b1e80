"""HTTP/2 from clients, through real TLS to real upstreams."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from typing import TYPE_CHECKING

import pytest
from hyperframe.frame import SettingsFrame

from tests.support.front import AUTHORITY, api, client_context, configuration, front, until
from tests.support.h2_client import PREFACE, H2Client, RawClient, request
from tests.support.upstream import Connection, ok, upstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front import Front

BIG = bytes(range(256)) * 8192  # 2 MiB: more than all windows and buffers on the way


async def test_requests_on_one_connection_are_answered(tmp_path: Path) -> None:
    async with upstream() as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        streams = [client.ask(request(f"/{n}")) for n in range(20)]
        for number, stream in enumerate(streams):
            answer = await client.answer(stream)
            assert (answer.status, answer.body) == (200, b"GET /%d HTTP/1.1|" % number)
        client.close()


async def test_a_request_goes_on_as_http_1_1(tmp_path: Path) -> None:
    async with upstream() as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        more = [
            ("cookie", "a=1"),
            ("x-own", "v"),
            ("te", "trailers"),
            ("cookie", "b=2"),
            ("x-forwarded-for", "6.6.6.6"),
        ]
        await client.get("/p?q", *more)
        lines = behind.requests[0].split(b"\r\n")
        assert lines[0] == b"GET /p?q HTTP/1.1"
        assert lines.count(b"cookie: a=1; b=2") == 1
        assert b"x-own: v" in lines
        assert b"X-Forwarded-For: 127.0.0.1" in lines
        assert b"X-Forwarded-Host: localhost" in lines
        assert b"6.6.6.6" not in behind.requests[0]
        assert b"trailers" not in behind.requests[0]
        client.close()


async def test_a_request_is_routed_by_its_authority(tmp_path: Path) -> None:
    apis = (
        api("http://127.0.0.1:1/", domain="a.test"),
        api("http://127.0.0.1:1/", "/only/", domain="b.test"),
    )
    async with front(tmp_path, configuration(*apis)) as gateway:
        client = await H2Client.connect(gateway)
        routed = await client.answer(client.ask(request("/", host="a.test")))
        elsewhere = await client.answer(client.ask(request("/", host="b.test")))
        assert (routed.status, elsewhere.status) == (502, 404)
        client.close()


async def test_a_response_comes_back_without_what_is_http_1_1s(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(
                ok(b"x", b"X-Upper: Kept", b"Connection: keep-alive, x-hop", b"X-Hop: 1", b"Set-Cookie: a")
            )

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        answer = await client.get()
        named = [pair for pair in answer.fields if pair[0] != "date"]
        assert named == [(":status", "200"), ("x-upper", "Kept"), ("set-cookie", "a"), ("content-length", "1")]
        assert answer.value("date")  # which the upstream did not say (RFC 9110 section 6.6.1)
        client.close()


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_goes_up_whole_and_comes_back_whole(tmp_path: Path, declared: bool) -> None:
    async def echo(connection: Connection) -> None:
        _, body = await connection.request()
        await connection.send(ok(body))

    limits = {"limits": {"body_bytes": 0}}
    async with upstream(echo) as behind, front(tmp_path, configuration(api(behind.url), **limits)) as gateway:
        client = await H2Client.connect(gateway)
        more = [("content-length", str(len(BIG)))] if declared else []
        stream = client.ask(request("/", "POST", *more), ended=False)
        await client.upload(stream, BIG)
        answer = await client.answer(stream)
        assert answer.body == BIG
        client.close()


async def test_trailers_go_both_ways(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.head()
        assert await connection.reader.readuntil(b"0\r\nx-sum: 7\r\n\r\n")
        await connection.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Status: 3\r\n\r\n"
        )

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        stream = client.ask(request("/", "POST"), b"body", ended=False)
        client.h2.send_headers(stream, [("x-sum", "7")], end_stream=True)
        client.flush()
        answer = await client.answer(stream)
        assert (answer.body, answer.trailers) == (b"ok", [("x-status", "3")])
        client.close()


@pytest.mark.parametrize(
    ("method", "response", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "7"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "7"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"),
    ],
)
async def test_responses_without_a_body(tmp_path: Path, method: str, response: bytes, length: str | None) -> None:
    async def script(connection: Connection) -> None:
        await connection.head()
        await connection.send(response)

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        answer = await client.answer(client.ask(request("/", method)))
        assert (answer.status, answer.body) == (int(response[9:12]), b"")
        assert answer.value("content-length") == length
        client.close()


async def test_interim_responses_pass(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.head()
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        assert await connection.reader.readuntil(b"0\r\n\r\n")
        await connection.send(ok())

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        stream = client.ask(request("/", "POST", ("expect", "100-continue")), ended=False)
        await client.until(lambda: len(client.answers[stream].interim) == 2)
        await client.upload(stream, b"body")
        answer = await client.answer(stream)
        assert [dict(one)[":status"] for one in answer.interim] == ["100", "103"]
        assert answer.status == 200
        client.close()


async def test_an_upload_waits_for_its_upstream(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        await released.wait()
        left = len(BIG)
        while left:
            left -= len(await connection.reader.read(65536))
        await connection.send(ok())

    limits = {"limits": {"body_bytes": 0}}
    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url), **limits)) as gateway:
        client = await H2Client.connect(gateway)
        stream = client.ask(request("/", "POST", ("content-length", str(len(BIG)))), ended=False)
        upload = asyncio.ensure_future(client.upload(stream, BIG))
        other = await H2Client.connect(gateway)  # a measure of time: what could move has moved
        await until(lambda: client.stalled)
        for _ in range(20):
            await other.settled()
        assert client.stalled
        released.set()
        await upload
        assert (await client.answer(stream)).status == 200
        client.close()
        other.close()


async def test_a_download_waits_for_its_client_and_leaves_siblings_alone(tmp_path: Path) -> None:
    sent = 0

    async def script(connection: Connection) -> None:
        nonlocal sent
        while True:
            head, _ = await connection.request()
            if b"/big" not in head:
                await connection.send(ok())
                continue
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(BIG) * 8))
            for _ in range(8):
                await connection.send(BIG)
                sent += len(BIG)

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        client.reading = False
        client.h2.increment_flow_control_window(1 << 24)  # of the connection: only the stream's is small
        stream = client.ask(request("/big"))
        await client.until(lambda: len(client.answers[stream].body) == 65535)
        for _ in range(20):
            assert (await client.get("/small")).status == 200
        assert len(client.answers[stream].body) == 65535
        assert sent < 4 * len(BIG)  # the rest is in the kernel's buffers, not in ours
        client.reading = True
        client.h2.increment_flow_control_window(65535, stream)
        client.flush()
        await client.until(lambda: len(client.answers[stream].body) > 1 << 20)
        assert client.answers[stream].body[: 1 << 20] == BIG[: 1 << 20]
        client.close()


async def test_two_downloads_share_the_connection(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(ok(BIG))

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        streams = [client.ask(request(f"/{n}")) for n in range(4)]
        await client.until(lambda: all(len(client.answers[stream].body) > 1 << 20 for stream in streams))
        assert not any(client.answers[stream].ended for stream in streams[1:3])
        for stream in streams:
            assert (await client.answer(stream)).body == BIG
        client.close()


async def test_an_upstream_that_breaks_off_resets_one_stream(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        head, _ = await connection.request()
        if b"/broken" in head:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        else:
            await connection.send(ok(b"whole"))

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        broken, whole = client.ask(request("/broken")), client.ask(request("/"))
        assert (await client.answer(broken)).reset == 2  # INTERNAL_ERROR
        assert (await client.answer(whole)).body == b"whole"
        assert client.goaway is None
        client.close()


async def test_a_reset_reaches_the_upstream(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        await connection.reader.read()
        closed.set()

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        stream = client.ask(request())
        await until(lambda: bool(behind.requests))
        client.h2.reset_stream(stream, 8)
        client.flush()
        async with asyncio.timeout(10):
            await closed.wait()
        await client.settled()
        assert client.goaway is None
        client.close()


async def test_a_client_that_vanishes_is_noticed(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        await connection.reader.read()
        closed.set()

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        client.ask(request())
        await until(lambda: bool(behind.requests))
        client.close()
        async with asyncio.timeout(10):
            await closed.wait()


async def test_an_answer_before_the_end_of_the_body_does_not_stop_the_body(tmp_path: Path) -> None:
    config = configuration(api("http://127.0.0.1:1/"), limits={"body_bytes": 1000})
    async with front(tmp_path, config) as gateway:
        client = await H2Client.connect(gateway)
        stream = client.ask(request("/", "POST", ("content-length", "500000")), b"x" * 2000, ended=False)
        await client.until(lambda: client.answers[stream].ended)
        await client.upload(stream, b"x" * 498_000)
        await client.settled()
        assert (client.answers[stream].status, client.answers[stream].reset) == (413, None)
        client.close()


async def test_a_body_that_stops_coming_is_answered_with_408(tmp_path: Path) -> None:
    config = {"limits": {"body_idle_timeout": 1}}
    async with upstream() as behind, front(tmp_path, configuration(api(behind.url), **config)) as gateway:
        client = await H2Client.connect(gateway)
        stream = client.ask(request("/", "POST"), b"some", ended=False)
        await client.until(lambda: client.answers[stream].ended)
        assert client.answers[stream].status == 408
        client.close()


async def test_an_upstream_that_says_nothing_is_answered_for_with_504(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.reader.read()

    config = {"limits": {"upstream_response_timeout": 1}}
    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url), **config)) as gateway:
        client = await H2Client.connect(gateway)
        assert (await client.get()).status == 504
        client.close()


async def test_an_idle_connection_gets_a_goaway(tmp_path: Path) -> None:
    config = {"limits": {"keep_alive_timeout": 1}}
    async with upstream() as behind, front(tmp_path, configuration(api(behind.url), **config)) as gateway:
        client = await H2Client.connect(gateway)
        await client.get()
        assert await client.end() == (0, 1)


@pytest.mark.parametrize("said", [b"", b"PRI * HTTP/2.0\r\n\r\n"])
async def test_a_client_that_does_not_begin_is_closed(tmp_path: Path, said: bytes) -> None:
    config = {"limits": {"request_head_timeout": 1}}
    async with front(tmp_path, configuration(**config)) as gateway:
        client = await RawClient.connect(gateway, said)
        assert await client.goaway() is None


async def test_settings_that_are_never_acknowledged_end_the_connection(tmp_path: Path) -> None:
    config = {"limits": {"request_head_timeout": 1}}
    async with front(tmp_path, configuration(**config)) as gateway:
        client = await RawClient.connect(gateway, PREFACE + SettingsFrame(0).serialize())
        assert await client.goaway() == 4  # SETTINGS_TIMEOUT
        await gateway.logged("SETTINGS were not acknowledged in time")


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"])
async def test_a_preface_that_is_none_ends_the_connection(tmp_path: Path, first: bytes) -> None:
    async with front(tmp_path, configuration()) as gateway:
        client = await RawClient.connect(gateway, first)
        assert await client.goaway() == 1
        await gateway.logged("no HTTP/2 connection preface")


async def test_draining_finishes_what_runs_and_refuses_what_comes(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        await release.wait()
        await connection.send(ok(b"finished"))

    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        client = await H2Client.connect(gateway)
        stream = client.ask(request())
        await until(lambda: bool(behind.requests))
        draining = asyncio.ensure_future(gateway.server.drain(10))
        await client.until(lambda: client.goaway is not None)
        assert client.goaway == (0, (1 << 31) - 1)  # first: it will end
        await client.until(lambda: client.goaway != (0, (1 << 31) - 1))
        assert client.goaway == (0, 1)  # then, when that was heard: what is still served
        release.set()
        assert (await client.answer(stream)).body == b"finished"
        await client.end()
        assert await draining == 0


async def test_draining_closes_idle_connections(tmp_path: Path) -> None:
    async with front(tmp_path, configuration()) as gateway:
        client = await H2Client.connect(gateway)
        await client.settled()
        draining = asyncio.ensure_future(gateway.server.drain(10))
        assert await client.end() == (0, 0)
        assert await draining == 0


async def test_close_connections_means_one_request_each(tmp_path: Path) -> None:
    async with upstream() as behind:
        async with front(tmp_path, configuration(api(behind.url), close_connections=True)) as gateway:
            client = await H2Client.connect(gateway)
            assert (await client.get()).status == 200
            assert await client.end() == (0, 1)


async def negotiated(gateway: Front, context: ssl.SSLContext, *offered: str) -> str | None:
    context.set_alpn_protocols(list(offered))
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context, server_hostname="localhost")
    chosen: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.transport.abort()
    return chosen


@pytest.mark.parametrize(
    ("options", "version", "chosen"),
    [
        ({}, ssl.TLSVersion.TLSv1_3, "h2"),
        ({}, ssl.TLSVersion.TLSv1_2, "h2"),
        ({"enable_http2": False}, ssl.TLSVersion.TLSv1_3, "http/1.1"),
        # RFC 9113 appendix A forbids the suite, and the client might get it
        ({"ssl_ciphers": ["ECDHE+AESGCM", "ECDHE+SHA256"]}, ssl.TLSVersion.TLSv1_2, "http/1.1"),
        ({"ssl_ciphers": ["ECDHE+SHA256"]}, ssl.TLSVersion.TLSv1_3, "h2"),
    ],
)  # fmt: skip
async def test_http_2_is_chosen_where_it_may_be(
    tmp_path: Path, options: dict[str, object], version: ssl.TLSVersion, chosen: str
) -> None:
    async with front(tmp_path, configuration(options=options)) as gateway:
        assert await negotiated(gateway, client_context(version=version), "http/1.1", "h2") == chosen
        assert await negotiated(gateway, client_context(version=version), "http/1.1") == "http/1.1"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_speaks_http_2(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.pair.chain_pem)
    (tmp_path / "upload").write_bytes(BIG)

    async def echo(connection: Connection) -> None:
        while True:
            _, body = await connection.request()
            await connection.send(ok(body))

    config = {"gateway": {"access_log": {"format": "json", "path": str(tmp_path / "access.log")}}}
    async with upstream(echo) as behind, front(tmp_path, configuration(api(behind.url), **config)) as gateway:
        curl = await asyncio.create_subprocess_exec(
            "curl", "--http2", "--silent", "--show-error", "--cacert", str(tmp_path / "ca.pem"),
            "--data-binary", f"@{tmp_path / 'upload'}", "--output", str(tmp_path / "download"),
            "--write-out", "%{http_version}", f"https://localhost:{gateway.port}/",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await curl.communicate()
        assert said == b"2"
        assert (tmp_path / "download").read_bytes() == BIG
    line = json.loads((tmp_path / "access.log").read_text())
    assert (line["protocol"], line["method"], line["status"]) == ("HTTP/2.0", "POST", 200)
