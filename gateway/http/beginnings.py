"""Incomplete request heads: one that no further bytes can mend is refused before its deadline (RFC 9112)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.errors import MessageError
from gateway.http.fields import ENDS_WITH_LF, check_beginning
from gateway.http.head import METHOD, request_line

if TYPE_CHECKING:
    from gateway.http.fields import FieldTable

_FIRST = re.compile(rb"(?:%b(?: [\x21\x24-\x3b\x3d\x3f-\x7e\x80-\xff]*)?)?" % METHOD.pattern)
_VERSION = re.compile(rb"(?:H(?:T(?:T(?:P(?:/(?:[0-9](?:\.[0-9]?)?)?)?)?)?)?)?")


def check_request(head: bytes, start: int, table: FieldTable, max_bytes: int) -> int:
    """Check the beginning of a request head, whose lines before ``start`` are known to be good.

    Return where its last line begins. A ``start`` below 0 stands for the beginning, and is returned if that is where
    the last line begins.

    Raises:
        MessageError: 414 or 431, it is too large; else what ``parse_request`` raises, as far as one line tells.
    """
    known = max(start, 0)
    within = head[:max_bytes]
    while (end := within.find(b"\r\n", known)) >= 0:
        _check_line(within[known:end], table, first=not known)
        known = end + 2
    line = within[known:]
    if line[-1:] != b"\r":
        _check_part(line, first=not known)
    elif len(line) > 1:
        _check_line(line[:-1], table, first=not known)
    if len(head) > max_bytes:
        status, what = (431, "head") if known else (414, "line")  # RFC 9112 section 3
        raise MessageError(status, f"the request {what} is larger than {max_bytes} bytes")
    return known or start


def _check_line(line: bytes, table: FieldTable, *, first: bool) -> None:
    if first:
        request_line(line)
    elif line not in table.known:
        table.learn(line)


def _check_part(line: bytes, *, first: bool) -> None:
    if not first:
        check_beginning(line)
        return
    front, space, version = line.rpartition(b" ") if line.count(b" ") == 2 else (line, b"", b"")
    if _FIRST.fullmatch(front) is None or _VERSION.fullmatch(version) is None:
        raise MessageError(400, ENDS_WITH_LF if b"\n" in line else "malformed request line")
    if space:
        request_line(front + b" HTTP/1.1")
