"""Streams that are not open: what may come on those that are closed, idle or passed over (RFC 9113 section 5.1)."""

from __future__ import annotations

from enum import IntEnum

from gateway.errors import Http2Error
from gateway.http.h2_frames import MAX_STREAM, ErrorCode

_REMEMBERED = 512


class Ending(IntEnum):
    """How a stream was closed."""

    BY_US = 0
    """With RST_STREAM, while the client could still send: what was under way is no fault."""
    BY_CLIENT = 1
    """With RST_STREAM."""
    WHOLE = 2
    """Both sides said all they had to say."""
    SKIPPED = 3
    """A higher number was used first (section 5.1.1)."""


class StreamNumbers:
    """The numbers that a client has used, and how the latest ended that did not simply come to their end."""

    __slots__ = ("_endings", "accepted", "last")

    def __init__(self) -> None:
        self._endings: dict[int, Ending] = {}
        self.last = 0
        """The highest number that was used."""
        self.accepted = MAX_STREAM
        """Streams above this one come too late: a GOAWAY said so."""

    def open(self, number: int) -> None:
        """Take a new stream's number, which is above the last."""
        if not number & 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a client's streams have odd numbers")
        for skipped in range(max((self.last + 1) | 1, number - 2 * _REMEMBERED), number, 2):
            self.close(skipped, Ending.SKIPPED)
        self.last = number

    def close(self, number: int, how: Ending) -> None:
        """Note a stream's end; nothing is kept of the usual one."""
        if how is Ending.WHOLE:
            return
        endings = self._endings
        if len(endings) >= _REMEMBERED:
            del endings[next(iter(endings))]
        endings[number] = how

    def check_not_idle(self, number: int) -> None:
        """Judge a frame that a closed stream allows."""
        if number > self.last or not number & 1:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {number}, which is idle")

    def check_data(self, number: int) -> None:
        """Judge DATA on a stream that is not open; it is allowed only where the client cannot know better."""
        self.check_not_idle(number)
        if number > self.accepted:
            return
        how = self._endings.get(number, Ending.WHOLE)
        if how == Ending.BY_CLIENT:
            raise Http2Error(ErrorCode.STREAM_CLOSED, "a frame on a stream after its reset", number)
        if how != Ending.BY_US:
            raise Http2Error(ErrorCode.STREAM_CLOSED, f"a frame on stream {number}, which is closed")

    def check_headers(self, number: int) -> None:
        """Judge HEADERS likewise."""
        if self._endings.get(number) == Ending.SKIPPED:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"stream {number} after stream {self.last}")
        self.check_data(number)
