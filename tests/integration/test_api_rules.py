"""What a single API asks of its requests and responses: header fields, addresses, sizes; and what nobody touches."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.front import api, configuration, front, until
from tests.support.h2_client import H2Client, request
from tests.support.upstream import Connection, ok, upstream

if TYPE_CHECKING:
    from pathlib import Path

HOST = b"Host: localhost"


async def test_header_rules_change_what_travels_in_both_directions(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(ok(b"hello", b"Server: secret/1.0", b"x-kept: 1"))

    version = {"global_headers": {"X-Tyk": "1"}, "global_response_headers_remove": ["server"]}
    rules = {
        "request_headers": {"set": {"X-Set": "gateway"}, "remove": ["Cookie"]},
        "response_headers": {"add": {"X-Frame-Options": "DENY"}},
    }
    async with upstream(script) as up:
        definition = api(up.url, version_data={"versions": {"Default": version}}, gateway=rules)
        async with front(tmp_path, configuration(definition)) as gate:
            response = await gate.get("/", b"X-Set: client", b"Cookie: a=b", b"Accept: */*")
    lines = up.requests[0].split(b"\r\n")
    assert {b"X-Set: gateway", b"X-Tyk: 1", b"Accept: */*"} <= set(lines)
    assert not any(line.lower().startswith((b"cookie", b"x-set: client")) for line in lines)
    assert response.field(b"Server") == []
    assert (response.field(b"X-Kept"), response.field(b"X-Frame-Options")) == ([b"1"], [b"DENY"])


async def test_what_is_removed_does_not_come_late_as_a_trailer(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.head()
        while await connection.reader.readline() != b"0\r\n":
            pass
        trailers = await connection.reader.readuntil(b"\r\n\r\n")
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Kept: 1\r\nx-gone: 1\r\n\r\n"
        await connection.send(answer if trailers == b"X-Kept: 1\r\n\r\n" else ok(trailers))

    removed = {"remove": ["X-Gone"]}
    rules = {"request_headers": removed, "response_headers": removed}
    async with upstream(script) as up, front(tmp_path, configuration(api(up.url, gateway=rules))) as gate:
        client = await gate.connect()
        body = b"1\r\nx\r\n0\r\nX-Kept: 1\r\nX-GONE: 1\r\n\r\n"
        response = await client.ask(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked", body=body)
        client.close()
    assert (response.body, response.field(b"X-Kept"), response.field(b"X-Gone")) == (b"", [b"1"], [])


async def test_rules_hold_for_http_2_clients_as_well(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(ok(b"hello", b"Server: secret/1.0"))

    rules = {
        "request_headers": {"set": {"X-Set": "gateway"}, "remove": ["Cookie"]},
        "response_headers": {"add": {"X-Frame-Options": "DENY"}, "remove": ["server"]},
        "body_bytes": 3,
    }
    closed = api("http://127.0.0.1:1/", "/closed/", gateway={"blocked_networks": ["127.0.0.0/8"]})
    async with upstream(script) as up, front(tmp_path, configuration(api(up.url, gateway=rules), closed)) as gate:
        client = await H2Client.connect(gate)
        answer = await client.get("/", ("x-set", "client"), ("cookie", "a=b"))
        assert (answer.value("x-frame-options"), answer.value("server")) == ("DENY", None)
        assert (await client.get("/closed/")).status == 403
        assert (await client.answer(client.ask(request("/", "POST"), b"four"))).status == 413
        client.close()
    lines = up.requests[0].split(b"\r\n")
    assert b"X-Set: gateway" in lines
    assert not any(line.lower().startswith((b"cookie", b"x-set: client")) for line in lines)


async def test_rules_hold_for_a_switch_of_protocols(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.head()
        switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd\r\nX-Gone: 1\r\n\r\n"
        await connection.send(switch + b"hello")

    rules = {"response_headers": {"remove": ["X-Gone"], "add": {"X-More": "1"}}}
    async with upstream(script) as up, front(tmp_path, configuration(api(up.url, gateway=rules))) as gate:
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert await client.ended() == b"hello"
        client.close()
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert {b"X-More: 1", b"Upgrade: odd", b"Connection: Upgrade"} <= set(lines)
    assert b"X-Gone: 1" not in lines


async def test_rules_do_not_leak_into_the_next_response_with_the_same_head(tmp_path: Path) -> None:
    rules = {"response_headers": {"add": {"X-One": "1"}}}
    async with upstream() as up:
        one, two = api(up.url, "/one/", gateway=rules), api(up.url, "/two/")
        async with front(tmp_path, configuration(one, two)) as gate:
            found = [(await gate.get(path)).field(b"X-One") for path in ("/one/", "/two/", "/one/")]
    assert found == [[b"1"], [], [b"1"]]


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"enable_ip_whitelisting": True, "allowed_ips": ["192.0.2.0/24"]}, 403),
        ({"enable_ip_whitelisting": True, "allowed_ips": ["127.0.0.0/8"]}, 200),
        ({"enable_ip_blacklisting": True, "blacklisted_ips": ["127.0.0.1"]}, 403),
        ({"gateway": {"blocked_networks": ["127.0.0.1"]}}, 403),
    ],
)
async def test_addresses_that_an_api_does_not_admit_get_403(tmp_path: Path, keys: dict[str, Any], status: int) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url, **keys))) as gate:
        assert (await gate.get("/")).status == status
    assert bool(up.requests) is (status == 200)


async def test_the_address_that_counts_is_the_one_a_trusted_proxy_names(tmp_path: Path) -> None:
    keys = {"enable_ip_whitelisting": True, "allowed_ips": ["192.0.2.0/24"]}
    async with upstream() as up:
        definition = api(up.url, **keys)
        async with front(tmp_path, configuration(definition, gateway={"trusted_proxies": ["127.0.0.1"]})) as gate:
            assert (await gate.get("/", b"X-Forwarded-For: 192.0.2.7")).status == 200
            assert (await gate.get("/", b"X-Forwarded-For: 192.0.2.7, 203.0.113.1")).status == 403
        async with front(tmp_path, configuration(definition)) as gate:
            assert (await gate.get("/", b"X-Forwarded-For: 192.0.2.7")).status == 403


@pytest.mark.parametrize(
    ("trusted", "line"),
    [
        ([], b'Forwarded: for=127.0.0.1;host="localhost:8443";proto=https'),
        (["127.0.0.1"], b'Forwarded: for=_a;by=_b, for=127.0.0.1;host="localhost:8443";proto=https'),
    ],
)
async def test_forwarded_may_say_who_asked(tmp_path: Path, trusted: list[str], line: bytes) -> None:
    gateway = {"forwarded": "forwarded", "trusted_proxies": trusted}
    async with upstream() as up, front(tmp_path, configuration(api(up.url), gateway=gateway)) as gate:
        client = await gate.connect()
        said = (b"Forwarded: for=_a;by=_b", b"X-Forwarded-For: 6.6.6.6")
        assert (await client.ask(b"GET / HTTP/1.1", b"Host: localhost:8443", *said)).status == 200
        client.close()
    lines = up.requests[0].split(b"\r\n")
    assert [one for one in lines if one.lower().startswith((b"forwarded", b"x-forwarded"))] == [line]


@pytest.mark.parametrize(
    ("keys", "limit"),
    [
        ({}, 10),
        ({"gateway": {"body_bytes": 5}}, 5),
        ({"gateway": {"body_bytes": 20}}, 20),
        ({"version_data": {"versions": {"Default": {"global_size_limit": 7}}}}, 7),
        ({"version_data": {"versions": {"Default": {"global_size_limit": 70}}}}, 10),
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_api_has_its_own_body_limit(tmp_path: Path, keys: dict[str, Any], limit: int, framing: str) -> None:
    async with (
        upstream() as up,
        front(tmp_path, configuration(api(up.url, **keys), limits={"body_bytes": 10})) as gate,
    ):
        statuses = []
        for size in (limit, limit + 1):
            client = await gate.connect()
            if framing == "length":
                lines, body = [b"Content-Length: %d" % size], b"x" * size
            else:
                lines, body = [b"Transfer-Encoding: chunked"], b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
            response = await client.ask(b"POST / HTTP/1.1", HOST, *lines, body=body)
            statuses.append(response.status)
            client.close()
    assert statuses == [200, 413]


async def test_an_api_has_its_own_patience_with_a_body(tmp_path: Path) -> None:
    hasty = {"gateway": {"client_timeouts": {"body_idle": 0.1}}}
    async with upstream() as up:
        config = configuration(api(up.url, "/hasty/", **hasty), api(up.url, "/calm/"))
        async with front(tmp_path, config) as gate:
            clients = []
            for path in (b"/hasty/first", b"/hasty/later", b"/calm/"):
                client = await gate.connect()
                client.writer.write(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n" % path)
                clients.append(client)
            clients[1].writer.write(b"ab")
            assert [(await client.response()).status for client in clients[:2]] == [408, 408]
            clients[2].writer.write(b"abcd")
            assert (await clients[2].response()).status == 200
            for client in clients:
                client.close()


async def test_an_api_has_its_own_patience_with_a_reader(tmp_path: Path) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(ok(b"x" * (16 << 20)))

    async with upstream(script) as up:
        calm = api(up.url, "/calm/", gateway={"client_timeouts": {"write_idle": 600}})
        async with front(tmp_path, configuration(calm, api(up.url), limits={"write_idle_timeout": 0.3})) as gate:
            clients = [await gate.connect() for _ in range(2)]
            for client, path in zip(clients, (b"/usual/", b"/calm/"), strict=True):
                client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it can, over TLS too
                client.writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            await until(lambda: gate.server.counters()["connections_open"] == 1)
            clients[1].writer.transport.resume_reading()  # type: ignore[attr-defined]
            assert len((await clients[1].response()).body) == 16 << 20
            for client in clients:
                client.close()


async def test_coded_bodies_and_what_describes_them_pass_untouched(tmp_path: Path) -> None:
    coded = gzip.compress(bytes(range(256)) * 40)
    part = coded[10:50]
    kept = (
        b"Content-Encoding: gzip",
        b"Content-Range: bytes 10-49/%d" % len(coded),
        b'ETag: W/"a b"',
        b"Vary: Accept-Encoding",
        b"Accept-Ranges: bytes",
    )
    received = []

    async def script(connection: Connection) -> None:
        received.append((await connection.request())[1])
        await connection.send(
            b"\r\n".join((b"HTTP/1.1 206 Partial Content", b"Content-Length: %d" % len(part), *kept, b"", b"")) + part
        )

    asked = (b"Range: bytes=10-49", b'If-Range: W/"a b"', b"Accept-Encoding: br, gzip;q=0.5", b"Content-Encoding: gzip")
    traced = (b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"tracestate: a=1")
    async with upstream(script) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        length = b"Content-Length: %d" % len(coded)
        response = await client.ask(b"PUT /x HTTP/1.1", HOST, *asked, *traced, length, body=coded)
        client.close()
    assert received == [coded]
    assert set(asked + traced) <= set(up.requests[0].split(b"\r\n"))
    assert (response.status, response.body) == (206, part)
    assert set(kept) <= set(response.head.split(b"\r\n"))
