"""The access log: one line per request, formatted and written in batches, off the request path.

A request only appends a tuple. Once per tick the worker formats what has gathered and hands it to a thread, whose
blocking writes never stop the loop. When the disk or the reader of a pipe cannot follow, at most 8 MiB wait; what comes
after is counted and dropped, and the count is written when there is room again: a log must not take the service down.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.http.h1_server import Peer

Record = tuple[float, str, "Peer", bytes, bytes, bytes, int, int, int, int, float, str, float, bytes]
"""Started (monotonic seconds), client address, connection, host, method, target, minor version, status, body bytes
received and sent, seconds it took, upstream ("" for none), seconds until its first byte (0 for none), request id."""

_MAX_WAITING_BYTES = 8 << 20
# POSIX lets writes of several processes to one pipe mix unless they are this short; to a file, O_APPEND is enough.
_PIPE_BUF = 4096
_REOPEN_CHECK_SECONDS = 1.0


class AccessLog:
    """A log in ``json`` or ``common`` (NCSA combined without referrer) lines to a file, or to standard output."""

    def __init__(self, style: Literal["json", "common"], path: str, on_loss: Callable[[int], None]) -> None:
        self._format = _json_line if style == "json" else _common_line
        self._path = None if path in ("stdout", "stderr") else Path(path)
        self._stream = sys.stderr if path == "stderr" else sys.stdout
        self._on_loss = on_loss
        self._records: list[Record] = []
        self.append = self._records.append
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting_bytes = self._lost = 0
        self._fd = self._open()
        self._thread = threading.Thread(target=self._write_batches, name="access-log", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Format what has gathered and hand it to the writing thread. Called once per tick."""
        if not self._records:
            return
        records = self._records[:]
        self._records.clear()
        if self._waiting_bytes > _MAX_WAITING_BYTES:
            self._lost += len(records)
            return
        if self._lost:
            self._on_loss(self._lost)
            self._lost = 0
        epoch = time.time() - time.monotonic()
        line = self._format
        batch = "".join([line(record, epoch) for record in records]).encode("latin-1")
        self._waiting_bytes += len(batch)
        self._waiting.put(batch)

    def close(self, seconds: float = 2.0) -> None:
        """Write what has gathered, for at most ``seconds``, and end the thread."""
        self.flush()
        self._waiting.put(None)
        self._thread.join(seconds)

    def _open(self) -> int:
        if self._path is None:
            return self._stream.fileno()
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _write_batches(self) -> None:
        checked = time.monotonic()
        while (batch := self._waiting.get()) is not None:
            if self._path is not None and time.monotonic() - checked > _REOPEN_CHECK_SECONDS:
                checked = time.monotonic()
                self._follow_rotation()
            try:
                for piece in _pieces(batch) if self._path is None else [batch]:
                    _write_all(self._fd, piece)
            except OSError:
                self._lost += batch.count(b"\n")
            self._waiting_bytes -= len(batch)

    def _follow_rotation(self) -> None:
        """Open the file anew when its name stands for another file, as logrotate leaves it."""
        assert self._path is not None
        try:
            here, there = os.fstat(self._fd), self._path.stat()
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return
        except OSError:
            pass
        try:
            fd = self._open()
        except OSError:
            return  # keep writing to the old file
        os.close(self._fd)
        self._fd = fd


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _pieces(batch: bytes) -> list[bytes]:
    """Cut a batch at line ends into pieces that a pipe takes whole."""
    pieces = []
    start = 0
    while len(batch) - start > _PIPE_BUF:
        end = batch.rfind(b"\n", start, start + _PIPE_BUF) + 1 or batch.index(b"\n", start) + 1
        pieces.append(batch[start:end])
        start = end
    pieces.append(batch[start:])
    return pieces


_second = -1
_second_text = _common_second_text = ""


def _timestamp(moment: float) -> None:
    """Write the texts of a second once for all the lines of that second."""
    global _second, _second_text, _common_second_text  # noqa: PLW0603 - a cache of one, in one thread
    if int(moment) != _second:
        _second = int(moment)
        utc = time.gmtime(_second)
        _second_text = time.strftime("%Y-%m-%dT%H:%M:%S", utc)
        _common_second_text = time.strftime("%d/%b/%Y:%H:%M:%S +0000", utc)


def _quoted(value: str) -> str:
    """Quote for JSON. The grammar of requests leaves only these two to escape."""
    return json.dumps(value) if '"' in value or "\\" in value else f'"{value}"'


def _json_line(record: Record, epoch: float) -> str:
    (
        started,
        client,
        peer,
        host,
        method,
        target,
        _,
        status,
        received,
        sent,
        took,
        upstream,
        waited,
        request_id,
    ) = record
    moment = epoch + started
    _timestamp(moment)
    return (
        f'{{"time":"{_second_text}.{int(moment % 1 * 1000):03d}Z","client":"{client}","server_name":{_quoted(peer.server_name)},'
        f'"host":{_quoted(host.decode("latin-1"))},"method":"{method.decode()}",'
        f'"target":{_quoted(target.decode("latin-1"))},"status":{status},"received":{received},"sent":{sent},'
        f'"ms":{took * 1000:.2f},"upstream":"{upstream}","upstream_ms":{waited * 1000:.2f},'
        f'"tls":"{peer.tls_version}","cipher":"{peer.tls_cipher}","request_id":{_quoted(request_id.decode("latin-1"))}}}\n'
    )


def _common_line(record: Record, epoch: float) -> str:
    started, client, _, _, method, target, minor, status, _, sent, *_ = record
    _timestamp(epoch + started)
    quoted = target.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    request = f"{method.decode()} {quoted} HTTP/1.{minor}"
    return f'{client} - - [{_common_second_text}] "{request}" {status} {sent or "-"}\n'
