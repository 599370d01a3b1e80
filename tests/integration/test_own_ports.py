"""APIs with a port of their own: plain and TLS, HTTP/2, client certificates, PROXY headers, and an end at a reload."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from gateway.routing import snapshot
from tests.support.clients import identity
from tests.support.front import AUTHORITY, Front, api, client_context, configuration, front
from tests.support.h2_client import H2Client, request
from tests.support.upstream import Upstream, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PLAIN, SECURE = 9001, 9443
PAIR = AUTHORITY.leaf("a.test", "b.test")
SITES = dict.fromkeys(("a.test", "b.test", ""), (PAIR,))
ALICE = identity("alice")


@pytest.fixture
async def up() -> AsyncIterator[Upstream]:
    async with upstream() as running:
        yield running


async def status(gate: Front, path: str, *, tls: bool = False, host: bytes = b"a.test") -> int:
    client = await gate.connect("a.test" if tls else None)
    response = await client.ask(b"GET %b HTTP/1.1" % path.encode(), b"Host: " + host)
    client.close()
    return response.status


def apis(up: Upstream, **secure: Any) -> list[dict[str, Any]]:
    return [
        api(up.url, "/main"),
        api(up.url, "/plain", listen_port=PLAIN, protocol="http"),
        api(up.url, "/second", listen_port=PLAIN),
        api(up.url, "/secure", listen_port=SECURE, protocol="https", domain="a.test", **secure),
    ]


async def test_each_port_serves_its_own_apis_and_no_others(tmp_path: Path, up: Upstream) -> None:
    async with front(tmp_path, configuration(*apis(up), options={"use_ssl": False}), SITES) as gate:
        for port, tls in ((0, False), (PLAIN, False), (SECURE, True)):
            found = {
                path: await status(gate.on(port), path, tls=tls) for path in ("/main", "/plain", "/second", "/secure")
            }
            expected = {0: ["/main"], PLAIN: ["/plain", "/second"], SECURE: ["/secure"]}[port]
            assert [path for path, one in found.items() if one == 200] == expected, port
            assert set(found.values()) == {200, 404}
        assert await status(gate.on(SECURE), "/secure", tls=True, host=b"b.test") == 404


async def test_a_port_in_tls_speaks_http2_by_the_rules_of_its_own_domain(tmp_path: Path, up: Upstream) -> None:
    async with front(tmp_path, configuration(*apis(up, gateway={"tls": {"min_version": 772}})), SITES) as gate:
        client = await H2Client.connect(gate.on(SECURE), name="a.test")
        answer = await client.answer(client.ask(request("/secure", host="a.test")))
        assert answer.status == 200
        client.close()
        old = client_context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            await gate.on(SECURE).connect("a.test", old)
        (await gate.connect("a.test", old)).close()  # the gateway's own port has its own rules


async def test_clients_are_asked_for_certificates_where_the_api_is(tmp_path: Path, up: Upstream) -> None:
    mutual = {"use_mutual_tls_auth": True, "client_certificates": [ALICE.pem]}
    async with front(tmp_path, configuration(*apis(up, **mutual)), SITES) as gate:
        assert await status(gate, "/main", tls=True) == 200, "nobody is asked there"
        client = await gate.on(SECURE).connect("a.test", ALICE.context(tmp_path))
        assert (await client.ask(b"GET /secure HTTP/1.1", b"Host: a.test")).status == 200
        client.close()
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await status(gate.on(SECURE), "/secure", tls=True)


async def test_a_port_may_want_a_proxy_header(tmp_path: Path, up: Upstream) -> None:
    proxies = {"proxy_protocol": {"proxies": ["127.0.0.1"]}}
    own = api(up.url, "/", listen_port=PLAIN, protocol="http", enable_proxy_protocol=True)
    other = api(up.url, "/", listen_port=PLAIN + 1, protocol="http")
    async with front(tmp_path, configuration(own, other, gateway=proxies), SITES) as gate:
        client = await gate.on(PLAIN).connect(None)
        client.writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n")
        assert (await client.ask(b"GET / HTTP/1.1", b"Host: a.test")).status == 200
        assert b"X-Forwarded-For: 192.0.2.7" in up.requests[-1]
        client.close()
        assert await status(gate.on(PLAIN + 1), "/") == 200


async def test_a_port_that_goes_takes_no_more_and_its_connections_reach_nothing_else(
    tmp_path: Path, up: Upstream
) -> None:
    before = configuration(*apis(up), options={"use_ssl": False})
    async with front(tmp_path, before, SITES) as gate:
        kept = await gate.on(PLAIN).connect(None)
        assert (await kept.ask(b"GET /plain HTTP/1.1", b"Host: a.test")).status == 200
        after = configuration(api(up.url, "/"), options={"use_ssl": False})
        gate.server.apply(snapshot.build(after, 2), None)
        assert (await kept.ask(b"GET /plain HTTP/1.1", b"Host: a.test")).status == 404
        kept.close()
        with socket.create_connection(("127.0.0.1", gate.service_ports[PLAIN])):
            pass  # the test's own socket is open; nobody accepts from it
        assert await status(gate, "/plain") == 200
