"""The first message of a TLS client, read before TLS starts (RFC 8446 section 4.1.2, RFC 6066 section 3).

``parse`` is given what has arrived so far, from the first byte of the connection, as often as more arrives.
It reads only what decides which certificate and policy serve the client; whether the message is right in all
else is for OpenSSL to judge, which reads the same bytes again.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from gateway.tls.names import canonical, is_address
from gateway.tls.octets import Octets

ONE_RECORD = 5 + 16384
"""The bytes of the longest record; no client that is known today needs another one for its ClientHello."""

# The longest ClientHello that the grammar allows (RFC 8446 section 4.1.2) and OpenSSL reads.
_LONGEST = 131396
# A client could also send it byte by byte in 131,396 records, each of which costs time.
_LONGEST_HEADERS = 16384
LIMIT = 4 + _LONGEST + _LONGEST_HEADERS
"""The most bytes that a ClientHello may take, record headers included."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
_EXTENSION = struct.Struct(">HH").unpack_from
_HTTP = re.compile(rb"[A-Z][A-Z-]{0,19}( |\Z)")
_LONGEST_NAME = 253  # of a real one (RFC 1035 section 2.3.4), so a strange one need not take more room in a cache
_MALFORMED = "client sent a malformed ClientHello"

# RFC 8446 section 6.2
_UNEXPECTED_MESSAGE, _RECORD_OVERFLOW, _ILLEGAL_PARAMETER, _DECODE_ERROR, _PROTOCOL_VERSION = 10, 22, 47, 50, 70


class ClientHelloError(ValueError):
    """These bytes can never become a ClientHello; ``alert`` answers them (RFC 8446 section 6.2)."""

    def __init__(self, reason: str, alert: int = _DECODE_ERROR) -> None:
        self.alert = alert
        super().__init__(reason)


class PlainHttpError(ClientHelloError):
    """The client speaks HTTP where HTTPS is spoken, so it can be told in HTTP."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client asks for.

    ``server_name`` is canonical; None when absent. What is no name, or an address (RFC 6066 section 3), comes in
    quotes, with its odd characters escaped: it can be logged, and no name or wildcard matches it. ``versions`` are
    numbers on the wire; a client of TLS 1.2 or below states only its highest. ``size`` is the bytes the message takes,
    record headers included.
    """

    server_name: str | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]
    size: int


def parse(data: bytes) -> ClientHello | None:
    """Read a ClientHello from the beginning of ``data``; None when more bytes are needed.

    The message may be spread over records, as long as their headers are few. Raises ClientHelloError as soon as the
    bytes cannot become one, or a longer one than LIMIT.
    """
    if http := _HTTP.match(data):
        if http[1]:
            raise PlainHttpError("client sent plain HTTP to the HTTPS port")
        return None
    message = bytearray()
    position = 0
    while position < len(data):
        length = _record_length(data, position)
        if length < 0:
            break
        if not length or position - len(message) >= _LONGEST_HEADERS:
            raise ClientHelloError("client sent empty records, or too many", _UNEXPECTED_MESSAGE)
        message += data[position + 5 : position + 5 + length]
        position += 5 + length
        if message and message[0] != _CLIENT_HELLO:
            raise ClientHelloError("client began with another message than a ClientHello", _UNEXPECTED_MESSAGE)
        if len(message) >= 4:
            end = 4 + int.from_bytes(message[1:4])
            if end > 4 + _LONGEST:
                raise ClientHelloError("client sent a ClientHello that is longer than one can be", _ILLEGAL_PARAMETER)
            if end <= len(message):
                return _read(bytes(message[4:end]), position)
    return None


def _record_length(data: bytes, position: int) -> int:
    """Read how long the record is that begins at ``position``; below 0 when its header is not whole (section 5.1)."""
    if data[position] != _HANDSHAKE:
        what = "interrupted its ClientHello" if position else "sent something that is not TLS, or no ClientHello"
        raise ClientHelloError(f"client {what}", _UNEXPECTED_MESSAGE)
    if data[position + 1 : position + 2] not in (b"", b"\x03"):
        raise ClientHelloError("client sent a record that is not TLS in its version", _PROTOCOL_VERSION)
    if position + 5 > len(data):
        return -1
    length = data[position + 3] << 8 | data[position + 4]
    if length > 16384:
        raise ClientHelloError("client sent a record that is too long", _RECORD_OVERFLOW)
    return length


