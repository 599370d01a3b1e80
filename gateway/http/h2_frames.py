"""HTTP/2 frames: bytes in and out, the same for both sides (RFC 9113 sections 4 and 6).

What a frame alone can break is checked here: its size, whether it belongs to a stream, and that nothing stands between
the parts of a header block. What it means to a stream or a connection is for those who have one.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct, iter_unpack
from typing import TYPE_CHECKING

from gateway.errors import Http2Error

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113 section 3.4), before its SETTINGS."""

MAX_FRAME_SIZE = 16384
"""The payload that everybody takes; what is taken here, too (RFC 9113 section 4.2)."""

WINDOW = 65535
"""The initial flow-control window, of a connection and of each of its streams (RFC 9113 section 6.9.2)."""

MAX_WINDOW = MAX_STREAM = (1 << 31) - 1

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20
SELF_DEPENDENT = 0x100
"""Not on the wire: ``FrameReader`` sets it on HEADERS whose priority makes the stream depend on itself."""


class FrameType(IntEnum):
    """RFC 9113 section 6. Others are ignored (section 5.5)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113 section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """RFC 9113 section 6.5.2, and extended CONNECT (RFC 8441)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


Frame = tuple[int, int, int, bytes]
"""Type (maybe an unknown one), flags, stream, payload. A header block comes whole, as one HEADERS frame without padding
and priority; the padding of DATA is left on it, for flow control counts it."""

HEADER_SIZE = 9
_HEADER = Struct(">HBBBL")
_SHORT = Struct(">HBBBLL")  # a header and one number

_ANY, _STREAM, _CONNECTION = range(3)
# Type: which it belongs to, smallest and largest payload. A PRIORITY's size is the affair of its stream alone.
_RULES: tuple[tuple[int, int, int], ...] = (
    (_STREAM, 0, MAX_WINDOW),
    (_STREAM, 0, MAX_WINDOW),
    (_STREAM, 0, MAX_WINDOW),
    (_STREAM, 4, 4),
    (_CONNECTION, 0, MAX_WINDOW),
    (_STREAM, 4, MAX_WINDOW),
    (_CONNECTION, 8, 8),
    (_CONNECTION, 8, MAX_WINDOW),
    (_ANY, 4, 4),
    (_STREAM, 0, MAX_WINDOW),
)
_MAX_CONTINUATIONS = 64  # nghttp2 allows 8


class FrameReader:
    """Cuts what a peer sends into frames, and joins header blocks; keeps at most one frame and one block.

    ``max_block`` bounds a header block, as it is on the wire.
    """

    __slots__ = ("_block", "_block_flags", "_block_size", "_block_stream", "_buffer", "_max_block", "_max_size")

    def __init__(self, max_block: int, max_size: int = MAX_FRAME_SIZE) -> None:
        self._max_block = max_block
        self._max_size = max_size
        self._buffer = b""
        self._block: list[bytes] | None = None
        self._block_flags = self._block_size = self._block_stream = 0

    @property
    def in_frame(self) -> bool:
        """Whether the peer owes the rest of a frame or of a header block."""
        return bool(self._buffer) or self._block is not None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that ``data`` completes. Take them all before feeding more.

        Raises:
            Http2Error: of the connection; nothing may be fed after it.
        """
        if self._buffer:
            data = self._buffer + data
        unpack = _HEADER.unpack_from
        size = len(data)
        position = 0
        while size - position >= 9:
            high, low, kind, flags, stream = unpack(data, position)
            length = high << 8 | low
            if length > self._max_size:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = position + 9 + length
            if end > size:
                break
            stream &= MAX_STREAM
            payload = data[position + 9 : end]
            position = end
            if kind <= 9:
                _check(kind, stream, length)
            if self._block is not None or kind == 9:
                frame = self._continue(kind, flags, stream, payload)
                if frame is not None:
                    yield frame
            elif kind == 1:
                flags, payload = _opened(flags, stream, payload)
                if flags & END_HEADERS:
                    yield kind, flags, stream, payload
                else:
                    self._begin(flags, stream, payload)
            else:
                yield kind, flags, stream, payload
        self._buffer = data[position:]

    def _begin(self, flags: int, stream: int, payload: bytes) -> None:
        self._block = [payload]
        self._block_flags, self._block_stream, self._block_size = flags, stream, len(payload)

    def _continue(self, kind: int, flags: int, stream: int, payload: bytes) -> Frame | None:
        """RFC 9113 section 6.10: nothing, of any stream, stands between a header block's frames."""
        block = self._block
        if block is None or kind != FrameType.CONTINUATION or stream != self._block_stream:
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, "a header block is not in consecutive frames")
        block.append(payload)
        self._block_size += len(payload)
        if len(block) > _MAX_CONTINUATIONS or self._block_size > self._max_block:
            raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "a header block of too many frames or bytes")
        if not flags & END_HEADERS:
            return None
        self._block = None
        return FrameType.HEADERS, self._block_flags | END_HEADERS, stream, b"".join(block)


