"""Framing rules that only sockets show: where a request ends, where a response ends, and what is never passed on."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import uvloop
from support.front import LOCALHOST, api, configuration, front
from support.upstream import Connection, ok, upstream

if TYPE_CHECKING:
    from pathlib import Path

HOST = b"Host: localhost"
PLAIN = {"options": {"use_ssl": False}}


async def test_options_about_the_gateway_itself_is_answered_and_never_routed(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        for target in (b"*", b"http://localhost"):
            response = await client.ask(b"OPTIONS %b HTTP/1.1" % target, HOST)
            assert (response.status, response.body) == (200, b"")
            assert b"GET" in response.field(b"Allow")[0]
        assert (await client.ask(b"OPTIONS / HTTP/1.1", HOST)).body == b"OPTIONS / HTTP/1.1|"
        client.close()
    assert len(up.requests) == 1


async def test_options_about_the_gateway_is_not_redirected_either(tmp_path: Path) -> None:
    config = configuration(api(), gateway={"http_redirect": {"port": 8080}})
    async with front(tmp_path, config) as gate:
        gate.port = gate.redirect_port
        client = await gate.connect(None)
        assert (await client.ask(b"OPTIONS * HTTP/1.1", HOST)).status == 200
        client.close()


async def test_a_request_says_that_it_came_through_the_gateway_and_in_which_version(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        await gate.get("/", b"Via: 1.0 other")
        client = await gate.connect()
        await client.ask(b"GET / HTTP/1.0", HOST)
        client.close()
    lines = up.requests[0].split(b"\r\n")
    assert [line for line in lines if line.startswith(b"Via:")] == [b"Via: 1.0 other", b"Via: 1.1 gateway"]
    assert b"\r\nVia: 1.0 gateway\r\n" in up.requests[1]


async def test_the_gateway_may_have_another_name_or_none(tmp_path: Path) -> None:
    async with upstream() as up:
        for name, line in (("edge-1", b"\r\nVia: 1.1 edge-1\r\n"), ("", b"")):
            async with front(tmp_path, configuration(api(up.url), gateway={"via": name})) as gate:
                await gate.get()
            assert line in up.requests[-1]
    assert b"Via" not in up.requests[-1]


async def test_a_gateway_that_leads_to_itself_ends_its_loop(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api(), **PLAIN)) as gate:
        gate.server.apply(_leading_to(gate.port), None)
        client = await gate.connect(None)
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).status == 431
        client.close()


def _leading_to(port: int) -> object:
    from gateway.routing import snapshot

    return snapshot.build(configuration(api(f"http://127.0.0.1:{port}/"), **PLAIN), 2)


async def test_nothing_behind_connection_close_is_a_request(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(
            b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /beyond HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        answers = await client.ended()
        client.close()
    assert answers.count(b"HTTP/1.1 200 OK") == 1
    assert [head.split(b" ")[1] for head in up.requests] == [b"/last"]


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET /\r\n\r\n",
    ],
)
async def test_nothing_behind_a_refused_request_is_a_request(tmp_path: Path, raw: bytes) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(raw + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        answers = await client.ended()
        client.close()
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert not any(b"/smuggled" in head for head in up.requests)


async def early(connection: Connection) -> None:
    """Answer before the body came, and close: the rest of the body then meets a reset."""
    await connection.head()
    await connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nfull")


@pytest.mark.parametrize("tls", [True, False])
async def test_an_early_answer_reaches_a_client_that_is_still_sending(tmp_path: Path, tls: bool) -> None:
    async with upstream(early) as up, front(tmp_path, configuration(api(up.url), options={"use_ssl": tls})) as gate:
        client = await gate.connect("localhost" if tls else None)
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n" + bytes(2_000_000))
        response = await client.response()
        assert (response.status, response.body) == (413, b"full")
        assert response.field(b"Connection") == [b"close"]
        client.writer.write(bytes(2_000_000) + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.ended() == b""
        client.close()
    assert len(up.requests) == 1


async def test_an_upstream_that_answered_before_the_body_came_is_not_used_again(tmp_path: Path) -> None:
    async def eager(connection: Connection) -> None:
        await connection.head()
        await connection.send(ok(b"early"))
        await connection.reader.read()

    async with upstream(eager) as up, front(tmp_path, configuration(api(up.url))) as gate:
        for _ in range(2):
            client = await gate.connect()
            client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12")
            assert (await client.response()).body == b"early"
            client.close()
    assert up.connections == 2


async def test_a_204_with_a_length_is_the_last_of_its_connection(tmp_path: Path) -> None:
    async def wordy(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
        await connection.reader.read()

    async with upstream(wordy) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        for _ in range(2):
            response = await client.ask(b"GET / HTTP/1.1", HOST)
            assert (response.status, response.field(b"Content-Length")) == (204, [])
        client.close()
    assert up.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
async def test_an_upstream_that_breaks_the_rules_is_a_502_and_not_used_again(tmp_path: Path, answer: bytes) -> None:
    async def breaking(connection: Connection) -> None:
        while True:
            head, _ = await connection.request()
            await connection.send(answer if head.startswith(b"GET /odd") else ok(b"clean"))

    async with upstream(breaking) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        assert (await client.ask(b"GET /odd HTTP/1.1", HOST)).status == 502
        assert (await client.ask(b"GET /next HTTP/1.1", HOST)).body == b"clean"
        client.close()
    assert up.connections == 2


# responses that break off


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall of it"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall of\r\n3\r\n it\r\n0\r\nX-Sum: 9\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nall of it"


class Cutter:
    """An upstream that sends a response up to a cut, then closes: properly, or (``reset``) as a crash does."""

    def __init__(self, whole: bytes, *, reset: bool) -> None:
        self.whole = whole
        self.cut = 0
        self._reset = reset

    async def play(self, connection: Connection) -> None:
        head = await connection.head()
        if head.startswith(b"GET /clean"):
            await connection.send(ok(b"clean"))
            return
        await connection.send(self.whole[: self.cut])
        if self._reset:
            connection.writer.transport.abort()


def upstream_tls(tmp_path: Path) -> ssl.SSLContext:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(LOCALHOST.key_pem + LOCALHOST.chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    return context


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("whole", [LENGTH, CHUNKED, UNTIL_CLOSE], ids=["length", "chunked", "until close"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_response_cut_at_any_byte_never_looks_whole(tmp_path: Path, whole: bytes, tls: bool, version: bytes) -> None:
    """On the loop of the workers: asyncio's own takes the end of TCP for the end of TLS."""
    uvloop.run(_cut_everywhere(tmp_path, whole, version, tls=tls))


