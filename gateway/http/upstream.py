"""What an exchange and an upstream know of each other, whichever HTTP the upstream speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.errors import UpstreamError
    from gateway.http.head import RequestHead, ResponseHead


class UpstreamStream(Protocol):
    """One request to an upstream and its response: an HTTP/1.1 connection for that time, or a stream of HTTP/2.

    ``served`` counts the requests that its connection had before: above zero, the upstream may have closed it while it
    was idle.
    """

    served: int

    def request(
        self, head: RequestHead, target: bytes, authority: bytes, fields: bytes, receiver: ResponseReceiver
    ) -> None:
        """Send a request's head: ``head``'s method and framing, and the rest as the upstream shall see it.

        ``fields`` are the field lines, each with its CRLF, but for Host and those of the framing. If ``head`` has a
        body, ``send_body`` follows.
        """

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send more of the request's body; ``trailers`` only with its end."""

    def pause(self) -> None:
        """Deliver no more of the response until ``resume``."""

    def resume(self) -> None:
        """Go on delivering the response."""

    def close(self) -> None:
        """Give the request up; the receiver, if any, hears nothing more."""

    def release(self) -> None:
        """Give back what no request was sent on."""


class UpstreamTunnel(Protocol):
    """A connection to an upstream that has switched protocols: bytes go as they are, as bodies do elsewhere."""

    closed: bool

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send ``data``."""

    def half_close(self) -> bool:
        """End what is sent; false where that cannot be without ending the rest."""

    def pause(self) -> None:
        """Deliver nothing more until ``resume``."""

    def resume(self) -> None:
        """Go on delivering."""

    def finish(self) -> None:
        """Close when all that was sent is out; the receiver hears nothing more."""

    def close(self) -> None:
        """Close at once; the receiver hears nothing more."""


class TunnelReceiver(Protocol):
    """Who takes what comes through a tunnel. Nothing is called after ``response_failed``."""

    def response_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        """Take what the upstream sent, and that it sends no more."""

    def response_failed(self, error: UpstreamError, *, began: bool) -> None:
        """Learn that the upstream is gone, and not in good order."""

    def pause_request(self) -> None:
        """Send no more until ``resume_request``: the upstream does not read it."""

    def resume_request(self) -> None:
        """Go on sending."""


class ResponseReceiver(Protocol):
    """Who waits for a response. Nothing is called after ``ended`` or ``response_failed``."""

    def response_interim(self, head: ResponseHead) -> None:
        """Take a 1xx response (RFC 9110 section 15.2)."""

    def may_upgrade(self) -> bool:
        """Whether the client's wish for another protocol may be passed on; asked where there is one."""

    def response_upgrade(self, head: ResponseHead, upstream: UpstreamTunnel) -> TunnelReceiver:
        """Take a 101 to a protocol that was asked for; return who receives the bytes from now on."""

    def response_head(self, head: ResponseHead, body: bytes, *, ended: bool) -> None:
        """Take the final response's head, with what of the body came in the same read."""

    def response_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        """Take more of the body."""

    def response_failed(self, error: UpstreamError, *, began: bool) -> None:
        """Learn that no, or no whole, response will come; ``began`` when a byte of it had come."""

    def pause_request(self) -> None:
        """Send no more of the request's body until ``resume_request``: the upstream does not read it."""

    def resume_request(self) -> None:
        """Go on sending the request's body."""