def missing(data: bytes) -> int:
    """Return how many more bytes must come, at the least, before ``parse`` of such a beginning can say more.

    Whoever waits for that many is not woken by each byte of a client that drips.
    """
    payload = bytearray()
    position = 0
    while len(data) >= position + 5:
        length = int.from_bytes(data[position + 3 : position + 5])
        payload += data[position + 5 : position + 5 + length]
        position += 5 + length
    open_record = max(position - len(data), 0)
    open_message = 4 + int.from_bytes(payload[1:4]) - len(payload) if len(payload) >= 4 else 1
    return max(open_record, open_message, 1)


class _Reader(Octets):
    def _beyond(self) -> ClientHelloError:
        return ClientHelloError(_MALFORMED)

    def last_vector(self, width: int) -> _Reader:
        """A vector with nothing behind it."""
        inner = _Reader(self.vector(width))
        if self:
            raise ClientHelloError(_MALFORMED)
        return inner


def _read(message: bytes, size: int) -> ClientHello:
    """Take a whole message apart, by position: this is paid for by every connection."""
    try:
        version = int.from_bytes(message[:2])
        at = 34  # behind the version and the random
        at += 1 + message[at]  # session id
        at += 2 + int.from_bytes(message[at : at + 2])  # cipher suites
        at += 1 + message[at]  # compression methods
    except IndexError:
        raise ClientHelloError(_MALFORMED) from None
    extensions = _extensions(message, at) if at != len(message) else {}  # a client of TLS 1.0 may send none at all
    return ClientHello(
        server_name=_server_name(extensions[_SERVER_NAME]) if _SERVER_NAME in extensions else None,
        alpn=_protocols(extensions[_ALPN]) if _ALPN in extensions else (),
        versions=_versions(extensions.get(_SUPPORTED_VERSIONS, b"\0")) or (version,),
        size=size,
    )


def _extensions(message: bytes, at: int) -> dict[int, bytes]:
    end = len(message)
    if at + 2 + int.from_bytes(message[at : at + 2]) != end:
        raise ClientHelloError(_MALFORMED)
    at += 2
    extensions: dict[int, bytes] = {}
    while at < end:
        if at + 4 > end:
            raise ClientHelloError(_MALFORMED)
        kind, length = _EXTENSION(message, at)
        if kind in extensions:
            raise ClientHelloError("client sent a ClientHello with an extension twice", _ILLEGAL_PARAMETER)
        at += 4
        extensions[kind] = message[at : at + length]
        at += length
    if at != end:
        raise ClientHelloError(_MALFORMED)
    return extensions


def _server_name(content: bytes) -> str:
    """The only entry of the list; like OpenSSL, this knows no other kind of entry than host names."""
    entries = _Reader(content).last_vector(2)
    kind = entries.number(1)
    name = entries.vector(2)
    if kind != 0 or not name or entries:
        raise ClientHelloError(_MALFORMED)
    try:
        found = canonical(name.decode("ascii"))
    except ValueError:
        found = "*"
    if found[0] != "*" and not is_address(found):
        return found
    return f'"{name.decode("latin-1").encode("unicode_escape").decode().lower()[:_LONGEST_NAME]}"'


def _protocols(content: bytes) -> tuple[bytes, ...]:
    entries = _Reader(content).last_vector(2)
    protocols = []
    while entries:
        protocols.append(entries.vector(1))
    return tuple(protocols)


def _versions(content: bytes) -> tuple[int, ...]:
    """The versions that are versions: values of the form 0x?a?a are there to be ignored (RFC 8701)."""
    if not content or len(content) != 1 + content[0] or content[0] % 2:
        raise ClientHelloError(_MALFORMED)
    versions = [int.from_bytes(content[at : at + 2]) for at in range(1, len(content), 2)]
    return tuple([version for version in versions if version & 0x0F0F != 0x0A0A])
