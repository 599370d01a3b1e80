"""Fields of HTTP/2 messages as lines, and lines as parts of field blocks (RFC 9113 section 8.2).

Everything between the two connections of an exchange speaks in lines, ``Name: value``, whatever HTTP is on either side:
what a field means, and whether it passes, is decided in one place. Lines that came before are remembered here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import MessageError
from gateway.http.fields import CREDENTIALS, Field, FieldTable, Kind
from gateway.http.hpack import encode_field

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 9113 section 8.2.2: who sends one of these speaks HTTP/1.1 through HTTP/2, and may be smuggling.
_CONNECTION_SPECIFIC = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_DROPPED, _TE = Kind.DROPPED, Kind.TE

_NEVER_THE_SAME = frozenset((b"content-length", b"x-request-id"))
_BLOCKS = 4096
_LINE_BYTES = 160
_blocks: dict[bytes, bytes] = {}


def field_block(lines: Iterable[bytes]) -> bytes:
    """Write field lines as a field block, or as a part of one; names become lower case."""
    return b"".join([_blocks.get(line) or _encode(line) for line in lines])


def _encode(line: bytes) -> bytes:
    name, _, value = line.partition(b":")
    name = name.lower()
    sensitive = name in CREDENTIALS
    remembered = len(line) <= _LINE_BYTES and not sensitive and name not in _NEVER_THE_SAME
    block = encode_field(name, value.strip(b" \t"), sensitive=sensitive, compact=remembered)
    if remembered:
        if len(_blocks) >= _BLOCKS:
            _blocks.clear()
        _blocks[line] = block
    return block


def sorted_fields(fields: Iterable[tuple[bytes, bytes]], table: FieldTable) -> tuple[list[bytes], list[Field]]:
    """Part the regular fields of a message into lines that pass, and fields that concern the gateway.

    Raises:
        MessageError: the message is malformed: a name that is not in lower case or no name at all, a value that
            HTTP/1.1 could not carry, or a field that belongs to a connection of HTTP/1.1.
    """
    known = table.pairs
    lines = []
    ours = []
    for pair in fields:
        line, field = known.get(pair) or _learn(pair, table)
        kind = field.kind
        if not kind:
            lines.append(line)
        elif kind is not _DROPPED:
            ours.append(field)
    return lines, ours


def check_field(name: bytes, value: bytes) -> None:
    """Refuse what HTTP/2 does not allow of a field, in a head as in trailers; its grammar is the affair of others.

    Raises:
        MessageError: 400, and nothing milder: the message is malformed (RFC 9113 sections 8.2.1 and 8.2.2).
    """
    if name in _CONNECTION_SPECIFIC:
        raise MessageError(400, f"the connection-specific field {name.decode()}")
    if b":" in name or name != name.lower() or value != value.strip(b" \t"):
        raise MessageError(400, "a field name that is not in lower case, or a value with white space around it")


def _learn(pair: tuple[bytes, bytes], table: FieldTable) -> tuple[bytes, Field]:
    """Check a field and write it as a line; where the table remembers lines, it is remembered as it came, too."""
    check_field(*pair)
    line = b"%b: %b" % pair
    field = table.known.get(line) or table.learn(line)
    if field.kind is _TE and field.value.lower() != b"trailers":
        raise MessageError(400, "a TE field that says more than trailers")
    learned = line, field
    if line in table.known:
        table.remember_pair(pair, learned)
    return learned
