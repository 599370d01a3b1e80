"""The chunked coding (RFC 9112 section 7): bytes in, payload out, never more than one read in memory."""

from __future__ import annotations

import re

from gateway.errors import MessageError
from gateway.http.fields import check_beginning, trailer_lines

# Sixteen hexadecimal digits would overflow somebody's signed 64-bit length. Extensions are read and dropped; the white
# space that is allowed before their semicolon follows no size here, since some take it for a part of the number.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION = rb"[ \t]*+%b(?:[ \t]*=[ \t]*+(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b(?:[ \t]*;%b)*)?" % (_EXTENSION, _EXTENSION))
_MAX_SIZE_LINE = 256
# One of these completes any valid beginning of a size line.
_ENDINGS = (b"", b"0", b"a", b"=a", b";a", b'"', b'a"')
_MAX_TRAILERS = 8192

LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Frame ``data``, which must not be empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[bytes]) -> bytes:
    """Frame the end of a body, with its trailer field lines."""
    return b"0\r\n%b\r\n\r\n" % b"\r\n".join(trailers) if trailers else LAST_CHUNK


class ChunkedDecoder:
    """Decodes one chunked body.

    ``feed`` returns the payload in what it was given. When ``finished`` is true, ``trailers`` holds the trailer lines
    that may be forwarded and ``rest`` what came after the body.
    """

    __slots__ = ("_buffer", "_lines", "_remaining", "_trailer_bytes", "finished", "rest", "trailers")

    _SIZE, _TRAILERS = -1, -2

    def __init__(self) -> None:
        self._buffer = b""
        self._remaining = self._SIZE  # payload bytes left in this chunk; 0 stands for the CRLF that ends it
        self._lines: list[bytes] = []
        self._trailer_bytes = 0
        self.finished = False
        self.trailers: list[bytes] = []
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Decode ``data``.

        Raises:
            MessageError: for a size, terminator, extension or trailer that is malformed (400) or too long, as soon as
                that is certain.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces = []
        position = 0
        while position < len(data) and not self.finished:
            if self._remaining > 0:
                piece = data[position : position + self._remaining]
                pieces.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
            else:
                after = self._framing(data, position)
                if after < 0:
                    self._buffer = data[position:]
                    break
                position = after
        if self.finished:
            self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _framing(self, data: bytes, position: int) -> int:
        """Read what stands between two payloads; return the position after it, or -1 when more bytes are needed."""
        if self._remaining == 0:
            ending = data[position : position + 2]
            if ending == b"\r\n":
                self._remaining = self._SIZE
                return position + 2
            if ending == b"\r":
                return -1
            raise MessageError(400, "a chunk does not end where its size says")
        if self._remaining == self._TRAILERS:
            return self._trailer(data, position)
        end = data.find(b"\r\n", position, position + _MAX_SIZE_LINE)
        if end < 0:
            if len(data) - position >= _MAX_SIZE_LINE:
                raise MessageError(400, "a chunk's size line is too long")
            _check_size_line(data[position:])
            return -1
        match = _SIZE_LINE.fullmatch(data, position, end)
        if match is None:
            raise MessageError(400, "malformed chunk size")
        self._remaining = int(match[1], 16) or self._TRAILERS
        return end + 2

    def _trailer(self, data: bytes, position: int) -> int:
        """Read one trailer, or the end of the body."""
        end = data.find(b"\r\n", position)
        line = data[position:] if end < 0 else data[position:end]
        if self._trailer_bytes + len(line) > _MAX_TRAILERS:
            raise MessageError(431, "the trailer section is too long")
        if end < 0:
            check_beginning(line.removesuffix(b"\r"))
            return -1
        self._trailer_bytes += len(line) + 2
        if line:
            self._lines += trailer_lines([line])
        else:
            self.trailers = self._lines
            self.finished = True
        return end + 2


def _check_size_line(line: bytes) -> None:
    """Refuse the beginning of a size line that no more bytes can mend, such as one with a bare line feed."""
    endings = (b"",) if line[-1:] == b"\r" else _ENDINGS
    line = line.removesuffix(b"\r")
    if not any(_SIZE_LINE.fullmatch(line + ending) for ending in endings):
        raise MessageError(400, "malformed chunk size")
