"""The event log: one line on standard error for each thing that a person would want to know later.

    2026-11-22T02:15:48.123Z info  configuration applied  event=reload.applied generation=7 duration_ms=41

Every process of the gateway writes to the same descriptor. A line is one ``write`` of at most ``PIPE_BUF``
bytes, which POSIX makes atomic, so lines of different processes never mix. When the reader of the pipe has
stalled, or the disk is full, lines are dropped and counted: nobody's traffic waits for a log.

Text from the network or from a file may appear in any message or value. Whatever is not printable is escaped,
and runs of spaces are folded inside a message, so no such text can forge a line or a field.
"""

from __future__ import annotations

import logging
import re
import select
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from typing_extensions import override

from gateway.observe import whole_lines

if TYPE_CHECKING:
    from collections.abc import Callable

_MESSAGE_CHARACTERS = 2000
_VALUE_CHARACTERS = 500
_PLAIN = re.compile(r'[^\s"=\\]+')


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EventLog:
    """Writes events to a descriptor, each with the fields that this log always carries, such as the role."""

    def __init__(self, fd: int = 2, *, clock: Callable[[], datetime] = _utc_now, **always: object) -> None:
        self._fd = fd
        self._clock = clock
        self._always = always
        self._lost = 0

    def bind(self, **always: object) -> EventLog:
        """Return a log that writes to the same place with more fields on every line."""
        return EventLog(self._fd, clock=self._clock, **{**self._always, **always})

    def info(self, event: str, message: str, **fields: object) -> None:
        """Record what happened in the normal course of things. A field that is None is left out."""
        self._write("info", event, message, fields)

    def warning(self, event: str, message: str, **fields: object) -> None:
        """Record what works but should be looked at."""
        self._write("warn", event, message, fields)

    def error(self, event: str, message: str, **fields: object) -> None:
        """Record what does not work."""
        self._write("error", event, message, fields)

    def _write(self, level: str, event: str, message: str, fields: dict[str, object]) -> None:
        lost = {"lines_lost": self._lost} if self._lost else {}
        line = _line(self._clock(), level, message, {"event": event, **self._always, **fields, **lost})
        there = not _would_block(self._fd) and whole_lines.append(self._fd, line)
        self._lost = 0 if there else self._lost + 1


class LoggingBridge(logging.Handler):
    """Turns what libraries report through ``logging`` into event lines, so that nothing else is printed."""

    def __init__(self, events: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    @override
    def emit(self, record: logging.LogRecord) -> None:
        write = self._events.error if record.levelno >= logging.ERROR else self._events.warning
        write("library", record.getMessage(), logger=record.name, **_origin(record))


def _origin(record: logging.LogRecord) -> dict[str, object]:
    """The exception of a record, if any, as fields: what it was and the line that raised it."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)
    raised_at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
    return {"error": f"{type(error).__name__}: {error}", "raised_at": raised_at}


def _would_block(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return not poll.poll(0)


def _line(time: datetime, level: str, message: str, fields: dict[str, object]) -> bytes:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"
    text = re.sub(" {2,}", " ", _printable(message[:_MESSAGE_CHARACTERS]))
    pairs = " ".join(f"{name}={_value(value)}" for name, value in fields.items() if value is not None)
    line = f"{stamp} {level:<5} {text}  {pairs}".encode()
    return line[: select.PIPE_BUF - 1].decode(errors="ignore").encode() + b"\n"


def _value(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = text[:_VALUE_CHARACTERS]
    if not _PLAIN.fullmatch(text):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _printable(text)


def _printable(text: str) -> str:
    """Escape everything that a terminal or a line-based reader could take for something else."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
