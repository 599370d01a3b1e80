"""Control's conversation with the workers, over a real UNIX socket with workers that the test plays."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.observe.events import EventLog
from gateway.routing.health import TargetState
from gateway.runtime.messages import (
    MAX_NAMES,
    Applied,
    Apply,
    Counters,
    Failed,
    FromWorker,
    Hello,
    Inquire,
    Message,
    Ping,
    Probed,
    Targets,
    decode,
    encode,
)
from gateway.runtime.roster import Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class PlayedWorker:
    """The other end of the conversation, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, message: FromWorker) -> None:
        self._writer.write(encode(message))

    def garble(self) -> None:
        self._writer.write(b"GET / HTTP/1.1\r\n")

    async def hear(self) -> Message | None:
        line = await asyncio.wait_for(self._reader.readline(), 5)
        return decode(line) if line else None

    def leave(self) -> None:
        self._writer.close()


class Office:
    """A roster that listens, and the way for workers to come in."""

    def __init__(self, roster: Roster, path: Path) -> None:
        self.roster = roster
        self._path = path
        self._workers: list[PlayedWorker] = []

    async def enter(self, number: int, generation: int) -> PlayedWorker:
        worker = PlayedWorker(*await asyncio.open_unix_connection(self._path))
        self._workers.append(worker)
        worker.say(Hello(number, 1000 + number, generation))
        async with asyncio.timeout(5), self.roster._changed:
            await self.roster._changed.wait_for(lambda: self._knows(Hello(number, 1000 + number, generation)))
        return worker

    def _knows(self, hello: Hello) -> bool:
        present = self.roster._present.get(hello.worker)
        return present is not None and present.generation == hello.generation

    async def close(self) -> None:
        for worker in self._workers:
            worker.leave()
        async with asyncio.timeout(5):
            await self.roster.emptied()


@pytest.fixture
def log() -> Iterator[int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield writer
    os.close(reader)
    os.close(writer)


@asynccontextmanager
async def office(path: Path, log: int, *, generation: int = 5, wanted: int = 1) -> AsyncIterator[Office]:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path / "w.sock"))
    sock.listen()
    roster = Roster(generation, lambda: wanted, EventLog(log))
    server = await roster.listen(sock)
    office = Office(roster, path / "w.sock")
    try:
        yield office
    finally:
        await office.close()
        server.close()


async def test_the_socket_keeps_its_name_for_the_control_that_comes_next(tmp_path: Path, log: int) -> None:
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as worker:
        sock.bind(str(tmp_path / "w.sock"))
        sock.listen()
        (await Roster(5, lambda: 1, EventLog(log)).listen(sock.dup())).close()
        worker.connect(str(tmp_path / "w.sock"))


