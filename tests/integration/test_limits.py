"""Every wait has a deadline, every size a bound, and whoever is slow slows only itself down."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from support.back_pressure import held_back, upload
from support.front import Client, api, client_context, configuration, front, until
from support.upstream import Connection, ok, silent, upstream

from gateway.routing import snapshot

if TYPE_CHECKING:
    from pathlib import Path

HOST = b"Host: localhost"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20000, 431),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg", 400),
    ],
)
async def test_bad_requests_are_answered_and_closed(tmp_path: Path, raw: bytes, status: int) -> None:
    async with upstream(silent) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(raw)
        response = await client.response()
        assert response.status == status
        assert "error" in json.loads(response.body)
        assert response.field(b"Connection") == [b"close"] or status == 405
        client.close()


async def test_only_other_limits_make_the_front_forget_the_field_lines_that_it_has_judged(tmp_path: Path) -> None:
    async with upstream(ok()) as up, front(tmp_path, configuration(api(up.url))) as gate:
        known = gate.server.request_table
        gate.server.apply(snapshot.renumbered(gate.server.snapshot, 2), frozenset({"localhost"}))
        gate.server.apply(snapshot.build(configuration(api(up.url, "/other/")), 3), None)
        assert gate.server.request_table is known
        gate.server.apply(snapshot.build(configuration(api(up.url), limits={"head_fields": 5}), 4), None)
        assert gate.server.request_table is not known
        response = await gate.get("/", *[b"X: y"] * 6)
        assert response.status == 431


async def test_a_chunked_body_over_the_limit_is_413(tmp_path: Path) -> None:
    async with upstream(silent) as up:
        async with front(tmp_path, configuration(api(up.url), limits={"body_bytes": 1000})) as gate:
            client = await gate.connect()
            client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.writer.write(b"100\r\n" + b"x" * 256 + b"\r\n")
            client.writer.write((b"100\r\n" + b"x" * 256 + b"\r\n") * 4)
            assert (await client.response()).status == 413
            client.close()


def send_all_and_then_read(port: int, size: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with client_context().wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            sock.sendall(bytes(size))
            return b"".join(iter(lambda: sock.recv(65536), b""))


async def test_the_rest_of_an_upload_that_has_its_answer_is_read(tmp_path: Path) -> None:
    async with front(tmp_path, configuration()) as gate:
        answer = await asyncio.to_thread(send_all_and_then_read, gate.port, 40_000_000)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"\r\nConnection: close\r\n" in answer


async def drip(client: Client) -> None:
    while True:
        client.writer.write(b"more")
        await client.writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("bound", "value"), [("_IDLE_SECONDS", 0.1), ("_WHOLE_SECONDS", 1.0), ("REMAINDER_BYTES", 9)])
async def test_an_upload_that_has_its_answer_does_not_go_on_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: float
) -> None:
    monkeypatch.setattr(f"gateway.http.remainder.{bound}", value)
    async with front(tmp_path, configuration()) as gate:
        client = Client(*await asyncio.open_connection("127.0.0.1", gate.redirect_port))
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000000\r\n\r\n")
        assert (await client.response()).status == 308
        if bound != "_IDLE_SECONDS":
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(drip(client), 10)
        await until(lambda: gate.server.counters()["connections_open"] == 0)
        client.close()


async def test_max_request_body_size_is_tyks_name_for_the_same_limit(tmp_path: Path) -> None:
    config = configuration(api(), options={"max_request_body_size": 10})
    async with front(tmp_path, config) as gate:
        client = await gate.connect()
        assert (await client.ask(b"POST / HTTP/1.1", HOST, b"Content-Length: 11")).status == 413
        client.close()


@pytest.mark.parametrize(
    ("sent", "limit", "answer"),
    [
        (b"", "request_head_timeout", b""),
        (b"GET / HT", "request_head_timeout", b"HTTP/1.1 408"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12", "body_idle_timeout", b"HTTP/1.1 408"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "keep_alive_timeout", b"HTTP/1.1 200"),
    ],
)
async def test_whoever_waits_too_long_is_told_and_let_go(
    tmp_path: Path, sent: bytes, limit: str, answer: bytes
) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url), limits={limit: 0.2})) as gate:
        client = await gate.connect()
        client.writer.write(sent)
        assert (await client.ended()).startswith(answer)
        client.close()


async def test_a_worker_that_was_kept_from_running_holds_nothing_against_its_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("gateway.proxy.server.monotonic", lambda: clock[0])
    limits = {"body_idle_timeout": 5}
    async with upstream() as up, front(tmp_path, configuration(api(up.url), limits=limits)) as gate:
        client = await gate.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nfirst")
        await until(lambda: bool(up.requests))
        clock[0] += 60  # a machine that was asleep, or too busy for it
        gate.server._tick()
        client.writer.write(b"last")
        assert (await client.response()).status == 200
        client.close()


async def test_connections_of_one_address_are_bounded(tmp_path: Path) -> None:
    async with upstream() as up:
        async with front(tmp_path, configuration(api(up.url), limits={"connections_per_address": 2})) as gate:
            kept = [await gate.connect() for _ in range(2)]
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await gate.connect()
            kept[0].close()
            await until(lambda: gate.server.counters()["connections_open"] == 1)
            assert (await gate.get()).status == 200
            kept[1].close()


async def test_a_connection_ends_after_its_number_of_requests(tmp_path: Path) -> None:
    async with upstream() as up:
        async with front(tmp_path, configuration(api(up.url), limits={"requests_per_connection": 2})) as gate:
            client = await gate.connect()
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).field(b"Connection") == []
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).field(b"Connection") == [b"close"]
            assert await client.ended() == b""


async def test_tyks_read_timeout_bounds_a_whole_request_however_it_drips(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url), options={"read_timeout": 1})) as gate:
        client = await gate.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        answer = asyncio.create_task(client.response())
        while not answer.done():
            client.writer.write(b"x")
            await asyncio.sleep(0.05)
        assert (await answer).status == 408
        client.close()


@pytest.mark.parametrize("limit", ["write_idle_timeout", "write_timeout"])
async def test_a_client_that_takes_nothing_is_cut(tmp_path: Path, limit: str) -> None:
    async def pouring(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await connection.send(bytes(1 << 16))

    limits = {limit: 0.3} if limit == "write_idle_timeout" else {}
    options = {limit: 1} if limit == "write_timeout" else {}
    async with (
        upstream(pouring) as up,
        front(tmp_path, configuration(api(up.url), limits=limits, options=options)) as gate,
    ):
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()
        await until(lambda: gate.server.counters()["connections_open"] == 0)
        # What the kernel held for it is gone as well: the connection was reset.
        established = 1
        raw = client.writer.get_extra_info("socket")
        await until(lambda: raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != established)
        assert gate.server.counters()["slow_readers"] == 1
        await gate.logged("127.0.0.1 took nothing of a response in time")
        client.close()


async def test_an_upstream_that_stops_in_the_middle_is_cut(tmp_path: Path) -> None:
    async def stopping(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await connection.reader.read()

    async with upstream(stopping) as up:
        async with front(tmp_path, configuration(api(up.url), limits={"upstream_idle_timeout": 0.2})) as gate:
            client = await gate.connect()
            client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.ended()).endswith(b"half")
            await gate.logged("took too long to send its response")
            client.close()


async def test_an_upstream_that_does_not_accept_is_a_504(tmp_path: Path) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    config = configuration(api(f"http://127.0.0.1:{full.getsockname()[1]}/"), limits={"upstream_connect_timeout": 0.3})
    async with front(tmp_path, config) as gate:
        assert (await gate.get()).status == 504
    for one in (full, *fillers):
        one.close()


async def test_a_full_worker_leaves_connections_in_the_queue_until_it_has_room(tmp_path: Path) -> None:
    async with upstream() as up:
        async with front(tmp_path, configuration(api(up.url), limits={"connections_per_worker": 2})) as gate:
            kept = [await gate.connect() for _ in range(2)]
            waiting = asyncio.create_task(gate.get())
            await gate.logged("connections_per_worker")
            assert not waiting.done()
            kept[0].close()
            assert (await waiting).status == 200
            kept[1].close()


async def test_a_full_worker_lets_connections_go_that_rest_and_none_that_work(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def held(connection: Connection) -> None:
        if b"/held" in await connection.head():
            await release.wait()
        await connection.send(ok())

    async with upstream(held) as up:
        async with front(tmp_path, configuration(api(up.url), limits={"connections_per_worker": 2})) as gate:
            busy, resting = await gate.connect(), await gate.connect()
            busy.writer.write(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: len(up.requests) == 1)
            assert (await resting.ask(b"GET / HTTP/1.1", HOST)).status == 200
            assert (await gate.get()).status == 200
            assert await resting.ended() == b""
            assert gate.server.counters()["connections_dismissed"] == 1
            release.set()
            busy.close()


async def test_who_was_let_go_and_does_not_leave_holds_up_no_more_than_a_few(tmp_path: Path) -> None:
    async with upstream() as up:
        async with front(tmp_path, configuration(api(up.url), limits={"connections_per_worker": 100})) as gate:
            gate.server._connections.update(  # type: ignore[arg-type]
                Unmoved() for _ in range(100)
            )
            others = [await asyncio.open_connection("127.0.0.1", gate.port) for _ in range(100)]
            await gate.logged("connections_per_worker")
            assert len(gate.server._connections) == 164
            for one in tuple(gate.server._connections):
                if isinstance(one, Unmoved):
                    gate.server._connections.discard(one)
            await until(lambda: gate.server.counters()["connections_open"] == 100)
            for _, writer in others:
                writer.transport.abort()


class Unmoved:
    """A connection that rests, and lingers when it is let go."""

    has_served, resting_since, read_deadline, running = True, 0.0, float("inf"), 0

    def dismiss(self) -> None:
        self.resting_since = float("inf")

    def tick(self, now: float) -> None: ...
    def drain(self) -> None: ...
    def abort(self) -> None: ...


async def test_whoever_is_too_slow_is_counted_and_named(tmp_path: Path) -> None:
    limits = {"request_head_timeout": 0.2, "body_idle_timeout": 0.2}
    async with upstream() as up, front(tmp_path, configuration(api(up.url), limits=limits)) as gate:
        for sent in (b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12", b"") * 2:
            client = await gate.connect()
            client.writer.write(sent)
            await client.ended()
            client.close()
        counters = gate.server.counters()
        assert [counters[name] for name in ("slow_heads", "slow_bodies", "connections_unused")] == [2, 2, 2]
        await gate.logged(
            r"127.0.0.1 sent nothing of a request's body in time +event=client.slow server_name=localhost"
        )
        assert gate.log.count("event=client.slow") == gate.log.count("event=request.refused") == 1


async def test_idle_upstream_connections_are_bounded_in_number_and_in_time(tmp_path: Path) -> None:
    config = {"max_idle_connections_per_host": 2, "limits": {"upstream_idle_timeout": 1}}

    async def slow(connection: Connection) -> None:
        while True:
            await connection.request()
            await asyncio.sleep(0.1)
            await connection.send(ok())

    async with upstream(slow) as up, front(tmp_path, configuration(api(up.url), **config)) as gate:
        await asyncio.gather(*(gate.get() for _ in range(6)))
        (pool,) = gate.server.upstreams._pools.values()
        assert pool.idle == 2
        await until(lambda: pool.idle == 0)


async def test_close_connections_answers_once_and_closes(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(up.url), close_connections=True)) as gate:
        client = await gate.connect()
        assert (await client.ask(b"GET / HTTP/1.1", HOST)).field(b"Connection") == [b"close"]
        assert await client.ended() == b""


# back-pressure


async def test_a_slow_reader_of_a_large_response_holds_little_memory(tmp_path: Path) -> None:
    size = 64 << 20

    async def pouring(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            await connection.send(bytes(1 << 16))
            poured[0] += 1 << 16

    poured = [0]
    async with upstream(pouring) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()
        assert await held_back(gate, lambda: poured[0]) < 24 << 20  # what the buffers of four sockets hold
        client.writer.transport.resume_reading()
        left = size
        while left:
            left -= len(await client.reader.read(1 << 20))
        client.close()


async def test_a_slow_upstream_slows_the_upload_down(tmp_path: Path) -> None:
    size = 64 << 20
    go = asyncio.Event()

    async def sipping(connection: Connection) -> None:
        await connection.head()
        await go.wait()
        left = size
        while left:
            left -= len(await connection.reader.read(1 << 20))
        await connection.send(ok())

    sent = [0]
    async with upstream(sipping) as up:
        async with front(tmp_path, configuration(api(up.url), limits={"body_bytes": 0})) as gate:
            client = await gate.connect()
            client.writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            uploading = asyncio.create_task(upload(client, size, sent))
            assert await held_back(gate, lambda: sent[0]) < 24 << 20
            go.set()
            await uploading
            assert (await client.response()).status == 200
            client.close()


async def test_a_client_that_leaves_takes_its_upstream_request_along(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def waiting(connection: Connection) -> None:
        await connection.request()
        await connection.reader.read()
        gone.set()

    async with upstream(waiting) as up, front(tmp_path, configuration(api(up.url))) as gate:
        client = await gate.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: bool(up.requests))
        client.close()
        async with asyncio.timeout(10):
            await gone.wait()


@pytest.mark.parametrize(
    ("limits", "lines", "reason"),
    [
        ({"upstream_head_bytes": 500}, [b"X: " + b"x" * 500], "a response head of more than 500 bytes"),
        ({"upstream_head_fields": 5}, [b"X-%d: 1" % number for number in range(6)], "more than 5 header fields"),
    ],
)
async def test_the_head_of_a_response_has_limits_of_its_own(
    tmp_path: Path, limits: dict[str, int], lines: list[bytes], reason: str
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            head, _ = await connection.request()
            await connection.send(ok(b"hello", *(lines if b"/large" in head else ())))

    async with upstream(script) as up, front(tmp_path, configuration(api(up.url), limits=limits)) as gate:
        assert (await gate.get("/small")).status == 200
        assert (await gate.get("/large")).status == 502
        await gate.logged(reason)
