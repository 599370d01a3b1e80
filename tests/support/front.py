"""A worker's front in the test's own loop, reached through real sockets and real TLS."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gateway.certs.choice import NEVER, Choice
from gateway.certs.self_signed import Authority
from gateway.config.definitions import ApiDefinition
from gateway.config.load import Configuration
from gateway.config.settings import Settings
from gateway.observe.events import EventLog
from gateway.proxy.server import ProxyServer
from gateway.routing import snapshot
from gateway.tls.context import base_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

AUTHORITY = Authority.create("Test CA")
BASE = base_context()
LOCALHOST = AUTHORITY.leaf("localhost", "127.0.0.1")


def api(target: str = "http://127.0.0.1:1/", listen_path: str = "/", **more: Any) -> dict[str, Any]:
    """Write an API definition; ``proxy`` takes more of that section."""
    proxy = {"listen_path": listen_path, "target_url": target, **more.pop("proxy", {})}
    return {"name": "test", "api_id": f"api-{os.urandom(4).hex()}", "use_keyless": True, "proxy": proxy, **more}


def configuration(*apis: dict[str, Any], **settings: Any) -> Configuration:
    """Make a configuration without files. ``limits`` and ``options`` stand for their sections."""
    limits = settings.pop("limits", {})
    options = {"use_ssl": True, **settings.pop("options", {})}
    gateway = {"access_log": {"format": "off"}, "limits": limits, **settings.pop("gateway", {})}
    return Configuration(
        settings=Settings.model_validate(
            {"http_server_options": options, "gateway": gateway, **settings}, strict=False
        ),
        apis=tuple(ApiDefinition.model_validate(one, strict=False) for one in apis),
        warnings=(),
        files=(),
    )


def client_context(*, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Make a client's context that trusts the test's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=AUTHORITY.pair.chain_pem.decode())
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; a test that waits in vain fails after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other code, which sets no event
            await asyncio.sleep(0.01)


class Front:
    """A running front: where it listens, what it logged, and a client for it."""

    def __init__(
        self, server: ProxyServer, port: int, log: Path, redirect_port: int, service_ports: dict[int, int] | None = None
    ) -> None:
        self.server = server
        self.service_ports = service_ports or {}
        self.port = port
        self.redirect_port = redirect_port
        self._log = log

    def on(self, port: int) -> Front:
        """Return the same front at a port that definitions have opened, 0 for the gateway's."""
        where = self.service_ports[port] if port else self.port
        return Front(self.server, where, self._log, self.redirect_port, self.service_ports)

    @property
    def log(self) -> str:
        """The event log so far."""
        return self._log.read_text()

    async def logged(self, pattern: str) -> str:
        """Wait until the event log has a line that matches."""
        await until(lambda: re.search(pattern, self.log) is not None)
        match = re.search(pattern, self.log)
        assert match
        return match[0]

    async def connect(self, name: str | None = "localhost", context: ssl.SSLContext | None = None) -> Client:
        """Connect with TLS (``name`` None: in the clear)."""
        if name is None:
            return Client(*await asyncio.open_connection("127.0.0.1", self.port))
        context = context or client_context()
        return Client(
            *await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name, limit=1 << 22)
        )

    async def get(self, path: str = "/", *lines: bytes, name: str = "localhost") -> Response:
        """Make one request on a connection of its own."""
        client = await self.connect(name)
        response = await client.ask(b"GET %b HTTP/1.1" % path.encode(), b"Host: " + name.encode(), *lines)
        client.close()
        return response


class Response:
    """A response, taken apart without the gateway's own code."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        self.body = body
        self.status = int(head.split(b" ", 2)[1])

    def __repr__(self) -> str:
        return f"<{self.head!r} {self.body!r}>"

    def field(self, name: bytes) -> list[bytes]:
        """Return the values of a field, one per line."""
        lines = self.head.split(b"\r\n")[1:]
        return [line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(name.lower() + b":")]


class Client:
    """A client that sends bytes as they are and reads responses one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, *lines: bytes, body: bytes = b"") -> Response:
        """Send a request and read its response."""
        self.writer.write(b"\r\n".join((*lines, b"", b"")) + body)
        method = lines[0].split(b" ")[0]
        return await self.response(method)

    async def response(self, method: bytes = b"GET") -> Response:
        """Read one final response (1xx are skipped)."""
        async with asyncio.timeout(20):
            head = await self.reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 1"):
                head = await self.reader.readuntil(b"\r\n\r\n")
            response = Response(head, b"")
            if method == b"HEAD" or response.status in (204, 304):
                return response
            if length := response.field(b"content-length"):
                response.body = await self.reader.readexactly(int(length[0]))
            elif response.field(b"transfer-encoding") == [b"chunked"]:
                response.body = await self._chunks(response)
            else:
                response.body = await self.reader.read()
            return response

    async def _chunks(self, response: Response) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        while (line := await self.reader.readline()) != b"\r\n":
            response.head += line
        return body

    async def ended(self) -> bytes:
        """Wait for the end of the connection; return what came before it."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except (ConnectionError, ssl.SSLError):
                return b""

    def close(self) -> None:
        """Close without ceremony."""
        self.writer.transport.abort()


@asynccontextmanager
async def front(
    log_dir: Path,
    config: Configuration,
    sites: dict[str, tuple[CertificatePair, ...]] | None = None,
) -> AsyncIterator[Front]:
    """Run a front for ``config``; ``sites`` are the store's keys and their certificates."""
    pairs = {"localhost": (LOCALHOST,), "": (LOCALHOST,)} if sites is None else sites
    log = log_dir / f"events-{os.urandom(4).hex()}.log"
    fd = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    server = ProxyServer(
        base=BASE,
        sites=lambda name: Choice(pairs.get(name, ()), current=name in pairs, until=NEVER),
        snapshot=snapshot.build(config, 1),
        events=EventLog(fd),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    redirect = socket.create_server(("127.0.0.1", 0))
    server.listen(listener)
    server.listen(redirect, redirect=True)
    services = {port: socket.create_server(("127.0.0.1", 0)) for port in server.snapshot.own_ports}
    for port, sock in services.items():
        server.services.listen(port, sock)
    where = {port: sock.getsockname()[1] for port, sock in services.items()}
    try:
        yield Front(server, listener.getsockname()[1], log, redirect.getsockname()[1], where)
    finally:
        await server.drain(0.2)
        listener.close()
        redirect.close()
        for sock in services.values():
            sock.close()
        os.close(fd)
