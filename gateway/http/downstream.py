"""What a client's connection, the exchanges on it and the worker behind it know of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from gateway.config.settings import Limits
    from gateway.http.fields import FieldTable
    from gateway.http.head import RequestHead, ResponseHead
    from gateway.http.proxy_protocol import Ends
    from gateway.tls.client_certificates import ClientCertificate


class Exchange(Protocol):
    """One request and its response, as the connection sees it."""

    deadline: float

    @property
    def client_limits(self) -> Limits | None:
        """The patience with the client that the API asks for; None for the usual one."""

    def start(self) -> None:
        """Act on the request's head. It may respond before it returns."""

    def request_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        """Take more of the request's body."""

    def request_failed(self, status: int, reason: str) -> None:
        """Learn that the rest of the request's body will not come; respond, if nothing was sent yet."""

    def pause_response(self) -> None:
        """Deliver no more of the response until ``resume_response``: the client does not read it."""

    def resume_response(self) -> None:
        """Go on delivering the response."""

    def response_refused(self, reason: str) -> None:
        """Take note that the response was cut: it does not fit the length announced to the client."""

    def abandoned(self) -> None:
        """Learn that the client is gone."""

    def expire(self) -> None:
        """Learn that ``deadline`` has passed."""

    def drain(self) -> None:
        """Learn that the worker is about to stop, which does not concern what ends by itself."""


class Downstream(Protocol):
    """Where a request came from and its response goes: an HTTP/1.1 connection, or a stream of HTTP/2."""

    peer: Peer

    def pause_body(self) -> None:
        """Deliver no more of the request's body than is under way already."""

    def resume_body(self) -> None:
        """Go on delivering the request's body."""

    def interim(self, status_line: bytes, lines: list[bytes]) -> None:
        """Send a 1xx response."""

    def respond(self, status_line: bytes, lines: list[bytes], length: int, body: bytes, *, ended: bool) -> None:
        """Send a response's head and the part of its body that is there.

        ``length`` is the body's: 0, a number, or (``CHUNKED``, ``UNTIL_CLOSE``) unknown. ``lines`` may be changed.
        """

    def send_body(self, data: bytes, trailers: list[bytes], *, ended: bool) -> None:
        """Send more of the response's body."""

    def abort(self, code: int = 0) -> None:
        """Break the response off, so that the client sees that it is not whole.

        ``code``, if not 0, is what HTTP/2 resets the stream with (RFC 9113 section 7).
        """


class Upgradable(Downstream, Protocol):
    """Where a request came from that asked for another protocol."""

    def upgrade(self, head: ResponseHead, tunnel: Exchange) -> None:
        """Say that the upstream has switched protocols.

        What follows goes to ``request_body`` of ``tunnel``, which takes the exchange's place, and into ``send_body``.
        """

    def half_close(self) -> bool:
        """End what is sent through a tunnel; false where that cannot be without ending the rest."""


class Connection(Protocol):
    """A client's connection, whichever HTTP it speaks."""

    peer: Peer

    @property
    def running(self) -> int:
        """How many requests have not had their whole answer."""

    @property
    def has_served(self) -> bool:
        """Whether there was a request already."""

    @property
    def resting_since(self) -> float:
        """Since when the client has nothing to say, a monotonic time; ``inf`` while anything goes on."""

    def dismiss(self) -> None:
        """Close, to make room for others: nothing runs here."""

    def tick(self, now: float) -> None:
        """Act on the deadlines that have passed."""

    def drain(self) -> None:
        """Take no more requests, and close when those that run are answered."""

    def abort(self) -> None:
        """Close at once."""


class Front(Protocol):
    """What a connection needs of its worker. ``now`` is monotonic time in seconds, as of the last tick."""

    loop: AbstractEventLoop
    now: float
    limits: Limits
    request_table: FieldTable
    draining: bool
    read_timeout: float
    write_timeout: float
    keep_alive: bool
    websockets: bool

    def exchange(self, downstream: Downstream, head: RequestHead) -> Exchange:
        """Make the exchange for a request; the connection starts it."""

    def refused(self, peer: Peer, status: int, reason: str) -> None:
        """Note a request that was too malformed to have an exchange."""

    def slow(self, peer: Peer, count: str, what: str = "") -> None:
        """Count a client that is given up for its slowness, and log ``what`` it did, unless that is nothing."""

    def broken_off(self, peer: Peer, reason: str, *, flood: bool) -> None:
        """Note an HTTP/2 connection that ends by an error of its client's, or because the client wears us out."""

    def closed(self, connection: Connection) -> None:
        """Forget the connection."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known of a connection before its first request: what logs and forwarding fields need of it.

    ``forwarded_lines`` say who is connected (``http.forwarding``), the same for each request; the TLS values are empty
    where there is no TLS. ``ends`` are those of the client's connection; ``policy`` is what it began under, to be
    compared with that of a request's host. ``redirect_port`` is where to send each request, on a port that serves none.
    ``own_port`` is the port that its APIs have opened, 0 for the gateway's. ``certificate`` is the one that the client
    has shown, who need not be allowed anything for it.
    """

    address: str
    local_port: int
    trusted: bool
    forwarded_lines: bytes
    server_name: str = ""
    tls_version: str = ""
    tls_cipher: str = ""
    ends: Ends | None = None
    policy: object = None
    redirect_port: int = 0
    own_port: int = 0
    certificate: ClientCertificate | None = None
