"""What whoever started the gateway is told of it: systemd's notifications (sd_notify(3)), and a file with the PID."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from gateway import files
from gateway.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.observe.events import EventLog


class Service:
    """The gateway as a service. Nobody need listen: without ``NOTIFY_SOCKET`` and a file nothing is told."""

    def __init__(self, environ: Mapping[str, str], pid_file: Path | None, events: EventLog) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._pid_file = pid_file
        self._events = events

    def has_main_process(self) -> None:
        """Put this process into the PID file: it is the one to send signals to."""
        if self._pid_file is None:
            return
        try:
            files.write(self._pid_file, b"%d\n" % os.getpid(), mode=0o644)
        except FileError as error:
            self._events.error("service.pid_file", str(error))

    def ready(self) -> None:
        """Tell that all workers serve what is configured."""
        self._notify("READY=1")

    def reloading(self) -> None:
        """Tell that the configuration is read again; `ready` ends that."""
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the gateway ends."""
        self._notify("STOPPING=1")

    def replaced_by(self, pid: int) -> None:
        """Tell that another process is the gateway from now on."""
        self._notify(f"MAINPID={pid}\nREADY=1")

    def ended(self) -> None:
        """Remove the PID file, if it is still of this process."""
        if self._pid_file is not None:
            with contextlib.suppress(OSError, ValueError):
                if int(self._pid_file.read_text(encoding="ascii")) == os.getpid():
                    self._pid_file.unlink()

    def _notify(self, message: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        # A leading @ is the zero byte of Linux's abstract names.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0)
            sock.sendto(message.encode(), address)
