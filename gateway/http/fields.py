"""Field lines: their grammar (RFC 9110 section 5), and what each name means to an intermediary.

Clients repeat themselves: of the eight or so lines of a request, seven came before, byte for byte. A line is
therefore checked and classified once, and the result kept in a bounded table that is asked with the whole line. Who
polls repeats whole heads, and so do upstreams within a second: a table of those is asked first.
That is both stricter and faster than a general parser (``docs/architecture.md`` has the figures). Lines that carry
credentials are checked each time and never kept.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from gateway.errors import MessageError


class Kind(IntEnum):
    """What an intermediary does with a field. ``END_TO_END`` must stay zero: the hot path asks for its truth."""

    END_TO_END = 0
    DROPPED = 1  # hop-by-hop, or an alias that could forge what the gateway says
    HOST = 2
    CONTENT_LENGTH = 3
    TRANSFER_ENCODING = 4
    CONNECTION = 5
    EXPECT = 6
    FORWARDED = 7  # what an earlier proxy says about the client: kept from trusted peers only
    REQUEST_ID = 8
    TE = 9
    UPGRADE = 10


class Field(NamedTuple):
    """A checked field line: what it is for, and its lower-case name.

    ``value``, without surrounding white space, is kept of the fields that the gateway acts on and empty for others.
    ``options`` are those of a Connection field, in lower case; ``number`` is what a Content-Length says, and how many
    codings a Transfer-Encoding has below ``chunked``. Of an Upgrade field, h2c is left out.
    """

    kind: Kind
    name: bytes
    value: bytes = b""
    options: tuple[bytes, ...] = ()
    number: int = 0


_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PROTOCOL = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_BEGINNING = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::[\t\x20-\x7e\x80-\xff]*)?)?")

# A name of DNS, an IPv4 address, or an IPv6 address in brackets. RFC 3986 section 3.2.2 allows more, which no resolver
# finds: "a.test,b.test" would be two hosts to whoever reads X-Forwarded-Host as a list, "a%2etest" another spelling.
_HOST = re.compile(
    rb"(?:(?=.{1,254}(?::|\Z))[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*+\.?|\[(?:[0-9A-Fa-f.]*:){2}[0-9A-Fa-f:.]*\])"
    rb"(?::([0-9]{0,5}))?"
)

# Eighteen digits are less than 2**63: no parser behind us can overflow. No client writes a zero before others, which
# some read as octal; some old upstreams do.
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_PADDED_LENGTH = re.compile(rb"[0-9]{1,18}")
_CODING = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")

# RFC 9110 section 7.6.1, and the two Proxy-Auth fields that are for the next hop alone (section 11.7). Trailers are
# forwarded without TE, for a recipient may always drop them (section 6.5.1).
_HOP_BY_HOP = dict.fromkeys(
    (
        b"keep-alive",
        b"proxy",  # no such field exists, but CGI programs take it for a setting: HTTP_PROXY
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"http2-settings",
    ),
    Kind.DROPPED,
) | {b"upgrade": Kind.UPGRADE}
_FRAMING = {
    b"connection": Kind.CONNECTION,
    b"content-length": Kind.CONTENT_LENGTH,
    b"transfer-encoding": Kind.TRANSFER_ENCODING,
}
_REQUEST = {
    b"client-cert": Kind.DROPPED,  # RFC 9440 section 2.4: whom a client's certificate names is ours alone to say
    b"client-cert-chain": Kind.DROPPED,
    b"expect": Kind.EXPECT,
    b"forwarded": Kind.FORWARDED,
    b"host": Kind.HOST,
    b"te": Kind.TE,
    b"x-forwarded-for": Kind.FORWARDED,
    b"x-forwarded-host": Kind.FORWARDED,
    b"x-forwarded-port": Kind.FORWARDED,
    b"x-forwarded-proto": Kind.FORWARDED,
    b"x-real-ip": Kind.FORWARDED,
    b"x-request-id": Kind.REQUEST_ID,
}
CREDENTIALS = {
    b"authorization",
    b"cookie",
    b"proxy-authorization",
    b"set-cookie",
    b"x-api-key",
    b"x-tyk-authorization",
}
"""Fields whose lines are not remembered, and which HTTP/2 marks as never to be."""

_TABLE_LINES = 4096
_TABLE_LINE_BYTES = 160
_HEADS = 1024
_HEAD_BYTES = 1024


def is_host(value: bytes) -> bool:
    """Tell whether ``value`` is a host with or without a port, as Host has it; the port may be empty (RFC 3986)."""
    match = _HOST.fullmatch(value)
    return match is not None and int(match[1] or 0) < 65_536


class FieldTable:
    """The field lines seen so far in one direction, each with its meaning; at most 4,096 lines of 160 bytes."""

    __slots__ = ("_kinds", "_lengths", "_names", "heads", "known", "pairs")

    def __init__(self, kinds: dict[bytes, Kind], lengths: re.Pattern[bytes]) -> None:
        self._kinds = kinds
        self._lengths = lengths
        self._names: dict[bytes, Field] = {}
        self.known: dict[bytes, Field] = {}
        self.heads: dict[bytes, object] = {}
        """Whole heads that came before, with what ``http.head`` made of them; see ``remember``."""
        self.pairs: dict[tuple[bytes, bytes], tuple[bytes, Field]] = {}
        """Fields of HTTP/2 by name and value, each with its line; see ``remember_pair``."""

    def remember(self, head: bytes, lines: list[bytes], parsed: object) -> None:
        """Keep what a head was parsed to, unless it is long or has a line that is not kept either."""
        if len(head) <= _HEAD_BYTES and all(line in self.known for line in lines):
            if len(self.heads) >= _HEADS:
                self.heads.clear()
            self.heads[head] = parsed

    def remember_pair(self, pair: tuple[bytes, bytes], learned: tuple[bytes, Field]) -> None:
        """Keep a field of HTTP/2 whose line is kept."""
        if len(self.pairs) >= _TABLE_LINES:
            self.pairs.clear()
        self.pairs[pair] = learned

    def learn(self, line: bytes) -> Field:
        """Check and classify ``line`` (without its CRLF).

        Raises:
            MessageError: 400, for whatever RFC 9112 section 5 does not allow: a space before the colon, obsolete
                folding, a bare CR or LF, a control character; and for a Host, Content-Length, Transfer-Encoding
                or Expect that is malformed in itself (417 where it only asks for too much).
        """
        name, colon, value = line.partition(b":")
        field = self._names.get(name) or self._learn_name(name)
        if not colon or _VALUE.fullmatch(value) is None:
            raise MessageError(400, "malformed field line")
        if field.kind > Kind.DROPPED:
            field = _understood(field._replace(value=value.strip(b" \t")), self._lengths)
        if len(line) <= _TABLE_LINE_BYTES and field.name not in CREDENTIALS:
            if len(self.known) >= _TABLE_LINES:
                self.known.clear()
            self.known[line] = field
        return field

    def _learn_name(self, name: bytes) -> Field:
        if _NAME.fullmatch(name) is None:
            raise MessageError(400, "malformed field line")
        lower = name.lower()
        field = Field(self._kind(lower), lower)
        if len(name) <= _TABLE_LINE_BYTES:
            if len(self._names) >= _TABLE_LINES:
                self._names.clear()
            self._names[name] = field
        return field

    def _kind(self, name: bytes) -> Kind:
        kind = self._kinds.get(name)
        if kind is not None:
            return kind
        alias = _alias(name)
        return Kind.DROPPED if alias != name and alias in self._kinds else Kind.END_TO_END


def _alias(name: bytes) -> bytes:
    """Name what CGI and WSGI, which fold "_" into "-", and some servers, which fold ".", take ``name`` for."""
    return name.replace(b"_", b"-").replace(b".", b"-")


def _understood(field: Field, lengths: re.Pattern[bytes]) -> Field:
    """Check a value that the gateway acts on, and read what it says."""
    value = field.value
    match field.kind:
        case Kind.HOST if not is_host(value):
            raise MessageError(400, "malformed Host field")
        case Kind.CONTENT_LENGTH:
            if lengths.fullmatch(value) is None:
                raise MessageError(400, "Content-Length must be one number")
            return field._replace(number=int(value))
        case Kind.CONNECTION:
            return field._replace(options=tuple(option.strip(b" \t") for option in value.lower().split(b",")))
        case Kind.UPGRADE:
            return field._replace(value=_protocols(value))
        case Kind.TRANSFER_ENCODING:
            return field._replace(number=_codings_below(value))
        case Kind.EXPECT if value.lower() != b"100-continue":
            raise MessageError(417, "the only expectation served is 100-continue")
    return field


def _codings_below(value: bytes) -> int:
    """Count the codings below ``chunked``, which must come last and once (RFC 9112 sections 6.1 and 6.3).

    Members of the list that are empty could be ignored; not everybody does.
    """
    *others, last = [coding.strip(b" \t") for coding in value.lower().split(b",")]
    if last != b"chunked" or not all(
        _CODING.fullmatch(coding) and coding.partition(b";")[0].strip(b" \t") != b"chunked" for coding in others
    ):
        raise MessageError(400, "Transfer-Encoding must end with chunked, once")
    return len(others)


def _protocols(value: bytes) -> bytes:
    """Read an Upgrade field: what is malformed asks for nothing, and HTTP/2 is never spoken through a tunnel.

    Behind h2c an upstream would take requests that nobody here has looked at (RFC 9113 has done away with it).
    """
    protocols = [protocol.strip(b" \t") for protocol in value.split(b",")]
    if not all(map(_PROTOCOL.fullmatch, protocols)):
        return b""
    return b", ".join(protocol for protocol in protocols if not protocol.lower().startswith((b"h2", b"http")))


def request_fields() -> FieldTable:
    """Make an empty table for requests."""
    return FieldTable(_HOP_BY_HOP | _FRAMING | _REQUEST, _LENGTH)


def response_fields() -> FieldTable:
    """Make an empty table for responses."""
    return FieldTable(_HOP_BY_HOP | _FRAMING | {b"te": Kind.DROPPED}, _PADDED_LENGTH)


ENDS_WITH_LF = "a line ends with a bare line feed"


def check_beginning(line: bytes) -> None:
    """Refuse the beginning of a field line that no more bytes can mend.

    Raises:
        MessageError: 400.
    """
    if _BEGINNING.fullmatch(line) is None:
        raise MessageError(400, ENDS_WITH_LF if b"\n" in line else "malformed field line")


_NOT_IN_TRAILERS = (
    set(_HOP_BY_HOP)
    | set(_FRAMING)
    | set(_REQUEST)
    | CREDENTIALS
    | {b"cache-control", b"content-encoding", b"content-range", b"content-type", b"max-forwards", b"trailer"}
)


def trailer_lines(lines: list[bytes]) -> list[bytes]:
    """Keep of a trailer section what may be forwarded.

    Framing, routing, credentials and content fields are left out (RFC 9110 section 6.5.1): a recipient that merged
    them into the head would be led astray.
    """
    kept = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise MessageError(400, "malformed trailer field")
        if _alias(name.lower()) not in _NOT_IN_TRAILERS:
            kept.append(line)
    return kept
