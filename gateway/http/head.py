"""Heads of requests and responses: bytes become values, or a ``MessageError`` (RFC 9112 sections 2 to 6).

Whatever could be read in two ways by two programs is refused, and the caller closes the connection: that is what
keeps a request from being smuggled past the gateway to the upstream behind it.
"""

from __future__ import annotations

import re
from typing import NamedTuple, cast

from gateway.errors import MessageError
from gateway.http.fields import Field, FieldTable, Kind, is_host
from gateway.http.targets import ORIGIN_FORM, origin_form

CHUNKED = -1
"""The length of a body that says its own end, chunk by chunk."""

UNTIL_CLOSE = -2
"""The length of a response body that ends with its connection (RFC 9112 section 6.3, rule 8)."""

_UNSERVED = -3  # a body with other codings below its chunks


class RequestHead(NamedTuple):
    """A request as the wire said it, checked.

    ``target`` is the path with its query, in origin-form, or "*" for an OPTIONS about the gateway itself;
    ``minor_version`` is that of HTTP/1, or 2 for HTTP/2; ``host`` is what the client named, port included, from the
    target when that was absolute (RFC 9112 section 3.2.2); ``lines`` are the end-to-end field lines as they came;
    ``forwarded`` those that an earlier proxy may have added; ``length`` the body's: 0, a number, or ``CHUNKED``;
    ``takes_trailers`` says that the client does not drop them (TE: trailers, RFC 9110 section 10.1.4);
    ``upgrade`` names the protocols that the client would rather speak (section 7.8).
    """

    method: bytes
    target: bytes
    minor_version: int
    host: bytes
    lines: list[bytes]
    forwarded: list[Field]
    length: int
    keep_alive: bool
    expects_continue: bool
    request_id: bytes
    takes_trailers: bool = False
    upgrade: bytes = b""


class ResponseHead(NamedTuple):
    """A response as an upstream said it, checked.

    ``length``: 0, a number, ``CHUNKED`` or ``UNTIL_CLOSE``. ``upgrade`` names the protocol that follows a 101.
    ``dated`` says that there is a Date among ``lines``.
    """

    status: int
    status_line: bytes
    lines: list[bytes]
    length: int
    keep_alive: bool
    upgrade: bytes = b""
    dated: bool = True


METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_ABSOLUTE_FORM = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(.*)", re.DOTALL)
STATUS = re.compile(rb"[1-5][0-9]{2}")  # RFC 9110 section 15: others are invalid
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) (%b)(?: [\t\x20-\x7e\x80-\xff]*)?" % STATUS.pattern)
_STATUS_LINE_BEGUN = re.compile(rb"HTTP/1\.[01] %b[ \r]" % STATUS.pattern)
_ANY_STATUS_LINE = b"HTTP/1.1 200 "
_PART_OF_A_LINE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\r?")
_BODILESS = (204, 304)

_KEEP_ALIVE = (b"keep-alive",)
_NO_FORWARDED: list[Field] = []

# An enum's members are looked up through its metaclass: on the path of every request, plain names are cheaper.
_HOST, _CONNECTION, _FORWARDED, _REQUEST_ID = Kind.HOST, Kind.CONNECTION, Kind.FORWARDED, Kind.REQUEST_ID
_CONTENT_LENGTH, _EXPECT, _DROPPED, _TE = Kind.CONTENT_LENGTH, Kind.EXPECT, Kind.DROPPED, Kind.TE
_UPGRADE = Kind.UPGRADE

_FIRST_LINES = 1024
_FIRST_LINE_BYTES = 256
_request_lines: dict[bytes, tuple[bytes, bytes, int]] = {}
_status_lines: dict[bytes, tuple[int, int, bytes]] = {}


def parse_request(head: bytes, table: FieldTable, max_fields: int) -> RequestHead:
    """Parse a request head: everything up to and without the empty line that ends it.

    Raises:
        MessageError: 400 for anything malformed or ambiguous, 417, 431, 501 and 505 as RFC 9110 section 15 names them.
    """
    if (parsed := table.heads.get(head)) is not None:
        return cast("RequestHead", parsed)
    first, *raw_lines = head.split(b"\r\n")
    if len(raw_lines) > max_fields:
        raise MessageError(431, f"more than {max_fields} header fields")
    method, target, minor = _request_lines.get(first) or request_line(first)
    lines, ours, options = _sorted(raw_lines, table)
    said = meaning(ours, minor)
    host = said.host
    if host is None or target[0] != 0x2F:
        host, target = _unusual(method, target, host, minor)
    new = RequestHead(
        method,
        target,
        minor,
        host,
        lines,
        said.forwarded,
        said.length or 0,
        _keeps_alive(options, minor),
        said.expects_continue,
        said.request_id,
        said.takes_trailers,
        _protocols(ours) if b"upgrade" in options and minor and not said.length else b"",
    )
    table.remember(head, raw_lines, new)
    return new


