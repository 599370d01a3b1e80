"""The admin API behind a real HTTP server: what only shows on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn
from support.admin import SECRET, Admin

from gateway.admin.authentication import HEADER
from gateway.certs.self_signed import self_signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PAIR = self_signed("www.example.com")
SWAP = "PUT /tyk/domains/www.example.com/certificate"


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(admin: Admin) -> AsyncIterator[int]:
    """Serve as control does; yield the port."""
    server = Server(uvicorn.Config(admin.app, http="h11", ws="none", lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def exchange(port: int, request: bytes) -> bytes:
    """Send ``request`` and return everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError):  # a server that refuses a body may reset what still comes
        while part := await reader.read(65536):
            answer += part
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


def head(line: str, *fields: str, secret: str = SECRET) -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: localhost", "Connection: close", f"{HEADER}: {secret}", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_a_certificate_is_swapped_over_the_wire() -> None:
    admin, body = Admin(), PAIR.chain_pem + PAIR.key_pem
    async with serving(admin) as port:
        answer = await exchange(port, head(SWAP, f"Content-Length: {len(body)}") + body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert PAIR.fingerprint.encode() in answer
    assert admin.operations.served["www.example.com"].fingerprint == PAIR.fingerprint


async def test_a_body_without_a_length_is_cut_off_at_the_limit() -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with serving(Admin()) as port:
        answer = await exchange(port, head(SWAP, "Transfer-Encoding: chunked") + chunk * 17)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("secret", ["wrong", ""])
async def test_without_the_secret_the_body_is_not_waited_for(secret: str) -> None:
    async with serving(Admin()) as port:
        answer = await exchange(port, head(SWAP, "Content-Length: 1000000", secret=secret))
    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_a_body_that_breaks_off_changes_nothing() -> None:
    admin = Admin()
    async with serving(admin) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(SWAP, "Content-Length: 100000") + PAIR.chain_pem + PAIR.key_pem)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert admin.operations.served == {}


async def test_an_error_in_the_gateway_itself_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    admin = Admin()

    async def fail(*_: object) -> None:
        raise RuntimeError("inner detail")

    admin.operations.generations = fail  # type: ignore[method-assign,assignment]
    with caplog.at_level(logging.ERROR):
        async with serving(admin) as port:
            answer = await exchange(port, head("GET /tyk/generations"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b'"message":"an error in the gateway itself; its log says more"' in answer
    assert b"inner detail" not in answer
    assert "inner detail" in caplog.text
