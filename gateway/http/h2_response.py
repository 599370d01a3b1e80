"""Heads of HTTP/2 responses: lists of fields become the values that HTTP/1.1 heads become (RFC 9113 section 8.3.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import MessageError
from gateway.http import responses
from gateway.http.h2_fields import sorted_fields
from gateway.http.head import CHUNKED, STATUS, ResponseHead, has_date
from gateway.http.hpack import Decoder

if TYPE_CHECKING:
    from gateway.http.fields import FieldTable
    from gateway.http.hpack import FieldList

_BODILESS = (204, 304)
_KNOWN = 64
_KNOWN_BYTES = 1024
_status_line = lru_cache(1000)(responses.status_line)


class ResponseFields(NamedTuple):
    """What a response's fields say, whatever the request was. ``length`` is None where none is said."""

    status: int
    lines: list[bytes]
    length: int | None
    dated: bool


class ResponseBlocks:
    """The field blocks that come on one connection, compressed one after the other.

    ``max_bytes`` (as RFC 9113 section 6.5.2 counts) and ``max_fields`` bound each.
    """

    __slots__ = ("_decoder", "_known", "_max_fields", "_table", "max_bytes")

    def __init__(self, table: FieldTable, max_bytes: int, max_fields: int) -> None:
        self._table = table
        self.max_bytes = max_bytes
        self._max_fields = max_fields
        self._decoder = Decoder()
        self._known: dict[FieldList, ResponseFields] = {}

    def fields(self, block: bytes) -> FieldList:
        """Read any block.

        Raises:
            HpackError, HeaderListTooLargeError: as the decoder does.
        """
        return self._decoder.decode(block, self.max_bytes)

    def response(self, block: bytes) -> ResponseFields:
        """Read a response's block; fields that came before, as they do within a second, are not read again.

        Raises:
            MessageError: the fields are those of no response; and what ``fields`` raises.
        """
        fields = self.fields(block)
        said = self._known.get(fields)
        if said is None:
            said = parse_response(fields, self._table, self._max_fields)
            if len(block) <= _KNOWN_BYTES and all(line in self._table.known for line in said.lines):  # no credentials
                if len(self._known) >= _KNOWN:
                    self._known.clear()
                self._known[fields] = said
        return said


def parse_response(fields: FieldList, table: FieldTable, max_fields: int) -> ResponseFields:
    """Read the fields of a response.

    Raises:
        MessageError: they are those of no response.
    """
    if len(fields) > max_fields:
        raise MessageError(502, f"more than {max_fields} header fields")
    if not fields or fields[0][0] != b":status":
        raise MessageError(502, "a response that does not begin with its status")
    digits = fields[0][1]
    if STATUS.fullmatch(digits) is None:
        raise MessageError(502, "a malformed status")
    lines, ours = sorted_fields(fields[1:], table)
    if len(ours) > 1:
        raise MessageError(502, "more than one Content-Length")
    return ResponseFields(int(digits), lines, ours[0].number if ours else None, has_date(lines))


def response_head(said: ResponseFields, method: bytes, *, ended: bool) -> ResponseHead:
    """Make the head of a response to a request with ``method``; ``ended`` when no body follows.

    Raises:
        MessageError: there is no body where a length promises one, or one is promised where there is none.
    """
    status, lines, length, dated = said
    if status < 200 and length:
        raise MessageError(502, "an interim response with a Content-Length")
    if method == b"HEAD" or status < 200 or status in _BODILESS:
        if length is not None and status >= 200 and status != 204:
            lines = [*lines, b"Content-Length: %d" % length]  # what a GET would have got (RFC 9110 section 8.6)
        length = 0
    elif length is None:
        length = CHUNKED
    elif length == 0:
        lines = [*lines, b"Content-Length: 0"]
    elif ended:
        raise MessageError(502, "a body that is shorter than its Content-Length")
    return ResponseHead(status, _status_line(status), lines, length, keep_alive=True, dated=dated)
