"""An upgrade without a gap: another supervisor, of whatever is installed by now, takes over ports, data and traffic.

    the one before                                   the one after
    starts it, with the listening sockets
                                                     reads and checks the configuration      CHECKED
    control ends, the lock is let go        YOURS
                                                     takes the lock, copies the database,
                                                     writes its generation, forks its children;
                                                     all of its workers serve; it removes
                                                     the copy, and cannot be undone any more SERVING
    its workers drain, and it ends                   its control takes and answers changes

Until SERVING has come the workers of the one before accept connections, and the kernel's queues are never closed. If
it does not come, the one after is ended; the one before waits for the lock, which control holds as well, so that there
are never two writers; it puts the database back and starts its control again. Nothing that was acknowledged is lost by
that: the control of the one before has given its last answer when the copy is made, and that of the one after gives its
first when the copy is gone.

They speak over a pair of sockets, a word per message. SIGIO tells the one before that there is one.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import sys
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from gateway.certs.held import held
from gateway.config.own_ports import MOST_PORTS
from gateway.errors import GatewayError
from gateway.runtime.orphans import bind, unbind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VARIABLE = "GATEWAY_PREDECESSOR"
"""The environment variable that tells a new gateway whose place it takes."""

_CHECKED, _YOURS, _SERVING = b"checked", b"yours", b"serving"
_LONGEST_WORD = 16
_MOST_SOCKETS = 16 + MOST_PORTS
# Leaving takes control as long as its last answers, which it gives itself at most 30 seconds for.
_YOURS_SECONDS = 60.0
_NO_PROGRAM = 127


@dataclass(frozen=True, slots=True)
class Command:
    """How this process was started, to be able to start its successor."""

    program: str
    arguments: tuple[str, ...]
    directory: str

    @classmethod
    def of_this_process(cls) -> Command:
        """Tell how to start what is installed, under the same names, when it is asked for.

        An entry point is started by its path, so that its first line names the interpreter: it may be of another
        virtual environment by then. So may the directory, when its name leads to another one.
        """
        started = sys.argv[0]
        if os.access(started, os.X_OK):
            program, arguments = started, (started, *sys.argv[1:])
        else:
            program, arguments = sys.executable, (sys.executable, *sys.orig_argv[1:])
        named = os.environ.get("PWD", "")
        same = bool(named) and Path(named).is_dir() and Path(named).samefile(Path.cwd())
        return cls(program, arguments, named if same else str(Path.cwd()))


@dataclass(frozen=True, slots=True)
class _Estate:
    """What the one after is told: file descriptors, and the directory that it must agree about.

    ``keys`` is the page of ``certs.held``; a gateway from before that has none.
    """

    channel: int
    sockets: tuple[int, ...]
    data_dir: Path
    keys: int = -1


_ESTATE = TypeAdapter(_Estate)

# The kernel's <fcntl.h>: the signal goes to the thread that waits for it, and can kill none that does not.
_F_SETOWN_EX, _F_OWNER_TID = 15, 0


class News(Enum):
    """What the one before has learnt of the one after."""

    NOTHING = "nothing"
    CHECKED = "checked"
    SERVING = "serving"
    GONE = "gone"


class Successor:
    """The process that shall take over, as the one before sees it."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel

    @classmethod
    def start(cls, command: Command, ports: Sequence[socket.socket], data_dir: Path) -> Successor:
        """Start it in a process group of its own. Raises OSError when there can be no other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fcntl.fcntl(ours, _F_SETOWN_EX, struct.pack("ii", _F_OWNER_TID, threading.get_native_id()))
            fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
            listening = tuple(sock.fileno() for sock in ports)
            estate = _Estate(theirs.fileno(), listening, data_dir, held().fd)
            try:
                parent, pid = os.getpid(), os.fork()
            except OSError:
                ours.close()
                raise
            if not pid:
                _become(command, (estate.channel, *listening, estate.keys), estate, parent)
        return cls(pid, ours)

    def news(self) -> News:
        """Return what it said last. GONE is also that it says what nobody says."""
        try:
            word = self._channel.recv(_LONGEST_WORD)
        except BlockingIOError:
            return News.NOTHING
        except OSError:
            return News.GONE
        return {_CHECKED: News.CHECKED, _SERVING: News.SERVING}.get(word, News.GONE)

    def hand_over(self) -> None:
        """Tell it that the lock is free. That it is gone shows as news."""
        try:
            self._channel.send(_YOURS)
        except OSError:
            return

    def end(self, how: signal.Signals) -> None:
        """Send the signal: SIGTERM to the supervisor, anything harder to its whole group."""
        try:
            if how is signal.SIGTERM:
                os.kill(self.pid, how)
            else:
                os.killpg(self.pid, how)
        except ProcessLookupError:
            return

    def forget(self) -> None:
        """Say no more to it."""
        self._channel.close()


def _become(command: Command, inherited: Sequence[int], estate: _Estate, parent: int) -> None:
    """Be the successor, in the child: run the program with these descriptors open, until YOURS with its parent."""
    try:
        bind(parent)
        os.setpgid(0, 0)
        os.chdir(command.directory)
        for fd in inherited:
            os.set_inheritable(fd, True)  # noqa: FBT003 - its only argument
        environment = {**os.environ, VARIABLE: _ESTATE.dump_json(estate).decode()}
        os.execve(command.program, command.arguments, environment)  # noqa: S606 - what this process was started as
    except OSError as error:
        sys.stderr.write(f"error: cannot run {command.program}: {error.strerror}\n")
    finally:
        os._exit(_NO_PROGRAM)


class Predecessor:
    """The supervisor whose place is taken, as the one after sees it."""

    def __init__(self, channel: socket.socket, sockets: tuple[socket.socket, ...], data_dir: Path) -> None:
        self._channel = channel
        self.sockets = sockets
        self._data_dir = data_dir

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Predecessor | None:
        """Find it, if there is one. Raises GatewayError when what is said of it is not so."""
        told = environ.get(VARIABLE)
        if not told:
            return None
        try:
            estate = _ESTATE.validate_json(told)
            if len(estate.sockets) > _MOST_SOCKETS:
                raise ValueError("too many sockets")  # noqa: TRY301 - what is wrong is told in one place
            channel, *sockets = (_adopted(fd) for fd in (estate.channel, *estate.sockets))
            if not all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in sockets):
                raise ValueError("a socket does not listen")  # noqa: TRY301
            if estate.keys >= 0:
                held().adopt(estate.keys)
        except (ValidationError, ValueError, OSError) as error:
            raise GatewayError(f"{VARIABLE} is not what a gateway sets to start its successor: {error}") from error
        channel.settimeout(_YOURS_SECONDS)
        return cls(channel, tuple(sockets), estate.data_dir)

    def take_over(self, data_dir: Path) -> None:
        """Say that everything is checked, and wait until the lock on the data is free. Raises GatewayError."""
        if not (data_dir.is_dir() and data_dir.samefile(self._data_dir)):
            raise GatewayError(f"gateway.data_dir is {self._data_dir} until a stop and a start make it {data_dir}")
        try:
            self._channel.send(_CHECKED)
            word = self._channel.recv(_LONGEST_WORD)
        except OSError as error:
            raise GatewayError(f"the gateway that asked for this upgrade does not answer: {error}") from error
        if word != _YOURS:
            raise GatewayError("the gateway that asked for this upgrade is gone, or wants it no more")
        unbind()

    def tell_serving(self) -> None:
        """Say that all workers serve; whoever should hear it may be gone."""
        try:
            self._channel.send(_SERVING)
        except OSError:
            return

    def forget(self) -> None:
        """Say no more to it."""
        self._channel.close()


def _adopted(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    sock.settimeout(0)
    return sock
