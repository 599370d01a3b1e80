"""Mutual TLS on services, towards clients and towards targets: Tyk's cases 32 and 33, and what follows from them."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clients import Identity, identity
from tests.support.front import AUTHORITY, Front, client_context, configuration, front
from tests.support.trusted import Place, resolved
from tests.support.upstream import Connection, upstream

if TYPE_CHECKING:
    from pathlib import Path

PORT = 9000
SITES = {"a.test": (AUTHORITY.leaf("a.test"),), "": (AUTHORITY.leaf("any.test"),)}
ALICE, EVE = identity("alice"), identity("eve")
OLD = identity("old", days=(-30, -1))


def service(port: int, api_id: str = "one", scheme: str = "tcp", **changes: Any) -> dict[str, Any]:
    proxy = {"target_url": f"{scheme}://localhost:{port}"}
    return {"api_id": api_id, "protocol": "tls", "listen_port": PORT, "proxy": proxy, **changes}


def mutual(port: int, *allowed: Identity, **changes: Any) -> dict[str, Any]:
    return service(port, use_mutual_tls_auth=True, client_certificates=[one.pem for one in allowed], **changes)


async def pong(connection: Connection) -> None:
    while await connection.reader.readline():
        await connection.send(b"pong\n")


async def answer(gate: Front, context: ssl.SSLContext, name: str = "a.test") -> bytes:
    """Say ping; return the answer, nothing if the connection or its handshake fails."""
    context.check_hostname = bool(name)
    writer = None
    try:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", gate.service_ports[PORT], ssl=context, server_hostname=name
            )
            writer.write(b"ping\n")
            return await reader.readline()
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        if writer is not None:
            writer.transport.abort()


@pytest.mark.parametrize("name", ["a.test", ""])
async def test_the_clients_of_a_service_show_a_listed_certificate(tmp_path: Path, name: str) -> None:
    async with upstream(pong) as up:
        async with front(tmp_path, configuration(mutual(up.port, ALICE, OLD, domain="a.test")), SITES) as gate:
            assert await answer(gate, client_context(), name) == b""
            await gate.logged("TLS handshake error from 127.0.0.1: .*certificate")
            for stranger in (EVE, OLD):
                assert await answer(gate, stranger.context(tmp_path), name) == b""
            assert up.connections == 0
            assert await answer(gate, ALICE.context(tmp_path), name) == b"pong\n"


async def test_a_service_beside_one_with_mutual_tls_asks_for_nothing(tmp_path: Path) -> None:
    async with upstream(pong) as up:
        open_to_all = service(up.port, "open")
        config = configuration(mutual(up.port, ALICE, domain="a.test"), open_to_all)
        async with front(tmp_path, config, SITES) as gate:
            assert await answer(gate, client_context(), "any.test") == b"pong\n"
            assert await answer(gate, client_context()) == b""
            assert await answer(gate, ALICE.context(tmp_path)) == b"pong\n"


async def test_mutual_tls_of_apis_does_not_reach_the_ports_of_services(tmp_path: Path) -> None:
    api = {
        "api_id": "api", "domain": "a.test", "use_mutual_tls_auth": True, "client_certificates": [ALICE.pem],
        "proxy": {"listen_path": "/", "target_url": "http://127.0.0.1:1"},
    }  # fmt: skip
    async with upstream(pong) as up:
        async with front(tmp_path, configuration(api, service(up.port, domain="a.test")), SITES) as gate:
            assert await answer(gate, client_context()) == b"pong\n"


async def test_a_target_is_shown_the_gateways_certificate(tmp_path: Path) -> None:
    place = Place(tmp_path)
    shown = place.bundle("client.pem", place.leaf("gateway.client"))
    own = {"upstream_tls": {"ca_file": place.ca}}
    async with upstream(pong, tls=place.server(clients=place.authority)) as up:
        for certificates, wanted in (({"*": shown}, b"pong\n"), ({}, b"")):
            one = service(up.port, scheme="tls", gateway=own, upstream_certificates=certificates)
            async with front(tmp_path, resolved(one), SITES) as gate:
                assert await answer(gate, client_context()) == wanted
