"""Heads in HTTP/2: lists of fields become the same values as heads of HTTP/1.1, and back (RFC 9113 section 8).

What regular fields mean is for ``h2_fields``; here are the rules for whole messages, and for pseudo-header fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import MessageError
from gateway.http.fields import is_host, trailer_lines
from gateway.http.h2_fields import check_field, field_block, sorted_fields
from gateway.http.head import CHUNKED, METHOD, RequestHead, meaning
from gateway.http.hpack import Decoder, encode_field
from gateway.http.targets import ORIGIN_FORM, origin_form

if TYPE_CHECKING:
    from gateway.config.settings import Limits
    from gateway.http.fields import FieldTable
    from gateway.http.hpack import FieldList

HTTP2 = 2
"""What ``RequestHead.minor_version`` says of HTTP/2."""

_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_COOKIE = b"cookie: "

_BLOCKS = 16
_BLOCK_BYTES = 1024
_statuses: dict[bytes, bytes] = {}


class HeadReader:
    """Reads the field blocks of one connection, and remembers heads that came before.

    A block means what it meant for as long as the decompressor's table does not change. Who repeats a request, or asks
    for one thing after the other, soon repeats the whole block: that costs one look into a table.
    """

    __slots__ = ("_decoder", "_heads")

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._heads: dict[tuple[bytes, bool], RequestHead] = {}

    def request(self, block: bytes, table: FieldTable, limits: Limits, *, ended: bool) -> RequestHead:
        """Read a request's head; raises what ``fields`` and ``parse_request`` raise."""
        head = self._heads.get((block, ended))
        if head is None:
            version = self._decoder.version
            head = parse_request(self.fields(block, limits), table, limits.head_fields, ended=ended)
            if self._decoder.version == version and len(block) <= _BLOCK_BYTES:
                if len(self._heads) >= _BLOCKS:
                    self._heads.clear()
                self._heads[block, ended] = head
        return head

    def fields(self, block: bytes, limits: Limits) -> FieldList:
        """Decompress a block.

        Raises:
            HpackError: the connection is of no more use.
            HeaderListTooLargeError: only this block is not.
        """
        version = self._decoder.version
        try:
            return self._decoder.decode(block, limits.head_bytes)
        finally:
            if self._decoder.version != version:
                self._heads.clear()


def parse_request(fields: FieldList, table: FieldTable, max_fields: int, *, ended: bool) -> RequestHead:
    """Read a request's fields; ``ended`` when no body follows.

    Extended CONNECT (RFC 8441) becomes what the same wish is in HTTP/1.1: a GET with ``upgrade``.

    Raises:
        TargetError: they are a request for a path that is none, which is answered with 400.
        MessageError: 400, they are no request: the stream is reset (RFC 9113 section 8.1.1). Any other status: they
            are one that is answered with it.
    """
    if len(fields) > max_fields:
        raise MessageError(431, f"more than {max_fields} header fields")
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in _PSEUDO:
            raise MessageError(400, "a pseudo-header field that is unknown or repeated")
        pseudo[name] = value
    method, path, authority = _control_data(pseudo)
    lines, ours = sorted_fields(fields[len(pseudo) :], table)
    said = meaning(ours, HTTP2)
    host = said.host if authority is None else authority
    if not host:
        raise MessageError(400, "no authority and no Host field")
    if said.host is not None and said.host.lower() != host.lower():
        raise MessageError(400, ":authority and Host name different hosts")
    if ended and said.length:
        raise MessageError(400, "the body ends before its Content-Length")
    upgrade = pseudo.get(b":protocol", b"")
    if upgrade and (ended or said.length is not None):
        raise MessageError(400, "a tunnel that ends before it begins, or with a length")
    return RequestHead(
        b"GET" if upgrade else method,
        path,
        HTTP2,
        host,
        _with_one_cookie(lines),
        said.forwarded,
        0 if ended or upgrade else CHUNKED if said.length is None else said.length,
        keep_alive=True,
        expects_continue=said.expects_continue,
        request_id=said.request_id,
        takes_trailers=said.takes_trailers,
        upgrade=upgrade,
    )


def _with_one_cookie(lines: list[bytes]) -> list[bytes]:
    """Join cookies, which clients split for compression, for the sake of everybody else (RFC 9113 section 8.2.3)."""
    crumbs = [line for line in lines if line.startswith(_COOKIE)]
    if len(crumbs) < 2:
        return lines
    whole = _COOKIE + b"; ".join([crumb[len(_COOKIE) :] for crumb in crumbs])
    return [*(line for line in lines if not line.startswith(_COOKIE)), whole]


def _control_data(pseudo: dict[bytes, bytes]) -> tuple[bytes, bytes, bytes | None]:
    """Check the pseudo-header fields, and return the method, path and authority (RFC 9113 section 8.3.1)."""
    method = pseudo.get(b":method", b"")
    path = pseudo.get(b":path", b"")
    authority = pseudo.get(b":authority")
    if METHOD.fullmatch(method) is None:
        raise MessageError(400, "no method, or a malformed one")
    if authority is not None and not is_host(authority):
        raise MessageError(400, "a malformed authority")
    protocol = pseudo.get(b":protocol")
    if protocol is not None:
        if method != b"CONNECT" or len(pseudo) != len(_PSEUDO):
            raise MessageError(400, ":protocol is for CONNECT with scheme, authority and path")
        if protocol != b"websocket":
            raise MessageError(501, "the only protocol of extended CONNECT served is websocket")
    elif method == b"CONNECT":
        if len(pseudo) != 2 or authority is None:
            raise MessageError(400, "CONNECT has an authority, no scheme and no path")
        raise MessageError(405, "this is not a forward proxy: CONNECT is not served")
    if pseudo.get(b":scheme") not in (b"https", b"http"):
        raise MessageError(400, "no scheme, or one that is not of HTTP")
    if ORIGIN_FORM.fullmatch(path) is None and not (path == b"*" and method == b"OPTIONS"):
        if path[:1] != b"/" or b" " in path or b"#" in path:
            raise MessageError(400, "no path, or one that no client can mean")
        path = origin_form(path)
    return method, path, authority


def parse_trailers(fields: FieldList) -> list[bytes]:
    """Read a trailer section as the lines that may be forwarded.

    Raises:
        MessageError: there are pseudo-header fields in it, fields of a connection, or fields that are none.
    """
    for name, value in fields:
        check_field(name, value)
    return trailer_lines([b"%b: %b" % pair for pair in fields])


def encode_response(status_line: bytes, lines: list[bytes]) -> bytes:
    """Write a response's head as a field block, from the status line and field lines of HTTP/1.1."""
    status = status_line[9:12]
    return (_statuses.get(status) or _encode_status(status)) + field_block(lines)


def _encode_status(status: bytes) -> bytes:
    """There are at most 900 to remember: ``status`` is three digits."""
    block = _statuses[status] = encode_field(b":status", status)
    return block
