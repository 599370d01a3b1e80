"""Upstreams with names: all their addresses, and what happens when they move."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from support.balanced import HOST, named, serve_new
from support.front import api, configuration, front, until
from support.upstream import Connection, ok, upstream

if TYPE_CHECKING:
    from pathlib import Path


class Names:
    """A resolver whose answers the test writes."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def lookup(self, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        self.asked += 1
        if not self.addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        found = []
        for address in self.addresses:
            v6 = ":" in address
            family = socket.AF_INET6 if v6 else socket.AF_INET
            found.append((family, socket.SOCK_STREAM, 6, "", (address, port, 0, 0) if v6 else (address, port)))
        return found


async def test_all_addresses_of_a_name_are_tried_of_both_families(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(f"http://app.test:{up.port}/"))) as gate:
        names = Names("::1", "127.0.0.2", "127.0.0.1")  # on the first two nobody listens
        gate.server.upstreams.resolver.lookup = names.lookup
        assert (await gate.get()).status == 200


async def test_an_upstream_is_reached_over_ipv6(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(b"six"))
        writer.close()

    server = await asyncio.start_server(serve, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, front(tmp_path, configuration(api(f"http://[::1]:{port}/"))) as gate:
        assert (await gate.get()).body == b"six"


async def test_a_name_that_moves_is_followed_and_nothing_is_lost(tmp_path: Path) -> None:
    async with upstream(named(b"old")) as old:
        new = await asyncio.start_server(serve_new, "127.0.0.2", old.port)
        config = configuration(api(f"http://app.test:{old.port}/"), limits={"upstream_dns_interval": 0.1})
        async with new, front(tmp_path, config) as gate:
            names = Names("127.0.0.1")
            gate.server.upstreams.resolver.lookup = names.lookup
            client = await gate.connect()
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).body == b"old"
            names.addresses = ("127.0.0.2",)
            (target,) = next(iter(gate.server.snapshot.apis.values())).upstreams
            pool = gate.server.upstreams.pool(target)
            await until(lambda: pool.idle == 0)  # the kept connection to the old address is closed, unasked
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).body == b"new"
            client.close()


async def test_the_last_good_addresses_serve_while_the_resolver_fails(tmp_path: Path) -> None:
    async with upstream(closing_after_one) as up:
        config = configuration(api(f"http://app.test:{up.port}/"), limits={"upstream_dns_interval": 0.1})
        async with front(tmp_path, config) as gate:
            names = Names("127.0.0.1")
            gate.server.upstreams.resolver.lookup = names.lookup
            assert (await gate.get()).status == 200
            names.addresses = ()
            asked = names.asked
            while names.asked == asked:  # it is asked for when a connection is made and the interval is over
                assert (await gate.get()).status == 200
            assert (await gate.get()).status == 200


async def closing_after_one(connection: Connection) -> None:
    await connection.request()
    await connection.send(ok(b"one", b"Connection: close"))


async def test_a_name_that_does_not_exist_is_a_502(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api("http://app.test/"))) as gate:
        gate.server.upstreams.resolver.lookup = Names().lookup
        assert (await gate.get()).status == 502
        await gate.logged("cannot be resolved")
