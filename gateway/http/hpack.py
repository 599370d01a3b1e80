"""Header compression of HTTP/2 (RFC 7541): blocks become field lists, and fields become parts of blocks.

The decoder keeps the table that the peer's encoder writes. The encoder keeps none: what it makes of a field is always
the same bytes, which can be remembered for as long as one likes and for all connections.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

from gateway.errors import HeaderListTooLargeError, HpackError
from gateway.http import huffman
from gateway.http.fields import CREDENTIALS

FieldList = tuple[tuple[bytes, bytes], ...]
"""Names and values in the order in which they came."""

# RFC 7541 appendix A, entries 1 to 61.
_STATIC_TABLE = b"""\
:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https
:status 200|:status 204|:status 206|:status 304|:status 400|:status 404|:status 500
accept-charset|accept-encoding gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age
allow|authorization|cache-control|content-disposition|content-encoding|content-language|content-length
content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since
if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|proxy-authenticate
proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|strict-transport-security|transfer-encoding
user-agent|vary|via|www-authenticate"""
_STATIC = tuple(
    (name, value)
    for name, _, value in (entry.partition(b" ") for entry in _STATIC_TABLE.replace(b"\n", b"|").split(b"|"))
)
_FIRST_DYNAMIC = len(_STATIC) + 1
_INDEX = {field: index for index, field in enumerate(_STATIC, 1)}
_NAME_INDEX = {field[0]: index for index, field in reversed(tuple(enumerate(_STATIC, 1)))}

# RFC 7541 section 4.1: what an entry counts beyond its bytes. RFC 9113 section 6.5.2 counts a field list the same way.
_OVERHEAD = 32

# Five bytes after the prefix: 2**35 and more is no length and no index of anything.
_MAX_SHIFT = 28

_KNOWN_NAME = 64
_KNOWN_VALUE = 128


class Decoder:
    """Decodes the field blocks of one direction of a connection.

    ``version`` grows with every change of the dynamic table: while it stays, a block means what it meant before. After
    an ``HpackError`` the table is out of step and the connection of no more use (RFC 9113 section 4.3).
    """

    __slots__ = ("_limit", "_size", "_size_allowed", "_table", "version")

    def __init__(self, max_table_size: int = 4096) -> None:
        # One list for both tables, so that an index is an index: [0] is nobody's, and new entries come after the
        # static ones (RFC 7541 section 2.3.3). There are at most 128 to be moved along.
        self._table: list[tuple[bytes, bytes]] = [(b"", b""), *_STATIC]
        self._size = 0
        self._limit = self._size_allowed = max_table_size
        self.version = 0

    def __repr__(self) -> str:
        """Show how full the dynamic table is."""
        return f"<Decoder entries={len(self._table) - _FIRST_DYNAMIC} size={self._size} version={self.version}>"

    def decode(self, block: bytes, max_list_bytes: int) -> FieldList:
        """Decode a whole field block.

        Memory and work are in proportion to the block: fields that it repeats are the same objects.

        Raises:
            HpackError: the block is malformed.
            HeaderListTooLargeError: it is not, but means more than ``max_list_bytes``; the table is in step.
        """
        fields: list[tuple[bytes, bytes]] = []
        table = self._table
        position = 0
        try:
            while position < len(block):
                byte = block[position]
                position += 1
                if byte & 0x80:
                    index = byte & 0x7F
                    if index == 0x7F:
                        index, position = _integer(block, position, 0x7F)
                    if not index:
                        raise HpackError("a field is named by index 0")
                    fields.append(table[index])
                elif byte & 0x40:
                    field, position = self._literal(block, position, byte & 0x3F, 0x3F)
                    self._insert(field)
                    fields.append(field)
                elif byte & 0x20:
                    if fields:
                        raise HpackError("the table's size changes in the middle of a block")
                    position = self._resize(block, position, byte & 0x1F)
                else:
                    field, position = self._literal(block, position, byte & 0x0F, 0x0F)
                    fields.append(field)
        except IndexError:
            raise HpackError("a block ends in the middle of a field, or names one that is not in the table") from None
        if sum(map(len, chain.from_iterable(fields))) + _OVERHEAD * len(fields) > max_list_bytes:
            raise HeaderListTooLargeError(431, f"the header fields are larger than {max_list_bytes} bytes")
        return tuple(fields)

    def _literal(self, block: bytes, position: int, index: int, prefix: int) -> tuple[tuple[bytes, bytes], int]:
        if index == prefix:
            index, position = _integer(block, position, prefix)
        if index:
            name = self._table[index][0]
        else:
            name, position = _string(block, position, kept=True)
        value, position = _string(block, position, kept=name not in CREDENTIALS)
        return (name, value), position

    def _insert(self, field: tuple[bytes, bytes]) -> None:
        self.version += 1
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        self._table.insert(_FIRST_DYNAMIC, field)
        if self._size > self._limit:
            self._evict()

    def _evict(self) -> None:
        """Drop the oldest entries; one that is larger than the table leaves nothing (RFC 7541 section 4.4)."""
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _OVERHEAD

    def _resize(self, block: bytes, position: int, size: int) -> int:
        if size == 0x1F:
            size, position = _integer(block, position, 0x1F)
        if size > self._size_allowed:
            raise HpackError(f"a table of more than {self._size_allowed} bytes")
        if size != self._limit:
            self.version += 1
            self._limit = size
            self._evict()
        return position


def _integer(block: bytes, position: int, value: int) -> tuple[int, int]:
    """Read on after a prefix that was all ones (RFC 7541 section 5.1): the integer, and the position after it."""
    for shift in range(0, _MAX_SHIFT + 7, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise HpackError("an integer of more than 35 bits")


def _string(block: bytes, position: int, *, kept: bool) -> tuple[bytes, int]:
    """Read a string; ``kept`` says that it may be remembered for all connections. nginx never refers to its table."""
    byte = block[position]
    position += 1
    length = byte & 0x7F
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HpackError("a string is longer than its block")
    data = block[position:end]
    if byte & 0x80:
        data = _decode_known(data) if kept and length <= _KNOWN_VALUE else huffman.decode(data)
    return data, end


_decode_known = lru_cache(4096)(huffman.decode)


def encode_field(name: bytes, value: bytes, *, sensitive: bool = False, compact: bool = True) -> bytes:
    """Write a field as part of a block, without the use of any dynamic table.

    ``name`` is in lower case. A ``sensitive`` field is marked never to be indexed, by anybody further on (RFC 7541
    section 7.1.3). Without ``compact`` the value is written as it is: where the result is not remembered, Huffman
    coding costs more than it saves.
    """
    if not sensitive and (index := _INDEX.get((name, value))) is not None:
        return bytes((0x80 | index,))
    first = 0x10 if sensitive else 0
    before = _name(first, name) if len(name) <= _KNOWN_NAME else _name.__wrapped__(first, name)
    if compact:
        return before + _encode_string(value)
    return before + _encode_integer(len(value), 0, 0x7F) + value


@lru_cache(1024)
def _name(first: int, name: bytes) -> bytes:
    index = _NAME_INDEX.get(name)
    if index is None:
        return bytes((first,)) + _encode_string(name)
    return _encode_integer(index, first, 0x0F)


def _encode_string(data: bytes) -> bytes:
    shorter = huffman.encode(data)
    if len(shorter) < len(data):
        return _encode_integer(len(shorter), 0x80, 0x7F) + shorter
    return _encode_integer(len(data), 0, 0x7F) + data


def _encode_integer(value: int, first: int, prefix: int) -> bytes:
    """Write an integer behind the bits of ``first`` (RFC 7541 section 5.1); ``prefix`` is its mask."""
    if value < prefix:
        return bytes((first | value,))
    encoded = [first | prefix]
    value -= prefix
    while value >= 0x80:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
