"""Upstreams that break every rule, and clients that must never read what was not for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.http.h1_client import UpstreamConnection
from gateway.http.h2_upstream_stream import H2UpstreamStream
from tests.support import hostile_h1, hostile_h2
from tests.support.front import api, configuration, front
from tests.support.hostile import CUT, Case, Flood, Step, behind_a_front, listening, outcome, run_all
from tests.support.hostile_h2_tables import FLOODS, NOT_HTTP_2

if TYPE_CHECKING:
    from pathlib import Path


async def test_hostile_upstreams_of_http_1(tmp_path: Path) -> None:
    async with behind_a_front(tmp_path, "http", hostile_h1.serve) as hostile:
        assert await run_all(hostile, hostile_h1.CASES) == {}


async def test_hostile_upstreams_of_http_2(tmp_path: Path) -> None:
    async with behind_a_front(tmp_path, "h2c", hostile_h2.serve) as hostile:
        assert await run_all(hostile, hostile_h2.CASES) == {}


@pytest.mark.parametrize("more", [b"hel", b"hello!", b"hello" + hostile_h1.FORGED])
async def test_the_barrier_before_the_client_holds_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: bytes
) -> None:
    def end(self: H2UpstreamStream, *, ended: bool) -> None:
        self.ended = ended

    def decode(self: UpstreamConnection, data: bytes) -> tuple[bytes, bool, list[bytes]]:
        return data, True, []

    monkeypatch.setattr(H2UpstreamStream, "_end", end)
    monkeypatch.setattr(UpstreamConnection, "_decode", decode)
    head = hostile_h2.headers(1, hostile_h2.OK, ("content-length", "5"))
    body = hostile_h2.data(1, more, end=True)
    h1_head = hostile_h1.OK + b"Content-Length: 5\r\n\r\n"
    for scheme, serve, first, second in (
        ("h2c", hostile_h2.serve, head.serialize(), body.serialize()),
        ("http", hostile_h1.serve, h1_head, more),
    ):
        at_once = Case("at once", (first + second,), (CUT,))
        later = Case("later", (first, Step.NOTICED, second), (CUT,))
        async with behind_a_front(tmp_path, scheme, serve) as hostile:
            assert await run_all(hostile, [later] if scheme == "http" else [at_once, later]) == {}
            await hostile.front.logged("upstream .*the response to the client was cut")


@pytest.mark.parametrize(
    ("scheme", "greetings"),
    [
        ("http", list(hostile_h1.NOT_HTTP.values())),
        ("h2c", NOT_HTTP_2),
    ],
)
async def test_an_upstream_that_greets_in_another_protocol_is_a_bad_gateway_at_once(
    tmp_path: Path, scheme: str, greetings: list[bytes]
) -> None:
    left = list(greetings)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0))
        await reader.read()

    async with listening(greet) as port, front(tmp_path, configuration(api(f"{scheme}://127.0.0.1:{port}/"))) as gate:
        client = await gate.connect()
        async with asyncio.timeout(10):
            while left:
                client.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert await outcome(client, b"GET") == ("502", True)
        client.close()
        await gate.logged("the upstream spoke before it was asked|which is not HTTP/")


@pytest.mark.parametrize("pipelined", [True, False])
async def test_what_an_upstream_says_beside_its_responses_is_told(tmp_path: Path, *, pipelined: bool) -> None:
    script = (hostile_h1.HELLO + b"!",) if pipelined else (hostile_h1.HELLO, Step.NOTICED, b"!")
    case = Case("more", script, ("200 hello",), pipelined=pipelined)
    async with behind_a_front(tmp_path, "http", hostile_h1.serve) as hostile:
        assert await run_all(hostile, [case]) == {}
        await hostile.front.logged("upstream .*the upstream sent more than its response")


async def test_a_flood_on_a_connection_without_requests_is_told(tmp_path: Path) -> None:
    flood = Flood(hostile_h2.packed([FLOODS["PING"]]))
    case = Case("an idle flood", (hostile_h2.HELLO, Step.NOTICED, flood), ("200 hello",), pipelined=False)
    async with behind_a_front(tmp_path, "h2c", hostile_h2.serve) as hostile:
        assert await run_all(hostile, [case]) == {}
        await hostile.front.logged("upstream .*too many frames that move nothing")


async def test_a_request_that_is_not_safe_avoids_a_connection_that_has_ended(tmp_path: Path) -> None:
    """Behind an answer and its end in one write, a POST would go into a connection that nobody reads."""
    answered = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await reader.readuntil(b"\r\n\r\n")
        writer.write(hostile_h1.HELLO)
        writer.write_eof()
        answered += 1
        await reader.read()

    async with listening(once) as port, front(tmp_path, configuration(api(f"http://127.0.0.1:{port}/"))) as gate:
        client = await gate.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" * 20)
        assert [await outcome(client, b"POST") for _ in range(20)] == [("200 hello", True)] * 20
        client.close()
    assert answered == 20
