"""The first words of TLS clients: very long ones, wrong ones, and those that a drain interrupts."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from support.front import AUTHORITY, LOCALHOST, Client, api, client_context, configuration, front, until
from support.upstream import upstream

from gateway.proxy import handshake, peeking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.front import Front

WILDCARD = AUTHORITY.leaf("*.a.test")
SITES = {"localhost": (LOCALHOST,), "*.a.test": (WILDCARD,), "127.0.0.1": (WILDCARD,)}
STRICT = {"tls": {"strict_sni": True}}
LONGEST = 131396


async def raw(gate: Front) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", gate.port))


def vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width) + content


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, content)


def hello(name: bytes = b"localhost", *, size: int = 0) -> bytes:
    """A ClientHello for TLS 1.2 whose message has ``size`` bytes behind its header; 0: what it takes."""
    extensions = extension(0, vector(2, b"\0" + vector(2, name))) + extension(10, vector(2, b"\0\x17"))
    extensions += extension(13, vector(2, b"\4\3\4\1")) + extension(11, vector(1, b"\0"))
    suites, methods = b"\xc0\x2b\xc0\x2f", b"\0"
    short = size - len(_body(suites, methods, extensions)) - 4
    if short > 0:
        padding = min(short, 65535 - len(extensions) - 4)
        extensions += extension(21, bytes(padding))
        more = short - padding - (short - padding) % 2
        more = min(more, 65534 - len(suites))
        suites += b"\x0a\x0a" * (more // 2)
        methods += bytes(size - len(_body(suites, methods, extensions)))
    return b"\x01" + vector(3, _body(suites, methods, extensions))


def _body(suites: bytes, methods: bytes, extensions: bytes) -> bytes:
    return b"\3\3" + bytes(32) + vector(1, bytes(32)) + vector(2, suites) + vector(1, methods) + vector(2, extensions)


def records(message: bytes, size: int = 16384) -> bytes:
    pieces = (message[at : at + size] for at in range(0, len(message), size))
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


async def answered(gate: Front, sent: bytes, cut: int = 1 << 20) -> bytes:
    """Send ``sent`` and return the first record, or all of it if that is an alert: then the connection ends, too."""
    client = await raw(gate)
    try:
        async with asyncio.timeout(10):
            for at in range(0, len(sent), cut):
                client.writer.write(sent[at : at + cut])
                await client.writer.drain()
                await asyncio.sleep(0)
            head = await client.reader.readexactly(5)
            record = head + await client.reader.readexactly(int.from_bytes(head[3:]))
            if head[0] == 21:
                assert await client.reader.read() == b""  # a reset would raise
            return record
    finally:
        client.close()


def alert(number: int) -> bytes:
    return bytes((21, 3, 3, 0, 2, 2, number))


@pytest.mark.parametrize("cut", [1 << 20, 1000], ids=["at once", "cut"])
@pytest.mark.parametrize("record", [16384, 500])
@pytest.mark.parametrize("size", [0, 16380, 16381, 20_000, 65_536, 131_072, LONGEST])
async def test_a_hello_is_served_however_long_it_may_be(tmp_path: Path, size: int, record: int, cut: int) -> None:
    async with front(tmp_path, configuration(api()), SITES) as gate:
        message = hello(size=size)
        assert len(message) == size + 4 or not size
        answer = await answered(gate, records(message, record), cut)
        assert (answer[0], answer[5]) == (22, 2)  # ServerHello
        assert not gate.server.long_hellos


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        (b"\x16\x03\x01\x40\x00\x01" + (LONGEST + 1).to_bytes(3) + bytes(200_000), 47),
        (b"\x16\x03\x01\x40\x01" + bytes(20_000), 22),
        (b"\x16\x03\x01\0\0" + bytes(20_000), 10),
        (b"\x16\x02\0\0\5" + bytes(20_000), 70),
        (b"\x15\x03\x01\0\2\1\0" + hello(), 10),
        (b"\x17\x03\x03\0\5hello", 10),
        (records(hello(), 20)[:50] + b"\x15\x03\x01\0\2\1\0", 10),
        (records(b"\x02" + hello()[1:]), 10),
        (records(b"\x01" + vector(3, hello()[4:] + b"x")), 50),
        (b"\x80\x2e\1\3\1", 10),
    ],
)
async def test_a_refusal_can_be_read_before_the_end(tmp_path: Path, sent: bytes, number: int) -> None:
    """RFC 8446 section 6.2; a reset that overtakes it would leave the client without a reason."""
    async with front(tmp_path, configuration(api()), SITES) as gate:
        assert await answered(gate, sent) == alert(number)
        await gate.logged("TLS handshake error from 127.0.0.1: client")


@pytest.mark.parametrize(
    "name",
    [
        *(b"unknown.test", b"x" * 64 + b".a.test", b"a." * 124 + b"a.test", b"x..a.test", b".a.test", b"x.a.test.."),
        *(b"*.a.test", b"-x.a.test", b"x y.a.test", b"x\xff.a.test", "ü.a.test".encode(), b"127.0.0.1", b"::1"),
        *(b"x\0.a.test", b"x.a.test\0", b"x/.a.test", b"x" * 250 + b".a.test"),
    ],
)
async def test_what_is_no_name_matches_nothing(tmp_path: Path, name: bytes) -> None:
    async with front(tmp_path, configuration(api(), gateway=STRICT), SITES) as gate:
        assert await answered(gate, records(hello(name)) + bytes(5000)) == alert(112)
        served = await answered(gate, records(hello(b"X.a.test.")))
        assert (served[0], served[5]) == (22, 2)


async def test_long_hellos_that_wait_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel holds what has come of each."""
    monkeypatch.setattr(handshake, "_LONG_HELLOS", 1)
    long = records(hello(size=100_000))
    async with front(tmp_path, configuration(api()), SITES) as gate:
        waiting = await raw(gate)
        waiting.writer.write(long[:50_000])
        await until(lambda: len(gate.server.long_hellos) == 1)
        assert await answered(gate, long) == alert(80)
        assert (await answered(gate, records(hello(size=16_380))))[0] == 22
        waiting.close()
        await until(lambda: not gate.server.long_hellos)
        assert (await answered(gate, long))[0] == 22


@pytest.mark.parametrize("begun", [1, 60])
async def test_a_handshake_that_has_begun_outlives_the_last_call_of_a_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    monkeypatch.setattr(peeking, "_LAST_CALL_SECONDS", 0.0)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    first = outgoing.read()
    async with upstream() as up, front(tmp_path, configuration(api(up.url)), SITES) as gate:
        silent, client = await raw(gate), await raw(gate)
        client.writer.write(first[:begun])
        await until(lambda: sum(one._seen for one in gate.server._connections) == begun)  # type: ignore[union-attr]
        draining = asyncio.create_task(gate.server.drain(10))
        assert await silent.ended() == b""  # who said nothing is let go
        client.writer.write(first[begun:])
        await _until_done(tls.do_handshake, incoming, client)
        tls.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        client.writer.write(outgoing.read())
        assert (await _until_done(tls.read, incoming, client)).startswith(b"HTTP/1.1 200")
        client.close()
        silent.close()
        assert await draining == 0


async def _until_done(step: Callable[[], Any], incoming: ssl.MemoryBIO, client: Client) -> Any:
    """Take a step of a TLS client, with as many of the server's bytes as that needs."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            data = await client.reader.read(65536)
            assert data
            incoming.write(data)
