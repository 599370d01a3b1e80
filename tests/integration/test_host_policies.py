"""TLS policies of single hosts on one port: what negotiates, what resumes, and what is misdirected (421)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from gateway.routing import snapshot
from tests.support.front import AUTHORITY, Front, api, client_context, configuration, front
from tests.support.h2_client import H2Client, request
from tests.support.upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

PAIR = AUTHORITY.leaf("*.one.test", "strict.test")
SITES = {"*.one.test": (PAIR,), "strict.test": (PAIR,)}
ONLY_1_2 = ssl.TLSVersion.TLSv1_2


def hosts(target: str, *, policies: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One API for any host, and one for each domain that has TLS of its own."""
    return [api(target), *(api(target, domain=domain, gateway={"tls": tls}) for domain, tls in policies.items())]


async def negotiated(gate: Front, name: str, version: ssl.TLSVersion) -> str:
    try:
        client = await gate.connect(name, client_context(version=version))
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__
    found = client.writer.get_extra_info("ssl_object").version()
    client.close()
    return str(found)


async def test_each_host_has_its_own_floor_and_suites_under_one_certificate(tmp_path: Path) -> None:
    policies = {"strict.one.test": {"min_version": 772}, "old.one.test": {"max_version": 771}}
    config = configuration(*hosts("http://127.0.0.1:1/", policies=policies))
    async with front(tmp_path, config, SITES) as gate:
        found = {
            (name, version.name): await negotiated(gate, f"{name}.one.test", version)
            for name in ("strict", "old", "plain")
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        }
        await gate.logged("TLS handshake error from 127.0.0.1: .*1.3")
    assert {key for key, version in found.items() if not version.startswith("TLSv1")} == {
        ("strict", "TLSv1_2"),
        ("old", "TLSv1_3"),
    }


async def test_a_request_on_a_connection_of_another_policy_is_misdirected(tmp_path: Path) -> None:
    async with upstream() as up:
        config = configuration(*hosts(up.url, policies={"strict.one.test": {"min_version": 772}}))
        async with front(tmp_path, config, SITES) as gate:
            statuses = {}
            for name in ("plain.one.test", "strict.one.test"):
                client = await gate.connect(name)
                for host in ("plain.one.test", "other.one.test", "strict.one.test", "STRICT.one.test:443"):
                    response = await client.ask(b"GET / HTTP/1.1", b"Host: " + host.encode())
                    assert (response.status == 421) is (b"whose TLS differs" in response.body)
                    statuses[name.split(".")[0], host.split(".")[0]] = response.status
                client.close()
    assert statuses == {
        ("plain", "plain"): 200,
        ("plain", "other"): 200,
        ("plain", "strict"): 421,
        ("plain", "STRICT"): 421,
        ("strict", "plain"): 421,
        ("strict", "other"): 421,
        ("strict", "strict"): 200,
        ("strict", "STRICT"): 200,
    }


async def test_a_stream_for_a_host_of_another_policy_is_misdirected_and_its_siblings_are_served(tmp_path: Path) -> None:
    async with upstream() as up:
        config = configuration(*hosts(up.url, policies={"strict.test": {"min_version": 772}}))
        async with front(tmp_path, config) as gate:
            client = await H2Client.connect(gate)
            asked = [client.ask(request("/", host=host)) for host in ("localhost", "strict.test", "other.test")]
            assert [(await client.answer(stream)).status for stream in asked] == [200, 421, 200]
            client.close()


async def test_a_policy_that_changes_holds_for_new_connections_and_cuts_none(tmp_path: Path) -> None:
    async with upstream() as up:
        loose, tight = (
            configuration(*hosts(up.url, policies={"a.one.test": tls, "b.one.test": {"max_version": 771}}))
            for tls in ({"max_version": 771}, {"min_version": 772})
        )
        async with front(tmp_path, loose, SITES) as gate:
            client = await gate.connect("a.one.test")
            assert (await client.ask(b"GET / HTTP/1.1", b"Host: b.one.test")).status == 200
            gate.server.apply(snapshot.build(tight, 2), frozenset())
            assert (await client.ask(b"GET / HTTP/1.1", b"Host: a.one.test")).status == 200
            assert (await client.ask(b"GET / HTTP/1.1", b"Host: b.one.test")).status == 200
            assert not (await negotiated(gate, "a.one.test", ONLY_1_2)).startswith("TLSv1")
            client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_of_one_host_is_not_resumed_on_a_host_with_another_policy(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    policies = {"b.one.test": {"ciphers": ["ECDHE+AESGCM", "TLS_AES_256_GCM_SHA384"]}}
    async with upstream() as up:
        config = configuration(*hosts(up.url, policies=policies))
        async with front(tmp_path, config, SITES) as gate:
            context = client_context(version=version)

            def session(name: str, resume: ssl.SSLSession | None) -> tuple[ssl.SSLSession, bool]:
                with (
                    socket.create_connection(("127.0.0.1", gate.port)) as sock,
                    context.wrap_socket(sock, server_hostname=name, session=resume) as tls,
                ):
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
                    assert tls.recv(65536).startswith(b"HTTP/1.1 200")
                    assert tls.session is not None
                    return tls.session, bool(tls.session_reused)

            first, _ = await asyncio.to_thread(session, "a.one.test", None)
            resumed = {
                name: (await asyncio.to_thread(session, f"{name}.one.test", first))[1] for name in ("a", "b", "a")
            }
    assert resumed == {"a": True, "b": False}
