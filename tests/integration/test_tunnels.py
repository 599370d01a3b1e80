"""Upgrade: WebSockets of the websockets library, and other protocols byte by byte, through the front."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import websockets
from support.back_pressure import held_back, upload
from support.front import LOCALHOST, Client, Front, api, client_context, configuration, front, until
from support.upstream import Connection, upstream
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from gateway.routing import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

PLAIN = {"options": {"use_ssl": False}}
ASKED = (b"GET /t HTTP/1.1", b"Host: localhost", b"Connection: Upgrade", b"Upgrade: echo/1")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"


# WebSocket


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


def _first(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


@asynccontextmanager
async def websocket_front(
    tmp_path: Path, handler: Callable[[ServerConnection], Awaitable[None]] = echo, **settings: Any
) -> AsyncIterator[Front]:
    """Run a front before a WebSocket server; as the server takes its time to end, clients must have closed."""
    async with serve(handler, "127.0.0.1", 0, max_size=None, select_subprotocol=_first) as server:
        port = server.sockets[0].getsockname()[1]
        async with front(tmp_path, configuration(api(f"http://127.0.0.1:{port}/"), **settings)) as gate:
            yield gate


def connected(gate: Front, **options: Any) -> connect:
    return connect(f"wss://localhost:{gate.port}/chat", ssl=client_context(), max_size=None, **options)


async def test_messages_of_every_size_pass_both_ways(tmp_path: Path) -> None:
    async with websocket_front(tmp_path) as gate, connected(gate) as socket:
        for message in ("", "text \u00e4", bytes(125), bytes(126), bytes(70_000), bytes(5 << 20)):
            await socket.send(message)
            assert await socket.recv() == message


async def test_fragmented_messages_and_pings_pass(tmp_path: Path) -> None:
    async with websocket_front(tmp_path) as gate, connected(gate) as socket:
        await socket.send(["in ", "three ", "parts"])
        pong = await socket.ping()
        assert await socket.recv() == "in three parts"
        await pong


async def test_subprotocols_and_extensions_are_agreed_end_to_end(tmp_path: Path) -> None:
    async with websocket_front(tmp_path) as gate:
        async with connected(gate, subprotocols=[Subprotocol("chat")]) as socket:
            assert socket.subprotocol == "chat"
            assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
            await socket.send("a" * 10_000)
            assert await socket.recv() == "a" * 10_000


async def test_an_upstream_may_be_spoken_to_over_tls(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(LOCALHOST.key_pem + LOCALHOST.chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    insecure = {"transport": {"ssl_insecure_skip_verify": True}}
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with front(tmp_path, configuration(api(url, proxy=insecure))) as gate:
            async with connected(gate) as socket:
                await socket.send(bytes(500_000))
                assert await socket.recv() == bytes(500_000)
            assert socket.close_code == 1000


async def test_close_codes_pass_both_ways(tmp_path: Path) -> None:
    seen: list[int | None] = []

    async def closing(socket: ServerConnection) -> None:
        if socket.request is not None and socket.request.path == "/server":
            await socket.close(4001, "enough")
        else:
            await socket.wait_closed()
            seen.append(socket.close_code)

    async with websocket_front(tmp_path, closing) as gate:
        async with connect(f"wss://localhost:{gate.port}/server", ssl=client_context()) as socket:
            await socket.wait_closed()
            assert (socket.close_code, socket.close_reason) == (4001, "enough")
        async with connect(f"wss://localhost:{gate.port}/client", ssl=client_context()) as socket:
            await socket.close(4002)
        await until(lambda: seen == [4002])
        await until(lambda: gate.server.counters()["connections_open"] == 0)


async def test_a_slow_reader_slows_the_sender_down(tmp_path: Path) -> None:
    sent = [0]

    async def pouring(socket: ServerConnection) -> None:
        for _ in range(1024):
            await socket.send(bytes(1 << 16))
            sent[0] += 1

    async with websocket_front(tmp_path, pouring) as gate:
        async with connected(gate, compression=None, max_queue=1) as socket:
            assert (
                await held_back(gate, lambda: sent[0]) < 400
            )  # what the buffers of four sockets hold; the rest waits at the sender
            for _ in range(1024):
                assert len(await socket.recv()) == 1 << 16


async def test_a_reload_leaves_tunnels_alone(tmp_path: Path) -> None:
    async with websocket_front(tmp_path) as gate, connected(gate) as socket:
        gate.server.apply(snapshot.build(configuration(api("http://127.0.0.1:1/", "/elsewhere/")), 2), None)
        await socket.send("still here")
        assert await socket.recv() == "still here"
        with pytest.raises(websockets.InvalidStatus):
            await connected(gate)


async def test_draining_says_goodbye_to_both_sides(tmp_path: Path) -> None:
    codes: list[int | None] = []

    async def waiting(socket: ServerConnection) -> None:
        await socket.send("ready")
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with websocket_front(tmp_path, waiting) as gate:
        async with connected(gate) as socket:
            await socket.recv()
            assert await gate.server.drain(10) == 0
            await socket.wait_closed()
            assert socket.close_code == 1001
        await until(lambda: codes == [1001])


async def test_draining_waits_for_the_end_of_a_frame(tmp_path: Path) -> None:
    """Half a frame is under way in each direction: the goodbye comes behind its other half, and nothing behind that."""
    go = asyncio.Event()
    came: list[bytes] = []

    async def halfway(connection: Connection) -> None:
        await connection.head()
        await connection.send(WEBSOCKET + b"\x82\x04ab")
        came.append(await connection.reader.readexactly(8))
        await go.wait()
        await connection.send(b"cd\x82\x05x")
        came.append(await connection.reader.readexactly(2 + 8))
        await connection.send(b"yyyy\x88\x02\x03\xe9")
        await connection.reader.read()

    async with upstream(halfway) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"\r\n".join((*ASKED[:3], b"Upgrade: websocket", b"", b"")))
        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readexactly(4) == b"\x82\x04ab"
        client.writer.write(b"\x82\x84....12")
        await until(lambda: bool(came))
        drained = asyncio.create_task(gate.server.drain(10))
        await until(lambda: gate.server.draining)
        go.set()
        assert await client.reader.readexactly(6) == b"cd\x88\x02\x03\xe9"
        client.writer.write(b"34\x88\x82....\x2d\xc7")
        assert await client.ended() == b""
        assert await drained == 0
        client.close()
    assert b"".join(came)[:12] == b"\x82\x84....1234\x88\x82"


WEBSOCKET = SWITCHED.replace(b"echo/1", b"WebSocket")


async def test_a_tunnel_in_which_nothing_passes_is_closed(tmp_path: Path) -> None:
    async with websocket_front(tmp_path, limits={"tunnel_idle_timeout": 0.3}) as gate:
        async with connected(gate, ping_interval=None) as socket:
            await socket.wait_closed()
            assert socket.close_code == 1006


async def test_the_access_log_has_a_line_when_a_tunnel_ends(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    gateway = {"access_log": {"format": "json", "path": str(log)}}
    async with upstream(shouting) as up, front(tmp_path, configuration(api(up.url), gateway=gateway, **PLAIN)) as gate:
        client = await tunnelled(gate)
        client.writer.write(b"seven..")
        assert await client.reader.readexactly(7) == b"SEVEN.."
        await asyncio.sleep(0)
        client.writer.write_eof()
        assert await client.ended() == b"bye"
        client.close()
    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["status"], line["received"], line["sent"]) == (101, 7, 10)
    assert line["upstream_us"] <= line["us"]


# other protocols


async def shouting(connection: Connection) -> None:
    """Switch, shout what is said until its end, then say bye."""
    await connection.head()
    await connection.send(SWITCHED)
    while data := await connection.reader.read(1 << 16):
        await connection.send(data.upper())
    await connection.send(b"bye")


async def tunnelled(gate: Front, *, tls: bool = False) -> Client:
    client = await gate.connect("localhost" if tls else None)
    client.writer.write(b"\r\n".join((*ASKED, b"", b"")))
    assert await client.reader.readuntil(b"\r\n\r\n") == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n"
    )
    return client


async def test_each_half_of_a_tunnel_ends_by_itself(tmp_path: Path) -> None:
    async with upstream(shouting) as up, front(tmp_path, configuration(api(up.url), **PLAIN)) as gate:
        client = await tunnelled(gate)
        client.writer.write(b"abc")
        client.writer.write_eof()
        assert await client.ended() == b"ABCbye"
        await until(lambda: gate.server.counters()["connections_open"] == 0)
        client.close()
    assert b"\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n" in up.requests[0]


async def test_a_tunnel_with_one_half_left_has_little_time(tmp_path: Path) -> None:
    async def staying(connection: Connection) -> None:
        await connection.head()
        await connection.send(SWITCHED)
        await connection.reader.read()
        await asyncio.Event().wait()

    config = {"limits": {"upstream_idle_timeout": 0.3}, **PLAIN}
    async with upstream(staying) as up, front(tmp_path, configuration(api(up.url), **config)) as gate:
        client = await tunnelled(gate)
        client.writer.write_eof()
        assert await client.ended() == b""
        client.close()


async def test_an_upstream_may_end_first_and_still_listen(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def leaving(connection: Connection) -> None:
        await connection.head()
        await connection.send(SWITCHED + b"last words")
        connection.writer.write_eof()
        heard.append(await connection.reader.read())

    async with upstream(leaving) as up, front(tmp_path, configuration(api(up.url), **PLAIN)) as gate:
        client = await tunnelled(gate)
        assert await client.reader.read() == b"last words"
        client.writer.write(b"and yours?")
        client.writer.write_eof()
        await until(lambda: heard == [b"and yours?"])
        client.close()


async def test_bytes_behind_the_request_wait_for_the_101(tmp_path: Path) -> None:
    async def slow(connection: Connection) -> None:
        await connection.head()
        (waiting,) = gate.server._connections
        await until(lambda: waiting._buffer == b"early")
        await connection.send(SWITCHED + b"with the 101|")
        await connection.send((await connection.reader.readexactly(5)).upper())

    async with upstream(slow) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"\r\n".join((*ASKED, b"", b"early")))
        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readexactly(18) == b"with the 101|EARLY"
        client.close()


async def test_what_is_pipelined_behind_a_refused_upgrade_is_the_next_request(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"\r\n".join((*ASKED, b"", b"GET /next HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")))
        assert (await client.response()).body == b"GET /t HTTP/1.1|"
        assert (await client.response()).body == b"GET /next HTTP/1.1|"
        assert (await client.response()).status == 400
        client.close()
    assert [head.split(b" ")[1] for head in up.requests] == [b"/t", b"/next"]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ((), SWITCHED),
        ((b"Connection: upgrade", b"Upgrade: other"), SWITCHED),
        ((b"Connection: upgrade", b"Upgrade: echo/1"), b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ((b"Connection: upgrade", b"Upgrade: echo/1"), SWITCHED.replace(b"Connection: upgrade", b"X: y")),
        ((b"Connection: upgrade", b"Upgrade: echo/1"), SWITCHED.replace(b"HTTP/1.1", b"HTTP/1.0")),
        ((b"Connection: upgrade", b"Upgrade: echo/1"), SWITCHED[:-2] + b"Content-Length: 5\r\n\r\n"),
        ((b"Connection: upgrade", b"Upgrade: echo/1, more"), SWITCHED.replace(b"echo/1", b"echo/1, evil")),
    ],
)
async def test_a_101_that_does_not_fit_the_request_is_a_502(
    tmp_path: Path, asked: tuple[bytes, ...], answer: bytes
) -> None:
    async def switching(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer + b"raw")
        await connection.reader.read()

    async with upstream(switching) as up, front(tmp_path, configuration(api(up.url))) as gate:
        assert (await gate.get("/", *asked)).status == 502


@pytest.mark.parametrize(
    "lines",
    [
        (b"GET / HTTP/1.0", b"Connection: upgrade", b"Upgrade: echo/1"),
        (b"POST / HTTP/1.1", b"Connection: upgrade", b"Upgrade: echo/1", b"Content-Length: 2"),
        (b"GET / HTTP/1.1", b"Upgrade: echo/1"),
        (b"GET / HTTP/1.1", b"Connection: upgrade", b"Upgrade: h2c"),
        (b"GET / HTTP/1.1", b"Connection: upgrade, HTTP2-Settings", b"Upgrade: H2C", b"HTTP2-Settings: AAMAAABk"),
        (b"GET / HTTP/1.1", b"Connection: upgrade", b"Upgrade: HTTP/2.0"),
        (b"GET / HTTP/1.1", b"Connection: upgrade", b"Upgrade: echo 1"),
    ],
)
async def test_requests_that_cannot_upgrade_are_ordinary_ones(tmp_path: Path, lines: tuple[bytes, ...]) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        response = await client.ask(*lines, b"Host: localhost", body=b"ab" if lines[0].startswith(b"POST") else b"")
        assert response.status == 200
        client.close()
    assert b"pgrade" not in up.requests[0]
    assert b"HTTP2" not in up.requests[0]


async def test_of_a_list_everything_but_http_2_is_offered(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url))) as gate:
        await gate.get("/", b"Connection: upgrade", b"Upgrade: h2c, echo/1", b"Upgrade: other")
    assert b"\r\nUpgrade: echo/1, other\r\n" in up.requests[0]


@pytest.mark.parametrize("scope", ["all", "one"])
async def test_what_is_not_allowed_goes_on_without_its_upgrade(tmp_path: Path, scope: str) -> None:
    options = {"options": {"enable_websockets": scope == "one"}}
    async with upstream() as up:
        definition = api(up.url, gateway={"enable_websockets": False} if scope == "one" else {})
        async with front(tmp_path, configuration(definition, **options)) as gate:
            assert (await gate.get("/", *ASKED[2:])).body == b"GET / HTTP/1.1|"
    assert b"pgrade" not in up.requests[0]


async def test_an_api_may_allow_what_the_others_do_not(tmp_path: Path) -> None:
    async with upstream(shouting) as up:
        definition = api(up.url, gateway={"enable_websockets": True})
        options = {"enable_websockets": False, "use_ssl": False}
        async with front(tmp_path, configuration(definition, options=options)) as gate:
            (await tunnelled(gate)).close()


@pytest.mark.parametrize("tls", [True, False])
async def test_a_client_that_breaks_off_takes_the_upstream_along(tmp_path: Path, tls: bool) -> None:
    gone = asyncio.Event()

    async def waiting(connection: Connection) -> None:
        await connection.head()
        await connection.send(SWITCHED)
        try:
            await connection.reader.read()
        finally:
            gone.set()

    async with upstream(waiting) as up, front(tmp_path, configuration(api(up.url), options={"use_ssl": tls})) as gate:
        client = await tunnelled(gate, tls=tls)
        client.close()
        async with asyncio.timeout(10):
            await gone.wait()
        await until(lambda: gate.server.counters()["connections_open"] == 0)


async def test_an_upstream_that_breaks_off_is_a_reset_for_the_client(tmp_path: Path) -> None:
    async def breaking(connection: Connection) -> None:
        await connection.head()
        await connection.send(SWITCHED + b"half")
        await connection.reader.readexactly(1)
        sock = connection.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.writer.transport.abort()

    async with upstream(breaking) as up, front(tmp_path, configuration(api(up.url), **PLAIN)) as gate:
        client = await tunnelled(gate)
        assert await client.reader.readexactly(4) == b"half"
        client.writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
        client.close()


async def test_tunnels_count_as_connections(tmp_path: Path) -> None:
    limits = {"connections_per_address": 1}
    async with upstream(shouting) as up, front(tmp_path, configuration(api(up.url), limits=limits, **PLAIN)) as gate:
        client = await tunnelled(gate)
        refused = await gate.connect(None)
        assert await refused.ended() == b""
        refused.close()
        client.writer.write_eof()
        await client.ended()
        client.close()


async def test_an_upstream_that_does_not_read_stops_the_client(tmp_path: Path) -> None:
    go = asyncio.Event()
    size = 64 << 20

    async def sipping(connection: Connection) -> None:
        await connection.head()
        await connection.send(SWITCHED)
        await go.wait()
        left = size
        while left:
            left -= len(await connection.reader.read(1 << 20))
        await connection.send(b"done")

    async with upstream(sipping) as up, front(tmp_path, configuration(api(up.url), **PLAIN)) as gate:
        client = await tunnelled(gate)
        sent = [0]
        uploading = asyncio.create_task(upload(client, size, sent))
        assert await held_back(gate, lambda: sent[0]) < 24 << 20
        go.set()
        await uploading
        assert await client.reader.readexactly(4) == b"done"
        client.close()
