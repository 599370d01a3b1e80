"""A worker's side of the conversation: the test plays control, and the data plane is a stand-in that records."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from OpenSSL import SSL

from gateway.certs import keyring
from gateway.certs.seal import Sealer
from gateway.config.load import Configuration
from gateway.config.settings import Settings
from gateway.errors import StoreError
from gateway.observe.events import EventLog
from gateway.routing.health import TargetState
from gateway.runtime import listeners, worker
from gateway.runtime.messages import (
    MAX_LINE,
    MAX_TARGETS,
    MAX_TEXT,
    Applied,
    Apply,
    Counters,
    Failed,
    Hello,
    Inquire,
    Message,
    Ping,
    Probed,
    Targets,
    decode,
    encode,
)
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from gateway.routing.snapshot import Snapshot


class RecordingUpstreams:
    """Stands in for the data plane's upstreams: remembers what is down, and knows three targets of any API."""

    def __init__(self) -> None:
        self.down: list[frozenset[str]] = []

    def probed(self, down: frozenset[str]) -> None:
        self.down.append(down)

    def sign_cookies_with(self, key: bytes) -> None:
        self.cookie_key = key

    def states(self, api_ids: tuple[str, ...]) -> Iterator[TargetState]:
        return (TargetState(api, index, 1, 2, 3, 4, 5, 6.5, True) for api in range(len(api_ids)) for index in range(3))


class RecordingServer:
    """Stands in for the data plane: remembers what it was told, refuses the hostname ``bad.test``."""

    def __init__(self, *, snapshot: Snapshot, cookie_key: bytes, **_: object) -> None:
        self.cookie_key = cookie_key
        self.upstreams = RecordingUpstreams()
        self.applied: list[tuple[int, frozenset[str] | None]] = [(snapshot.generation, None)]
        self.snapshots = [snapshot]
        self.listening: list[tuple[socket.socket, bool]] = []
        self.drained: float | None = None

    def listen(self, sock: socket.socket, *, redirect: bool = False) -> None:
        self.listening.append((sock, redirect))

    def apply(self, snapshot: Snapshot, changed: frozenset[str] | None) -> None:
        if changed == {"bad.test"}:
            raise ValueError("no such thing")
        self.applied.append((snapshot.generation, changed))
        self.snapshots.append(snapshot)

    def counters(self) -> dict[str, int]:
        return {"requests": 12}

    async def drain(self, seconds: float) -> int:
        self.drained = seconds
        return 0


class PlayedControl:
    """Listens where workers dial, and speaks to the one that came last."""

    def __init__(self, data_dir: Path) -> None:
        self._callers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._path = data_dir / "workers.sock"

    async def open(self) -> None:
        async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._callers.put((reader, writer))

        self._server = await asyncio.start_unix_server(welcome, self._path, limit=MAX_LINE)

    async def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)
        self._writer.close()
        await self._writer.wait_closed()

    async def meet(self) -> Message:
        self._reader, self._writer = await asyncio.wait_for(self._callers.get(), 10)
        return await self.hear()

    async def hear(self) -> Message:
        return decode(await asyncio.wait_for(self._reader.readline(), 10))

    def say(self, message: Message) -> None:
        self._writer.write(encode(message))

    async def ask(self, message: Message) -> Message:
        self.say(message)
        return await self.hear()

    def garble(self) -> None:
        self._writer.write(b"what?\n")
        self._writer.close()


class Worked:
    """A worker in a task, with its store and what its stand-in recorded."""

    def __init__(self, data_dir: Path, subject: Any, control: PlayedControl) -> None:
        self.control, self._data_dir = control, data_dir
        self.server: RecordingServer = subject._server

    def publish(self, **settings: object) -> int:
        configuration = Configuration(settings=Settings(**settings), apis=(), warnings=(), files=())  # type: ignore[arg-type]
        with closing(Store.open(self._data_dir, writable=True)) as store:
            return store.publish(configuration, [], None, "test")[0].number


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    configuration = Configuration(settings=Settings(), apis=(), warnings=(), files=())
    with closing(Store.open(tmp_path, writable=True)) as store:
        store.publish(configuration, [], None, "start")
    return tmp_path


@asynccontextmanager
async def working(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worked]:
    monkeypatch.setattr(worker, "ProxyServer", RecordingServer)
    control, stop = PlayedControl(data_dir), asyncio.Event()
    await control.open()
    null = os.open(os.devnull, os.O_WRONLY)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    with closing(Store.open(data_dir, writable=False)) as store:
        base = SSL.Context(SSL.TLS_SERVER_METHOD)
        subject = worker._Worker(3, data_dir / "workers.sock", store, base, EventLog(null))
        serving = asyncio.create_task(subject.serve(listeners.Listeners(*sockets), stop))
        worked = Worked(data_dir, subject, control)
        assert await control.meet() == Hello(3, os.getpid(), 1)
        yield worked
        stop.set()
        await asyncio.wait_for(serving, 10)
        await control.close()
    assert worked.server.listening == [(sockets[0], False), (sockets[1], True)]
    assert all(sock.fileno() == -1 for sock in sockets)
    os.close(null)


