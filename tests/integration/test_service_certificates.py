"""Whose certificates matter to a service: not those of other ports, and the gateway's own (Tyk's cases 32 and 33)."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from tests.support.clients import identity
from tests.support.front import AUTHORITY, Front, client_context, configuration, front
from tests.support.trusted import Place, resolved
from tests.support.upstream import Connection, upstream

if TYPE_CHECKING:
    from pathlib import Path

PORT = 9000
SITES = {"a.test": (AUTHORITY.leaf("a.test"),), "": (AUTHORITY.leaf("any.test"),)}


def service(port: int, api_id: str = "one", scheme: str = "tcp", **changes: Any) -> dict[str, Any]:
    proxy = {"target_url": f"{scheme}://localhost:{port}"}
    return {"api_id": api_id, "protocol": "tls", "listen_port": PORT, "proxy": proxy, **changes}


async def pong(connection: Connection) -> None:
    while await connection.reader.readline():
        await connection.send(b"pong\n")


async def answer(gate: Front, context: ssl.SSLContext) -> bytes:
    """Say ping; return the answer, nothing if the connection or its handshake fails."""
    writer = None
    try:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", gate.service_ports[PORT], ssl=context, server_hostname="a.test"
            )
            writer.write(b"ping\n")
            return await reader.readline()
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        if writer is not None:
            writer.transport.abort()


async def test_mutual_tls_of_apis_does_not_reach_the_ports_of_services(tmp_path: Path) -> None:
    api = {
        "api_id": "api", "domain": "a.test", "use_mutual_tls_auth": True,
        "client_certificates": [identity("alice").pem],
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
