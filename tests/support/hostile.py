"""Hostile upstreams behind a real front, and followers: requests of others that must never read what was not for them.

An upstream plays the script of a ``Case`` in answer to one request, and is honest to all others: ``/mine/WORD`` is
answered with the word. A client asks for the script, and pipelines a request to the same upstream and one to another
API behind it; a second client asks the other API at the same time.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from tests.support.front import Client, api, configuration, front
from tests.support.h2_client import H2Client, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.support.front import Front

BAD = "502"
CUT = "cut"
"""The response ended before its end, and the client could see that."""


class Step(Enum):
    """What a script does between two writes."""

    NOTICED = "wait until the client has the head of its answer"
    CLOSE = "close the connection"
    RESET = "reset the connection"


@dataclass(frozen=True)
class Flood:
    """Bytes that are sent over and over, until the gateway closes or a bound is reached."""

    data: bytes
    times: int = 3000


Script = tuple["bytes | Step | Flood", ...]


@dataclass(frozen=True)
class Case:
    """A script, and what the client may get: ``BAD``, ``CUT``, or status and body."""

    name: str
    script: Script
    expected: tuple[str, ...]
    method: bytes = b"GET"
    pipelined: bool = True
    """Whether followers are sent at once. If not, they are sent when the script is over."""


@dataclass
class Run:
    """A case while it is played."""

    case: Case
    noticed: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Hostile:
    """The hostile upstream, and the front before it and an honest one."""

    def __init__(self) -> None:
        self.runs: dict[bytes, Run] = {}
        self._numbers = itertools.count()
        self.front: Front

    def begin(self, case: Case) -> tuple[bytes, Run]:
        """Name a new run; returns its path's last part, too."""
        name = b"%d" % next(self._numbers)
        self.runs[name] = run = Run(case)
        return name, run

    async def play(self, run: Run, writer: asyncio.StreamWriter, script: Script) -> None:
        """Play a script on a connection."""
        try:
            with suppress(ConnectionError):
                for step in script:
                    await _take(step, run, writer)
        finally:
            run.over.set()


async def _take(step: bytes | Step | Flood, run: Run, writer: asyncio.StreamWriter) -> None:
    if step is Step.NOTICED:
        await run.noticed.wait()
    elif step is Step.CLOSE:
        writer.close()
    elif step is Step.RESET:
        writer.transport.abort()
    elif isinstance(step, Flood):
        for _ in range(step.times):
            writer.write(step.data)
            await writer.drain()
    elif isinstance(step, bytes):
        writer.write(step)
        await writer.drain()


async def honest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with the last part of its path."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        word = head.split(b" ")[1].rpartition(b"/")[2]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(word), word))


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Listen on a port, and give its number."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await serve(reader, writer)
        tasks.discard(task)
        writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)