async def test_it_applies_what_control_orders_and_confirms(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.publish()
        assert await it.control.ask(Apply(2, ("a.test",))) == Applied(2)
        it.publish()
        assert await it.control.ask(Apply(3, None)) == Applied(3)
        assert it.server.applied == [(1, None), (2, frozenset({"a.test"})), (3, None)]


async def test_a_generation_with_the_same_configuration_shares_everything_but_its_number(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.publish()
        await it.control.ask(Apply(2, ("a.test",)))
        it.publish(listen_port=8081)
        await it.control.ask(Apply(3, ("a.test",)))
        first, second, third = it.server.snapshots
        assert (first.router is second.router, second.router is third.router) == (True, False)


async def test_it_goes_straight_to_the_newest_generation(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.publish()
        it.publish()
        assert await it.control.ask(Apply(2, ("a.test",))) == Applied(3)
        assert it.server.applied == [(1, None), (3, None)]  # which names changed with 3 is not known yet


async def test_it_refuses_what_is_not_in_the_store(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(data_dir, monkeypatch) as it:
        assert await it.control.ask(Apply(9, ())) == Failed(9, "generation 9 is not in the store")
        assert it.server.applied == [(1, None)]


async def test_what_the_data_plane_cannot_serve_is_refused_and_the_next_is_applied(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.publish()
        assert await it.control.ask(Apply(2, ("bad.test",))) == Failed(2, "no such thing")
        it.publish()
        assert await it.control.ask(Apply(3, ())) == Applied(3)


async def test_it_answers_a_ping_with_its_counters(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(data_dir, monkeypatch) as it:
        assert await it.control.ask(Ping()) == Counters({"requests": 12})


async def test_it_takes_what_the_probes_found_and_tells_how_targets_are(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.control.say(Probed(("one a.test 80",)))
        answer = await it.control.ask(Inquire(7, ("one", "two")))
        assert isinstance(answer, Targets)
        assert [(state.api, state.index) for state in answer.states] == [
            (api, index) for api in range(2) for index in range(3)
        ]
        assert (answer.number, answer.states[0].ejected) == (7, 6.5)
        assert it.server.upstreams.down == [frozenset({"one a.test 80"})]


async def test_what_it_tells_of_targets_fits_in_a_line(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(data_dir, monkeypatch) as it:
        answer = await it.control.ask(Inquire(1, tuple("\x01" * 100 for _ in range(MAX_TEXT // 100))))
        assert isinstance(answer, Targets)
        assert len(answer.states) == MAX_TARGETS


async def test_cookies_are_signed_with_the_same_key_by_every_worker_of_a_data_directory(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(data_dir, monkeypatch) as it:
        key = it.server.cookie_key
    async with working(data_dir, monkeypatch) as it:
        assert it.server.cookie_key == key
    with closing(Store.open(tmp_path_factory.mktemp("other"), writable=True)) as other:
        assert other.derived_key(b"sticky cookies") != key
    assert len(key) == 32
    assert key not in (data_dir / "root.key").read_bytes()


async def test_it_signs_cookies_with_the_key_that_is_there_when_a_generation_comes(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(data_dir, monkeypatch) as it:
        before = it.server.cookie_key
        it.publish()
        await it.control.ask(Apply(2, ()))
        assert it.server.upstreams.cookie_key == before
        ring = keyring.find(data_dir).renewed(Sealer.open(data_dir).root_master_key, datetime.now(UTC))
        keyring.replace(data_dir, ring)
        it.publish(close_connections=True)
        assert await it.control.ask(Apply(3, ())) == Applied(3)
        assert it.server.upstreams.cookie_key == Sealer.open(data_dir).derived_key(b"sticky cookies") != before


async def test_it_comes_back_to_a_control_that_died_and_says_what_it_serves(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.publish()
        assert await it.control.ask(Apply(2, ())) == Applied(2)
        await it.control.close()
        await it.control.open()
        assert await it.control.meet() == Hello(3, os.getpid(), 2)


async def test_it_hangs_up_on_what_is_not_control_and_dials_again(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.control.garble()
        assert isinstance(await it.control.meet(), Hello)


async def test_it_drains_for_the_time_that_is_configured_now(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with working(data_dir, monkeypatch) as it:
        it.publish(graceful_shutdown_timeout_duration=7.5)
        await it.control.ask(Apply(2, ()))
        server = it.server
        assert server.drained is None
    assert server.drained == 7.5


async def test_without_a_generation_it_does_not_start(tmp_path: Path) -> None:
    Store.open(tmp_path, writable=True).close()
    with closing(Store.open(tmp_path, writable=False)) as store, pytest.raises(StoreError, match="no generation"):
        worker._Worker(1, tmp_path / "workers.sock", store, SSL.Context(SSL.TLS_SERVER_METHOD), EventLog(2))
