"""The life of an HTTP/2 connection, from its first deadline to its last word (RFC 9113 sections 5.4 and 6.8).

An error of the connection, and a client that wears us out, gets a GOAWAY and a moment in which to read it; what it
still sends then is thrown away. A drain says GOAWAY twice: first that the end is near, then, when the client has
answered a ping, which streams are still served; what it sent in between is not lost.

Three deadlines, looked at by the worker's tick, bound the waits for the client: ``read_deadline`` (settings, the next
request), ``write_deadline`` (room in the socket) and ``_ack_deadline``; each stream has those of its own request.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.errors import Http2Error
from gateway.http import h2_frames as frames
from gateway.http.h2_credit import CREDIT, PER_SECOND
from gateway.http.h2_frames import MAX_STREAM, WINDOW, ErrorCode
from gateway.http.h2_numbers import Ending, StreamNumbers
from gateway.http.h2_output import H2Output
from gateway.http.unsent import reset, unsent

if TYPE_CHECKING:
    from gateway.http.downstream import Front, Peer
    from gateway.http.h2_stream import H2Stream

_HELD_UP = 20

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1 << 20
DRAIN_PING = b"draining"


class H2Lifetime(H2Output):
    """``H2Connection``, but for what it receives."""

    __slots__ = (
        "_ack_deadline",
        "_announced",
        "_late_window",
        "_lent",
        "_lingering",
        "_numbers",
        "_settled",
        "_ticked",
        "peer",
        "read_deadline",
    )

    def __init__(self, front: Front, peer: Peer) -> None:
        super().__init__(front)
        self.peer = peer
        self._numbers = StreamNumbers()
        self._lingering = self._late_window = self._lent = 0
        self._settled = self._announced = False
        self._ticked = front.now
        self.read_deadline = front.now + front.limits.request_head_timeout
        self._ack_deadline = inf

    def __repr__(self) -> str:
        """Show who is served and how many streams there are."""
        state = "lingering" if self._lingering else "draining" if self._announced else "open"
        return f"<H2Connection {self.peer.address} {state} streams={len(self._streams)} last={self._numbers.last}>"

    @property
    def running(self) -> int:
        """How many requests have not had their whole answer."""
        return sum(not stream.is_answered for stream in self._streams.values())

    def reset(self, number: int, code: ErrorCode) -> None:
        """Reset a stream, and tell its exchange if one runs."""
        stream = self._streams.get(number)
        if stream is not None and stream.is_answered:
            self._flush()  # in one TLS record with the answer the reset would hide it from curl 7.88
        self.write(frames.rst_stream(number, code))
        if stream is None:
            self._late_window += WINDOW
            self._numbers.close(number, Ending.BY_US)
        elif stream.remote_ended:
            self._drop(stream, Ending.WHOLE)
        else:
            self._late_window += max(stream.window_left, 0)
            self._drop(stream, Ending.BY_US)

    def _drop(self, stream: H2Stream, how: Ending) -> None:
        self._forget(stream)
        self._numbers.close(stream.id, how)
        stream.abandon()
        if not self._streams:
            self._rest()

    def _forget(self, stream: H2Stream) -> None:
        del self._streams[stream.id]
        self._waiting.pop(stream, None)
        self._lent -= stream.borrowed

    def _rest(self) -> None:
        """Nothing runs any more: wait for the next request, or close."""
        if self._lingering:
            return
        if self._numbers.accepted < MAX_STREAM:
            self._linger()
        else:
            self.read_deadline = self.front.now + self.front.limits.keep_alive_timeout

    def _go_away(self) -> None:
        """Take no stream after those that there are (RFC 9113 section 6.8)."""
        if self._numbers.accepted == MAX_STREAM:
            self._announced = True
            self._numbers.accepted = self._numbers.last
            self.write(frames.goaway(self._numbers.last, ErrorCode.NO_ERROR))
        if not self._streams:
            self._rest()

    @property
    def has_served(self) -> bool:
        """Whether there was a request."""
        return self._numbers.last > 0

    @property
    def resting_since(self) -> float:
        """Since when the client has nothing to say, a monotonic time; ``inf`` while anything goes on."""
        if self._streams or self._lingering or self.write_deadline < inf:
            return inf
        limits = self.front.limits
        return self.read_deadline - (limits.keep_alive_timeout if self._settled else limits.request_head_timeout)

    def dismiss(self) -> None:
        """Close, to make room for others: nothing runs here."""
        self._go_away()

    def drain(self) -> None:
        """Announce the end; when the client has heard of it, take no more streams."""
        if self._announced or self._lingering:
            return
        if not self._settled:
            self._linger()
            return
        self._announced = True
        self.write(frames.goaway(MAX_STREAM, ErrorCode.NO_ERROR) + frames.ping(DRAIN_PING, ack=False))
        self._ack_deadline = self.front.now + _LINGER_SECONDS
        for stream in tuple(self._streams.values()):
            stream.drain()

    def _fail(self, error: Http2Error) -> None:
        """End the connection for an error that is the client's."""
        code = ErrorCode(error.code)
        self.front.broken_off(self.peer, str(error), flood=code == ErrorCode.ENHANCE_YOUR_CALM)
        self.write(frames.goaway(min(self._numbers.last, self._numbers.accepted), code, str(error)))
        self._linger()
        self._abandon()

    def _linger(self) -> None:
        """Close, but not over what the client still sends: the reset would overtake our last words."""
        self._lingering = 1
        self.read_deadline = self.front.now + _LINGER_SECONDS
        self.write_deadline = self._ack_deadline = inf
        self._flush()
        if not self.transport.is_closing():
            self.transport.write_eof()  # whoever reads to the end need not wait

    def _discard(self, data: bytes) -> None:
        self._lingering += len(data)
        if self._lingering > _LINGER_BYTES:
            self.transport.abort()

    def _abandon(self) -> None:
        streams = tuple(self._streams.values())
        self._streams.clear()
        self._waiting.clear()
        for stream in streams:
            stream.abandon()

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature; nobody to tell
        """Tell the exchanges that nobody waits for them."""
        self.read_deadline = self.write_deadline = self._ack_deadline = inf
        self._lingering = 1
        self.front.closed(self)
        self._abandon()

    # time

    def tick(self, now: float) -> None:
        """Act on the deadlines that have passed, and give back credit for the time."""
        self.credit = min(self.credit + int((now - self._ticked) * PER_SECOND), CREDIT)
        self._ticked = now
        if self.read_deadline <= now or self.write_deadline <= now or self._ack_deadline <= now:
            self.expire()
        for stream in tuple(self._streams.values()):
            stream.tick(now)

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        now = self.front.now
        if self.write_deadline <= now:
            waiting = unsent(self.transport)
            if waiting < self._unsent and not self._lingering:  # slow, but not stuck
                self._unsent = waiting
                self.write_deadline = now + self.front.limits.write_idle_timeout
            else:
                reset(self.transport)
        elif self._ack_deadline <= now:
            self._ack_deadline = inf
            if self._announced:
                self._go_away()
            else:
                self._fail(Http2Error(ErrorCode.SETTINGS_TIMEOUT, "SETTINGS were not acknowledged in time"))
        elif self._lingering:
            self.read_deadline = inf
            self.write_deadline = now + _LINGER_SECONDS
            self.transport.close()
        elif self._settled:
            self._go_away()
        else:
            self._linger()

    def held_up(self, stream: H2Stream) -> None:
        """Act on a response that its client did not take in time: reset it, or close where nothing else moves."""
        self.front.slow(self.peer, "slow_readers", "took nothing of a response in time")
        self.credit -= _HELD_UP
        others = any(not other.waits for other in self._streams.values())
        if others and self.credit >= 0:
            self.reset(stream.id, ErrorCode.CANCEL)
        else:
            self._fail(Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "a response that was not read in time"))
