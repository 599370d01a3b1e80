"""A worker's front, a transport and an exchange that exist in memory only: for the connections of clients."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING

from gateway.config.settings import Limits
from gateway.http.fields import request_fields

if TYPE_CHECKING:
    from gateway.http.downstream import Downstream, Peer
    from gateway.http.head import RequestHead


class FakeTransport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = self.aborted = self.ended = False
        self.reading = True
        self.unsent = 0

    def write(self, data: bytes) -> None:
        assert not self.aborted
        self.written.append(data)

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = self.closing = True

    def get_extra_info(self, _: str) -> object:
        return None

    def get_write_buffer_size(self) -> int:
        return self.unsent


class FakeExchange:
    """Keeps what it is told; a test answers in its place."""

    client_limits = None

    def __init__(self, downstream: Downstream, head: RequestHead) -> None:
        self.downstream = downstream
        self.head = head
        self.body = b""
        self.trailers: list[bytes] = []
        self.ended = self.expired = self.paused = self.gone = self.done = self._begun = False
        self.failed = 0
        self.refused = ""
        self.deadline = inf

    def start(self) -> None:
        pass

    def request_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        self.body += data
        self.ended, self.trailers = ended, trailers

    def request_failed(self, status: int, _: str) -> None:
        self.failed = status
        self.answer(status=b"%d" % status)

    def pause_response(self) -> None:
        self.paused = True

    def resume_response(self) -> None:
        self.paused = False

    def drain(self) -> None:
        pass

    def expire(self) -> None:
        self.deadline = inf
        self.expired = True

    def abandoned(self) -> None:
        self.gone = True

    def response_refused(self, reason: str) -> None:
        self.refused = reason

    def answer(self, body: bytes = b"", *lines: bytes, status: bytes = b"200", ended: bool = True) -> None:
        """Respond; the length of a body that is not ended stays open."""
        self.done, self._begun = ended, True
        self.downstream.respond(b"HTTP/1.1 " + status, list(lines), len(body) if ended else -1, body, ended=ended)

    def respond(self, body: bytes, *, ended: bool) -> None:
        """Begin the response, or go on with it."""
        if self._begun:
            self.done = ended
            self.downstream.send_body(body, [], ended=ended)
        else:
            self.answer(body, ended=ended)

    def abort(self) -> None:
        """Break the response off."""
        self.done = True
        self.downstream.abort()


class FakeFront:
    """The worker behind a connection, and its clock."""

    def __init__(self, **limits: int) -> None:
        self.now = 1000.0
        self.limits = SimpleNamespace(**Limits(**limits).model_dump())
        self.request_table = request_fields()
        self.draining = False
        self.read_timeout = self.write_timeout = 0.0
        self.keep_alive = True
        self.websockets = False
        self.exchanges: list[FakeExchange] = []
        self.floods: list[str] = []
        self.errors: list[str] = []
        self.refusals: list[int] = []
        self.slowness: list[str] = []
        self.gone = False

    def exchange(self, downstream: Downstream, head: RequestHead) -> FakeExchange:
        self.exchanges.append(FakeExchange(downstream, head))
        return self.exchanges[-1]

    def refused(self, _: Peer, status: int, __: str) -> None:
        self.refusals.append(status)

    def broken_off(self, _: Peer, reason: str, *, flood: bool) -> None:
        (self.floods if flood else self.errors).append(reason)

    def slow(self, _: Peer, count: str, __: str = "") -> None:
        self.slowness.append(count)

    def closed(self, _: object) -> None:
        self.gone = True