class Meaning(NamedTuple):
    """What a request's fields say to the gateway; None where they say nothing."""

    host: bytes | None
    length: int | None
    forwarded: list[Field]
    expects_continue: bool
    request_id: bytes
    takes_trailers: bool


def meaning(ours: list[Field], minor: int) -> Meaning:
    """Put together what fields say to the gateway, whichever HTTP they came in.

    Raises:
        MessageError: 400, the fields contradict each other; 501, the body has a coding that is not served.
    """
    host = length = None
    request_id = b""
    expects_continue = takes_trailers = False
    forwarded = _NO_FORWARDED
    for field in ours:
        kind = field[0]
        if kind is _HOST:
            if host is not None:
                raise MessageError(400, "more than one Host field")
            host = field[2]
        elif kind is _FORWARDED:
            forwarded = [*forwarded, field]
        elif kind is _REQUEST_ID:
            request_id = field[2]
        elif kind is _EXPECT:
            expects_continue = minor > 0
        elif kind is _TE:
            takes_trailers = takes_trailers or b"trailers" in field[2].lower()
        else:
            length = _framing(field, length, minor)
    if length == _UNSERVED:
        raise MessageError(501, "the only transfer coding served is chunked")
    return Meaning(host, length, forwarded, expects_continue, request_id, takes_trailers)


def _sorted(raw_lines: list[bytes], table: FieldTable) -> tuple[list[bytes], list[Field], tuple[bytes, ...]]:
    """Part field lines into those that pass, as they came, those that concern the gateway, and Connection's options."""
    known = table.known
    lines = []
    ours = []
    options: tuple[bytes, ...] = ()
    for line in raw_lines:
        field = known.get(line) or table.learn(line)
        kind = field[0]
        if not kind:
            lines.append(line)
        elif kind is _CONNECTION:
            options += field[3]
        elif kind is not _DROPPED:
            ours.append(field)
    if options and options != _KEEP_ALIVE:  # RFC 9110 section 7.6.1: what a Connection field names ends here
        names = set(options)
        lines = [line for line in lines if (known.get(line) or table.learn(line)).name not in names]
    return lines, ours, options


def _protocols(ours: list[Field]) -> bytes:
    """Join the Upgrade fields. They count with Connection: upgrade, and not in HTTP/1.0 (RFC 9110 section 7.8)."""
    return b", ".join(field.value for field in ours if field.kind is _UPGRADE and field.value)


def _keeps_alive(options: tuple[bytes, ...], minor: int) -> bool:
    """RFC 9112 section 9.3: "close" wins, wherever it stands."""
    if not options:
        return minor == 1
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)


def _framing(field: Field, length: int | None, minor: int) -> int | None:
    """Take a Content-Length or Transfer-Encoding into account; the second of any of them is one too many.

    RFC 9112 section 6.3 lets a recipient repair some of these messages. Two recipients could repair them differently.
    """
    if field.kind is _UPGRADE:
        return length
    if length is not None:
        raise MessageError(400, "more than one Content-Length or Transfer-Encoding")
    if field.kind is _CONTENT_LENGTH:
        return field.number
    if minor == 0:
        raise MessageError(400, "Transfer-Encoding in HTTP/1.0")
    return _UNSERVED if field.number else CHUNKED


def request_line(line: bytes) -> tuple[bytes, bytes, int]:
    """Read a request line as its method, its target as it is routed, and the minor version.

    Raises:
        MessageError: 400, 405 and 505.
    """
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise MessageError(400, "malformed request line") from None
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    elif re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
        raise MessageError(505, "only HTTP/1.0 and HTTP/1.1 are spoken on this connection")
    else:
        raise MessageError(400, "malformed request line")
    if METHOD.fullmatch(method) is None:
        raise MessageError(400, "malformed method")
    if method == b"CONNECT":
        raise MessageError(405, "this is not a forward proxy: CONNECT is not served")
    if ORIGIN_FORM.fullmatch(target) is None and not (
        method == b"OPTIONS" if target == b"*" else _ABSOLUTE_FORM.fullmatch(target)
    ):
        target = origin_form(target)
    if len(line) <= _FIRST_LINE_BYTES:
        if len(_request_lines) >= _FIRST_LINES:
            _request_lines.clear()
        _request_lines[line] = method, target, minor
    return method, target, minor


