"""Services: bytes to tcp and tls upstreams from ports of their own, chosen by server name."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from support.front import AUTHORITY, Client, Front, client_context, configuration, front, until
from support.upstream import Connection, upstream

from gateway.http.proxy_protocol import Header, parse
from gateway.routing import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.upstream import Script

PORT = 9000
A, B = AUTHORITY.leaf("a.test"), AUTHORITY.leaf("b.test")
SITES = {"a.test": (A,), "b.test": (B,), "": (A,)}
LOG = {"access_log": {"format": "json", "path": ""}}


def service(target: str, api_id: str = "one", **changes: Any) -> dict[str, Any]:
    proxy = {"target_url": target, **changes.pop("proxy", {})}
    return {"api_id": api_id, "protocol": "tls", "listen_port": PORT, "proxy": proxy, **changes}


def named(name: bytes) -> Script:
    """Answer each line with the name of the upstream before it."""

    async def script(connection: Connection) -> None:
        while line := await connection.reader.readline():
            await connection.send(name + b" " + line)

    return script


@pytest.fixture(autouse=True)
async def clients() -> AsyncIterator[list[Client]]:
    """Close every client when its test is over."""
    _connected.clear()
    yield _connected
    for client in _connected:
        client.close()


_connected: list[Client] = []


async def connect(gate: Front, name: str | None = "a.test", *, tls: bool = True) -> Client:
    """Connect to the service port; with a ``name`` of None no server name is sent."""
    port = gate.service_ports[PORT]
    if tls:
        context = client_context()
        context.check_hostname = name is not None
        streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    else:
        streams = await asyncio.open_connection("127.0.0.1", port)
    _connected.append(Client(*streams))
    return _connected[-1]


async def first_byte(gate: Front, *, tls: bool) -> bytes:
    client = await connect(gate, None, tls=tls)
    return await client.reader.readexactly(1)


async def echoed(client: Client, line: bytes = b"ping\n") -> bytes:
    client.writer.write(line)
    async with asyncio.timeout(20):
        return await client.reader.readline()


def pair_files(directory: Path, pair: Any) -> ssl.SSLContext:
    path = directory / "upstream.pem"
    path.write_bytes(pair.chain_pem + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_tls_ends_here_and_the_server_name_chooses(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as one, upstream(named(b"any")) as other:
        services = (
            service(f"tcp://127.0.0.1:{one.port}", domain="a.test"),
            service(f"tcp://127.0.0.1:{other.port}", "other"),
        )
        async with front(tmp_path, configuration(*services), SITES) as gate:
            for name, answer in (("a.test", b"a ping\n"), ("b.test", b"any ping\n")):
                client = await connect(gate, name)
                certificate = client.writer.get_extra_info("ssl_object").getpeercert()
                assert certificate["subjectAltName"] == (("DNS", name),)
                assert await echoed(client) == answer
                client.close()


async def test_one_service_needs_no_server_name(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}")), SITES) as gate:
            assert await echoed(await connect(gate, None)) == b"a ping\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("c.test", "Can't detect service based on provided SNI information: c.test"),
        (None, "Multiple services on different domains running on the same port, but no SNI"),
    ],
)
async def test_a_name_of_no_service_is_refused_in_the_words_of_tyk(
    tmp_path: Path, name: str | None, words: str
) -> None:
    services = (service("tcp://127.0.0.1:1", domain="a.test"), service("tcp://127.0.0.1:1", "b", domain="b.test"))
    async with front(tmp_path, configuration(*services), SITES) as gate:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await connect(gate, name)
        await gate.logged(words)


async def test_a_tcp_service_passes_bytes_and_both_ends(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.send(b"welcome\n")  # it speaks first
        said = await connection.reader.read()
        await connection.send(b"you said %b" % said)

    async with upstream(script) as up:
        one = service(f"tcp://127.0.0.1:{up.port}", protocol="tcp")
        async with front(tmp_path, configuration(one)) as gate:
            client = await connect(gate, None, tls=False)
            assert await client.reader.readline() == b"welcome\n"
            client.writer.write(b"all of it")
            client.writer.write_eof()
            assert await client.ended() == b"you said all of it"


async def test_the_end_of_a_half_passes_through_our_tls(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        said = await connection.reader.read()
        await connection.send(b"you said %b" % said)

    async with upstream(script) as up:
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}")), SITES) as gate:
            received = await asyncio.to_thread(_say_and_end, gate.service_ports[PORT])
            assert received == b"you said all of it"


def _say_and_end(port: int) -> bytes:
    """Speak with OpenSSL itself, which can end one half: Python's ssl module cannot."""
    from OpenSSL import SSL

    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.settimeout(None)
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), sock)
        connection.set_tlsext_host_name(b"a.test")
        connection.set_connect_state()
        connection.do_handshake()
        connection.sendall(b"all of it")
        connection.shutdown()
        received = b""
        try:
            while True:
                received += connection.recv(100)
        except SSL.ZeroReturnError:
            return received


