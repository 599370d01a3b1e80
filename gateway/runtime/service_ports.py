"""The sockets that definitions ask for, which come and go with reloads while the processes that share them stay.

    control  opens them, before anything is written: one that cannot be opened is out of service alone, and tried again
       │  leaves each with the supervisor, which keeps it for the children that it starts later,
       │  so that neither the end of control nor that of a worker closes a port;
       ▼
    workers  ask control for those that they lack, when the generation that wants them is ordered

All of them accept on the same socket, so who waits in its queue belongs to no worker (see ``listeners``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING

from gateway.config.own_ports import MOST_PORTS, own_port
from gateway.config.standing import Refused, Standing
from gateway.errors import ConfigurationError, GatewayError
from gateway.runtime import listeners
from gateway.runtime.messages import Sockets, encode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Set
    from pathlib import Path

    from gateway.config.load import Configuration
    from gateway.config.problems import Problem
    from gateway.observe.events import EventLog
    from gateway.proxy.server import ProxyServer
    from gateway.runtime.role import Inherited

_WORD_BYTES = 64
_ANSWER_BYTES = 16 * MOST_PORTS
_PATIENCE_SECONDS = 5.0


class Deposit:
    """The way of sockets from control to the supervisor. Make it before forking; what is in it outlives control."""

    def __init__(self) -> None:
        self._in, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._in.settimeout(_PATIENCE_SECONDS)
        self._out.settimeout(0)

    def leave(self, port: int, sock: socket.socket) -> None:
        """Have the supervisor keep ``sock``. Raises OSError."""
        socket.send_fds(self._in, [b"%d" % port], [sock.fileno()])

    def give_up(self, port: int) -> None:
        """Have the supervisor close the socket of ``port``. Raises OSError."""
        self._in.send(b"%d" % port)

    def collect(self, sockets: dict[int, socket.socket]) -> None:
        """Bring ``sockets``, by their ports, up to what was left and given up."""
        with contextlib.suppress(BlockingIOError):
            while True:
                word, descriptors, _, _ = socket.recv_fds(self._out, _WORD_BYTES, 1)
                port = int(word)
                if port in sockets:
                    sockets.pop(port).close()
                if descriptors:
                    sockets[port] = _adopted(descriptors[0])

    def close(self) -> None:
        """Have no part in it, in a process that neither leaves anything nor collects it."""
        self._in.close()
        self._out.close()


class Openings:
    """Control's part: it opens the ports that a configuration wants, and closes those that none wants any more.

    ``missing`` are the ports that could not be opened, each with the reason.
    """

    def __init__(self, inherited: Inherited, events: EventLog) -> None:
        self._inherited = inherited
        self._events = events
        self._untold = False
        self.missing: dict[int, Problem] = {}

    def refused(self, configuration: Configuration) -> tuple[Refused, ...]:
        """Return the definitions that are out of service because their port is missing."""
        settings = configuration.settings
        return tuple(
            Refused(
                api_id=api.api_id,
                source=configuration.homes.get(api.api_id) or str(self._inherited.config_path),
                standing=Standing.CLOSED,
                problems=(problem,),
            )
            for api in configuration.apis
            if (problem := self.missing.get(own_port(api, settings)))
        )

    @property
    def _sockets(self) -> dict[int, socket.socket]:
        return self._inherited.listeners.services

    @contextlib.contextmanager
    def opened(self, configuration: Configuration) -> Iterator[Collection[int]]:
        """Open what ``configuration`` wants and is not there, and yield it; close it again if the block fails.

        Raises ConfigurationError with each port that cannot be opened, if ``gateway.strict`` is true.
        """
        fresh, missing = self._open(listeners.own_ports(configuration))
        if missing and configuration.settings.gateway.strict:
            _close_all(fresh)
            raise ConfigurationError([*missing.values()])
        self._untold = self._untold or bool(fresh)
        try:
            self._sockets.update(fresh)
            for port, sock in fresh.items():
                self._inherited.deposit.leave(port, sock)
            yield fresh.keys()
        except BaseException:
            self._close(fresh)
            self._tell()
            raise
        for port in fresh:
            self._events.info("port.opened", "another port is served", port=port)
        for port in missing.keys() - self.missing.keys():
            said = f"{missing[port].message}; it is tried again"
            self._events.error("port.missing", said, port=port, key=missing[port].path)
        self.missing = missing

    def _open(self, wanted: Mapping[int, str]) -> tuple[dict[int, socket.socket], dict[int, Problem]]:
        address = self._inherited.settings.listen_address
        missing: dict[int, Problem] = {}
        opened: dict[int, socket.socket] = {}
        for port, key in wanted.items():
            try:
                if port not in self._sockets:
                    opened[port] = listeners.listen(address, port)
            except OSError as error:
                missing[port] = listeners.cannot_listen(key, f"{address or '*'} port {port}", error)
        return opened, missing

    def close_all_but(self, configuration: Configuration) -> None:
        """Close what ``configuration`` does not want; the workers have closed theirs, and serve what is connected."""
        unwanted = self._sockets.keys() - listeners.own_ports(configuration).keys()
        self._close(unwanted)
        for port in unwanted:
            self._events.info("port.closed", "nothing is served there any more", port=port)
        self._tell()

    def _tell(self) -> None:
        """Have the supervisor look, as it does at each signal: never shall much wait for it."""
        if self._untold:
            self._inherited.tell_supervisor()
            self._untold = False

    def _close(self, ports: Collection[int]) -> None:
        for port in tuple(ports):
            if sock := self._sockets.pop(port, None):
                sock.close()
            with contextlib.suppress(OSError):  # the supervisor is gone, and so is soon everything
                self._inherited.deposit.give_up(port)
        self._untold = self._untold or bool(ports)

    def reconcile(self, configuration: Configuration) -> None:
        """Begin with the ports that ``configuration`` wants: the previous control may have died during a change."""
        try:
            with self.opened(configuration):
                pass
        except ConfigurationError as error:
            self._events.error("port.missing", f"not everything is served: {error}")
        self.close_all_but(configuration)


def hand_out(sockets: Mapping[int, socket.socket], writer: asyncio.StreamWriter) -> None:
    """Answer a worker that asks for `Sockets`. Raises OSError."""
    with writer.get_extra_info("socket").dup() as connection:
        ports = list(sockets)
        socket.send_fds(connection, [json.dumps(ports).encode()], [sockets[port].fileno() for port in ports])


class WorkerPorts:
    """A worker's part: ``sockets`` are those that it has, by port, where it inherited or got them."""

    def __init__(self, sockets: dict[int, socket.socket], control: Path) -> None:
        self._sockets = sockets
        self._control = control

    async def fetch(self, wanted: Set[int]) -> None:
        """Get what is wanted and not there from control, as far as control has it. Raises GatewayError."""
        if not wanted - self._sockets.keys():
            return
        try:
            handed = await asyncio.to_thread(_ask, self._control)
        except (OSError, ValueError) as error:
            raise GatewayError(f"control does not hand over the sockets of services: {error}") from error
        for port, sock in handed.items():
            if port in wanted and port not in self._sockets:
                self._sockets[port] = sock
            else:
                sock.close()

    def serve(self, server: ProxyServer, wanted: Set[int]) -> None:
        """Have ``server`` listen on what its snapshot wants, and close the rest, on which it has stopped."""
        for port in self._sockets.keys() - wanted:
            self._sockets.pop(port).close()
        for port, sock in self._sockets.items():
            server.services.listen(port, sock)


def _ask(control: Path) -> dict[int, socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE_SECONDS)
        connection.connect(os.fspath(control))
        connection.sendall(encode(Sockets()))
        answer, descriptors, _, _ = socket.recv_fds(connection, _ANSWER_BYTES, MOST_PORTS)
    sockets = [_adopted(descriptor) for descriptor in descriptors]
    ports = json.loads(answer or b"[]")
    if len(ports) != len(sockets):
        _close_all(dict(enumerate(sockets)))
        raise ValueError(f"{len(sockets)} sockets came for {len(ports)} ports; raise the limit on open files")
    return dict(zip(ports, sockets, strict=True))


def _close_all(sockets: Mapping[int, socket.socket]) -> None:
    for sock in sockets.values():
        sock.close()


def _adopted(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)  # what is received is not so by itself
    return sock
