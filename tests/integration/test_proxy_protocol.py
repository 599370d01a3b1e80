"""The PROXY protocol over real sockets: before TLS, before plain HTTP, before a redirect."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gateway.http.proxy_protocol import Ends, encode
from gateway.proxy.peeking import ProxyHeader
from tests.support.front import Client, Front, api, client_context, configuration, front, until
from tests.support.upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

HOST = b"Host: localhost"
SAID = Ends("192.0.2.7", 4711, "198.51.100.1", 8443)
V1, V2 = encode("v1", SAID), encode("v2", SAID)
LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a 20 00 0000")
WITH_TLV = V2[:14] + (12 + 5).to_bytes(2) + V2[16:] + b"\x20\x00\x02ab"


def behind(**more: Any) -> dict[str, Any]:
    return {"proxy_protocol": {"proxies": ["127.0.0.1"], **more}}


async def say(port: int, data: bytes = b"") -> socket.socket:
    """Connect in the clear and send the beginning."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(sock, data)
    return sock


async def plainly(port: int, data: bytes) -> Client:
    """Connect in the clear, send ``data``, and go on in the clear."""
    return Client(*await asyncio.open_connection(sock=await say(port, data)))


def _has_seen(gate: Front, count: int) -> bool:
    return any(isinstance(one, ProxyHeader) and one._seen == count for one in gate.server._connections)


async def tls_after(gate: Front, *pieces: bytes) -> Client:
    """Send a header piece by piece, each when the one before was looked at, and go on with TLS."""
    sock = await say(gate.port)
    said = b""
    for piece in pieces:
        await asyncio.get_running_loop().sock_sendall(sock, piece)
        said += piece
        if piece is not pieces[-1]:
            await until(partial(_has_seen, gate, len(said)))
    return Client(*await asyncio.open_connection(sock=sock, ssl=client_context(), server_hostname="localhost"))


@pytest.mark.parametrize(
    "pieces",
    [(V1,), (V2,), (WITH_TLV,), (V1[:3], V1[3:20], V1[20:]), (V2[:7], V2[7:16], V2[16:])],
    ids=["v1", "v2", "tlv", "v1-pieces", "v2-pieces"],
)
async def test_before_tls_the_header_says_who_the_client_is(tmp_path: Path, pieces: tuple[bytes, ...]) -> None:
    log = tmp_path / "access.log"
    gateway = {**behind(), "access_log": {"format": "json", "path": str(log)}}
    async with upstream() as up, front(tmp_path, configuration(api(up.url), gateway=gateway)) as gate:
        client = await tls_after(gate, *pieces)
        for _ in range(2):
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).status == 200
        client.close()
        await until(lambda: '"client":"192.0.2.7"' in log.read_text())
    for head in up.requests:
        assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in head
        assert b"\r\nX-Forwarded-Port: 8443\r\n" in head


async def test_header_and_client_hello_in_one_segment_are_told_apart(tmp_path: Path) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    async with front(tmp_path, configuration(api(), gateway=behind())) as gate:
        sock = await say(gate.port, V2 + outgoing.read())
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(await loop.sock_recv(sock, 65536))
        assert tls.version() == "TLSv1.3"
        sock.close()


async def test_before_plain_http_too(tmp_path: Path) -> None:
    async with upstream() as up:
        config = configuration(api(up.url), options={"use_ssl": False}, gateway=behind())
        async with front(tmp_path, config) as gate:
            client = await plainly(gate.port, V1 + b"GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await client.response()).body == b"GET /first HTTP/1.1|"
            assert (await client.ask(b"GET /second HTTP/1.1", HOST)).status == 200
            client.close()
    assert all(b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in head for head in up.requests)


async def test_before_a_redirect_too(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api(), gateway=behind())) as gate:
        client = await plainly(gate.redirect_port, V2)
        assert (await client.ask(b"GET /a HTTP/1.1", HOST)).status == 301
        client.close()


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"], ids=["local", "unknown"])
async def test_a_connection_of_the_proxy_itself_has_the_proxys_address(tmp_path: Path, header: bytes) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url), gateway=behind())) as gate:
        client = await tls_after(gate, header)
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).status == 200
        client.close()
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in up.requests[0]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "there is no PROXY header where one is required"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "there is no PROXY header where one is required"),
        (b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n", "a PROXY header with an address that is none"),
        (b"PROXY " + b"x" * 200, "a PROXY header of more than 107 bytes"),
    ],
)
async def test_what_is_no_header_is_closed_with_one_line(tmp_path: Path, said: bytes, reason: str) -> None:
    async with front(tmp_path, configuration(api(), gateway=behind())) as gate:
        client = await plainly(gate.port, said)
        assert await client.ended() == b""
        client.close()
        await gate.logged(f"connection from 127.0.0.1 closed: {reason}")
        assert gate.log.count("\n") == 1
        assert gate.server.counters()["connections_open"] == 0


async def test_half_a_header_has_a_deadline_and_coming_and_going_is_no_news(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api(), gateway=behind(timeout=0.2))) as gate:
        (await say(gate.port)).close()
        reset = await say(gate.port)  # as HAProxy ends its health checks
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.close()
        client = await plainly(gate.port, V2[:20])
        assert await client.ended() == b""
        client.close()
        assert await gate.logged("closed: nothing was said in time")
        half = await say(gate.port, V1[:10])
        half.shutdown(socket.SHUT_WR)
        assert await gate.logged("closed: the proxy closed before its PROXY header was complete")
        half.close()
        assert gate.log.count("\n") == 2


async def test_others_are_refused(tmp_path: Path) -> None:
    gateway = {"proxy_protocol": {"proxies": ["192.0.2.0/24"]}}
    async with front(tmp_path, configuration(api(), gateway=gateway)) as gate:
        client = await plainly(gate.port, b"")
        assert await client.ended() == b""
        client.close()
        await gate.logged("127.0.0.1 is none of gateway.proxy_protocol.proxies")


async def test_others_may_be_served_but_not_believed(tmp_path: Path) -> None:
    gateway = {"proxy_protocol": {"proxies": ["192.0.2.0/24"], "others": "serve"}}
    async with upstream() as up, front(tmp_path, configuration(api(up.url), gateway=gateway)) as gate:
        assert (await gate.get("/")).status == 200
        client = await plainly(gate.port, V2)
        await client.ended()
        client.close()
        await gate.logged("TLS handshake error from 127.0.0.1")
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in up.requests[0]


async def test_the_clients_address_is_what_limits_and_lists_look_at(tmp_path: Path) -> None:
    definition = api(gateway={"blocked_networks": ["192.0.2.0/24"]})
    limits = {"connections_per_address": 1}
    async with front(tmp_path, configuration(definition, gateway=behind(), limits=limits)) as gate:
        first = await tls_after(gate, V1)
        assert (await first.ask(b"GET / HTTP/1.1", HOST)).status == 403
        second = await plainly(gate.port, V2)
        assert await second.ended() == b""
        second.close()
        await gate.logged("192.0.2.7 has as many connections")
        other = await tls_after(gate, encode("v1", SAID._replace(address="203.0.113.1")))
        assert (await other.ask(b"GET / HTTP/1.1", HOST)).status == 502
        first.close()
        other.close()
