"""PostgreSQL's own negotiation of TLS, with clients and with targets, by a server and clients of the test's own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from support.front import AUTHORITY, Front, client_context, configuration, front, until
from support.postgresql import GSSENC_REQUEST, SSL_REQUEST, STARTUP, PostgreSQL, answered
from support.upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import Connection

PORT = 5432
SITES = {"db.test": (AUTHORITY.leaf("db.test"),), "": (AUTHORITY.leaf("any.test"),)}
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def service(target: str, **own: Any) -> dict[str, Any]:
    transport = {"ssl_insecure_skip_verify": True}
    proxy = {"target_url": target, "transport": transport}
    gateway = {"negotiate": "postgresql", **own}
    return {"api_id": "db", "protocol": "tls", "listen_port": PORT, "proxy": proxy, "gateway": gateway}


def server_context(directory: Path, name: str) -> ssl.SSLContext:
    path, pair = directory / f"{name}.pem", AUTHORITY.leaf(name)
    path.write_bytes(pair.chain_pem + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def trusting(*protocols: str) -> ssl.SSLContext:
    context = client_context()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def cancelling(whose: bytes) -> bytes:
    return (8 + len(whose)).to_bytes(4) + (80877102).to_bytes(4) + whose


async def plain(gate: Front) -> Streams:
    return await asyncio.open_connection("127.0.0.1", gate.service_ports[PORT])


async def asking(gate: Front, name: str = "db.test") -> Streams:
    """Ask for TLS as psql does, and begin it."""
    reader, writer = await plain(gate)
    writer.write(SSL_REQUEST)
    assert await reader.readexactly(1) == b"S"
    await writer.start_tls(trusting("postgresql"), server_hostname=name)
    return reader, writer


@pytest.mark.parametrize("way", ["asked", "asked after GSS", "direct"])
async def test_a_database_without_tls_is_reached_with_tls(tmp_path: Path, way: str) -> None:
    database = PostgreSQL()
    async with database.running() as up:
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}")), SITES) as gate:
            if way == "direct":
                port, context = gate.service_ports[PORT], trusting("postgresql")
                streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="db.test")
                assert streams[1].get_extra_info("ssl_object").selected_alpn_protocol() == "postgresql"
            elif way == "asked":
                streams = await asking(gate)
            else:
                reader, writer = streams = await plain(gate)
                writer.write(GSSENC_REQUEST)
                assert await reader.readexactly(1) == b"N"
                writer.write(SSL_REQUEST)
                assert await reader.readexactly(1) == b"S"
                await writer.start_tls(trusting(), server_hostname="db.test")
            assert await answered(*streams) == b"SELECT 1"
            streams[1].transport.abort()
        assert database.openings == ["startup"]


async def test_a_tls_target_is_asked_for_tls_in_its_own_words(tmp_path: Path) -> None:
    database = PostgreSQL(server_context(tmp_path, "127.0.0.1"))
    async with database.running() as up:
        async with front(tmp_path, configuration(service(f"tls://127.0.0.1:{up.port}")), SITES) as gate:
            streams = await asking(gate)
            assert await answered(*streams) == b"SELECT 1"
            streams[1].transport.abort()
        assert database.openings == ["SSLRequest", "startup"]


async def test_a_tls_target_that_declines_gets_nothing(tmp_path: Path) -> None:
    database = PostgreSQL()
    async with database.running() as up:
        async with front(tmp_path, configuration(service(f"tls://127.0.0.1:{up.port}")), SITES) as gate:
            reader, writer = await asking(gate)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            await gate.logged("the upstream does not speak TLS: it declined PostgreSQL's SSLRequest")
            writer.transport.abort()
        assert database.openings == ["SSLRequest"]


async def test_passthrough_asks_the_target_for_the_tls_that_the_client_asked_for(tmp_path: Path) -> None:
    database = PostgreSQL(server_context(tmp_path, "own.test"))
    async with database.running() as up:
        config = configuration(service(f"tcp://127.0.0.1:{up.port}", passthrough=True))
        async with front(tmp_path, config, SITES) as gate:
            streams = await asking(gate, "own.test")
            assert await answered(*streams) == b"SELECT 1"
            streams[1].transport.abort()
        assert database.openings == ["SSLRequest", "startup"]


async def test_a_client_without_tls_is_told_what_to_do(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(service("tcp://127.0.0.1:1")), SITES) as gate:
        reader, writer = await plain(gate)
        writer.write(STARTUP)
        answer = await reader.read()
        assert answer[:1] == b"E"
        assert b"C28000\0Mconnection requires encryption: connect with sslmode=require" in answer
        await gate.logged("client asked for no TLS, and gateway.allow_plain is not set")
        writer.close()


async def test_a_client_without_tls_is_served_where_that_is_allowed(tmp_path: Path) -> None:
    database = PostgreSQL()
    async with database.running() as up:
        config = configuration(service(f"tcp://127.0.0.1:{up.port}", allow_plain=True))
        async with front(tmp_path, config, SITES) as gate:
            streams = await plain(gate)
            assert await answered(*streams) == b"SELECT 1"
            streams[1].transport.abort()


async def test_a_query_is_cancelled_without_tls_as_psql_does_it(tmp_path: Path) -> None:
    database = PostgreSQL()
    async with database.running() as up:
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}")), SITES) as gate:
            reader, writer = await plain(gate)
            writer.write(cancelling(b"12345678"))
            assert await reader.read() == b""
            writer.close()
        assert database.openings == ["cancel"]


@pytest.mark.parametrize("key", [b"1234", bytes(256)])
@pytest.mark.parametrize("tls", [False, True])
async def test_nothing_but_the_request_to_cancel_passes_without_tls(tmp_path: Path, key: bytes, tls: bool) -> None:
    packet, got = cancelling(b"pid." + key), asyncio.Queue[bytes]()
    end = asyncio.Event()

    async def target(connection: Connection) -> None:
        if tls:
            await connection.reader.readexactly(len(SSL_REQUEST))
            await connection.send(b"S")
            await connection.writer.start_tls(server_context(tmp_path, "127.0.0.1"))
        got.put_nowait(await connection.reader.readexactly(len(packet)))
        reading = asyncio.create_task(connection.reader.read())
        await end.wait()
        (connection.writer.close if tls else connection.writer.write_eof)()
        got.put_nowait(await reading)

    async with asyncio.timeout(20), upstream(target) as up:
        scheme = "tls" if tls else "tcp"
        async with front(tmp_path, configuration(service(f"{scheme}://127.0.0.1:{up.port}")), SITES) as gate:
            reader, writer = await plain(gate)
            writer.write(packet + STARTUP)
            assert await got.get() == packet
            writer.write(STARTUP)
            await until(lambda: writer.transport.get_write_buffer_size() == 0)
            end.set()
            assert await reader.read() == b""
            assert await got.get() == b""
            writer.close()


@pytest.mark.parametrize("size", [15, 269, 10000])
async def test_a_request_to_cancel_of_another_size_is_none(tmp_path: Path, size: int) -> None:
    database = PostgreSQL()
    async with database.running() as up:
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}")), SITES) as gate:
            reader, writer = await plain(gate)
            writer.write(cancelling(bytes(size - 8)))
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            await gate.logged("client sent a PostgreSQL packet of an impossible length")
            writer.close()
        assert up.connections == 0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (SSL_REQUEST + STARTUP, "client sent unencrypted data after its request for encryption"),
        (SSL_REQUEST + b"\x16\x03\x01", "client sent unencrypted data after its request for encryption"),
        (b"GET / HTTP/1.1\r\n\r\n", "client sent something that is neither TLS nor PostgreSQL"),
    ],
)
async def test_what_comes_before_tls_and_is_not_the_request_ends_the_connection(
    tmp_path: Path, said: bytes, words: str
) -> None:
    database = PostgreSQL()
    async with database.running() as up:
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}")), SITES) as gate:
            reader, writer = await plain(gate)
            writer.write(said)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            await gate.logged(words)
            writer.close()
        assert database.openings == []


@pytest.mark.parametrize(("second", "answer"), [(SSL_REQUEST, b"S"), (GSSENC_REQUEST, b"N")])
async def test_nobody_asks_twice(tmp_path: Path, second: bytes, answer: bytes) -> None:
    async with front(tmp_path, configuration(service("tcp://127.0.0.1:1")), SITES) as gate:
        reader, writer = await plain(gate)
        writer.write(second)
        assert await reader.readexactly(1) == answer
        writer.write(second)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(8)
        writer.close()
        await until(lambda: gate.server.counters().get("handshakes_failed") == 1)


async def test_direct_tls_names_the_protocol(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(service("tcp://127.0.0.1:1")), SITES) as gate:
        port = gate.service_ports[PORT]
        for context in (trusting(), trusting("http/1.1")):
            with pytest.raises(ssl.SSLError, match="no application protocol"):
                await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="db.test")


async def test_a_request_that_drips_is_read_as_one(tmp_path: Path) -> None:
    database = PostgreSQL()
    async with database.running() as up:
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}")), SITES) as gate:
            reader, writer = await plain(gate)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in SSL_REQUEST:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0)
            assert await reader.readexactly(1) == b"S"
            await writer.start_tls(trusting(), server_hostname="db.test")
            assert await answered(reader, writer) == b"SELECT 1"
            writer.transport.abort()
