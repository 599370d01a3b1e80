"""PROXY headers, versions 1 and 2: what is read out of them, what is refused, and what the gateway writes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageError
from gateway.http.proxy_protocol import LIMIT, Ends, Header, encode, parse

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")  # as section 2.2 of the specification writes it
V4 = Ends("192.0.2.1", 56324, "198.51.100.7", 443)
V6 = Ends("2001:db8::1", 56324, "2001:db8::2", 443)


def v2(command: int, family: int, payload: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, family)) + (len(payload) if length is None else length).to_bytes(2) + payload


TCP4 = bytes((192, 0, 2, 1, 198, 51, 100, 7)) + (56324).to_bytes(2) + (443).to_bytes(2)
TCP6 = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + TCP4[-4:]


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", V4),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", V6),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 56324 443\r\n", V4),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        (v2(0x21, 0x11, TCP4), V4),
        (v2(0x21, 0x21, TCP6), V6),
        (v2(0x21, 0x11, TCP4 + b"\x20\x00\x02ab\x04\x00\x00"), V4),  # two TLVs
        (v2(0x20, 0x00, b""), None),  # LOCAL
        (v2(0x20, 0x11, TCP4 + b"not looked at"), None),
        (v2(0x21, 0x00, b""), None),  # UNSPEC
        (v2(0x21, 0x12, TCP4), None),  # UDP
        (v2(0x21, 0x31, bytes(216)), None),  # a UNIX socket
    ],
)
def test_a_header_says_whose_connection_follows(data: bytes, ends: Ends | None) -> None:
    for rest in (b"", b"\x16\x03\x01 and so on", data):
        assert parse(data + rest) == Header(len(data), ends)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\r\n\r\n\x00\r\nQUIX\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 0443 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY TCP5 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n" + b"x" * 100,
        b"PROXY " + b"x" * 101,
        b"PROXY UNKNOWN\x00\r\n",
        v2(0x11, 0x11, TCP4),  # version 1 in the coding of version 2
        v2(0x22, 0x11, TCP4),  # no such command
        v2(0x21, 0x13, TCP4),  # no such transport
        v2(0x21, 0x41, TCP4),  # no such family
        v2(0x21, 0x11, TCP4[:-1]),
        v2(0x21, 0x11, TCP4 + b"\x20"),  # a TLV without a length
        v2(0x21, 0x11, TCP4 + b"\x20\x00\x03ab"),  # a TLV that is longer than what is left
        v2(0x21, 0x11, b"", LIMIT),
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError, match="PROXY"):
        parse(data)


ADDRESSES = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(st.ip_addresses(), st.ip_addresses())
PORTS = st.integers(0, 65535)


@given(ADDRESSES, PORTS, PORTS, st.sampled_from(["v1", "v2"]), st.binary(max_size=20))
def test_what_the_gateway_writes_reads_back_and_arrives_in_any_pieces(
    addresses: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address],
    port: int,
    local_port: int,
    version: Literal["v1", "v2"],
    rest: bytes,
) -> None:
    source, destination = (str(getattr(one, "ipv4_mapped", None) or one) for one in addresses)
    ends = Ends(source, port, destination, local_port)
    data = encode(version, ends)
    assert parse(data + rest) == Header(len(data), ends)
    at = 0
    while at < len(data):  # whoever waits for what is said to be missing gets there, and never past it
        at += 1
        missing = parse(data[:at])
        if at < len(data):
            assert isinstance(missing, int)
            assert 1 <= missing <= len(data) - at


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes_are_a_header_or_refused_or_too_few(data: bytes, beginning: bytes) -> None:
    if not beginning + data:
        return
    try:
        found = parse(beginning + data)
    except MessageError:
        return
    if isinstance(found, int):
        assert 1 <= found <= LIMIT
    else:
        assert 0 < found.length <= len(beginning + data)


def test_a_zone_is_no_part_of_what_an_upstream_is_told() -> None:
    header = encode("v1", Ends("fe80::1%eth0", 1, "fe80::2%eth0", 2))
    assert header == b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"
