"""The listening sockets, opened once by the supervisor and inherited by its children; and the lock on its data.

All workers accept on the same socket, so a connection that waits in its queue belongs to whoever is free: a
worker that dies takes no waiting client with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.own_ports import own_port
from gateway.config.problems import Problem, Severity
from gateway.errors import ConfigurationError, StoreError
from gateway.runtime import orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.config.load import Configuration
    from gateway.config.settings import Settings

_BACKLOG = 4096
"""Connections that may wait; the kernel cuts it to ``net.core.somaxconn``."""

_LOCK = "gateway.lock"
_UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
_MEMORY = ("/dev/shm",)  # noqa: S108 - where a directory of ours is made, that nobody else can enter
_ELSEWHERE = "gateway-workers-"
_PID_WIDTH = 10

_CURES = {
    errno.EADDRINUSE: "stop what listens there, or choose another port",
    errno.EACCES: "choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "use an address of this host, or leave it empty for all",
}


class PortsInUseError(ConfigurationError):
    """The only trouble is that other processes listen on this gateway's ports; they may be about to end."""


class DataInUseError(StoreError):
    """Another gateway has the lock on the data directory."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """``main`` and ``redirect`` are the workers'; ``control`` and ``workers``, a UNIX socket, control's.

    ``services``, by port, are those that definitions ask for; they come and go (``service_ports``).
    """

    main: socket.socket
    redirect: socket.socket | None
    control: socket.socket
    workers: socket.socket
    services: dict[int, socket.socket] = field(default_factory=dict)

    @property
    def ports(self) -> tuple[socket.socket, ...]:
        """Those that the network reaches."""
        return tuple(sock for sock in (self.main, self.redirect, self.control, *self.services.values()) if sock)

    def close(self) -> None:
        """Stop listening, as far as this process is concerned."""
        for sock in (*self.ports, self.workers):
            sock.close()


def own_ports(configuration: Configuration) -> dict[int, str]:
    """Return the ports that definitions want for themselves, each with the key that asks for it."""
    wanted = {
        own_port(api, configuration.settings): f"apis[{api.api_id}].listen_port" for api in reversed(configuration.apis)
    }
    return {port: key for port, key in wanted.items() if port}


def open_all(
    settings: Settings, inherited: Sequence[socket.socket] = (), services: Mapping[int, str] | None = None
) -> Listeners:
    """Open every socket that ``settings`` ask for, or take it from those ``inherited``, which are closed otherwise.

    ``services`` are the ports of definitions, each with the key that asks for it. One that cannot be opened is left
    out, for control to try again, unless ``gateway.strict`` is true.

    Raises ConfigurationError with each of the others that cannot be opened; `PortsInUseError` if that is all.
    """
    gateway = settings.gateway
    redirect = gateway.http_redirect
    problems: list[Problem] = []
    reasons: set[int | None] = set()
    offered = {_bound(sock): sock for sock in inherited}
    with contextlib.ExitStack() as opened:

        def attempt(key: str, where: str, cure: str, listen: Callable[[], socket.socket]) -> socket.socket | None:
            try:
                return opened.enter_context(listen())
            except OSError as error:
                problems.append(cannot_listen(key, where, error, cure))
                reasons.add(error.errno)
                return None

        def tcp(key: str, address: str, port: int) -> socket.socket | None:
            return attempt(key, f"{address or '*'} port {port}", "", lambda: listen(address, port, offered))

        main = tcp("listen_port", settings.listen_address, settings.listen_port)
        plain = tcp("gateway.http_redirect.port", settings.listen_address, redirect.port) if redirect else None
        control = tcp("control_api_port", gateway.control_address, settings.control_api_port)
        fatal = len(problems)
        more = {port: tcp(key, settings.listen_address, port) for port, key in (services or {}).items()}
        if not gateway.strict:
            del problems[fatal:]
        cure = "choose a shorter path, on a local file system"
        where = str(gateway.data_dir)
        workers = attempt(
            "gateway.data_dir", where, cure, lambda: _listen_to_workers(gateway.data_dir, alone=not inherited)
        )
        if problems or not main or not control or not workers:
            raise (PortsInUseError if reasons == {errno.EADDRINUSE} else ConfigurationError)(problems)
        opened.pop_all()
    for unwanted in offered.values():
        unwanted.close()
    return Listeners(main, plain, control, workers, {port: sock for port, sock in more.items() if sock})


def cannot_listen(key: str, where: str, error: OSError, cure: str = "") -> Problem:
    """Tell why a socket that ``key`` asks for cannot be opened."""
    message = f"cannot listen on {where}: {error.strerror or error}"
    return Problem(Severity.ERROR, key, "", message, _CURES.get(error.errno or 0, cure))


def _bound(sock: socket.socket) -> tuple[int, str, int]:
    host, port = sock.getsockname()[:2]
    return sock.family, host, port


def listen(address: str, port: int, offered: dict[tuple[int, str, int], socket.socket] | None = None) -> socket.socket:
    """Listen on a TCP port of one address, or take the socket ``offered``. Raises OSError.

    An ``address`` of "" or "::" means every address of both families.
    """
    if not address and not socket.has_dualstack_ipv6():
        address = "0.0.0.0"  # noqa: S104 - this is what an empty listen_address asks for
    family, _, _, _, where = socket.getaddrinfo(
        address or "::", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    if sock := (offered if offered is not None else {}).pop((family, str(where[0]), int(where[1])), None):
        return sock
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(where)
        sock.listen(_BACKLOG)
        sock.settimeout(0)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_to_workers(data_dir: Path, *, alone: bool) -> socket.socket:
    """Listen on a UNIX socket of this user alone, and when ``alone`` remove what killed gateways left of theirs.

    It is named after the supervisor: the workers of another one may be serving beside its own. Where the data
    directory cannot be written it is in a directory of its own, in memory if there is such a place.
    """
    name = f"workers-{os.getpid()}.sock"
    try:
        for left in data_dir.glob("workers*.sock") if alone else (data_dir / name,):
            left.unlink(missing_ok=True)
        return _listen_unix(data_dir / name)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        place = next((one for one in _MEMORY if os.access(one, os.W_OK)), None)
        return _listen_unix(Path(tempfile.mkdtemp(prefix=_ELSEWHERE, dir=place)) / name)


def forget_workers(path: Path) -> None:
    """Remove the name of the socket on which workers were listened to."""
    with contextlib.suppress(OSError):  # a disk that became read-only keeps it
        path.unlink()
        if path.parent.name.startswith(_ELSEWHERE):
            path.parent.rmdir()


def _listen_unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen()
        sock.settimeout(0)
    except BaseException:
        sock.close()
        raise
    return sock


def lock(data_dir: Path) -> int:
    """Make ``data_dir`` this gateway's own for as long as the returned descriptor is open; the file has our pid.

    Raises DataInUseError when another gateway has it: two writers would undo each other's changes. Raises StoreError.
    """
    path = data_dir / _LOCK
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _lock_file(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; gateway.data_dir must be a writable directory") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise DataInUseError(
            f"{data_dir} is in use by another gateway; stop it, or give this one its own gateway.data_dir"
        ) from error
    _sign(fd, b"%d" % os.getpid())
    return fd


def _lock_file(path: Path) -> int:
    """Open the file to lock; if none can be made, open the directory, which serves as well."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        return os.open(path if path.exists() else path.parent, os.O_RDONLY | os.O_CLOEXEC)


def unlock(fd: int) -> None:
    """Let go of the lock, and leave no process id: this gateway has ended in good order."""
    _sign(fd, b"")
    os.close(fd)


def _sign(fd: int, holder: bytes) -> None:
    """Write this process's id over the old one: that needs no more room on a disk that may be full."""
    with contextlib.suppress(OSError):
        os.pwrite(fd, holder.ljust(_PID_WIDTH) + b"\n", 0)


def was_killed(data_dir: Path) -> bool:
    """Return whether the last gateway to use the directory was killed, so that its children may still be ending."""
    try:
        pid = int((data_dir / _LOCK).read_bytes())
    except (OSError, ValueError):
        return False
    return pid == os.getpid() or not orphans.is_alive(pid)  # after a container's restart both are process 1
