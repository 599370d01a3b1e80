"""The upstream of `bench.swaps`: /small, /stream (a numbered line now and then, for ever) and /bytes/N."""

from __future__ import annotations

import asyncio
import contextlib

import uvloop

SMALL = b'{"message": "the answer of a small service"}'
LINE_SECONDS = 0.5
BLOCK = bytes(range(256)) * 256


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests without bodies, one after the other."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ", 2)[1]
            if path == b"/stream":
                await _stream(writer)
            elif path.startswith(b"/bytes/"):
                await _bytes(writer, int(path[7:]))
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(SMALL), SMALL))
            await writer.drain()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    number = 0
    while True:
        line = b"%d\n" % number
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await writer.drain()
        number += 1
        await asyncio.sleep(LINE_SECONDS)


async def _bytes(writer: asyncio.StreamWriter, count: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count)
    for sent in range(0, count, len(BLOCK)):
        writer.write(BLOCK[: count - sent])
        await writer.drain()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def serve(port: int) -> None:
    """Serve until ended."""
    uvloop.run(_serve(port))
