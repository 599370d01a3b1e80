"""Control's side of its conversation with the workers: who is there, what each serves, who has confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from gateway.runtime.messages import (
    MAX_LINE,
    MAX_NAMES,
    Applied,
    Apply,
    Counters,
    Failed,
    FromControl,
    Hello,
    Inquire,
    Meet,
    Met,
    Ping,
    Probed,
    Sockets,
    Targets,
    decode,
    encode,
)
from gateway.runtime.service_ports import hand_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set
    from socket import socket

    from gateway.observe.events import EventLog
    from gateway.routing.health import TargetState


class _Attendant:
    """One worker that is connected: what it last said of itself."""

    def __init__(self, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self.number, self.pid, self.generation = hello.worker, hello.pid, hello.generation
        self.counters: dict[str, int] = {}
        self.targets = Targets(0, ())
        self.met: Met | None = None
        self.refusal: Failed | None = None
        self.heard = time.monotonic()
        self._writer = writer

    def say(self, message: FromControl) -> None:
        """Send without waiting: it is short, and a worker that does not read is soon hung up on."""
        self._writer.write(encode(message))

    def hang_up(self) -> None:
        self._writer.close()

    def shortfall(self, generation: int) -> str | None:
        """Why this worker does not serve ``generation``, or None when it does."""
        if self.generation >= generation:
            return None
        if self.refusal and self.refusal.generation >= generation:
            return f"worker {self.number} cannot serve it: {self.refusal.reason}"
        return f"worker {self.number} has not confirmed it"


class Roster:
    """The workers that are connected, and the generation that they should serve by now."""

    def __init__(
        self,
        generation: int,
        wanted: Callable[[], int],
        events: EventLog,
        sockets: Mapping[int, socket] | None = None,
    ) -> None:
        """``sockets`` are those of services, which workers are given when they ask for them."""
        self._sockets = sockets if sockets is not None else {}
        self.generation = self._ordered = generation
        self._wanted = wanted
        self._events = events
        self._present: dict[int, _Attendant] = {}
        self._changed = asyncio.Condition()
        self._probed: Probed | None = None
        self._inquiries = 0

    async def listen(self, sock: socket) -> asyncio.Server:
        """Receive workers on ``sock``."""
        # Not start_unix_server, which since Python 3.13 removes the name of the socket when it ends: the control that
        # comes next listens on the same one, and workers would no longer find it.
        return await asyncio.start_server(self._attend, sock=sock, limit=MAX_LINE)

    def serving(self) -> int:
        """How many workers serve the current generation."""
        return sum(not worker.shortfall(self.generation) for worker in self._present.values())

    def present(self) -> int:
        """Return the number of connected workers."""
        return len(self._present)

    def shortfalls(self) -> tuple[str, ...]:
        """What keeps the workers from all serving the current generation, a reason each."""
        reasons = [worker.shortfall(self.generation) for worker in self._present.values()]
        absent = self._wanted() - len(self._present)
        missing = [f"workers that are not there: {absent} of {self._wanted()}"] if absent > 0 else []
        return tuple([reason for reason in reasons if reason] + missing)

    def counters(self) -> dict[str, int]:
        """The sum of what the workers have counted."""
        totals: dict[str, int] = {}
        for worker in self._present.values():
            for name, value in worker.counters.items():
                totals[name] = totals.get(name, 0) + value
        return totals

    async def apply(self, generation: int, names: Set[str], seconds: float) -> tuple[str, ...]:
        """Have every worker serve ``generation``; ``names`` have other certificates than before.

        Returns when each has confirmed or refused, or after ``seconds``: the reasons of those who do not
        serve it.
        """
        self._ordered = generation
        message = Apply(generation, tuple(sorted(names)) if len(names) <= MAX_NAMES else None)
        for worker in self._present.values():
            worker.refusal = None
            worker.say(message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(self._settled)
        self.generation = generation
        return self.shortfalls()

    def publish(self, probed: Probed) -> None:
        """Tell every worker, those that come later too, which hosts are down."""
        self._probed = probed
        for worker in self._present.values():
            worker.say(probed)

    async def inquire(self, api_ids: Sequence[str], seconds: float) -> list[tuple[TargetState, ...]]:
        """Ask every worker how the targets of these APIs are; return the answers that came within ``seconds``."""
        self._inquiries += 1
        number = self._inquiries
        asked = await self._ask(
            Inquire(number, tuple(api_ids)), lambda worker: worker.targets.number >= number, seconds
        )
        return [worker.targets.states for worker in asked if worker.targets.number == number]

    async def meet(self, name: str, seconds: float) -> dict[int, Met]:
        """Ask every worker what a client of this name meets; return what came within ``seconds``, by worker."""
        self._inquiries += 1
        number = self._inquiries
        asked = await self._ask(
            Meet(number, name), lambda worker: worker.met is not None and worker.met.number >= number, seconds
        )
        return {worker.number: worker.met for worker in asked if worker.met and worker.met.number == number}

    async def _ask(
        self, question: FromControl, answered: Callable[[_Attendant], bool], seconds: float
    ) -> tuple[_Attendant, ...]:
        """Ask every worker, and wait for the answers of those that stay, at most ``seconds``; return who was asked."""
        asked = tuple(self._present.values())
        for worker in asked:
            worker.say(question)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(
                    lambda: all(answered(worker) for worker in self._present.values() if worker in asked)
                )
        return asked

    async def completed(self) -> None:
        """Wait until all workers serve the current generation."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.shortfalls())

    async def emptied(self) -> None:
        """Wait until no worker is connected."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._present)

    def ping(self, patience: float) -> None:
        """Ask every worker whether it is there; hang up on one that was silent for ``patience`` seconds.

        One that could not serve what was ordered is told again: what was in its way may be gone.
        """
        for worker in tuple(self._present.values()):
            if time.monotonic() - worker.heard > patience:
                self._events.error(
                    "worker.silent", "a worker does not answer", worker=worker.number, worker_pid=worker.pid
                )
                worker.hang_up()
                continue
            worker.say(Ping())
            if worker.refusal:
                worker.say(Apply(self._ordered, None))

    def _settled(self) -> bool:
        if len(self._present) < self._wanted():
            return False
        return all(worker.generation >= self._ordered or worker.refusal for worker in self._present.values())

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Listen to one worker until it leaves."""
        worker = None
        try:
            async for line in reader:
                message = decode(line)
                if isinstance(message, Sockets):
                    hand_out(self._sockets, writer)
                    return
                if isinstance(message, Hello):
                    worker = self._present[message.worker] = _Attendant(message, writer)
                    if worker.generation < self._ordered:
                        worker.say(Apply(self._ordered, None))
                    if self._probed is not None:
                        worker.say(self._probed)
                elif worker:
                    self._note(worker, message)
                async with self._changed:
                    self._changed.notify_all()
        except (OSError, ValueError) as error:  # a worker that died, or something that is no worker
            self._events.warning("worker.garbled", "a worker's connection broke", reason=error)
        except asyncio.CancelledError:  # the end; asyncio of Python 3.11 logs a handler that says so as a fault
            return
        finally:
            writer.close()
            if worker and self._present.get(worker.number) is worker:
                del self._present[worker.number]
                async with self._changed:
                    self._changed.notify_all()

    def _note(self, worker: _Attendant, message: object) -> None:
        worker.heard = time.monotonic()
        match message:
            case Applied(generation=generation):
                worker.generation, worker.refusal = generation, None
            case Failed():
                worker.refusal = message
            case Counters(values=values):
                worker.counters = values
            case Targets():
                worker.targets = message
            case Met():
                worker.met = message
            case _:
                raise ValueError(f"a worker does not say {message}")
