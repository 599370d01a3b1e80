"""How clients of PostgreSQL ask for TLS, and what they are told (PostgreSQL's manual, "Message Flow", SSL encryption).

A connection begins with a packet of its length and a code; ``SSLRequest`` is answered with one byte, after which TLS
begins. From version 17 on clients may also begin with TLS at once, if they name the protocol in it (ALPN).
"""

from __future__ import annotations

import struct
from enum import Enum

SSL_REQUEST = struct.pack(">II", 8, 80877103)
ACCEPTED, DECLINED = b"S", b"N"

_PACKET = struct.Struct(">II")
_TLS_HANDSHAKE = 22
_SSL, _GSSENC, _CANCEL = 80877103, 80877104, 80877102
_LONGEST = 10000  # of a startup packet: PostgreSQL's own bound
_CANCEL_LENGTHS = range(16, 268 + 1)  # a process and its key, of 4 bytes in protocol 3.0, of up to 256 in 3.2


class Opening(Enum):
    """What a client begins with."""

    TLS = "a ClientHello"
    SSL_REQUEST = "SSLRequest"
    GSSENC_REQUEST = "GSSENCRequest"
    CANCEL = "CancelRequest"
    PLAIN = "a startup message without TLS"


class NegotiationError(ValueError):
    """These bytes are no beginning of a connection to PostgreSQL."""


def opening(data: bytes) -> Opening | int:
    """Tell what ``data``, which is not empty, begins with, or how many more bytes it takes. Raises NegotiationError."""
    if data[0] == _TLS_HANDSHAKE:
        return Opening.TLS
    if data[0]:  # of a length that is far too large
        raise NegotiationError("client sent something that is neither TLS nor PostgreSQL")
    if len(data) < _PACKET.size:
        return _PACKET.size - len(data)
    length, code = _PACKET.unpack_from(data)
    if not _PACKET.size <= length <= _LONGEST:
        raise NegotiationError("client sent a PostgreSQL packet of an impossible length")
    if code in (_SSL, _GSSENC):
        if length != _PACKET.size:
            raise NegotiationError("client sent a PostgreSQL packet of an impossible length")
        if len(data) > length:  # CVE-2021-23214: it would pass for what was said within TLS
            raise NegotiationError("client sent unencrypted data after its request for encryption")
        return Opening.SSL_REQUEST if code == _SSL else Opening.GSSENC_REQUEST
    if code != _CANCEL:
        return Opening.PLAIN
    if length not in _CANCEL_LENGTHS:
        raise NegotiationError("client sent a PostgreSQL packet of an impossible length")
    return max(length - len(data), 0) or Opening.CANCEL


def first_packet(data: bytes) -> bytes:
    """Cut off what follows the packet that ``data`` begins with."""
    return data[: _PACKET.unpack_from(data)[0]]


def error_response(message: str) -> bytes:
    """Write the refusal of a connection, as PostgreSQL refuses one without encryption where it demands that (28000)."""
    fields = b"".join(b"%b\0" % field for field in (b"SFATAL", b"VFATAL", b"C28000", b"M" + message.encode()))
    return b"E" + struct.pack(">I", len(fields) + 5) + fields + b"\0"
