"""A tunnel: what an exchange becomes when the upstream switches protocols (RFC 9110 section 7.8, RFC 6455).

Bytes pass both ways as they come; who does not read is not read from in the other direction either. The halves end
one by one, as TCP's do. When one has ended, or nothing passed for ``limits.tunnel_idle_timeout``, the rest has little
time left. The tunnel of a WebSocket says goodbye when the worker stops; any other is cut at the end of the drain.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from gateway.http.websocket import FrameFlow

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config.settings import Limits
    from gateway.errors import UpstreamError
    from gateway.http.upstream import UpstreamTunnel


class Clock(Protocol):
    """Coarse monotonic time."""

    now: float


class TunnelClient(Protocol):
    """The client's side of a tunnel."""

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send ``data``; if it is the last, close when that is out."""

    def half_close(self) -> bool:
        """End what is sent; false where that cannot be without ending the rest."""

    def pause_body(self) -> None:
        """Deliver nothing more until ``resume_body``."""

    def resume_body(self) -> None:
        """Go on delivering."""

    def abort(self, code: int = 0) -> None:
        """Cut the connection."""


class Tunnel:
    """Bytes between ``client`` and ``upstream``, which both think that it is their exchange.

    ``ended`` is called once, with the number of bytes that came from the client and that were sent to it.
    """

    def __init__(
        self,
        clock: Clock,
        client: TunnelClient,
        upstream: UpstreamTunnel,
        *,
        limits: Limits,
        websocket: bool,
        client_limits: Limits | None,
        ended: Callable[[int, int], None],
    ) -> None:
        self._clock = clock
        self._client = client
        self._upstream = upstream
        self._idle, self._linger = limits.tunnel_idle_timeout, limits.upstream_idle_timeout
        self.client_limits = client_limits
        self._ended: Callable[[int, int], None] | None = ended
        self._to_upstream = FrameFlow(masked=True) if websocket else None
        self._to_client = FrameFlow(masked=False) if websocket else None
        self._client_ended = self._upstream_ended = False
        self._received = self._sent = 0
        self.deadline = clock.now + self._idle

    def __repr__(self) -> str:
        """Show how much passed."""
        return f"<Tunnel received={self._received} sent={self._sent}>"

    def start(self) -> None:
        """Do nothing: a tunnel begins in the middle of an exchange."""

    # from the client

    def request_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:  # noqa: ARG002 - none here
        """Pass on what the client sent, and that it sends no more."""
        if self._ended is None:
            return
        if data:
            self._received += len(data)
            self.deadline = self._clock.now + self._idle
            if self._to_upstream is not None:
                data = self._to_upstream.passing(data)
            if data:
                self._upstream.send_body(data, [], ended=False)
            self._end_if_said()
        if ended and not self._client_ended:
            self._client_ended = True
            self._half_ended(other_half_open=not self._upstream_ended and self._upstream.half_close())

    def hear_no_more(self) -> None:
        """Take the client's half for ended, without a word to the upstream: some give up on a client who ends first."""
        self._client_ended = True
        self._half_ended(other_half_open=not self._upstream_ended)

    def request_failed(self, status: int, reason: str) -> None:  # noqa: ARG002 - what would fail is not read as HTTP
        """Cut the tunnel."""
        self.abandoned()
        self._client.abort()

    def pause_response(self) -> None:
        """The client does not read."""
        self._upstream.pause()

    def resume_response(self) -> None:
        """The client reads again."""
        if not self._upstream_ended:
            self._upstream.resume()

    def response_refused(self, reason: str) -> None:
        """Do nothing: a tunnel announces no length."""

    def abandoned(self) -> None:
        """The client is gone, and not in good order."""
        self._upstream.close()
        self._end()

    # from the upstream

    def response_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:  # noqa: ARG002 - none here
        """Pass on what the upstream sent, and that it sends no more."""
        if self._ended is None:
            return
        if data:
            self._sent += len(data)
            self.deadline = self._clock.now + self._idle
            if self._to_client is not None:
                data = self._to_client.passing(data)
            if data:
                self._client.send_body(data, [], ended=False)
            self._end_if_said()
        if ended and not self._upstream_ended:
            self._upstream_ended = True
            open_still = not (self._client_ended or self._upstream.closed)
            self._half_ended(other_half_open=open_still and self._client.half_close())

    def response_failed(self, error: UpstreamError, *, began: bool) -> None:  # noqa: ARG002 - it began, or there is none
        """The upstream is gone, and not in good order: the client shall see that."""
        self._end()
        self._client.abort()

    def pause_request(self) -> None:
        """The upstream does not read."""
        if not self._client_ended:
            self._client.pause_body()

    def resume_request(self) -> None:
        """The upstream reads again."""
        if not self._client_ended:
            self._client.resume_body()

    # the end

    def drain(self) -> None:
        """Say goodbye to both sides, if the protocol is known to have a word for it."""
        if self._to_client is None or self._to_upstream is None or self._ended is None:
            return
        if frame := self._to_client.leave():
            self._client.send_body(frame, [], ended=False)
        if frame := self._to_upstream.leave():
            self._upstream.send_body(frame, [], ended=False)
        self._end_if_said()

    def _end_if_said(self) -> None:
        """End when the gateway's close frames were answered with theirs (RFC 6455 section 7.1.2)."""
        there, back = self._to_upstream, self._to_client
        if there is not None and back is not None and (there.ended or back.ended) and there.closed and back.closed:
            self._close()

    def _half_ended(self, *, other_half_open: bool) -> None:
        if other_half_open:
            self._idle = min(self._idle, self._linger)
            self.deadline = self._clock.now + self._idle
        else:
            self._close()

    def expire(self) -> None:
        """Nothing passed for too long."""
        self._close()

    def _close(self) -> None:
        """Close both sides, each when what it was sent is out."""
        if self._ended is None:
            return
        self._upstream.finish()
        self._end()
        self._client.send_body(b"", [], ended=True)

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        self.deadline = inf
        if ended is not None:
            ended(self._received, self._sent)