def _check(kind: int, stream: int, length: int) -> None:
    of, smallest, largest = _RULES[kind]
    if (of == _STREAM and not stream) or (of == _CONNECTION and stream):
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} on stream {stream}")
    if not smallest <= length <= largest:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"{FrameType(kind).name} of {length} bytes")


def _opened(flags: int, stream: int, payload: bytes) -> tuple[int, bytes]:
    """Take padding and priority off a HEADERS payload."""
    if flags & PADDED:
        payload = unpadded(payload)
    if flags & PRIORITY:
        if len(payload) < 5:
            raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the priority that it announces")
        if dependency(payload) == stream:
            flags |= SELF_DEPENDENT
        payload = payload[5:]
    return flags, payload


def unpadded(payload: bytes) -> bytes:
    """Take the padding off a frame that has the PADDED flag (RFC 9113 section 6.1).

    Raises:
        Http2Error: there is as much padding as payload, or more.
    """
    if not payload:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    padding = payload[0]
    if padding >= len(payload):
        raise Http2Error(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - padding]


def dependency(payload: bytes) -> int:
    """Read the stream that a priority names."""
    return number(payload) & MAX_STREAM


def number(payload: bytes) -> int:
    """Read the number that a payload begins with: an error code; an increment or stream, with its reserved bit."""
    return int.from_bytes(payload[:4], "big")


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Read a SETTINGS frame: identifier and value, in order, unknown ones included (RFC 9113 section 6.5).

    Raises:
        Http2Error: of the connection, for a size or value that is not allowed.
    """
    if len(payload) % 6:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    values: list[tuple[int, int]] = list(iter_unpack(">HL", payload))
    for setting, value in values:
        if setting == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR, f"an initial window of {value} bytes")
        if (setting in (Setting.ENABLE_PUSH, Setting.ENABLE_CONNECT_PROTOCOL) and value > 1) or (
            setting == Setting.MAX_FRAME_SIZE and not MAX_FRAME_SIZE <= value < 1 << 24
        ):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR, f"{Setting(setting).name} of {value}")
    return values


def may_be_settings(data: bytes) -> bool:
    """Tell whether ``data`` may begin a SETTINGS frame that is no acknowledgement; its first nine bytes decide."""
    return (
        data[:1] in (b"", b"\0")
        and data[3:4] in (b"", b"\4")
        and not (data[4:5] and data[4] & ACK)
        and not data[5:HEADER_SIZE].strip(b"\0")
    )


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Write a frame; the payload must be no longer than the peer takes."""
    length = len(payload)
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def header(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Write what stands before a payload of ``length`` bytes."""
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream)


def headers(stream: int, block: bytes, max_size: int, *, ended: bool) -> bytes:
    """Write a header block as HEADERS and as many CONTINUATION frames as it takes."""
    if len(block) <= max_size:
        return frame(FrameType.HEADERS, END_HEADERS | ended, stream, block)
    pieces = [block[start : start + max_size] for start in range(0, len(block), max_size)]
    first, *middle, last = pieces
    return b"".join(
        (
            frame(FrameType.HEADERS, int(ended), stream, first),
            *(frame(FrameType.CONTINUATION, 0, stream, piece) for piece in middle),
            frame(FrameType.CONTINUATION, END_HEADERS, stream, last),
        )
    )


def settings(values: dict[Setting, int]) -> bytes:
    """Write our SETTINGS."""
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values.items())
    return frame(FrameType.SETTINGS, 0, 0, payload)


SETTINGS_ACK = frame(FrameType.SETTINGS, ACK, 0, b"")


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """Write a RST_STREAM."""
    return _SHORT.pack(0, 4, FrameType.RST_STREAM, 0, stream, code)


def window_update(stream: int, increment: int) -> bytes:
    """Write a WINDOW_UPDATE; stream 0 is the connection."""
    return _SHORT.pack(0, 4, FrameType.WINDOW_UPDATE, 0, stream, increment)


def ping(data: bytes, *, ack: bool) -> bytes:
    """Write a PING with eight bytes of ``data``, or the answer to one."""
    return frame(FrameType.PING, int(ack), 0, data)


def goaway(last_stream: int, code: ErrorCode, reason: str = "") -> bytes:
    """Write a GOAWAY: no stream above ``last_stream`` was or will be acted on."""
    payload = last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + reason.encode()
    return frame(FrameType.GOAWAY, 0, 0, payload)
