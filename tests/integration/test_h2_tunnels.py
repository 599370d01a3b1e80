"""WebSocket over HTTP/2 (RFC 8441): a client of the h2 package, and the server of the websockets library."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from h2.settings import SettingCodes
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Close, Frame, Opcode

from tests.support.back_pressure import held_back
from tests.support.front import Front, api, configuration, front, until
from tests.support.h2_client import H2Client, Headers
from tests.support.upstream import Connection, ok, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


def connecting(path: str = "/chat", *more: tuple[str, str], protocol: str = "websocket") -> Headers:
    return [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
        *more,
    ]


def message(text: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, text).serialize(mask=True)


def close_frame(code: int) -> bytes:
    return Frame(Opcode.CLOSE, Close(code, "").serialize()).serialize(mask=False)


async def echo(socket: ServerConnection) -> None:
    async for said in socket:
        await socket.send(said)


@asynccontextmanager
async def websocket_front(
    tmp_path: Path, handler: Callable[[ServerConnection], Awaitable[None]] = echo, **settings: Any
) -> AsyncIterator[Front]:
    async with serve(handler, "127.0.0.1", 0, max_size=None, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with front(tmp_path, configuration(api(f"http://127.0.0.1:{port}/"), **settings)) as gate:
            yield gate


async def opened(client: H2Client, *more: tuple[str, str]) -> int:
    """Open a tunnel; return its stream."""
    stream = client.ask(connecting("/chat", *more), ended=False)
    await client.until(lambda: bool(client.answers[stream].fields))
    assert client.answers[stream].status == 200
    return stream


def send(client: H2Client, stream: int, data: bytes, *, ended: bool = False) -> None:
    client.h2.send_data(stream, data, end_stream=ended)
    client.flush()


async def test_extended_connect_is_announced_where_an_api_allows_it(tmp_path: Path) -> None:
    for allowed in (True, False):
        async with front(tmp_path, configuration(api(), options={"enable_websockets": allowed})) as gate:
            client = await H2Client.connect(gate)
            await client.settled()
            assert client.h2.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL, 0) == int(allowed)
            client.close()


async def test_messages_pass_both_ways_beside_other_requests(tmp_path: Path) -> None:
    async with websocket_front(tmp_path) as gate:
        client = await H2Client.connect(gate)
        stream = await opened(client)
        assert client.answers[stream].value("sec-websocket-accept") is None
        send(client, stream, message(b"hello"))
        await client.until(lambda: client.answers[stream].body == b"\x81\x05hello")
        assert (await client.get("/no-websocket")).status == 426
        other = await opened(client)
        send(client, other, message(b"other"))
        await client.until(lambda: client.answers[other].body == b"\x81\x05other")
        client.close()


async def test_large_messages_pass_within_the_windows(tmp_path: Path) -> None:
    size = 3 << 20
    async with websocket_front(tmp_path) as gate:
        client = await H2Client.connect(gate)
        stream = await opened(client)
        wire = message(bytes(size), Opcode.BINARY)
        while wire:
            room = min(client.h2.local_flow_control_window(stream), client.h2.max_outbound_frame_size)
            if room:
                send(client, stream, wire[:room])
                wire = wire[room:]
            else:
                await client._read()
        await client.until(lambda: len(client.answers[stream].body) == size + 10)
        client.close()


async def test_a_close_handshake_ends_the_stream_and_not_the_connection(tmp_path: Path) -> None:
    async with websocket_front(tmp_path) as gate:
        client = await H2Client.connect(gate)
        stream = await opened(client)
        send(client, stream, Frame(Opcode.CLOSE, Close(4001, "").serialize()).serialize(mask=True))
        answer = await client.answer(stream)
        assert (answer.body, answer.ended) == (close_frame(4001), True)
        assert (await client.get("/")).status == 426
        client.close()


async def test_what_is_sent_before_the_answer_waits_for_it(tmp_path: Path) -> None:
    async with websocket_front(tmp_path) as gate:
        client = await H2Client.connect(gate)
        stream = client.ask(connecting(), ended=False)
        send(client, stream, message(b"early"))
        await client.until(lambda: client.answers[stream].body == b"\x81\x05early")
        client.close()


async def test_the_handshake_upstream_is_that_of_http_1_1_with_a_key_of_its_own(tmp_path: Path) -> None:
    keys: list[bytes] = []

    async def refusing(connection: Connection) -> None:
        while True:
            head, _ = await connection.request()
            assert head.startswith(b"GET /chat HTTP/1.1\r\n")
            assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
            assert b"\r\nsec-websocket-version: 13\r\n" in head
            assert head.lower().count(b"sec-websocket-key") == 1
            keys.append(head.split(b"\r\nSec-WebSocket-Key: ")[1].split(b"\r\n")[0])
            await connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async with upstream(refusing) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await H2Client.connect(gate)
        for _ in range(2):
            fields = connecting("/chat", ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))
            answer = await client.answer(client.ask(fields, ended=False))
            assert (answer.status, answer.body) == (403, b"no")
        client.close()
    assert len(set(keys)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"not a tunnel"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
    ],
)
async def test_what_is_no_tunnel_does_not_look_like_one(tmp_path: Path, answer: bytes) -> None:
    async def answering(connection: Connection) -> None:
        while True:
            head, _ = await connection.request()
            await connection.send(answer if head.startswith(b"GET /chat") else ok())

    async with upstream(answering) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await H2Client.connect(gate)
        stream = client.ask(connecting(), ended=False)
        send(client, stream, message(b"early"))
        assert (await client.answer(stream)).status == 502
        assert (await client.get("/other/")).body == b"hello"
        client.close()


@pytest.mark.parametrize("accept", [b"", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"])
async def test_an_upstream_that_does_not_prove_that_it_speaks_websocket_is_left(tmp_path: Path, accept: bytes) -> None:
    async def careless(connection: Connection) -> None:
        await connection.request()
        head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        await connection.send(head + accept + b"\r\n")
        assert await connection.reader.read() == b""

    async with upstream(careless) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await H2Client.connect(gate)
        answer = await client.answer(client.ask(connecting(), ended=False))
        assert answer.reset is not None
        assert not answer.fields
        client.close()


async def test_only_websocket_is_served(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api())) as gate:
        client = await H2Client.connect(gate)
        assert (await client.answer(client.ask(connecting(protocol="connect-udp"), ended=False))).status == 501
        client.close()


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "GET"), *connecting()[1:]],
        [field for field in connecting() if field[0] != ":path"],
        [field for field in connecting() if field[0] != ":scheme"],
        connecting("/", ("content-length", "5")),
    ],
)
async def test_malformed_requests_for_tunnels_are_reset(tmp_path: Path, fields: Headers) -> None:
    async with front(tmp_path, configuration(api())) as gate:
        client = await H2Client.connect(gate)
        assert (await client.answer(client.ask(fields, ended=False))).reset == 1
        client.close()


async def test_a_reset_of_the_stream_ends_the_upstreams_connection(tmp_path: Path) -> None:
    codes: list[int | None] = []

    async def waiting(socket: ServerConnection) -> None:
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with websocket_front(tmp_path, waiting) as gate:
        client = await H2Client.connect(gate)
        stream = await opened(client)
        client.h2.reset_stream(stream)
        client.flush()
        await until(lambda: codes == [1006])
        assert (await client.get("/")).status == 426
        client.close()


async def test_a_slow_reader_slows_the_sender_down(tmp_path: Path) -> None:
    sent = [0]

    async def pouring(socket: ServerConnection) -> None:
        for _ in range(1024):
            await socket.send(bytes(1 << 16))
            sent[0] += 1

    async with websocket_front(tmp_path, pouring) as gate:
        client = await H2Client.connect(gate)
        client.reading = False
        stream = await opened(client)
        previous = await held_back(gate, lambda: sent[0])
        assert previous < 400
        client.reading = True
        held = len(client.answers[stream].body)
        client.h2.acknowledge_received_data(held, stream)
        client.flush()
        await client.until(lambda: sent[0] > previous + 50)
        client.close()


async def test_draining_says_goodbye_in_the_stream(tmp_path: Path) -> None:
    codes: list[int | None] = []

    async def waiting(socket: ServerConnection) -> None:
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with websocket_front(tmp_path, waiting) as gate:
        client = await H2Client.connect(gate)
        stream = await opened(client)
        drained = asyncio.create_task(gate.server.drain(10))
        await client.until(lambda: client.answers[stream].body == close_frame(1001))
        send(client, stream, Frame(Opcode.CLOSE, Close(1001, "").serialize()).serialize(mask=True))
        await client.end()
        assert client.answers[stream].ended
        assert await drained == 0
        await until(lambda: codes == [1001])


async def test_the_access_log_has_a_line_when_the_tunnel_ends(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    gateway = {"access_log": {"format": "json", "path": str(log)}}
    async with websocket_front(tmp_path, gateway=gateway) as gate:
        client = await H2Client.connect(gate)
        stream = await opened(client)
        send(client, stream, message(b"12345"))
        await client.until(lambda: bool(client.answers[stream].body))
        send(client, stream, b"", ended=True)
        await client.answer(stream)
        client.close()
    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["status"], line["received"], line["sent"]) == (101, 11, 7)
