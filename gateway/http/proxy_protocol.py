"""The PROXY protocol, versions 1 and 2: who is connected, said by the proxy in between before anything else.

The judge is "The PROXY protocol, versions 1 & 2" of haproxy.org (its sections 2.1 and 2.2 below). Whoever speaks
it says who the client is, so only listed networks may (``gateway.proxy_protocol``), and those must.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Literal, NamedTuple

from gateway.config.networks import address as plain
from gateway.errors import MessageError

LIMIT = 4096
"""The longest header taken, with room for any TLVs in use; nginx has the same bound."""

_V1_LIMIT = 107  # section 2.1: the longest line, with its CRLF
_V1 = b"PROXY "
_V1_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5})")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?")
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
# Family and transport (section 2.2): how long the addresses are. Of these, only TCP can be what is connected here.
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES = {0x00: 0, _TCP4: 12, 0x12: 12, _TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_ADDRESSES = {_TCP4: Struct("!4s4sHH"), _TCP6: Struct("!16s16sHH")}


class Ends(NamedTuple):
    """The two ends of a client's connection: who connected, and what was dialled."""

    address: str
    port: int
    local_address: str
    local_port: int


class Header(NamedTuple):
    """A whole header: how many bytes it is, and whose connection follows (None: that of the proxy itself)."""

    length: int
    ends: Ends | None


def parse(data: bytes) -> Header | int:
    """Read the header at the beginning of ``data``, or tell how many more bytes must come before there is one.

    Raises:
        MessageError: what is there is not, or does not begin, a header.
    """
    if data.startswith(_V2[: len(data)]):
        return _parse_v2(data) if len(data) >= _V2_FIXED else _V2_FIXED - len(data)
    if data.startswith(_V1[: len(data)]):
        return _parse_v1(data)
    raise MessageError(400, "there is no PROXY header where one is required")


def _parse_v1(data: bytes) -> Header | int:
    end = data.find(b"\r\n", 0, _V1_LIMIT)
    if end < 0:
        if len(data) >= _V1_LIMIT:
            raise MessageError(400, f"a PROXY header of more than {_V1_LIMIT} bytes")
        return 1
    line = data[:end]
    if _V1_UNKNOWN.fullmatch(line):
        return Header(end + 2, None)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise MessageError(400, "a malformed PROXY header")
    family = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        source, destination = family(match[2].decode()), family(match[3].decode())
    except ValueError as error:
        raise MessageError(400, "a PROXY header with an address that is none") from error
    ports = int(match[4]), int(match[5])
    if max(ports) > 65535 or any(len(text) > 1 and text.startswith(b"0") for text in (match[4], match[5])):
        raise MessageError(400, "a PROXY header with a port that is none")
    return Header(end + 2, _ends(source, ports[0], destination, ports[1]))


def _parse_v2(data: bytes) -> Header | int:
    command, family = data[12], data[13]
    length = _V2_FIXED + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY):
        raise MessageError(400, "a PROXY header of an unknown version or command")
    if length > LIMIT:
        raise MessageError(400, f"a PROXY header of more than {LIMIT} bytes")
    if len(data) < length:
        return length - len(data)
    if command == _LOCAL:  # a health check of the proxy's own: the rest is to be skipped, whatever it is
        return Header(length, None)
    addresses = _ADDRESS_BYTES.get(family)
    if addresses is None:
        raise MessageError(400, "a PROXY header of an unknown address family")
    if addresses > length - _V2_FIXED:
        raise MessageError(400, "a PROXY header shorter than its addresses")
    _skip_tlvs(data[_V2_FIXED + addresses : length])
    form = _ADDRESSES.get(family)
    if form is None:  # UNSPEC, UDP or a UNIX socket: nothing that a TCP client's address could be
        return Header(length, None)
    source, destination, source_port, port = form.unpack_from(data, _V2_FIXED)
    return Header(length, _ends(_packed(source), source_port, _packed(destination), port))


def _skip_tlvs(data: bytes) -> None:
    """Walk over what else the proxy says; if it does not end where the header ends, something is misread."""
    at = 0
    while at < len(data):
        if len(data) - at < 3:
            raise MessageError(400, "a PROXY header that breaks off")
        at += 3 + int.from_bytes(data[at + 1 : at + 3])
    if at > len(data):
        raise MessageError(400, "a PROXY header that breaks off")


def _packed(data: bytes) -> IPv4Address | IPv6Address:
    return IPv4Address(data) if len(data) == 4 else IPv6Address(data)


def _ends(
    source: IPv4Address | IPv6Address, source_port: int, destination: IPv4Address | IPv6Address, port: int
) -> Ends:
    return Ends(str(plain(str(source))), source_port, str(plain(str(destination))), port)


def encode(version: Literal["v1", "v2"], ends: Ends) -> bytes:
    """Write the header that tells an upstream whose connection follows."""
    source, destination = ip_address(ends.address.partition("%")[0]), ip_address(ends.local_address.partition("%")[0])
    if source.version != destination.version:  # mapped is how IPv6 says an IPv4 address (RFC 4291 section 2.5.5.2)
        source, destination = _as_ipv6(source), _as_ipv6(destination)
    if version == "v1":
        words = (f"PROXY TCP{source.version}", source, destination, ends.port, ends.local_port)
        return " ".join(map(str, words)).encode() + b"\r\n"
    family = _TCP4 if source.version == 4 else _TCP6
    addresses = _ADDRESSES[family].pack(source.packed, destination.packed, ends.port, ends.local_port)
    return b"%b%c%c%b%b" % (_V2, _PROXY, family, len(addresses).to_bytes(2), addresses)


def _as_ipv6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return IPv6Address(f"::ffff:{address}") if address.version == 4 else IPv6Address(str(address))