async def test_a_tls_target_is_spoken_to_in_tls_and_verified(tmp_path: Path) -> None:
    async with upstream(named(b"a"), pair_files(tmp_path, AUTHORITY.leaf("127.0.0.1"))) as up:
        target = f"tls://127.0.0.1:{up.port}"
        trusting = service(target, proxy={"transport": {"ssl_insecure_skip_verify": True}})
        async with front(tmp_path, configuration(trusting), SITES) as gate:
            assert await echoed(await connect(gate)) == b"a ping\n"
        async with front(tmp_path, configuration(service(target)), SITES) as gate:
            client = await connect(gate)
            assert await client.ended() == b""
            await gate.logged("upstream tls://127.0.0.1:[0-9]+: TLS with the upstream failed: unable to get")


async def test_passthrough_leaves_tls_to_the_target(tmp_path: Path) -> None:
    async with (
        upstream(named(b"a"), pair_files(tmp_path, AUTHORITY.leaf("secret.test"))) as up,
        upstream(named(b"b")) as b,
    ):
        services = (
            service(f"tcp://127.0.0.1:{up.port}", domain="secret.test", gateway={"passthrough": True}),
            service(f"tcp://127.0.0.1:{b.port}", "b", domain="b.test"),
        )
        async with front(tmp_path, configuration(*services), SITES) as gate:
            client = await connect(gate, "secret.test")
            certificate = client.writer.get_extra_info("ssl_object").getpeercert()
            assert certificate["subjectAltName"] == (("DNS", "secret.test"),)
            assert await echoed(client) == b"a ping\n"
            assert await echoed(await connect(gate, "b.test")) == b"b ping\n"
            assert gate.server.counters()["handshakes"] == 1


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_the_target_is_told_whose_connection_it_is(tmp_path: Path, version: str, passthrough: bool) -> None:
    headers: list[Header] = []

    async def script(connection: Connection) -> None:
        data = await connection.reader.readexactly(16)
        data += await (
            connection.reader.readuntil(b"\r\n")
            if version == "v1"
            else connection.reader.readexactly(int.from_bytes(data[14:16]))
        )
        header = parse(data)
        assert isinstance(header, Header)
        headers.append(header)
        first = await connection.reader.readexactly(1)
        assert (first == b"\x16") is passthrough
        await connection.reader.read()

    async with upstream(script) as up:
        own = {"proxy_protocol": version, "passthrough": passthrough}
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{up.port}", gateway=own)), SITES) as gate:
            context = client_context()
            _, writer = await asyncio.open_connection("127.0.0.1", gate.service_ports[PORT])
            tls = asyncio.create_task(writer.start_tls(context, server_hostname="a.test"))
            if not passthrough:
                await tls
                writer.write(b"ping\n")
            await until(lambda: bool(headers))
            assert headers[0].ends is not None
            assert headers[0].ends.port == writer.get_extra_info("sockname")[1]
            assert headers[0].ends.local_port == gate.service_ports[PORT]
            writer.transport.abort()
            tls.cancel()
            await asyncio.gather(tls, return_exceptions=True)


