"""A small PostgreSQL: it negotiates TLS, takes anybody in, and answers each query with what it was asked."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

from support.upstream import Connection, upstream

if TYPE_CHECKING:
    import ssl
    from contextlib import AbstractAsyncContextManager

    from support.upstream import Upstream

SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSSENC_REQUEST = struct.pack(">II", 8, 80877104)
STARTUP = struct.pack(">II", 17, 196608) + b"user\0me\0\0"
_READY = b"R" + struct.pack(">II", 8, 0) + b"Z" + struct.pack(">I", 5) + b"I"


class PostgreSQL:
    """``openings`` is what each connection began with; ``tls`` is what SSLRequest is accepted with."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.openings: list[str] = []
        self._tls = tls

    def running(self) -> AbstractAsyncContextManager[Upstream]:
        return upstream(self._script)

    async def _script(self, connection: Connection) -> None:
        reader = connection.reader
        head = await reader.readexactly(8)
        if head == SSL_REQUEST:
            self.openings.append("SSLRequest")
            await connection.send(b"S" if self._tls else b"N")
            if self._tls:
                await connection.writer.start_tls(self._tls)
            head = await reader.readexactly(8)
        length, code = struct.unpack(">II", head)
        self.openings.append({196608: "startup", 80877102: "cancel"}.get(code, "?"))
        await reader.readexactly(length - 8)
        if code != 196608:
            return
        await connection.send(_READY)
        while True:
            kind, length = struct.unpack(">cI", await reader.readexactly(5))
            body = await reader.readexactly(length - 4)
            if kind == b"X":
                return
            await connection.send(b"C" + struct.pack(">I", 4 + len(body)) + body + b"Z" + struct.pack(">I", 5) + b"I")


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: bytes = b"SELECT 1") -> bytes:
    """Log in, and send a query; return its tag."""
    async with asyncio.timeout(20):
        writer.write(STARTUP)
        assert await reader.readexactly(len(_READY)) == _READY
        writer.write(b"Q" + struct.pack(">I", 5 + len(query)) + query + b"\0")
        _, length = struct.unpack(">cI", await reader.readexactly(5))
        return (await reader.readexactly(length - 4)).rstrip(b"\0")
