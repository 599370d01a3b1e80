"""From an accepted socket to a service: what a client says first decides which one, and who speaks TLS with it.

Where TLS ends here it is the handshake of the gateway's own port. Where it is passed through, the ClientHello is only
looked at, and goes to the target with all that follows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from gateway.errors import UnknownServiceError
from gateway.proxy.handshake import Handshake
from gateway.routing.services import POSTGRESQL
from gateway.tls import alerts, postgresql
from gateway.tls.client_authentication import shown
from gateway.tls.postgresql import NegotiationError, Opening

if TYPE_CHECKING:
    import socket

    from OpenSSL import SSL

    from gateway.http.proxy_protocol import Ends
    from gateway.proxy.server import ProxyServer
    from gateway.routing.policies import HostPolicy
    from gateway.routing.services import Service, ServicePort
    from gateway.tls.context import Site

_PLAIN_REFUSED = "connection requires encryption: connect with sslmode=require, or better verify-full"


class ServiceHandshake(Handshake):
    """A connection to a port of ``tls`` services. ``asked`` is whether its client asked for TLS in plain words.

    ``cancel_request`` is all that the target is to get, from a client who came to cancel a query and began no TLS.
    """

    __slots__ = ("_declined", "asked", "cancel_request", "port", "service")

    service: Service

    def __init__(self, server: ProxyServer, sock: socket.socket, ends: Ends, port: ServicePort) -> None:
        super().__init__(server, sock, ends)
        self.port = port
        self.asked = self._declined = False
        self.cancel_request = b""

    @override
    def answer_to_http(self) -> bytes:
        return alerts.refusal(alerts.UNEXPECTED_MESSAGE)

    @override
    def _look(self, data: bytes) -> int:
        if not self.port.negotiate or self.asked:
            return super()._look(data)
        try:
            opening = postgresql.opening(data)
        except NegotiationError as error:
            self._fail(str(error))
            return 0
        if isinstance(opening, int):
            return opening
        if opening is Opening.TLS:
            return super()._look(data)
        self._seen_enough()
        self._seen = 0
        if opening is Opening.SSL_REQUEST:
            self.asked = True
            self._answer(postgresql.ACCEPTED)
        elif opening is Opening.GSSENC_REQUEST:
            self._negotiate_no_gss()
        else:
            if opening is Opening.CANCEL:
                self.cancel_request = postgresql.first_packet(data)
            self._without_tls()
        return 0

    def _negotiate_no_gss(self) -> None:
        if self._declined:
            self._fail("client asked for GSS encryption twice")
            return
        self._declined = True
        self._answer(postgresql.DECLINED)

    def _answer(self, word: bytes) -> None:
        """Take the request, nothing of what follows it, and answer."""
        try:
            self._socket.recv(len(postgresql.SSL_REQUEST))
            self._socket.send(word)
        except OSError as error:
            self._fail(alerts.explain(error))

    def _without_tls(self) -> None:
        """Serve a client without TLS where that is allowed; PostgreSQL takes the cancelling of a query so anywhere."""
        if not (self.cancel_request or self.port.allow_plain):
            self._refuse(
                postgresql.error_response(_PLAIN_REFUSED), "client asked for no TLS, and gateway.allow_plain is not set"
            )
        elif self._find_service():
            if self.service.certificate_refusal(None):
                reason = f"the service {self.service.api_id} is for clients with certificates only"
                self._refuse(postgresql.error_response(_PLAIN_REFUSED), reason)
                return
            self._let_go()
            self._server.services.identified(self, self._socket)

    def _find_service(self) -> bool:
        try:
            self.service = self.port.find(self.server_name)
        except UnknownServiceError as error:
            self._refuse(alerts.refusal(alerts.UNRECOGNIZED_NAME), str(error))
            return False
        if not self.service.admits(self.ends.address):
            self._fail(f"the service {self.service.api_id} is not for this address")
            return False
        return True

    @override
    def _choose(self) -> None:
        if not self._find_service():
            return
        if self.port.negotiate and not self.asked and (self._hello is None or POSTGRESQL not in self._hello.alpn):
            reason = "client began with TLS, but not for the protocol postgresql (ALPN)"
            self._refuse(alerts.refusal(alerts.NO_APPLICATION_PROTOCOL), reason)
        elif self.service.passthrough:
            self._let_go()
            self._server.services.identified(self, self._socket)
        else:
            super()._choose()

    @override
    def _find_site(self, name: str) -> tuple[HostPolicy, Site | None]:
        # Who says no name is served where there is one service: under its rules, then, and with its certificate.
        name = self.server_name or self.service.domain or name
        return self._server.sites.find(name, self._server.snapshot, self.port)

    @override
    def _shaken(self, tls: SSL.Connection) -> None:
        # The handshake lets in what has expired, for a request can be told so.
        reason = self.service.certificate_refusal(shown(tls))
        if reason:
            self._fail(f"the service {self.service.api_id} refused its client: {reason}")
        else:
            self._let_go()
            self._server.services.identified(self, self._socket, tls)