async def test_a_worker_that_is_up_to_date_hears_nothing_and_counts(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        assert (it.roster.serving(), it.roster.shortfalls()) == (0, ("workers that are not there: 1 of 1",))
        await it.enter(1, 5)
        assert (it.roster.serving(), it.roster.shortfalls()) == (1, ())


async def test_a_worker_that_is_behind_is_told_to_apply_with_nothing_presumed(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 4)
        assert await worker.hear() == Apply(5, None)
        assert it.roster.shortfalls() == ("worker 1 has not confirmed it",)


async def test_apply_returns_when_every_worker_has_confirmed(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log, wanted=2) as it:
        workers = [await it.enter(1, 5), await it.enter(2, 5)]
        applying = asyncio.create_task(it.roster.apply(6, {"b.test", "a.test"}, 60))
        for worker in workers:
            assert await worker.hear() == Apply(6, ("a.test", "b.test"))
            assert not applying.done()
            worker.say(Applied(6))
        assert await applying == ()
        assert it.roster.serving() == 2


async def test_while_a_generation_is_being_applied_the_one_before_counts(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 5)
        applying = asyncio.create_task(it.roster.apply(6, set(), 60))
        assert await worker.hear() == Apply(6, ())
        assert (it.roster.generation, it.roster.serving(), it.roster.shortfalls()) == (5, 1, ())
        worker.say(Applied(6))
        await applying
        assert (it.roster.generation, it.roster.serving()) == (6, 1)


async def test_a_refusal_ends_the_wait_and_is_told(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 5)
        applying = asyncio.create_task(it.roster.apply(6, set(), 60))
        assert await worker.hear() == Apply(6, ())
        worker.say(Failed(6, "no room"))
        assert await applying == ("worker 1 cannot serve it: no room",)
        again = asyncio.create_task(it.roster.apply(7, set(), 60))
        assert await worker.hear() == Apply(7, ())
        worker.say(Applied(7))
        assert await again == ()


async def test_a_worker_that_refused_is_told_again_with_the_next_ping(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 5)
        applying = asyncio.create_task(it.roster.apply(6, {"a.test"}, 60))
        await worker.hear()
        worker.say(Failed(6, "the disk was away"))
        await applying
        it.roster.ping(60)
        assert (await worker.hear(), await worker.hear()) == (Ping(), Apply(6, None))
        worker.say(Applied(6))
        async with asyncio.timeout(5), it.roster._changed:
            await it.roster._changed.wait_for(lambda: not it.roster.shortfalls())
        it.roster.ping(60)
        worker.say(Counters({}))
        assert await worker.hear() == Ping()


async def test_a_silent_worker_is_told_after_the_deadline(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        await it.enter(1, 5)
        assert await it.roster.apply(6, set(), 0.01) == ("worker 1 has not confirmed it",)
        assert it.roster.serving() == 0


async def test_apply_waits_for_a_worker_that_is_yet_to_come(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log, wanted=2) as it:
        first = await it.enter(1, 5)
        applying = asyncio.create_task(it.roster.apply(6, set(), 60))
        await first.hear()
        first.say(Applied(6))
        assert not applying.done()
        second = await it.enter(2, 6)
        assert await applying == ()
        second.leave()


async def test_a_worker_that_dies_while_it_applies_is_waited_for_under_its_number(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        first = await it.enter(1, 5)
        applying = asyncio.create_task(it.roster.apply(6, set(), 60))
        await first.hear()
        first.leave()
        await it.roster.emptied()
        await it.enter(1, 6)
        assert await applying == ()


async def test_with_very_many_changed_names_all_are_meant(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 5)
        await it.roster.apply(6, {str(n) for n in range(MAX_NAMES + 1)}, 0)
        assert await worker.hear() == Apply(6, None)


async def test_counters_are_added_up(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log, wanted=2) as it:
        for number in (1, 2):
            worker = await it.enter(number, 5)
            it.roster.ping(60)
            assert await worker.hear() == Ping()
            worker.say(Counters({"requests": number, f"only{number}": 1}))
        async with asyncio.timeout(5), it.roster._changed:
            await it.roster._changed.wait_for(lambda: it.roster.counters().get("requests") == 3)
        assert it.roster.counters() == {"requests": 3, "only1": 1, "only2": 1}


async def test_a_worker_that_does_not_answer_is_hung_up_on(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 5)
        it.roster.ping(-1)
        assert await worker.hear() is None
        await it.roster.emptied()


async def test_what_is_no_worker_is_hung_up_on(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 5)
        worker.garble()
        assert await worker.hear() is None
        await it.roster.emptied()


async def test_the_end_of_control_is_no_fault_of_its_conversations(tmp_path: Path, log: int) -> None:
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with office(tmp_path, log) as it:
        worker = await it.enter(1, 5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # as asyncio.run does in the end
        assert await worker.hear() is None
        await it.roster.emptied()
    assert faults == []


async def test_a_worker_that_comes_again_replaces_its_former_self(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log) as it:
        former = await it.enter(1, 4)
        await it.enter(1, 5)
        former.leave()
        assert await former.hear() == Apply(5, None)
        assert await former.hear() is None
        assert it.roster.serving() == 1


STATE = TargetState(0, 0, 1, 2, 3, 4, 5, 6.0, False)


async def test_every_worker_hears_which_hosts_are_down_and_so_does_one_that_comes_later(
    tmp_path: Path, log: int
) -> None:
    async with office(tmp_path, log, wanted=2) as it:
        first = await it.enter(1, 5)
        it.roster.publish(Probed(("one a.test 80",)))
        assert await first.hear() == Probed(("one a.test 80",))
        second = await it.enter(2, 4)
        assert [await second.hear(), await second.hear()] == [Apply(5, None), Probed(("one a.test 80",))]


async def test_an_inquiry_waits_for_all_who_are_there(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log, wanted=2) as it:
        workers = [await it.enter(1, 5), await it.enter(2, 5)]
        inquiry = asyncio.create_task(it.roster.inquire(["one"], 60))
        for worker in workers:
            assert await worker.hear() == Inquire(1, ("one",))
            assert not inquiry.done()
            worker.say(Targets(1, (STATE,)))
        assert await inquiry == [(STATE,), (STATE,)]


async def test_an_inquiry_does_without_workers_that_are_silent_or_leave(tmp_path: Path, log: int) -> None:
    async with office(tmp_path, log, wanted=2) as it:
        workers = [await it.enter(1, 5), await it.enter(2, 5)]
        assert await it.roster.inquire(["one"], 0.01) == []
        inquiry = asyncio.create_task(it.roster.inquire(["one"], 60))
        for worker in workers:
            assert await worker.hear() == Inquire(1, ("one",))
            assert await worker.hear() == Inquire(2, ("one",))
        workers[0].say(Targets(1, (STATE,)))  # too late
        workers[0].leave()
        workers[1].say(Targets(2, (STATE,)))
        assert await inquiry == [(STATE,)]
