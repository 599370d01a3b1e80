"""The control port: uvicorn's protocol over plain TCP, or over the gateway's own TLS.

uvicorn takes the standard library's TLS contexts only. Those read private keys from files alone and carry no policy
over when the context of a connection is switched, so connections are accepted here, shake hands as those of clients
do (``tls.context``), and only then meet uvicorn. What is shown is looked up whenever the generation is not the one
of the last look, or when time has changed what is valid, so a connection that is made after a change was confirmed
shows what was changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from socket import SHUT_WR
from typing import TYPE_CHECKING, cast

import uvicorn
from OpenSSL import SSL
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.admin.declarations import Refusal
from gateway.admin.routes import refuse
from gateway.certs.choice import NEVER
from gateway.config.client_trust import with_crls
from gateway.errors import GatewayError, StoreError
from gateway.routing.admission import Admission
from gateway.routing.clients import ClientLists
from gateway.routing.policies import towards_clients
from gateway.store import control_certificate
from gateway.store.sqlite import Store
from gateway.tls import alerts
from gateway.tls.client_authentication import refusal, shown
from gateway.tls.context import accept, build_site
from gateway.tls.transport import TlsTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from gateway.certs.choice import Choice
    from gateway.certs.pem import CertificatePair
    from gateway.config.load import Configuration
    from gateway.config.settings import ControlTls
    from gateway.observe.events import EventLog
    from gateway.tls.client_authentication import ClientAuthentication
    from gateway.tls.client_certificates import ClientCertificate
    from gateway.tls.context import Site
    from gateway.tls.policy import TlsPolicy

_NEWCOMERS = 100
_CONNECTIONS = 1000
"""So many may be on their way to a protocol, and have one; the others wait in the kernel's queue."""
_PAUSE_SECONDS = 0.1
_TICKS_PER_SECOND = 10
"""Of uvicorn's."""
_SECONDS_PER_COMPLAINT = 1.0
_LAST_SECONDS = 1.0
"""What is left for handshakes when the port closes, and for clients to read why theirs has failed."""
_LAST_READS, _LAST_BYTES = 16, 16384


class ControlSite:
    """What the control port shows: the certificates that the store has for it now, under the clients' policy.

    With ``security.control_api_use_mutual_tls`` it asks for certificates as well, of everybody and for every path.
    """

    def __init__(self, data_dir: Path, events: EventLog) -> None:
        self._data_dir = data_dir
        self._events = events
        self._known: object = None
        self._made_of: object = None
        self._site: Site | None = None
        self._until = NEVER

    async def get(self, configuration: Configuration, generation: int) -> Site | None:
        """Return the site, or None when the port is to speak plain HTTP.

        Whatever is wrong leaves the last one. Raises GatewayError when there is none.
        """
        settings = configuration.settings
        wanted = settings.gateway.control_tls
        if wanted is None:
            self._known = self._made_of = self._site = None
            return None
        if self._known != (wanted, settings.http_server_options, settings.security, generation) or (
            time.time() >= self._until
        ):
            try:
                policy, _ = towards_clients(settings)
                choice, clients = await asyncio.to_thread(self._find, wanted, configuration)
                self._show(choice.chosen, policy, clients)
                self._known = wanted, settings.http_server_options, settings.security, generation
                self._until = choice.until
            except GatewayError as error:
                if self._site is None:
                    raise
                self._events.error("control.certificate", f"the control port keeps its certificate: {error}")
        return self._site

    async def refusal(
        self, configuration: Configuration, generation: int, certificate: ClientCertificate | None, *, encrypted: bool
    ) -> str:
        """Say why the client of a connection, which may be older than the rules, must not go on; "" if it may."""
        site = await self.get(configuration, generation)
        if site is None or site.clients is None:
            return ""
        return Admission(clients=site.clients.allowed).certificate_refusal(certificate, encrypted=encrypted)

    def _find(
        self, wanted: ControlTls, configuration: Configuration
    ) -> tuple[Choice[CertificatePair], ClientAuthentication | None]:
        with contextlib.closing(Store.open(self._data_dir, writable=False)) as store:
            lists = ClientLists(with_crls(configuration, store.crls()))
            return control_certificate.find(wanted, store), lists.of_control()

    def _show(
        self, pairs: tuple[CertificatePair, ...], policy: TlsPolicy, clients: ClientAuthentication | None
    ) -> None:
        if not pairs:
            raise StoreError("there is no certificate for the control port; name one in gateway.control_tls")
        made_of = pairs, policy, clients
        if made_of == self._made_of:
            return
        self._site = build_site("the control port", pairs, policy, protocols=(b"http/1.1",), clients=clients)
        self._made_of = made_of
        shown = ", ".join(pair.fingerprint for pair in pairs)
        self._events.info("control.certificate", "the control port shows a certificate", fingerprint=shown)


