"""From accept to TLS: which certificate answers whom, and what becomes of clients that are no TLS clients."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from support.front import AUTHORITY, LOCALHOST, Client, Front, api, client_context, configuration, front, until
from support.upstream import upstream

from gateway.proxy.handshake import Handshake
from gateway.routing import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

EXACT = AUTHORITY.leaf("www.a.test")
WILDCARD = AUTHORITY.leaf("*.a.test")
ADDRESS = AUTHORITY.leaf("127.0.0.1")
RSA = AUTHORITY.leaf("www.a.test", key="rsa2048")
SITES = {"www.a.test": (EXACT,), "*.a.test": (WILDCARD,), "localhost": (LOCALHOST,), "": (LOCALHOST,)}


def lenient(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = client_context(version=version)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def shown(gate: Front, name: str | None, context: ssl.SSLContext | None = None) -> x509.Certificate:
    """Connect and return the certificate that was shown; ``name`` None sends no server name."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", gate.port, ssl=context or lenient(), server_hostname=name or ""
    )
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    Client(reader, writer).close()
    return x509.load_der_x509_certificate(certificate)


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("www.a.test", EXACT),
        ("WWW.A.TEST", EXACT),
        ("www.a.test.", EXACT),
        ("other.a.test", WILDCARD),
        ("a.test", LOCALHOST),
        ("one.two.a.test", LOCALHOST),
        ("unknown.test", LOCALHOST),
        (None, LOCALHOST),
    ],
)
async def test_exact_before_wildcard_before_default(tmp_path: Path, name: str | None, pair: CertificatePair) -> None:
    async with front(tmp_path, configuration(api()), SITES) as gate:
        assert await shown(gate, name) == pair.leaf


async def test_a_client_that_dialled_an_address_gets_the_certificate_for_it(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api()), {**SITES, "127.0.0.1": (ADDRESS,)}) as gate:
        assert await shown(gate, None) == ADDRESS.leaf
        assert await shown(gate, "unknown.test") == LOCALHOST.leaf


@pytest.mark.parametrize("sites", [{}, SITES])
async def test_a_name_that_nothing_answers_is_refused_by_name(
    tmp_path: Path, sites: dict[str, tuple[CertificatePair, ...]]
) -> None:
    """No certificate at all, or ``strict_sni``: alert unrecognized_name (RFC 6066 section 3)."""
    config = configuration(api(), gateway={"tls": {"strict_sni": bool(sites)}})
    async with front(tmp_path, config, sites) as gate:
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await shown(gate, "unknown.test")
        line = await gate.logged("TLS handshake error.*")
        assert "no certificate for this server name" in line
        assert "server_name=unknown.test" in line


async def test_rsa_and_ecdsa_side_by_side(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api()), {"www.a.test": (EXACT, RSA)}) as gate:
        assert await shown(gate, "www.a.test") == EXACT.leaf
        only_rsa = lenient(ssl.TLSVersion.TLSv1_2)
        only_rsa.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        assert await shown(gate, "www.a.test", only_rsa) == RSA.leaf


async def test_a_swap_shows_at_the_next_handshake_and_leaves_connections_alone(tmp_path: Path) -> None:
    sites = dict(SITES)
    async with upstream() as up:
        config = configuration(api(up.url))
        async with front(tmp_path, config, sites) as gate:
            before = await gate.connect("www.a.test")
            assert await shown(gate, "www.a.test") == EXACT.leaf
            sites["www.a.test"] = (RSA,)
            assert await shown(gate, "www.a.test") == EXACT.leaf  # nobody said so yet
            gate.server.apply(snapshot.build(config, 2), frozenset({"www.a.test"}))
            assert await shown(gate, "www.a.test") == RSA.leaf
            assert (await before.ask(b"GET / HTTP/1.1", b"Host: www.a.test")).status == 200
            before.close()


async def test_a_new_name_is_served_although_it_was_asked_for_in_vain_before(tmp_path: Path) -> None:
    sites = {"": (LOCALHOST,)}
    async with front(tmp_path, configuration(api()), sites) as gate:
        assert await shown(gate, "www.a.test") == LOCALHOST.leaf
        sites["www.a.test"] = (EXACT,)
        gate.server.apply(gate.server.snapshot, frozenset({"www.a.test"}))
        assert await shown(gate, "www.a.test") == EXACT.leaf


async def test_a_changed_floor_holds_for_the_next_handshake(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api()), SITES) as gate:
        await shown(gate, "www.a.test", lenient(ssl.TLSVersion.TLSv1_2))
        gate.server.apply(snapshot.build(configuration(api(), options={"min_version": "1.3"}), 2), frozenset())
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await shown(gate, "www.a.test", lenient(ssl.TLSVersion.TLSv1_2))
        await gate.logged("client offers TLS 1.2 at most, the minimum here is 1.3")


async def test_remembered_sites_are_bounded(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api(), limits={"active_sites": 5}), SITES) as gate:
        for number in range(20):
            await shown(gate, f"x{number}.test")
        assert gate.server.counters()["sites"] <= 5
        assert await shown(gate, "www.a.test") == EXACT.leaf


async def test_a_site_that_cannot_be_read_harms_only_itself(tmp_path: Path) -> None:
    broken = AUTHORITY.leaf("broken.test")
    async with front(tmp_path, configuration(api()), {**SITES, "broken.test": (broken, RSA, broken)}) as gate:
        gate.server.sites._choose_pairs = _failing_for("broken.test", gate.server.sites._choose_pairs)
        with pytest.raises(ssl.SSLError, match=r"(?i)internal.error"):
            await shown(gate, "broken.test")
        await gate.logged("TLS handshake error.*the disk is on fire")
        assert await shown(gate, "www.a.test") == EXACT.leaf


