"""Clients' certificates on services (Tyk's case 32): each service has its own list, and other ports do not matter."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from support.clients import Identity, identity
from support.front import AUTHORITY, Front, client_context, configuration, front
from support.upstream import Connection, upstream

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import Script

PORT = 9000
SITES = {name: (AUTHORITY.leaf(name or "any.test"),) for name in ("a.test", "b.test", "c.test", "")}
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def service(port: int, api_id: str = "one", **changes: Any) -> dict[str, Any]:
    proxy = {"target_url": f"tcp://127.0.0.1:{port}"}
    return {"api_id": api_id, "protocol": "tls", "listen_port": PORT, "proxy": proxy, **changes}


def mutual(port: int, *listed: Identity, **changes: Any) -> dict[str, Any]:
    return service(port, use_mutual_tls_auth=True, client_certificates=[one.pem for one in listed], **changes)


def named(name: bytes) -> Script:
    async def script(connection: Connection) -> None:
        while await connection.reader.readline():
            await connection.send(name + b"\n")

    return script


async def answer(
    gate: Front, directory: Path, one: Identity | None, name: str = "a.test", version: ssl.TLSVersion = TLS13
) -> bytes:
    """Say something; return the answer, nothing if the connection or its handshake fails."""
    context = client_context(version=version)
    context.check_hostname = bool(name)
    if one:
        one.shown_by(context, directory)
    writer = None
    try:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", gate.service_ports[PORT], ssl=context, server_hostname=name
            )
            writer.write(b"ping\n")
            return (await reader.readline()).strip()
    except OSError:
        return b""
    finally:
        if writer is not None:
            writer.transport.abort()


@pytest.mark.parametrize("version", [TLS12, TLS13], ids=["TLS 1.2", "TLS 1.3"])
async def test_a_service_lets_in_only_clients_with_the_right_certificate(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    alice, bob, eve, old = identity("alice"), identity("bob"), identity("eve"), identity("old", days=(-9, -1))
    async with upstream(named(b"a")) as one, upstream(named(b"b")) as other:
        services = (
            mutual(one.port, alice, old, domain="a.test"),
            mutual(other.port, bob, api_id="other", domain="b.test"),
            service(other.port, "open", domain="c.test"),
        )
        async with front(tmp_path, configuration(*services), SITES) as gate:
            for who, name, wanted in (
                (old, "a.test", b""), (alice, "a.test", b"a"), (bob, "b.test", b"b"), (None, "c.test", b"b"),
                (alice, "b.test", b""), (bob, "a.test", b""), (eve, "a.test", b""), (None, "a.test", b""),
            ):  # fmt: skip
                assert await answer(gate, tmp_path, who, name, version) == wanted, (who, name)
            await gate.logged("the service one refused its client: Certificate has expired")
            assert one.connections == 1, "who is refused costs the upstream nothing"


async def test_who_names_no_host_is_asked_as_by_the_name_of_the_only_service(tmp_path: Path) -> None:
    alice = identity("alice")
    async with upstream(named(b"a")) as up:
        async with front(tmp_path, configuration(mutual(up.port, alice, domain="a.test")), SITES) as gate:
            for nobody in (None, identity("eve")):
                assert await answer(gate, tmp_path, nobody, "") == b""
            await gate.logged("client sent no certificate, and all that is served here demands one")
            assert not up.connections
            assert await answer(gate, tmp_path, alice, "") == b"a"


async def test_mutual_tls_of_apis_does_not_reach_the_ports_of_services(tmp_path: Path) -> None:
    api = {
        "api_id": "api", "domain": "a.test", "use_mutual_tls_auth": True,
        "client_certificates": [identity("alice").pem],
        "proxy": {"listen_path": "/", "target_url": "http://127.0.0.1:1"},
    }  # fmt: skip
    async with upstream(named(b"a")) as up:
        async with front(tmp_path, configuration(api, service(up.port, domain="a.test")), SITES) as gate:
            assert await answer(gate, tmp_path, None) == b"a"
