"""The control port towards clients that take their time, on real sockets."""

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
from gateway.config.load import Configuration
from gateway.config.settings import ControlTls, GatewaySection, Limits, Settings
from gateway.observe.events import EventLog
from gateway.runtime.control_port import ControlPort, ControlSite
from gateway.store.sites import CONTROL_PORT, SiteEntry
from gateway.store.sqlite import Store
from gateway.tls.context import base_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

PATIENCE = 30.0
LIMITS = Limits(request_head_timeout=0.2, tls_handshake_timeout=0.2)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the scheme."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": scope["scheme"].ljust(5).encode()})


@contextlib.asynccontextmanager
async def served(data_dir: Path, control_tls: ControlTls | None) -> AsyncIterator[int]:
    settings = Settings(gateway=GatewaySection(control_tls=control_tls, limits=LIMITS))
    configuration = Configuration(settings=settings, apis=(), warnings=(), files=())
    with contextlib.closing(Store.open(data_dir, writable=True)) as store:
        entries = [SiteEntry(CONTROL_PORT, self_signed("admin.test"), "")]
        store.publish(configuration, entries, None, "test")
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    events = EventLog(os.open(data_dir / "log", os.O_CREAT | os.O_WRONLY))
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None)
    base = base_context()
    port = ControlPort(config, sock, base, ControlSite(data_dir, events), lambda: (configuration, 1), events)
    task = asyncio.create_task(port.serve())
    try:
        yield sock.getsockname()[1]
    finally:
        port.should_exit = True
        await task


def unverified() -> ssl.SSLContext:
    return ssl._create_unverified_context()


@pytest.mark.parametrize("control_tls", [None, ControlTls(certificate="/control.pem")])
async def test_a_request_that_does_not_come_or_drips_ends_the_connection(
    tmp_path: Path, control_tls: ControlTls | None
) -> None:
    tls = unverified() if control_tls else None
    async with asyncio.timeout(PATIENCE), served(tmp_path, control_tls) as port:
        for sent in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            writer.write(sent)
            answer = await reader.read()
            assert answer.endswith(b"https" if tls else b"http ") if b"\r\n\r\n" in sent else not answer
            writer.close()


async def test_a_handshake_that_does_not_come_ends_the_connection(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), served(tmp_path, ControlTls(certificate="/control.pem")) as port:
        for sent in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in await reader.read()
            writer.close()
    assert "TLS handshake error from 127.0.0.1" in (tmp_path / "log").read_text()


async def test_many_at_once_are_all_answered(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), served(tmp_path, ControlTls(certificate="/control.pem")) as port:

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=unverified())
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

        assert all(answer.endswith(b"https") for answer in await asyncio.gather(*(ask() for _ in range(30))))
