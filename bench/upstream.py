"""The upstream on a machine without nginx: /small, /bulk and /upload, keep-alive, nothing else.

Run as `python -m bench.upstream PORT BULK_BYTES`.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

SMALL = b'{"message": "the answer of a small service", "items": [1, 2, 3], "note": "one hundred bytes or so"}'


class Answer(asyncio.Protocol):
    """One connection: requests one after the other, bodies with a Content-Length, as proxies send them."""

    transport: asyncio.WriteTransport

    def __init__(self, bulk: bytes) -> None:
        self.bulk = bulk
        self.head, self.left, self.body = b"", 0, b""

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Read a head, count its body down, answer."""
        if not self.left:
            self.head, end, data = (self.head + data).partition(b"\r\n\r\n")
            if not end:
                return
            self.body = self.bulk if self.head.startswith(b"GET /bulk") else SMALL
            length = self.head.lower().partition(b"\r\ncontent-length:")[2]
            self.head, self.left = b"", int(length.split(b"\r\n")[0] or 0)
        self.left -= len(data)
        if not self.left:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.body), self.body))


async def main(port: int, bulk: bytes) -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Answer(bulk), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), bytes(int(sys.argv[2]))))
