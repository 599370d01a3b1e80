"""The attackers: so many connections for so long, in ways that cost them little, and a report of what became of them.

Run as `python -m bench.attacks NAME PORT CONNECTIONS SECONDS`. Addresses of 127.0.0.0/8 stand for so many clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.loads import client_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CLIENTS = 250
_AGAIN_SECONDS = 0.05
_APART_SECONDS = 0.002  # so many handshakes at once would keep the attackers busy, not the gateway


@dataclass(slots=True)
class Report:
    """How many connections were made and closed by the gateway, and how long the longest lived, in seconds."""

    made: int = 0
    closed: int = 0
    longest: float = 0.0


class Attacker:
    """One of many; ``number`` decides from which address it comes."""

    def __init__(self, port: int, number: int, context: ssl.SSLContext) -> None:
        self.port, self.number = port, number
        self.source = f"127.1.0.{number % _CLIENTS + 1}"
        self._context = context
        self.dripping: asyncio.Task[None] | None = None

    async def connect(self, *, tls: bool = True, window: int = 0) -> Streams:
        """Connect, as far as the attack wants to go; ``window`` keeps the kernel from taking much."""
        sock = socket.socket()
        sock.setblocking(False)
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        try:
            sock.bind((self.source, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            name = {"ssl": self._context, "server_hostname": "localhost"} if tls else {}
            return await asyncio.open_connection(sock=sock, limit=window or 1 << 16, **name)
        except BaseException:
            sock.close()
            raise

    def hello(self) -> bytes:
        """Write a ClientHello that nobody will go on with."""
        outgoing = ssl.MemoryBIO()
        tls = self._context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()


async def until_closed(reader: asyncio.StreamReader) -> None:
    """Read what comes until the gateway has had enough."""
    while await reader.read(1 << 16):
        pass


async def half_open(attacker: Attacker) -> Streams:
    """Connect and say nothing."""
    return await attacker.connect(tls=False)


async def half_handshake(attacker: Attacker) -> Streams:
    """Send a ClientHello and nothing more: the gateway has done its costly part."""
    reader, writer = await attacker.connect(tls=False)
    writer.write(attacker.hello())
    return reader, writer


async def handshakes(attacker: Attacker) -> Streams:
    """Shake hands and leave, as fast as it goes."""
    reader, writer = await attacker.connect()
    writer.write_eof() if writer.can_write_eof() else writer.transport.abort()
    return reader, writer


async def silent(attacker: Attacker) -> Streams:
    """Shake hands and ask for nothing."""
    return await attacker.connect()


async def slow_head(attacker: Attacker) -> Streams:
    """Send one more field every now and then."""
    reader, writer = await attacker.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    attacker.dripping = asyncio.create_task(drip(writer, b"X-More: of it\r\n"))
    return reader, writer


async def slow_body(attacker: Attacker) -> Streams:
    """Announce a body and stop after its first byte."""
    reader, writer = await attacker.connect()
    writer.write(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx")
    return reader, writer


async def slow_read(attacker: Attacker) -> Streams:
    """Ask for ten megabytes and take none of them."""
    reader, writer = await attacker.connect(window=4096)
    writer.write(b"GET /bulk HTTP/1.1\r\nHost: localhost\r\n\r\n")
    writer.transport.pause_reading()
    return reader, writer


async def idle(attacker: Attacker) -> Streams:
    """Ask once, and rest."""
    reader, writer = await attacker.connect()
    writer.write(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return reader, writer


async def one_address(attacker: Attacker) -> Streams:
    """Rest, all from one address."""
    attacker.source = "127.1.0.1"
    return await idle(attacker)


async def garbage(attacker: Attacker) -> Streams:
    """Send what is no protocol."""
    reader, writer = await attacker.connect(tls=False)
    writer.write(os.urandom(512))
    return reader, writer


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a little again and again."""
    while not writer.is_closing():
        writer.write(data)
        await asyncio.sleep(0.3)


ATTACKS: dict[str, Callable[[Attacker], Awaitable[Streams]]] = {
    attack.__name__: attack
    for attack in (
        half_open, half_handshake, handshakes, silent, slow_head, slow_body, slow_read, idle, one_address, garbage,
    )
}  # fmt: skip


async def go_on(attacker: Attacker, attack: Callable[[Attacker], Awaitable[Streams]], report: Report) -> None:
    """Attack, and again when the gateway has closed the connection."""
    await asyncio.sleep(attacker.number * _APART_SECONDS)
    while True:
        started = time.monotonic()
        try:
            reader, writer = await attack(attacker)
            report.made += 1
            try:
                if attack is slow_read:
                    await gone(writer)
                else:
                    await until_closed(reader)
            finally:
                report.longest = max(report.longest, time.monotonic() - started)
                if attacker.dripping:
                    attacker.dripping.cancel()
                writer.transport.abort()
        except OSError:
            pass
        report.closed += 1
        await asyncio.sleep(_AGAIN_SECONDS)


async def gone(writer: asyncio.StreamWriter) -> None:
    """Wait for the reset of a connection that is never read."""
    sock = writer.get_extra_info("socket")
    poller = sock.dup()
    try:
        while poller.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1:  # noqa: ASYNC110 - TCP_ESTABLISHED; nothing tells when it ends
            await asyncio.sleep(0.1)
    finally:
        poller.close()


async def main(name: str, port: int, connections: int, seconds: float) -> Report:
    """Attack with so many connections for so long."""
    report, context = Report(), client_context()
    attackers = [Attacker(port, number, context) for number in range(connections)]
    tasks = [asyncio.create_task(go_on(attacker, ATTACKS[name], report)) for attacker in attackers]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return report


if __name__ == "__main__":
    os.nice(10)  # the well-behaved client, which shares this core, is not to wait for us
    print(json.dumps(asdict(asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5]))))))
