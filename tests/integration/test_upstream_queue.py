"""Bounds on the connections to an upstream, and the line of requests that wait for one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from support.front import api, configuration, front, until
from support.upstream import Connection, Upstream, ok, silent, upstream


async def closing(connection: Connection) -> None:
    await connection.request()


def one_at_a_time(up: Upstream, **queue: Any) -> dict[str, Any]:
    return api(up.url, api_id="bounded", gateway={"queue": {"max_connections": 1, **queue}})


async def test_requests_wait_in_line_for_a_connection(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(one_at_a_time(up))) as gate:
        answers = await asyncio.gather(*(gate.get(f"/{number}") for number in range(20)))
        assert [answer.body for answer in answers] == [b"GET /%d HTTP/1.1|" % number for number in range(20)]
    assert up.connections == 1


async def test_a_full_line_is_a_503_with_retry_after_and_the_line_is_first_come_first_served(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def held(connection: Connection) -> None:
        while True:
            head = await connection.head()
            await go_on.wait()
            await connection.send(ok(head.split(b" ")[1]))

    async with upstream(held) as up, front(tmp_path, configuration(one_at_a_time(up, length=2))) as gate:
        clients = [await gate.connect() for _ in range(3)]
        (target,) = gate.server.snapshot.apis["bounded"].upstreams
        pool = gate.server.upstreams.pool(target)
        for number, client in enumerate(clients):
            client.writer.write(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            await until(lambda number=number: pool.waiting == number)
        refused = await gate.get()
        assert (refused.status, refused.field(b"Retry-After")) == (503, [b"5"])
        clients[1].close()
        await until(lambda: pool.waiting == 1)
        go_on.set()
        assert [(await clients[number].response()).body for number in (0, 2)] == [b"/0", b"/2"]
        assert [head.split(b" ")[1] for head in up.requests] == [b"/0", b"/2"]
        clients[0].close()
        clients[2].close()


async def test_a_wait_in_line_has_an_end(tmp_path: Path) -> None:
    async with upstream(silent) as up, front(tmp_path, configuration(one_at_a_time(up, timeout=0.2))) as gate:
        first = await gate.connect()
        first.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: up.connections == 1)
        assert (await gate.get()).status == 503
        first.close()


async def test_the_place_of_a_broken_connection_goes_to_the_next_in_line(tmp_path: Path) -> None:
    async with upstream(closing) as up, front(tmp_path, configuration(one_at_a_time(up))) as gate:
        answers = await asyncio.gather(*(gate.get() for _ in range(5)))
        assert [answer.status for answer in answers] == [502] * 5
    assert up.connections == 5


async def at_once(connection: Connection) -> None:
    """Close without a word."""


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_connections_that_fail_leave_no_file_open(tmp_path: Path) -> None:
    async with upstream(at_once) as closes, upstream(silent) as hangs:
        urls = [f"https://127.0.0.1:{up.port}/" for up in (closes, hangs)]
        apis = [api(url, f"/{number}/", gateway={"timeouts": {"connect": 0.1}}) for number, url in enumerate(urls)]
        async with front(tmp_path, configuration(*apis)) as gate:
            client = await gate.connect()

            async def ask() -> None:
                for number, status in enumerate((502, 504)):
                    assert (await client.ask(b"GET /%d/ HTTP/1.1" % number, b"Host: localhost")).status == status

            await ask()
            await until(lambda: len(asyncio.all_tasks()) < 10)
            before = open_files()
            for _ in range(5):
                await ask()
            await until(lambda: open_files() <= before)
            client.close()