def _unusual(method: bytes, target: bytes, host: bytes | None, minor: int) -> tuple[bytes, bytes]:
    """Read a request without Host, with a target in absolute-form, or with "*".

    Returns host and origin-form. RFC 9112 section 3.2.2 lets the target win over a Host that disagrees; a request that
    says two things is refused.
    """
    if host is None:
        if minor == 1:
            raise MessageError(400, "no Host field")
        host = b""
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        return host, target
    if not is_host(match[1]):
        raise MessageError(400, "the request target names no host")
    port = b"443" if target[4:5] in b"sS" else b"80"
    if host and _without_port(host, port) != _without_port(match[1], port):
        raise MessageError(400, "the request target and the Host field name different hosts")
    path = match[2]
    if not path and method == b"OPTIONS":  # RFC 9112 section 3.2.4
        return match[1], b"*"
    return match[1], origin_form(path if path.startswith(b"/") else b"/" + path)


def _without_port(authority: bytes, default: bytes) -> bytes:
    """Leave out a port that is empty or ``default`` (RFC 3986 section 6.2.3)."""
    name, colon, port = authority.lower().rpartition(b":")
    return name if colon and port in (b"", default) else authority.lower()


def _status_line(line: bytes) -> tuple[int, int, bytes]:
    """Read a status line as (status, minor version, the line as the gateway says it)."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MessageError(502, "malformed status line")
    parsed = int(match[2]), int(match[1]), b"HTTP/1.1" + line[8:]
    if len(line) <= _FIRST_LINE_BYTES:
        if len(_status_lines) >= _FIRST_LINES:
            _status_lines.clear()
        _status_lines[line] = parsed
    return parsed


def check_response_part(data: bytes, checked: int, table: FieldTable) -> int:
    """Check what has come of a response head; ``checked`` bytes were checked before. Return how many are checked now.

    What cannot become a response any more is refused at once, and not waited for.

    Raises:
        MessageError: it is no part of a response head.
    """
    begun = data[: len(_ANY_STATUS_LINE)]
    if _STATUS_LINE_BEGUN.match(begun + _ANY_STATUS_LINE[len(begun) :]) is None:
        raise MessageError(502, f"it begins with {begun!r}, which is not HTTP/1")
    last = data.rfind(b"\r\n", checked)
    end = last + 2 if last >= 0 else checked
    lines = data[checked:end].split(b"\r\n")[:-1]
    if lines and not checked:
        _status_line(lines.pop(0))
    for line in lines:
        if line not in table.known:
            table.learn(line)
    if _PART_OF_A_LINE.fullmatch(data, end) is None:
        raise MessageError(502, "a control character, or a line that ends with a bare line feed, in a response head")
    return end


def parse_response(head: bytes, table: FieldTable, method: bytes, max_fields: int) -> ResponseHead:
    """Parse a response head to a request with ``method``: up to and without the empty line.

    Raises:
        MessageError: 502 for anything malformed or ambiguous.
    """
    if method != b"HEAD" and (parsed := table.heads.get(head)) is not None:
        return cast("ResponseHead", parsed)
    first, *raw_lines = head.split(b"\r\n")
    if len(raw_lines) > max_fields:
        raise MessageError(502, f"more than {max_fields} header fields")
    status, minor, status_line = _status_lines.get(first) or _status_line(first)
    length = None
    try:
        lines, ours, options = _sorted(raw_lines, table)
        for field in ours:
            length = _framing(field, length, minor)
    except MessageError as error:
        raise MessageError(502, str(error)) from error
    if length == _UNSERVED:
        raise MessageError(502, "the only transfer coding served is chunked")
    size, in_step = _body_length(method, status, length, lines)
    keep_alive = in_step and _keeps_alive(options, minor)
    upgrade = _protocols(ours) if b"upgrade" in options and minor and status == 101 else b""
    new = ResponseHead(status, status_line, lines, size, keep_alive, upgrade, has_date(lines))
    if method != b"HEAD":
        table.remember(head, raw_lines, new)
    return new


def has_date(lines: list[bytes]) -> bool:
    """Tell whether a response says when it was made."""
    return any(line[:5].lower() == b"date:" for line in lines)


def _body_length(method: bytes, status: int, said: int | None, lines: list[bytes]) -> tuple[int, bool]:
    """Tell how long a body is of which the head says ``said``, and whether another response can follow it.

    A Content-Length that is not the body's own is added to ``lines``.
    """
    if method == b"HEAD" or status < 200 or status in _BODILESS:
        if status < 200 and (said or (status == 101 and said is not None)):
            raise MessageError(502, "an interim response with a body")
        if status == 204:  # RFC 9112 section 6.3, rule 1: what others may take for its body is the next response
            return 0, not said
        if said is not None and said >= 0 and status >= 200:
            lines.append(b"Content-Length: %d" % said)  # what a GET would have got (RFC 9110 section 8.6)
        return 0, True
    if said is None:
        return UNTIL_CLOSE, False
    if said == 0:
        lines.append(b"Content-Length: 0")
    return said, True
