"""The event log: shape, escaping, bounds, and a reader that stalls."""

from __future__ import annotations

import logging
import os
import resource
import select
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.events import EventLog, LoggingBridge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MOMENT = datetime(2026, 11, 22, 2, 15, 48, 123456, tzinfo=UTC)


class Pipe:
    """An event log on a pipe and the text that came out of it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.events = EventLog(self.writer, clock=lambda: MOMENT)

    def read(self) -> str:
        return os.read(self.reader, 1 << 20).decode()

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_a_line_has_time_level_message_and_fields(pipe: Pipe) -> None:
    pipe.events.info("reload.applied", "configuration applied", number=7, forced=False, cause=None)
    assert pipe.read() == (
        "2026-11-22T02:15:48.123Z info  configuration applied  event=reload.applied number=7 forced=false\n"
    )


def test_levels_are_named_and_aligned(pipe: Pipe) -> None:
    for write in (pipe.events.info, pipe.events.warning, pipe.events.error):
        write("e", "m")
    assert [line[25:33] for line in pipe.read().splitlines()] == ["info  m ", "warn  m ", "error m "]


def test_bound_fields_are_on_every_line_after_the_event(pipe: Pipe) -> None:
    pipe.events.bind(role="worker", worker=2).warning("e", "m", a=1)
    assert pipe.read().endswith("m  event=e role=worker worker=2 a=1\n")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("two words", '"two words"'),
        ('a="b"', '"a=\\"b\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("line\nbreak", '"line\\nbreak"'),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\udcff", "\\udcff"),
        ("münchen", "münchen"),
        (b"bytes", "b'bytes'"),
    ],
)
def test_values_are_quoted_and_escaped(pipe: Pipe, value: object, written: str) -> None:
    pipe.events.info("e", "m", value=value)
    assert pipe.read().rstrip("\n").endswith(f" value={written}")


def test_a_message_cannot_forge_a_field(pipe: Pipe) -> None:
    pipe.events.info("real", "refused:  event=forged\n2026-01-01T00:00:00.000Z error fake")
    line = pipe.read()
    assert line.count("\n") == 1
    assert line.split("  ", 2)[2].rstrip() == "event=real"


@given(message=st.text(), value=st.text())
def test_whatever_is_written_is_one_bounded_printable_line(message: str, value: str) -> None:
    pipe = Pipe()
    try:
        pipe.events.error("event", message * 50, value=value, other=value * 50)
        line = pipe.read()
    finally:
        pipe.close()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line.encode()) <= select.PIPE_BUF


def test_a_long_line_is_cut_between_characters(pipe: Pipe) -> None:
    pipe.events.info("e", "ü" * 3000, **{f"field{number}": "ü" * 500 for number in range(9)})
    assert len(pipe.read().encode()) in (select.PIPE_BUF - 1, select.PIPE_BUF)


def test_a_stalled_reader_costs_lines_and_never_time(pipe: Pipe) -> None:
    for _ in range(2000):
        pipe.events.info("flood", "x" * 1000)
    assert pipe.read()
    pipe.events.info("after", "the reader is back")
    pipe.events.info("later", "nothing more was lost")
    after, later = pipe.read().splitlines()
    assert int(after.rsplit("lines_lost=", 1)[1]) > 1000
    assert "lines_lost" not in later


def test_a_closed_descriptor_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    EventLog(writer).info("e", "nobody reads")
    os.close(writer)
    EventLog(writer).info("e", "nobody can")


@pytest.fixture
def bridged(pipe: Pipe) -> Iterator[Callable[[str], logging.Logger]]:
    bridge = LoggingBridge(pipe.events)
    logging.getLogger().addHandler(bridge)
    yield logging.getLogger
    logging.getLogger().removeHandler(bridge)


def test_a_librarys_error_becomes_an_event_with_its_origin(
    pipe: Pipe, bridged: Callable[[str], logging.Logger]
) -> None:
    try:
        int("a\nb")
    except ValueError:
        bridged("uvicorn.error").exception("Exception in %s", "app")
    line = pipe.read()
    assert 'error Exception in app  event=library logger=uvicorn.error error="ValueError: invalid' in line
    assert "test_events.py:" in line


def test_a_librarys_small_talk_is_silent(pipe: Pipe, bridged: Callable[[str], logging.Logger]) -> None:
    logger = bridged("uvicorn.error")
    logger.setLevel(logging.DEBUG)
    logger.info("Started server process")
    logger.warning("careful")
    assert pipe.read().count("\n") == 1


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_a_disk_without_room_loses_whole_lines_and_tears_none(tmp_path: Path, flags: int) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        events = EventLog(fd, clock=lambda: MOMENT)
        events.info("first", "there is room")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
        events.info("second", "there is room for a piece of it")
        events.info("third", "there is room for a piece of it")
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        events.info("fourth", "there is room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
        os.close(fd)
    first, last = path.read_text().splitlines()
    assert first.endswith("there is room  event=first")
    assert last.endswith("there is room  event=fourth lines_lost=2")
