"""The ports that definitions open, in one worker: they come and go with the snapshots, connections stay until they end.

What services are spoken to is here; what is asked of APIs is no other than on the gateway's own port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.observe import access_log
from gateway.proxy.listener import Listener
from gateway.proxy.service_connection import ServiceConnection
from gateway.proxy.service_handshake import ServiceHandshake
from gateway.tls.transport import TlsTransport

if TYPE_CHECKING:
    import socket

    from OpenSSL import SSL

    from gateway.http.proxy_protocol import Ends
    from gateway.proxy.server import ProxyServer
    from gateway.routing.services import ServicePort
    from gateway.routing.snapshot import Snapshot


class Services:
    """The listener on the ports of services and APIs. It begins the connections of services."""

    def __init__(self, server: ProxyServer) -> None:
        self._server = server
        self._listeners: dict[int, Listener] = {}
        self.ports: dict[int, ServicePort] = {}

    def listen(self, port: int, sock: socket.socket) -> None:
        """Accept connections to ``port``, if it does not do so already."""
        if port in self._listeners:
            return
        self._listeners[port] = Listener(self._server, sock, redirect=False, own_port=port)

    def adopt(self, snapshot: Snapshot) -> None:
        """Serve its services from now on; who waits to be accepted on a port that goes is served as before."""
        for port in self._listeners.keys() - snapshot.own_ports:
            self._listeners.pop(port).stop()
        self.ports = snapshot.services

    def stop(self) -> None:
        """Accept nothing more."""
        for listener in self._listeners.values():
            listener.stop()
        self._listeners.clear()

    def begin(self, sock: socket.socket, ends: Ends, port: ServicePort) -> None:
        """Begin to serve an accepted connection."""
        server = self._server
        if port.protocol == "tls":
            handshake = ServiceHandshake(server, sock, ends, port)
            server.enter(handshake)
            handshake.start()
            return
        connection = ServiceConnection(server, server.peer(ends), port.find(""), protocol=access_log.TCP)
        server.enter(connection)
        server.connect(sock, connection)

    def identified(self, handshake: ServiceHandshake, sock: socket.socket, tls: SSL.Connection | None = None) -> None:
        """Go on with a connection of which it is known for which service it is; with ``tls`` its TLS ends here."""
        server = self._server
        peer = server.peer(handshake.ends, tls, handshake.server_name, handshake.policy)
        connection = ServiceConnection(
            server,
            peer,
            handshake.service,
            protocol=access_log.TLS,
            passes_request_for_tls=tls is None and handshake.asked,
            cancel_request=handshake.cancel_request,
        )
        server.succeed(handshake, connection)
        if tls is None:
            server.connect(sock, connection)
            return
        server.count("handshakes")
        TlsTransport(server.loop, sock, tls, connection, {"peername": handshake.ends.address, "socket": sock}).start()
