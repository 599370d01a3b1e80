"""Upstreams that are told by the PROXY protocol whose each connection is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.front import api, configuration, front, until
from support.upstream import Connection, ok, upstream

from gateway.http.proxy_protocol import Header, parse

if TYPE_CHECKING:
    from pathlib import Path

HOST = b"Host: localhost"


class Told:
    """An upstream that reads a PROXY header before each connection's requests, and notes whose they are."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, int, bytes]] = []  # connection, client's port, first line
        self.hold: asyncio.Event | None = None

    async def script(self, connection: Connection) -> None:
        data = await connection.reader.readexactly(16)
        if data.startswith(b"PROXY "):
            data += await connection.reader.readuntil(b"\r\n")
        else:
            data += await connection.reader.readexactly(int.from_bytes(data[14:16]))
        header = parse(data)
        assert isinstance(header, Header)
        assert header.ends is not None
        assert header.length == len(data)
        assert (header.ends.address, header.ends.local_address) == ("127.0.0.1", "127.0.0.1")
        while True:
            head, _ = await connection.request()
            self.requests.append((connection.number, header.ends.port, head.split(b" ")[1]))
            if self.hold is not None:
                await self.hold.wait()
            await connection.send(ok())


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_connection_carries_the_requests_of_one_client_only(tmp_path: Path, version: str) -> None:
    told = Told()
    async with upstream(told.script) as up:
        async with front(tmp_path, configuration(api(up.url, gateway={"proxy_protocol": version}))) as gate:
            clients = [await gate.connect() for _ in range(2)]
            ports = [client.writer.get_extra_info("sockname")[1] for client in clients]
            for path in (b"/1", b"/2"):
                for client in clients:
                    assert (await client.ask(b"GET %b HTTP/1.1" % path, HOST)).status == 200
            for client in clients:
                client.close()
    assert told.requests == [(1, ports[0], b"/1"), (2, ports[1], b"/1"), (1, ports[0], b"/2"), (2, ports[1], b"/2")]


async def test_the_header_comes_before_tls(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def script(connection: Connection) -> None:
        assert (await connection.reader.readuntil(b"\r\n")).startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
        assert (await connection.reader.readexactly(2)) == b"\x16\x03"  # a TLS handshake begins (RFC 8446 section 5.1)
        heard.set()

    async with upstream(script) as up:
        target = f"https://127.0.0.1:{up.port}/"
        async with front(tmp_path, configuration(api(target, gateway={"proxy_protocol": "v1"}))) as gate:
            assert (await gate.get("/")).status == 502
            async with asyncio.timeout(10):
                await heard.wait()


async def test_who_waits_in_line_gets_a_connection_of_its_own(tmp_path: Path) -> None:
    told = Told()
    told.hold = asyncio.Event()
    rules = {"proxy_protocol": "v2", "queue": {"max_connections": 1, "length": 5}}
    async with upstream(told.script) as up:
        async with front(tmp_path, configuration(api(up.url, gateway=rules))) as gate:
            clients = [await gate.connect() for _ in range(3)]
            asked = [asyncio.create_task(client.ask(b"GET / HTTP/1.1", HOST)) for client in clients]
            await until(lambda: sum(pool.waiting for pool in gate.server.upstreams._pools.values()) == 2)
            told.hold.set()
            assert [(await one).status for one in asked] == [200, 200, 200]
            assert (await clients[0].ask(b"GET /again HTTP/1.1", HOST)).status == 200  # the idle one makes room
            ports = {client.writer.get_extra_info("sockname")[1] for client in clients}
            for client in clients:
                client.close()
    assert len({connection for connection, _, _ in told.requests}) == 4
    assert {port for _, port, _ in told.requests} == ports


async def test_idle_connections_of_others_are_the_first_to_go(tmp_path: Path) -> None:
    told = Told()
    async with upstream(told.script) as up:
        config = configuration(api(up.url, gateway={"proxy_protocol": "v2"}), max_idle_connections_per_host=1)
        async with front(tmp_path, config) as gate:
            first, second = [await gate.connect() for _ in range(2)]
            for client in (first, second, second, first):
                assert (await client.ask(b"GET / HTTP/1.1", HOST)).status == 200
            first.close()
            second.close()
    assert [connection for connection, _, _ in told.requests] == [1, 2, 2, 3]
