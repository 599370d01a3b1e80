"""Client certificates on the control port: Tyk's cases, through real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import uvicorn

from gateway.certs.self_signed import self_signed
from gateway.config.client_trust import ClientTrust
from gateway.config.load import Configuration
from gateway.config.settings import ControlTls, GatewaySection, Security, Settings
from gateway.config.upstream_trust import CertificatesOfSecurity
from gateway.observe.events import EventLog
from gateway.runtime.control_port import ControlPort, ControlSite
from gateway.store.sites import CONTROL_PORT, SiteEntry
from gateway.store.sqlite import Store
from gateway.tls.context import base_context
from tests.support.clients import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from tests.support.clients import Identity

PATIENCE = 30.0
GOOD, OTHER, OLD = identity("good"), identity("other"), identity("old", days=(-2, -1))
AUTHORITY = identity("ca", ca=True)
SIGNED = identity("signed", AUTHORITY)
MISSING = "ab" * 32


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def configured(*listed: str, mutual: bool = True, tls: bool = True) -> Configuration:
    security = Security(
        control_api_use_mutual_tls=mutual, certificates=CertificatesOfSecurity(control_api=tuple(listed))
    )
    gateway = GatewaySection(control_tls=ControlTls(certificate="/control.pem") if tls else None)
    trust = ClientTrust(found={"/good.pem": GOOD.pem})
    return Configuration(
        settings=Settings(security=security, gateway=gateway), apis=(), warnings=(), files=(), client_trust=trust
    )


class Port:
    """A control port whose configuration is the test's."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.generation, self.number = directory, 1, 0
        self.configuration = configured()

    def configure(self, configuration: Configuration) -> None:
        self.configuration, self.generation = configuration, self.generation + 1

    async def connect(
        self, client: Identity | None, version: ssl.TLSVersion | None = None, *, tls: bool = True
    ) -> Link:
        context = None
        if tls:
            context = ssl._create_unverified_context()
            if client:
                context = client.context(self.directory, version)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return Link(*await asyncio.open_connection("127.0.0.1", self.number, ssl=context))

    async def ask(self, client: Identity | None, version: ssl.TLSVersion | None = None) -> tuple[int, str]:
        link = await self.connect(client, version)
        try:
            return await link.ask()
        finally:
            link.writer.close()


class Link:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str = "/hello") -> tuple[int, str]:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        return int(head.split()[1]), (await self.reader.readexactly(length)).decode()


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    port = Port(tmp_path)
    with contextlib.closing(Store.open(tmp_path, writable=True)) as store:
        store.publish(port.configuration, [SiteEntry(CONTROL_PORT, self_signed("localhost"), "")], None, "test")
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    port.number = sock.getsockname()[1]
    events = EventLog(os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY))
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None)
    current = lambda: (port.configuration, port.generation)  # noqa: E731
    server = ControlPort(config, sock, base_context(), ControlSite(tmp_path, events), current, events)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE):
        yield port
    server.should_exit = True
    await task


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_only_a_listed_certificate_passes_the_handshake_whatever_the_path(
    port: Port, version: ssl.TLSVersion
) -> None:
    port.configure(configured(GOOD.pem))
    assert await port.ask(GOOD, version) == (200, "ok")
    for client in (OTHER, None, OTHER.sending(GOOD), SIGNED):
        with pytest.raises(ssl.SSLError, match="ALERT"):  # which reaches it, though it has begun to send
            await port.ask(client, version)
    assert f"(SHA256 {OTHER.sha256}) is not allowed here" in (port.directory / "log").read_text()


@pytest.mark.parametrize(
    ("listed", "passes"),
    [((), False), ((MISSING,), False), ((MISSING, GOOD.pem), True), (("/good.pem",), True), ((OTHER.pem,), False)],
)
async def test_what_cannot_be_found_lets_nobody_in_and_keeps_nobody_out(
    port: Port, listed: tuple[str, ...], passes: bool
) -> None:
    port.configure(configured(*listed))
    if passes:
        assert await port.ask(GOOD) == (200, "ok")
    else:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await port.ask(GOOD)


async def test_a_listed_authority_vouches_for_its_clients(port: Port) -> None:
    port.configure(configured(AUTHORITY.pem))
    for client in (SIGNED, SIGNED.sending(AUTHORITY)):
        assert await port.ask(client) == (200, "ok")
    for client in (GOOD, GOOD.sending(AUTHORITY), identity("forged", identity("ca", ca=True))):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await port.ask(client)


async def test_without_it_no_certificate_is_asked_for(port: Port) -> None:
    port.configure(configured(GOOD.pem, mutual=False))
    assert await port.ask(None) == (200, "ok")


async def test_one_that_has_expired_is_told_so(port: Port) -> None:
    port.configure(configured(OLD.pem))
    status, body = await port.ask(OLD)
    assert (status, body) == (403, '{"status":"error","message":"Certificate has expired"}\n')


async def test_connections_that_are_open_obey_the_rules_of_now(port: Port) -> None:
    port.configure(configured(mutual=False, tls=False))
    plain = await port.connect(None, tls=False)
    assert await plain.ask() == (200, "ok")
    port.configure(configured(mutual=False))
    nobody = await port.connect(None)
    assert await nobody.ask() == (200, "ok")
    port.configure(configured(GOOD.pem))
    good = await port.connect(GOOD)
    assert await good.ask() == (200, "ok")
    port.configure(configured(OTHER.pem))
    for link, said in (
        (plain, "TLS not enabled"),
        (nobody, "Client TLS certificate is required"),
        (good, f"Certificate with SHA256 {GOOD.sha256} not allowed"),
    ):
        assert await link.ask() == (403, f'{{"status":"error","message":"{said}"}}\n')
        link.writer.close()