def _failing_for(name: str, find: object) -> object:
    from gateway.errors import StoreError

    def failing(key: str) -> tuple[CertificatePair, ...]:
        if key == name:
            raise StoreError("the disk is on fire")
        return find(key)  # type: ignore[operator,no-any-return]

    return failing


# clients that are none


async def raw(gate: Front) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", gate.port))


async def test_plain_http_on_the_https_port_is_told_so(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api())) as gate:
        client = await raw(gate)
        response = await client.ask(b"GET / HTTP/1.1", b"Host: localhost")
        assert (response.status, b"HTTPS" in response.body) == (400, True)
        await gate.logged("client sent plain HTTP to the HTTPS port")
        client.close()


async def test_what_is_not_tls_is_refused_with_a_reason(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api())) as gate:
        client = await raw(gate)
        client.writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        assert (await client.ended())[:1] in (b"\x15", b"")
        await gate.logged("TLS handshake error from 127.0.0.1: client sent something that is not TLS")
        client.close()


async def test_a_connection_that_only_comes_and_goes_is_not_worth_a_line(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api())) as gate:
        client = await raw(gate)
        client.close()
        await until(lambda: gate.server.counters()["connections_open"] == 0)
        assert gate.log == ""


def client_hello(name: str) -> bytes:
    """A ClientHello as OpenSSL writes it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = lenient().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def test_whoever_says_nothing_or_drips_is_gone_in_time_and_holds_nobody_up(tmp_path: Path) -> None:
    async with upstream() as up:
        config = configuration(api(up.url), limits={"tls_handshake_timeout": 0.3})
        async with front(tmp_path, config) as gate:
            silent, dripping = await raw(gate), await raw(gate)
            dripping.writer.write(client_hello("localhost")[:50])
            assert (await gate.get()).status == 200
            assert await silent.ended() == b""
            assert await dripping.ended() == b""
            await gate.logged("client sent no ClientHello in time")
            silent.close()
            dripping.close()


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_a_client_hello_in_many_packets_wakes_once_for_each(tmp_path: Path, size: int) -> None:
    """And is found whole, whatever the network did to it."""
    hello = client_hello("www.a.test")
    async with front(tmp_path, configuration(api()), SITES) as gate:
        sock = socket.create_connection(("127.0.0.1", gate.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        for start in range(0, len(hello), size):
            await loop.sock_sendall(sock, hello[start : start + size])
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            answer = await loop.sock_recv(sock, 65536)
        sock.close()
    assert answer[:1] == b"\x16"  # a handshake record: the ServerHello


async def test_a_client_hello_split_over_many_records(tmp_path: Path) -> None:
    hello = client_hello("www.a.test")[5:]
    records = b"".join(
        b"\x16\x03\x01" + len(piece).to_bytes(2) + piece
        for piece in (hello[at : at + 40] for at in range(0, len(hello), 40))
    )
    async with front(tmp_path, configuration(api()), SITES) as gate:
        client = await raw(gate)
        client.writer.write(records)
        async with asyncio.timeout(10):
            assert (await client.reader.readexactly(1)) == b"\x16"
        client.close()


async def test_handshakes_that_come_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, rounds, turns = asyncio.get_running_loop(), [0], list[int]()
    choose = Handshake._choose

    def counted(handshake: Handshake) -> None:
        turns.append(rounds[0])
        choose(handshake)

    def count() -> None:
        rounds[0] += 1
        counting[0] = loop.call_soon(count)

    monkeypatch.setattr(Handshake, "_choose", counted)
    counting = [loop.call_soon(count)]
    async with front(tmp_path, configuration(api()), SITES) as gate:
        clients = [await raw(gate) for _ in range(20)]
        await until(lambda: gate.server.counters()["connections_open"] == 20)
        for client in clients:
            client.writer.write(client_hello("www.a.test"))
        await until(lambda: len(turns) == 20)
        counting[0].cancel()
        assert len(set(turns)) == 20
        for client in clients:
            assert await client.reader.read(1) == b"\x16"  # the server's part, whoever's turn was last
            client.close()


async def test_a_client_without_a_common_cipher_is_explained(tmp_path: Path) -> None:
    options = {"max_version": "1.2", "ssl_ciphers": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]}
    async with front(tmp_path, configuration(api(), options=options), SITES) as gate:
        other = lenient(ssl.TLSVersion.TLSv1_2)
        other.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            await shown(gate, "www.a.test", other)
        line = await gate.logged("TLS handshake error.*")
        assert re.search("from 127.0.0.1: no cipher suite supported by both client and server", line)


async def test_a_server_name_that_is_none_stops_no_clock_and_forges_no_line(tmp_path: Path) -> None:
    """An IPv6 zone may hold any character; what a client says must not get into a log as it is."""
    hello = client_hello("fe80.forged.test").replace(b"fe80.forged.test", "fe80::1%€\nFO".encode() + b"RG")
    log = tmp_path / "access.log"
    config = configuration(
        api(), gateway={"access_log": {"format": "json", "path": str(log)}}, limits={"tls_handshake_timeout": 0.3}
    )
    async with front(tmp_path, config) as gate:
        client = await raw(gate)
        client.writer.write(hello)
        await client.ended()
        assert (await gate.get()).status == 502
        silent = await raw(gate)
        assert await silent.ended() == b""  # the deadline still works
        client.close()
        silent.close()
    assert "\nFO" not in gate.log
    assert log.read_text().count("\n") == 1