async def _cut_everywhere(tmp_path: Path, whole: bytes, version: bytes, *, tls: bool) -> None:
    cutter = Cutter(whole, reset=tls)
    proxy = {"transport": {"ssl_insecure_skip_verify": True}}
    end = whole.index(b"\r\n\r\n") + 4
    async with upstream(cutter.play, upstream_tls(tmp_path) if tls else None) as up:
        url = f"https://127.0.0.1:{up.port}/" if tls else up.url
        async with front(tmp_path, configuration(api(url, proxy=proxy), **PLAIN)) as gate:
            for cutter.cut in range(len(whole)):
                answer, broke = await _answer(gate.port, version)
                if cutter.cut < end:
                    assert answer.startswith(b"HTTP/1.1 502 ")
                elif whole is UNTIL_CLOSE and not tls:  # there the end of the connection is the end, by definition
                    assert _body(answer) == whole[end : cutter.cut]
                else:
                    assert broke or not _is_whole(answer)
                client = await gate.connect(None)
                assert (await client.ask(b"GET /clean HTTP/1.1", HOST)).body == b"clean"
                client.close()


async def _answer(port: int, version: bytes) -> tuple[bytes, bool]:
    """Return all that is answered, and whether the connection was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/%b\r\nHost: a\r\nConnection: close\r\n\r\n" % version)
    answer = b""
    try:
        while data := await reader.read(1 << 16):
            answer += data
    except ConnectionResetError:
        return answer, True
    finally:
        writer.close()
    return answer, False


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    payload = b""
    while body and (size := int(body.partition(b"\r\n")[0], 16)):
        rest = body.partition(b"\r\n")[2]
        payload, body = payload + rest[:size], rest[size + 2 :]
    return payload


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"Content-Length: 9" in head:
        return len(body) == 9
    return body.endswith(b"\r\n\r\n") if b"chunked" in head else True
