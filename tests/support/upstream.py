"""Upstreams that do exactly what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

Script = Callable[["Connection"], Awaitable[None]]


@dataclass
class Connection:
    """A connection that the gateway made to the upstream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def head(self) -> bytes:
        """Read a request's head; raises IncompleteReadError when the gateway closed instead."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> tuple[bytes, bytes]:
        """Read a request with its body, whichever way it is framed."""
        head = await self.head()
        fields = head.lower()
        if b"\r\ntransfer-encoding: chunked" in fields:
            body = b""
            while True:
                line = await self.reader.readline()
                if not line:
                    raise asyncio.IncompleteReadError(body, None)
                size = int(line, 16)
                if size == 0:
                    while await self.reader.readline() not in (b"\r\n", b""):
                        pass
                    return head, body
                body += (await self.reader.readexactly(size + 2))[:-2]
        if b"\r\ncontent-length: " in fields:
            length = int(fields.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
            return head, await self.reader.readexactly(length)
        return head, b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@dataclass
class Upstream:
    """A listening upstream, what it has seen so far included."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    failures: list[BaseException] = field(default_factory=list)
    close: Callable[[], None] = lambda: None
    """Listen no more, and break every connection."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


def ok(body: bytes = b"hello", *lines: bytes) -> bytes:
    """Write a plain response."""
    return b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines, b"", b"")) + body


async def answering(connection: Connection) -> None:
    """Answer every request with its own first line."""
    while True:
        head, body = await connection.request()
        await connection.send(ok(head.split(b"\r\n")[0] + b"|" + body))


async def silent(connection: Connection) -> None:
    """Read everything and say nothing."""
    await connection.reader.read()


@asynccontextmanager
async def upstream(script: Script = answering, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Run an upstream that plays ``script`` on each connection."""
    state = Upstream(0)
    tasks: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        state.connections += 1
        connection = Connection(_Recording(reader, state.requests), writer, state.connections)  # type: ignore[arg-type]
        try:
            await script(connection)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            state.failures.append(error)
            raise
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]

    def close() -> None:
        server.close()
        for task in tuple(tasks):
            task.cancel()

    state.close = close
    try:
        yield state
    finally:
        close()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # transports close in the loop's next turn
        assert not state.failures


class _Recording:
    """A reader that notes the heads it reads."""

    def __init__(self, reader: asyncio.StreamReader, heads: list[bytes]) -> None:
        self._reader = reader
        self._heads = heads

    async def readuntil(self, separator: bytes) -> bytes:
        head = await self._reader.readuntil(separator)
        self._heads.append(head)
        return head

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)
