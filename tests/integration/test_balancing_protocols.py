"""Balancing where HTTP/2 or a tunnel is on one side or the other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.support.front import api, client_context, configuration, front, until
from tests.support.h2_client import H2Client, request
from tests.support.h2_upstream import Stream, h2_upstream
from tests.support.upstream import Connection, ok, silent, upstream

if TYPE_CHECKING:
    from pathlib import Path


def balanced(*urls: str, **gateway: Any) -> dict[str, Any]:
    return api(urls[0], api_id="balanced", proxy={"enable_load_balancing": True, "target_list": urls}, gateway=gateway)


async def test_a_cookie_that_comes_in_crumbs_leads_to_its_target(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ups = [await stack.enter_async_context(upstream()) for _ in range(3)]
        config = configuration(balanced(*(up.url for up in ups), balancing={"policy": "sticky"}))
        gate = await stack.enter_async_context(front(tmp_path, config))
        client = await H2Client.connect(gate)
        first = await client.get("/first")
        cookie = (first.value("set-cookie") or "").split(";")[0]
        (chosen,) = (up for up in ups if up.requests)
        for _ in range(5):
            again = await client.get("/again", ("cookie", "a=1"), ("cookie", cookie), ("cookie", "b=2"))
            assert again.value("set-cookie") is None
        assert len(chosen.requests) == 6
        client.close()


async def test_a_stream_that_is_cancelled_leaves_the_line(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def held(connection: Connection) -> None:
        while True:
            head = await connection.head()
            await go_on.wait()
            await connection.send(ok(head.split(b" ")[1]))

    async with upstream(held) as up:
        config = configuration(api(up.url, api_id="one", gateway={"queue": {"max_connections": 1}}))
        async with front(tmp_path, config) as gate:
            client = await H2Client.connect(gate)
            streams = [client.ask(request(f"/{number}")) for number in range(4)]
            (target,) = gate.server.snapshot.apis["one"].upstreams
            pool = gate.server.upstreams.pool(target)
            await until(lambda: pool.waiting == 3)
            client.h2.reset_stream(streams[1], 8)
            client.flush()
            await until(lambda: pool.waiting == 2)
            go_on.set()
            for number in (0, 2, 3):
                assert (await client.answer(streams[number])).body == b"/%d" % number
            assert [head.split(b" ")[1] for head in up.requests] == [b"/0", b"/2", b"/3"]
            client.close()


async def test_a_stream_waits_in_line_no_longer_than_a_request_of_http_1(tmp_path: Path) -> None:
    async with upstream(silent) as up:
        config = configuration(api(up.url, gateway={"queue": {"max_connections": 1, "timeout": 0.2}}))
        async with front(tmp_path, config) as gate:
            client = await H2Client.connect(gate)
            client.ask(request("/first"))
            await until(lambda: up.connections == 1)
            answer = await client.get("/second")
            assert (answer.status, answer.value("retry-after")) == (503, "5")
            client.close()


async def test_http_2_upstreams_take_turns_and_one_that_ends_is_retried_elsewhere(tmp_path: Path) -> None:
    async def named(stream: Stream) -> None:
        stream.respond()
        await stream.send(b"h2", ended=True)

    async with upstream() as other, contextlib.AsyncExitStack() as mortal:
        one = await mortal.enter_async_context(h2_upstream(named))
        urls = one.url, other.url
        async with front(tmp_path, configuration(balanced(*urls, health={"failures": 1}))) as gate:
            assert {(await gate.get()).body[:2] for _ in range(4)} == {b"h2", b"GE"}
            await mortal.aclose()
            assert [(await gate.get()).body[:2] for _ in range(6)] == [b"GE"] * 6


async def test_a_websocket_sets_the_cookie_and_comes_back_by_it(tmp_path: Path) -> None:
    def named(name: str) -> Any:
        async def tell(socket: ServerConnection) -> None:
            await socket.send(name)

        return tell

    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serve(named(f"s{n}"), "127.0.0.1", 0)) for n in range(3)]
        urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/" for server in servers]
        config = configuration(balanced(*urls, balancing={"policy": "sticky"}))
        gate = await stack.enter_async_context(front(tmp_path, config))
        url = f"wss://localhost:{gate.port}/"
        async with connect(url, ssl=client_context()) as socket:
            assert socket.response is not None
            cookie = socket.response.headers["Set-Cookie"].split(";")[0]
            name = await socket.recv()
        for _ in range(4):
            async with connect(url, ssl=client_context(), additional_headers={"Cookie": cookie}) as socket:
                assert await socket.recv() == name