class ControlPort(uvicorn.Server):
    """uvicorn's HTTP/1.1 on ``listener``, without hands on the process's signals: those are ``role``'s.

    ``current`` are configuration and generation of now. TLS connections begin on ``base``.
    """

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, base: SSL.Context, site: ControlSite,
        current: Callable[[], tuple[Configuration, int]], events: EventLog,
    ) -> None:  # fmt: skip
        super().__init__(config)
        self._listener = listener
        self._base = base
        self._certificate = site
        self._current = current
        self._events = events
        self._newcomers: set[asyncio.Task[None]] = set()
        self._complained = 0.0
        self._idle: dict[H11Protocol, tuple[object, float]] = {}
        self._loop = asyncio.get_running_loop()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self._resume()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop.remove_reader(self._listener)
        if self._newcomers:
            await asyncio.wait(self._newcomers, timeout=_LAST_SECONDS)
        for task in self._newcomers:
            task.cancel()
        await super().shutdown(sockets=[self._listener])

    @override
    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_SECOND == 0:
            self._close_idle()
        return await super().on_tick(counter)

    def _close_idle(self) -> None:
        """Close connections whose next request does not come, or drips: uvicorn waits for one for ever."""
        now, longest = time.monotonic(), self._current()[0].settings.gateway.limits.request_head_timeout
        idle: dict[H11Protocol, tuple[object, float]] = {}
        for connection in tuple(self.server_state.connections):
            assert isinstance(connection, H11Protocol)  # as configured
            last = cast("RequestResponseCycle | None", connection.cycle)  # None until the first request
            if last is None or last.response_complete:
                known, since = self._idle.get(connection, (last, now))
                idle[connection] = last, since if known is last else now
                if now - idle[connection][1] > longest:
                    connection.transport.close()
        self._idle = idle

    def _resume(self) -> None:
        if not self.should_exit:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        if len(self._newcomers) >= _NEWCOMERS or len(self.server_state.connections) >= _CONNECTIONS:
            self._pause()
            return
        try:
            sock, peer = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            self._complain("accept.paused", f"cannot accept: {error.strerror}")
            self._pause()
            return
        sock.settimeout(0)
        task = self._loop.create_task(self._welcome(sock, peer[0].removeprefix("::ffff:")), name="newcomer")
        self._newcomers.add(task)
        task.add_done_callback(self._newcomers.discard)

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_PAUSE_SECONDS, self._resume)

    async def _welcome(self, sock: socket.socket, address: str) -> None:
        """Bring a connection to its protocol, or end it."""
        configuration, generation = self._current()
        connection: SSL.Connection | None = None
        try:
            async with asyncio.timeout(configuration.settings.gateway.limits.tls_handshake_timeout):
                site = await self._certificate.get(configuration, generation)
                if site is None:
                    await self._loop.connect_accepted_socket(lambda: self._protocol(None, encrypted=False), sock)
                    return
                connection = accept(self._base, site, sock)
                await self._shake(connection, sock)
        except Exception as error:  # noqa: BLE001 - what a callback of OpenSSL raised comes out here as well
            reason = (refusal(connection) if connection else "") or alerts.explain(error)
            said = f"TLS handshake error from {address}: {reason}"
            self._complain("control.handshake", said)
            with contextlib.closing(sock), contextlib.suppress(OSError):
                await self._see_off(sock)
            return
        except BaseException:
            sock.close()
            raise
        # That it is encrypted is all that uvicorn asks of the "sslcontext".
        extra = {"socket": sock, "sslcontext": site.context}
        client = shown(connection) if site.clients else None
        TlsTransport(self._loop, sock, connection, self._protocol(client, encrypted=True), extra).start()

    async def _see_off(self, sock: socket.socket) -> None:
        """Let a client read why: to close while it still sends would take back the alert that is on its way."""
        sock.shutdown(SHUT_WR)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            async with asyncio.timeout(_LAST_SECONDS):
                for _ in range(_LAST_READS):
                    await _ready(sock, self._loop.add_reader, self._loop.remove_reader)
                    if not sock.recv(_LAST_BYTES):
                        return

    async def _shake(self, connection: SSL.Connection, sock: socket.socket) -> None:
        while True:
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                await _ready(sock, self._loop.add_reader, self._loop.remove_reader)
            except SSL.WantWriteError:
                await _ready(sock, self._loop.add_writer, self._loop.remove_writer)
            else:
                return

    def _protocol(self, certificate: ClientCertificate | None, *, encrypted: bool) -> asyncio.Protocol:
        """Make what uvicorn makes for each connection of its own servers; its requests are the client's."""
        protocol = H11Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        protocol.app = self._of_client(protocol.app, certificate, encrypted=encrypted)
        return protocol

    def _of_client(self, app: ASGIApp, certificate: ClientCertificate | None, *, encrypted: bool) -> ASGIApp:
        async def checked(scope: Scope, receive: Receive, send: Send) -> None:
            said = await self._certificate.refusal(*self._current(), certificate, encrypted=encrypted)
            if said:
                await refuse(Refusal(403, said), {"Connection": "close"})(scope, receive, send)
            else:
                await app(scope, receive, send)

        return checked

    def _complain(self, event: str, message: str) -> None:
        """Write a line, unless one was just written: strangers must not fill the log."""
        if time.monotonic() - self._complained >= _SECONDS_PER_COMPLAINT:
            self._complained = time.monotonic()
            self._events.warning(event, message)


async def _ready(sock: socket.socket, watch: Callable[..., None], unwatch: Callable[..., object]) -> None:
    """Wait until a socket can be read, or written."""
    ready = asyncio.Event()
    watch(sock, ready.set)
    try:
        await ready.wait()
    finally:
        unwatch(sock)
