"""An API with several targets: upstreams that say who they are, and what a client hears of them."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from support.front import api
from support.upstream import Connection, Upstream, ok, upstream

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

    from support.front import Front

HOST = b"Host: localhost"


def named(name: bytes) -> Callable[[Connection], Any]:
    async def answer(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(ok(name))

    return answer


@contextlib.asynccontextmanager
async def named_upstreams(count: int) -> AsyncIterator[list[Upstream]]:
    """Run upstreams that answer with their numbers."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(upstream(named(b"%d" % number))) for number in range(count)]


def balanced(urls: list[str], **gateway: Any) -> dict[str, Any]:
    proxy = {"enable_load_balancing": True, "target_list": tuple(urls), **gateway.pop("proxy", {})}
    return api(urls[0], api_id="balanced", proxy=proxy, gateway=gateway)


def unused_url() -> str:
    """An address that refuses connections: bound, and never listened on."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    return f"http://127.0.0.1:{port}/"


async def bodies(gate: Front, count: int, *lines: bytes) -> list[bytes]:
    """Ask so many times on one connection."""
    client = await gate.connect()
    found = [(await client.ask(b"GET / HTTP/1.1", HOST, *lines)).body for _ in range(count)]
    client.close()
    return found


async def serve_new(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with "new"; for `asyncio.start_server`, where an upstream must come on a given port."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ok(b"new"))
    writer.close()