@asynccontextmanager
async def behind_a_front(
    directory: Path,
    scheme: str,
    serve: Callable[[Hostile, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Hostile]:
    """Run a hostile upstream that speaks as ``serve`` does, an honest one, and a front before both."""
    hostile = Hostile()
    async with listening(lambda *ends: serve(hostile, *ends)) as port, listening(honest) as other:
        config = configuration(
            api(f"{scheme}://127.0.0.1:{port}/", "/hostile/"), api(f"http://127.0.0.1:{other}/", "/other/")
        )
        async with front(directory, config) as hostile.front:
            yield hostile


# clients


async def outcome(client: Client, method: bytes, run: Run | None = None) -> tuple[str, bool]:
    """Read one response as strictly as a client can; returns what it was, and whether the connection goes on."""
    reader = client.reader
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            assert b"content-length" not in head.lower()
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return f"half a head: {error.partial!r}" if error.partial else CUT, False
    finally:
        if run is not None:
            run.noticed.set()
    status_line, *lines = head[:-4].split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    assert status_line.startswith(b"HTTP/1.1 "), head
    status = int(status_line.split(b" ")[1])
    try:
        body = await _body(reader, fields, bodiless=method == b"HEAD" or status in (204, 304))
    except (asyncio.IncompleteReadError, ConnectionError):
        return CUT, False
    return _told(status, body), fields.get(b"connection") != b"close"


async def _body(reader: asyncio.StreamReader, fields: dict[bytes, bytes], *, bodiless: bool) -> bytes:
    if bodiless:
        return b""
    if b"content-length" in fields:
        assert b"transfer-encoding" not in fields
        return await reader.readexactly(int(fields[b"content-length"]))
    assert fields.get(b"transfer-encoding") == b"chunked"
    body = b""
    while size := int((await reader.readuntil(b"\r\n")), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body


def _told(status: int, body: bytes) -> str:
    return BAD if status == 502 else f"{status} {body.decode()}".rstrip()


async def over_http_1(hostile: Hostile, case: Case) -> str:
    """Run a case for a client of HTTP/1.1; returns what is wrong, or nothing."""
    name, run = hostile.begin(case)
    client = await hostile.front.connect()
    followers = b"".join(
        b"GET /%b/mine/%b%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (where, where, name)
        for where in (b"hostile", b"other")
    )
    first = b"%b /hostile/case/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (case.method, name)
    client.writer.write(first + followers if case.pipelined else first)
    try:
        got, goes_on = await outcome(client, case.method, run)
        if got not in case.expected:
            return f"the client got {got!r}"
        if not case.pipelined:
            await run.over.wait()
            with suppress(ConnectionError):
                client.writer.write(followers)
        expected = [f"200 {where}{name.decode()}" for where in ("hostile", "other")] if goes_on else []
        heard = []
        while goes_on and len(heard) < 2:
            got, goes_on = await outcome(client, b"GET")
            heard.append(got)
        if heard != expected and not (CUT in case.expected and heard == [CUT]):
            return f"followers got {heard}"
        rest = b"" if goes_on else await client.ended()
        return f"after the end came {rest!r}" if rest else ""
    finally:
        client.close()


async def over_http_2(hostile: Hostile, case: Case, client: H2Client) -> str:
    """Run a case for a client of HTTP/2, whose connection always goes on; returns what is wrong, or nothing."""
    name, run = hostile.begin(case)
    path = name.decode()
    asked = client.ask(request(f"/hostile/case/{path}", case.method.decode()))
    followers = {client.ask(request(f"/{where}/mine/{where}{path}")): where for where in ("hostile", "other")}
    answer = client.answers[asked]
    await client.until(lambda: bool(answer.fields) or answer.ended or answer.reset is not None)
    run.noticed.set()
    answer = await client.answer(asked)
    got = CUT if answer.reset is not None else _told(answer.status, answer.body)
    if got not in case.expected:
        return f"the client got {got!r}"
    for number, where in followers.items():
        other = await client.answer(number)
        told = _told(other.status, other.body)
        if told != f"200 {where}{path}" and not (told == BAD and where == "hostile"):
            return f"the follower on {where} got {told!r}"
    return "the connection ended" if client.closed else ""


async def run_all(hostile: Hostile, cases: list[Case]) -> dict[str, str]:
    """Run each case for both kinds of clients, beside a client of the other API; returns what is wrong, by name."""
    wrong = {}
    beside = await hostile.front.connect()
    multiplexing = await H2Client.connect(hostile.front)
    for case in cases:
        word = b"beside%d" % len(hostile.runs)
        beside.writer.write(b"GET /other/mine/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % word)
        for kind, play in (
            ("HTTP/1.1", over_http_1(hostile, case)),
            ("HTTP/2", over_http_2(hostile, case, multiplexing)),
        ):
            try:
                async with asyncio.timeout(10):
                    problem = await play
            except TimeoutError:
                problem = "nothing came"
            if problem:
                wrong[f"{case.name} ({kind})"] = problem
        got, _ = await outcome(beside, b"GET")
        assert got == f"200 {word.decode()}"
    beside.close()
    multiplexing.close()
    return wrong