async def test_a_load_balancer_says_whose_connection_it_brings(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        settings = {**LOG, "proxy_protocol": {"proxies": ["127.0.0.1"]}}
        settings["access_log"] = {"format": "json", "path": str(tmp_path / "log")}
        introduced = service(f"tcp://127.0.0.1:{up.port}", protocol="tcp", enable_proxy_protocol=True)
        async with front(tmp_path, configuration(introduced, gateway=settings)) as gate:
            client = await connect(gate, None, tls=False)
            client.writer.write(b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 9000\r\n")
            assert await echoed(client) == b"a ping\n"
            client.writer.write_eof()
            assert await client.ended() == b""
        assert json.loads((tmp_path / "log").read_text())["client"] == "192.0.2.7"


async def test_a_connection_ends_with_a_line_in_the_access_log(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        log = {"access_log": {"format": "json", "path": str(tmp_path / "log")}}
        one = service(f"tcp://127.0.0.1:{up.port}", "database")
        async with front(tmp_path, configuration(one, gateway=log), SITES) as gate:
            client = await connect(gate)
            assert await echoed(client) == b"a ping\n"
            client.writer.write_eof() if client.writer.can_write_eof() else client.writer.close()
            await until(lambda: not gate.server.counters()["connections_open"])
            counters = gate.server.counters()
        line = json.loads((tmp_path / "log").read_text())
        said = {key: line[key] for key in ("protocol", "target", "status", "received", "sent", "server_name", "tls")}
        assert said == {
            "protocol": "tls", "target": "database", "status": 200, "received": 5, "sent": 7, "server_name": "a.test",
            "tls": "TLSv1.3",
        }  # fmt: skip
        assert line["upstream"] == f"tcp://127.0.0.1:{up.port}"
        assert (counters["service_connections"], counters["service_bytes_received"]) == (1, 5)
        assert counters["service_bytes_sent"] == 7


async def test_another_target_is_tried_when_one_cannot_be_reached(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        gone = socket.create_server(("127.0.0.1", 0))
        closed = gone.getsockname()[1]
        gone.close()
        proxy = {"enable_load_balancing": True, "target_list": [f"tcp://127.0.0.1:{p}" for p in (closed, up.port)]}
        async with front(tmp_path, configuration(service(f"tcp://127.0.0.1:{closed}", proxy=proxy)), SITES) as gate:
            for _ in range(3):
                assert await echoed(await connect(gate)) == b"a ping\n"
            states = list(gate.server.upstreams.states(["one"]))
            assert states[0].failures >= 1
            assert states[1].in_flight == 3


async def test_a_target_that_cannot_be_reached_breaks_the_connection_and_is_logged(tmp_path: Path) -> None:
    gone = socket.create_server(("127.0.0.1", 0))
    closed = gone.getsockname()[1]
    gone.close()
    log = {"access_log": {"format": "json", "path": str(tmp_path / "log")}}
    one = service(f"tcp://127.0.0.1:{closed}", protocol="tcp")
    async with front(tmp_path, configuration(one, gateway=log)) as gate:
        client = await connect(gate, None, tls=False)
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(1)
        await gate.logged("cannot connect: Connection refused")
    assert json.loads((tmp_path / "log").read_text())["status"] == 502


async def test_connections_to_a_target_are_bounded_and_the_next_waits_for_its_turn(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        one = service(f"tcp://127.0.0.1:{up.port}", protocol="tcp", gateway={"queue": {"max_connections": 1}})
        async with front(tmp_path, configuration(one)) as gate:
            first, second = [await connect(gate, None, tls=False) for _ in range(2)]
            assert await echoed(first) == b"a ping\n"
            second.writer.write(b"pong\n")
            await until(lambda: gate.server.upstreams.pool(one_upstream(gate)).waiting == 1)
            first.close()
            async with asyncio.timeout(20):
                assert await second.reader.readline() == b"a pong\n"
        assert up.connections == 2


def one_upstream(gate: Front) -> Any:
    return gate.server.snapshot.apis["one"].upstreams[0]


async def test_who_does_not_read_is_not_read_for(tmp_path: Path) -> None:
    sent = 0

    async def script(connection: Connection) -> None:
        nonlocal sent
        for _ in range(1000):
            await connection.send(b"x" * 65536)
            sent += 65536

    async with upstream(script) as up:
        one = service(f"tcp://127.0.0.1:{up.port}", protocol="tcp")
        async with front(tmp_path, configuration(one)) as gate:
            client = await connect(gate, None, tls=False)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            before = -1
            while before != sent:  # until a whole tick brings nothing more
                before, now = sent, gate.server.now
                await until(lambda now=now: gate.server.now > now)  # type: ignore[misc]
            assert 0 < sent < 40 << 20
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            received = 0
            async with asyncio.timeout(30):
                while data := await client.reader.read(1 << 20):
                    received += len(data)
            assert received == 1000 * 65536


async def test_a_target_that_does_not_read_is_not_read_for_either(tmp_path: Path) -> None:
    read = asyncio.Event()
    received = 0

    async def script(connection: Connection) -> None:
        nonlocal received
        await read.wait()
        while data := await connection.reader.read(1 << 20):
            received += len(data)

    async with upstream(script) as up:
        one = service(f"tcp://127.0.0.1:{up.port}", protocol="tcp")
        async with front(tmp_path, configuration(one)) as gate:
            client = await connect(gate, None, tls=False)
            sent = 0

            async def upload() -> None:
                nonlocal sent
                for _ in range(1000):
                    client.writer.write(b"x" * 65536)
                    await client.writer.drain()
                    sent += 65536
                client.writer.write_eof()

            uploading = asyncio.create_task(upload())
            before = -1
            while before != sent:  # until a whole tick brings nothing more
                before, now = sent, gate.server.now
                await until(lambda now=now: gate.server.now > now)  # type: ignore[misc]
            assert 0 < sent < 40 << 20
            read.set()
            async with asyncio.timeout(30):
                await uploading
            assert await client.ended() == b""
    assert received == 1000 * 65536


async def test_a_port_that_goes_while_a_proxy_speaks_ends_its_connection(tmp_path: Path) -> None:
    own = {"proxy_protocol": {"proxies": ["127.0.0.1"]}}
    introduced = service("tcp://127.0.0.1:1", protocol="tcp", enable_proxy_protocol=True)
    async with front(tmp_path, configuration(introduced, gateway=own)) as gate:
        client = await connect(gate, None, tls=False)
        await until(lambda: gate.server.counters()["connections_open"] == 1)
        gate.server.apply(snapshot.build(configuration(gateway=own), 2), None)
        client.writer.write(b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 9000\r\n")
        assert await client.ended() == b""
        await until(lambda: gate.server.counters()["connections_open"] == 0)


async def test_silence_has_a_limit_of_the_services_own(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        one = service(f"tcp://127.0.0.1:{up.port}", protocol="tcp", gateway={"timeouts": {"idle": 0.5}})
        async with front(tmp_path, configuration(one)) as gate:
            client = await connect(gate, None, tls=False)
            assert await echoed(client) == b"a ping\n"
            assert await client.ended() == b""


async def test_who_may_not_use_a_service_is_not_connected(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        blocked = {"blocked_networks": ["127.0.0.0/8"]}
        for protocol in ("tcp", "tls"):
            one = service(f"tcp://127.0.0.1:{up.port}", protocol=protocol, gateway=blocked)
            async with front(tmp_path, configuration(one), SITES) as gate:
                with pytest.raises((ConnectionError, ssl.SSLError)):
                    await first_byte(gate, tls=protocol == "tls")
        assert up.connections == 0


async def test_plain_text_on_a_tls_port_gets_an_alert_and_a_line(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(service("tcp://127.0.0.1:1")), SITES) as gate:
        client = await connect(gate, None, tls=False)
        client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.ended() == bytes((21, 3, 3, 0, 2, 2, 10))
        await gate.logged("client sent plain HTTP")


async def test_a_certificate_is_swapped_and_connections_stay(tmp_path: Path) -> None:
    sites = dict(SITES)
    async with upstream(named(b"a")) as up:
        config = configuration(service(f"tcp://127.0.0.1:{up.port}"))
        async with front(tmp_path, config, sites) as gate:
            before = await connect(gate)
            renewed = AUTHORITY.leaf("a.test")
            sites["a.test"] = (renewed,)
            gate.server.apply(snapshot.build(config, 2), frozenset({"a.test"}))
            after = await connect(gate)
            shown = [one.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"] for one in (before, after)]
            assert [int(serial, 16) for serial in shown] == [A.leaf.serial_number, renewed.leaf.serial_number]
            assert await echoed(before) == b"a ping\n"


async def test_a_removed_service_keeps_its_connections_and_takes_no_new_ones(tmp_path: Path) -> None:
    async with upstream(named(b"a")) as up:
        config = configuration(service(f"tcp://127.0.0.1:{up.port}", protocol="tcp"))
        async with front(tmp_path, config) as gate:
            kept, waiting = await connect(gate, None, tls=False), await connect(gate, None, tls=False)
            assert await echoed(kept) == b"a ping\n"
            gate.server.apply(snapshot.build(configuration(), 2), None)
            assert await echoed(kept) == b"a ping\n"
            assert await echoed(waiting) == b"a ping\n"
