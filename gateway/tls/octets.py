"""Bytes of TLS messages, taken apart from the front (RFC 8446 section 3)."""

from __future__ import annotations


class Octets:
    """What is left of a message or of a part of one; false at its end. A step beyond raises what `_beyond` makes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        """Take so many bytes."""
        start, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise self._beyond()
        return self._data[start : self._position]

    def number(self, width: int) -> int:
        """Take a number of ``width`` bytes."""
        return int.from_bytes(self.take(width))

    def vector(self, width: int) -> bytes:
        """Take what stands behind its own length, a number of ``width`` bytes (RFC 8446 section 3.4)."""
        return self.take(self.number(width))

    def _beyond(self) -> Exception:
        raise NotImplementedError
