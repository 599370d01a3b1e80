"""The access log: one line per request, formatted and written in batches.

A request only appends a tuple. A batch is formatted when it is full, or at the next tick: small batches, so that no
request waits for the lines of many others. A file is written to directly, as every server does. A pipe's or terminal's
reader may have stalled, so those are written to only while they take a whole piece at once. What they do not take
waits, up to 8 MiB; what comes after is dropped and counted: a log must not take the service down.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.observe import whole_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.http.downstream import Peer

Record = tuple[float, str, "Peer", bytes, bytes, bytes, int, int, int, int, float, str, float, bytes]
"""Started (monotonic seconds), client address, connection, host, method, target, minor version, status, body bytes
received and sent, seconds it took, upstream ("" for none), seconds until its first byte (0 for none), request id."""

_PROTOCOLS = ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "tcp", "tls")
"""By what a record calls the minor version: 2 stands for HTTP/2 (``http.head.RequestHead``)."""

TCP, TLS = 3, 4
"""What it is of a connection to a service, whose method is ``-`` and whose target is the name of the service."""

_BATCH = 64
_MAX_WAITING_BYTES = 8 << 20
# A pipe takes this much whole or not at all (POSIX), so the lines of several workers never mix.
_PIPE_BUF = select.PIPE_BUF


class AccessLog:
    """A log in ``json`` or ``common`` (NCSA) lines to a file, or to "stdout" or "stderr".

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, style: Literal["json", "common"], path: str, on_loss: Callable[[int], None]) -> None:
        self._format = _json_line if style == "json" else _common_line
        self._path = None if path in ("stdout", "stderr") else Path(path)
        self._on_loss = on_loss
        self._records: list[Record] = []
        self._waiting = b""
        self._lost = 0
        self._fd = _open(self._path) if self._path is not None else 1 if path == "stdout" else 2
        self._writable = select.poll()
        self._writable.register(self._fd, select.POLLOUT)
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def append(self, record: Record) -> None:
        """Take a line's facts."""
        self._records.append(record)
        if len(self._records) >= _BATCH:
            self._write()

    def flush(self) -> None:
        """Write what has gathered, to the file that has the name now: logrotate may have put another there."""
        if self._path is not None and not _is_open_as(self._fd, self._path):
            with contextlib.suppress(OSError):  # if it cannot be opened, the old file goes on
                fd = _open(self._path)
                os.close(self._fd)
                self._fd = fd
        self._write()
        if self._lost and not self._waiting:
            self._on_loss(self._lost)
            self._lost = 0

    def close(self) -> None:
        """Write what can be written, and end."""
        self.flush()
        if self._path is not None:
            os.close(self._fd)

    def _write(self) -> None:
        records, self._records = self._records, []
        if len(self._waiting) > _MAX_WAITING_BYTES:
            self._lost += len(records)
        elif records:
            epoch = time.time() - time.monotonic()
            line = self._format
            self._waiting += "".join([line(record, epoch) for record in records]).encode("latin-1", "backslashreplace")
        try:
            if self._is_file:
                self._waiting = self._waiting[whole_lines.append(self._fd, self._waiting) :]
                self._lose_waiting()  # what a full disk has no room for
            else:
                while self._waiting and self._writable.poll(0):
                    self._waiting = self._waiting[os.write(self._fd, _piece(self._waiting)) :]
        except OSError:  # a closed pipe
            self._lose_waiting()

    def _lose_waiting(self) -> None:
        self._lost += self._waiting.count(b"\n")
        self._waiting = b""


def trouble(path: str) -> str:
    """Say why a log at ``path`` could not be opened, or nothing when it could; leaves no trace."""
    file = Path(path)
    if path in ("stdout", "stderr"):
        return ""
    try:
        there = file.exists()
    except OSError as error:  # a name that is too long
        return f"cannot be opened: {error.strerror}"
    if there:
        return "" if file.is_file() and os.access(file, os.W_OK) else "is not a file that this user can write"
    return "" if os.access(file.parent, os.W_OK | os.X_OK) else "is in no directory that this user can write to"


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _is_open_as(fd: int, path: Path) -> bool:
    try:
        here, there = os.fstat(fd), path.stat()
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _piece(waiting: bytes) -> bytes:
    """Cut off as many whole lines as a pipe takes at once; of a line that is longer than that, a part."""
    if len(waiting) <= _PIPE_BUF:
        return waiting
    return waiting[: waiting.rfind(b"\n", 0, _PIPE_BUF) + 1 or _PIPE_BUF]


_second = -1
_second_text = _common_second_text = ""


def _turn_to(second: int) -> None:
    """Write the texts of a second once for all the lines of that second."""
    global _second, _second_text, _common_second_text  # noqa: PLW0603 - a cache of one
    _second = second
    utc = time.gmtime(second)
    _second_text = time.strftime("%Y-%m-%dT%H:%M:%S", utc)
    _common_second_text = time.strftime("%d/%b/%Y:%H:%M:%S +0000", utc)


def _escaped(value: str) -> str:
    """Escape for JSON and for a line of text."""
    if value.isprintable() and '"' not in value and "\\" not in value:
        return value
    return json.dumps(value)[1:-1]


def _json_line(record: Record, epoch: float) -> str:
    started, client, peer, host, method, target, minor, status, received, sent, took, upstream, waited, request_id = (
        record
    )
    moment = epoch + started
    second = int(moment)
    if second != _second:
        _turn_to(second)
    return (
        f'{{"time":"{_second_text}.{int((moment - second) * 1000):03d}Z","client":"{client}",'
        f'"server_name":"{_escaped(peer.server_name)}","host":"{host.decode("latin-1")}",'
        f'"method":"{method.decode("latin-1")}","target":"{_escaped(target.decode("latin-1"))}",'
        f'"protocol":"{_PROTOCOLS[minor]}","status":{status},'
        f'"received":{received},"sent":{sent},"us":{int(took * 1e6)},"upstream":"{upstream}",'
        f'"upstream_us":{int(waited * 1e6)},"tls":"{peer.tls_version}","cipher":"{peer.tls_cipher}",'
        f'"request_id":"{request_id.decode("latin-1")}"}}\n'
    )


def _common_line(record: Record, epoch: float) -> str:
    started, client, _, _, method, target, minor, status, _, sent, *_ = record
    second = int(epoch + started)
    if second != _second:
        _turn_to(second)
    request = f"{method.decode()} {_escaped(target.decode('latin-1'))} {_PROTOCOLS[minor]}"
    return f'{client} - - [{_common_second_text}] "{request}" {status} {sent or "-"}\n'
