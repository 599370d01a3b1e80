"""The clients of `bench.swaps`, each kind in a process of its own: what they do, and what must not happen to them.

A client that sees anything but what it expects notes a failure and begins anew. The times are those of the system's
monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.swap_upstream import BLOCK, LINE_SECONDS, SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event, Semaphore

PATIENCE = 20.0
_FAILURES_KEPT = 20
_PIECE = 1 << 18


class Handshake(NamedTuple):
    """A new connection: for which name, when it began and when it was there, and the certificate that it saw."""

    name: str
    began: float
    ended: float
    fingerprint: str


@dataclass(slots=True)
class Outcome:
    """What the clients of one kind saw. ``failures`` counts them by what was said."""

    kind: str
    done: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    handshakes: list[Handshake] = field(default_factory=list)

    def fail(self, reason: object) -> None:
        """Note a failure."""
        text = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else str(reason)
        if text in self.failures or len(self.failures) < _FAILURES_KEPT:
            self.failures[text] += 1
        else:
            self.failures["more, of other kinds"] += 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where the gateway is, and under which names."""

    port: int
    swapped: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """What the processes of a run share: each says when it begins and what it saw, and is told when to stop."""

    begun: Semaphore
    stop: Event
    results: Queue[Outcome]


def context() -> ssl.SSLContext:
    """A client's TLS, which is not asked whom it trusts: the certificates are compared."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def connect(place: Place, name: str, tls: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """Shake hands for a name."""
    raw = socket.create_connection(("127.0.0.1", place.port), timeout=PATIENCE)
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(raw, server_hostname=name, session=session)
    except BaseException:
        raw.close()
        raise


def shaken(place: Place, name: str, tls: ssl.SSLContext) -> tuple[ssl.SSLSocket, Handshake]:
    """Shake hands for a name, and tell what was seen."""
    began = time.monotonic()
    sock = connect(place, name, tls)
    return sock, Handshake(name, began, time.monotonic(), fingerprint(sock))


def fingerprint(sock: ssl.SSLSocket) -> str:
    """The SHA-256 of the certificate that a connection saw."""
    return hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()


def ask(sock: ssl.SSLSocket, name: str, path: str = "/small") -> http.client.HTTPResponse:
    """Send a request, and return the answer as far as its head."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    response = http.client.HTTPResponse(sock)
    response.begin()
    _demand(response.status == 200, f"{path} was answered with {response.status}")
    return response


def ask_small(sock: ssl.SSLSocket, name: str) -> None:
    """Ask, and check the whole answer."""
    body = ask(sock, name).read()
    _demand(body == SMALL, f"the answer is not the upstream's but {body[:100]!r}")


def _demand(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def newcomers(place: Place, stop: Event, outcome: Outcome, number: int, of: int, rate: float) -> None:
    """New connections, ``rate`` a second, in turn for every name; a request on each."""
    tls, names = context(), (*place.swapped, *place.others)
    due = time.monotonic() + number / rate
    turn = number
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + of / rate, time.monotonic() - 1)  # what is late by a second is not made up for
        turn += 1
        try:
            sock, seen = shaken(place, names[turn % len(names)], tls)
            with sock:
                ask_small(sock, seen.name)
            outcome.handshakes.append(seen)
            outcome.done["new connections"] += 1
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome.fail(error)


def regulars(place: Place, stop: Event, outcome: Outcome, number: int, of: int, rate: float) -> None:
    """A connection on which requests follow each other, ``rate`` a second over all of them."""
    tls, name = context(), place.swapped[number % len(place.swapped)]
    while not stop.is_set():
        try:
            with connect(place, name, tls) as sock:
                outcome.done["kept connections"] += 1
                while not stop.wait(of / rate):
                    ask_small(sock, name)
                    outcome.done["requests on them"] += 1
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome.fail(error)


def resumers(place: Place, stop: Event, outcome: Outcome, number: int, of: int, rate: float) -> None:
    """New connections that bring the session of the one before, and must be resumed."""
    tls, name = context(), place.swapped[number % len(place.swapped)]
    session = None
    while not stop.is_set():
        try:
            with connect(place, name, tls, session) as sock:
                if session is not None and not sock.session_reused:
                    outcome.fail("a session was not resumed")
                ask_small(sock, name)
                session = sock.session
            outcome.done["resumed connections"] += 1
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome.fail(error)
        stop.wait(of / rate)


def downloads(place: Place, stop: Event, outcome: Outcome, number: int, of: int, rate: float, size: int) -> None:
    """A large file, read at ``rate`` bytes a second, again and again."""
    tls, name = context(), place.swapped[number % len(place.swapped)]
    while not stop.is_set():
        try:
            with connect(place, name, tls) as sock:
                response, began, got = ask(sock, name, f"/bytes/{size}"), time.monotonic(), 0
                while piece := response.read(_PIECE):
                    _demand(piece == _expected(got, len(piece)), f"the download differs after {got} bytes")
                    got += len(piece)
                    if stop.wait(max(0.0, began + got * of / rate - time.monotonic())):
                        outcome.done["MB downloaded"] += got // 10**6
                        return
                _demand(got == size, f"the download ended after {got} of {size} bytes")
                outcome.done["MB downloaded"] += got // 10**6
                outcome.done["downloads finished"] += 1
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome.fail(error)


def _expected(start: int, length: int) -> bytes:
    offset = start % 256
    return (BLOCK * (length // len(BLOCK) + 2))[offset : offset + length]


async def streams(place: Place, stop: Event, outcome: Outcome, count: int) -> None:
    """So many answers that never end, in one loop: their lines must come in order and in time."""
    tasks = [asyncio.create_task(_follow(place, outcome, number)) for number in range(count)]
    await asyncio.to_thread(stop.wait)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(place: Place, outcome: Outcome, number: int) -> None:
    name = place.swapped[number % len(place.swapped)]
    await asyncio.sleep(number / 200)
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", place.port, ssl=context(), server_hostname=name)
            with contextlib.closing(writer):
                writer.write(f"GET /stream HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                _demand(head.startswith(b"HTTP/1.1 200 "), f"the stream was answered with {head[:60]!r}")
                outcome.done["streams"] += 1
                await _lines(reader, outcome)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            outcome.fail(error)


async def _lines(reader: asyncio.StreamReader, outcome: Outcome) -> None:
    """Read a chunked body, a line in each chunk."""
    number = 0
    while True:
        async with asyncio.timeout(LINE_SECONDS + PATIENCE):
            size = int(await reader.readuntil(b"\r\n"), 16)
            line = (await reader.readexactly(size + 2)).decode()
        _demand(line == f"{number}\n\r\n", f"line {number} of a stream was {line!r}")
        number += 1
        outcome.done["lines of streams"] += 1


def be(kind: str, many: int, place: Place, course: Course, *options: float) -> None:
    """Be a process with so many clients of a kind, until told to stop; then say what they saw."""
    stop = course.stop
    clients: dict[str, Callable[..., None]] = {
        "newcomers": newcomers, "regulars": regulars, "resumers": resumers, "downloads": downloads,
    }  # fmt: skip
    outcome = Outcome(kind)
    course.begun.release()
    if kind == "streams":
        asyncio.run(streams(place, stop, outcome, many))
    else:
        run_all([
            threading.Thread(target=clients[kind], args=(place, stop, outcome, number, many, *options), daemon=True)
            for number in range(many)
        ])  # fmt: skip
    course.results.put(outcome)


def run_all(threads: Sequence[threading.Thread]) -> None:
    """Run threads to their end."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
