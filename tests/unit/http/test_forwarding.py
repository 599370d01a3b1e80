"""Who the upstream is told that the client is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.networks import contain
from gateway.http.fields import Field, Kind
from gateway.http.forwarded import element, parse
from gateway.http.forwarding import HOST_HERE, Forwarding

Style = Literal["x-forwarded", "forwarded", "both"]
STYLES: tuple[Style, ...] = ("x-forwarded", "forwarded", "both")
NETWORKS = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def forwarded(*pairs: tuple[bytes, bytes]) -> list[Field]:
    return [Field(Kind.FORWARDED, name, value) for name, value in pairs]


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::1", True),
        ("::ffff:10.1.2.3", True),
        ("11.0.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_trust_is_a_matter_of_networks(address: str, trusted: bool) -> None:
    assert contain(NETWORKS, address) is trusted


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        (b"", "10.0.0.1"),
        (b"203.0.113.9", "203.0.113.9"),
        (b"6.6.6.6, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        (b"10.0.0.8, 10.0.0.7", "10.0.0.8"),
        (b"203.0.113.9, garbage", "10.0.0.1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:4711, 10.0.0.7:80", "2001:db8::1"),
        (b"203.0.113.9:_port", "203.0.113.9"),
        (b"::ffff:203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9, unknown", "10.0.0.1"),
        (b"203.0.113.9, _hidden, 10.0.0.8", "10.0.0.8"),
        (b"fe80::1%eth0", "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_one_whom_no_trusted_proxy_vouched_for(hops: bytes, client: str) -> None:
    spoken = Forwarding("x-forwarded", NETWORKS)
    assert spoken.client("10.0.0.1", forwarded((b"x-forwarded-for", hops))) == client
    elements = ", ".join(f'for="{hop.strip()}"' for hop in hops.decode().split(","))
    assert Forwarding("forwarded", NETWORKS).client("10.0.0.1", forwarded((b"forwarded", elements.encode()))) == client


@pytest.mark.parametrize(
    ("depth", "client"), [(1, "10.0.0.7"), (2, "203.0.113.9"), (3, "6.6.6.6"), (4, "10.0.0.1"), (0, "203.0.113.9")]
)
def test_the_client_may_be_an_entry_by_its_place(depth: int, client: str) -> None:
    fields = forwarded((b"x-forwarded-for", b"6.6.6.6, 203.0.113.9, 10.0.0.7"))
    assert Forwarding("x-forwarded", NETWORKS, depth).client("10.0.0.1", fields) == client


@pytest.mark.parametrize(
    ("style", "lines"),
    [
        (
            "x-forwarded",
            (
                b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n"
                b"X-Forwarded-Host: a.test:8443\r\n"
            ),
        ),
        ("forwarded", b'Forwarded: for=192.0.2.1;host="a.test:8443";proto=https\r\n'),
    ],
)
def test_a_stranger_is_described_from_the_connection_alone(style: Style, lines: bytes) -> None:
    spoken: Style
    for spoken in (style, "both"):
        found = Forwarding(spoken, ()).of_connection("192.0.2.1", encrypted=True, port=8443)
        assert lines in found.replace(HOST_HERE, b"a.test:8443")


X_FIELDS = (
    (b"x-forwarded-for", b"203.0.113.9"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-proto", b"gopher"),
)


def test_what_a_trusted_proxy_says_is_kept_and_its_address_is_appended() -> None:
    fields = forwarded(*X_FIELDS, (b"forwarded", b"for=6.6.6.6"))
    spoken = Forwarding("x-forwarded", NETWORKS)
    lines = spoken.of_proxy("10.0.0.1", b"a.test", fields, encrypted=True, port=443).split(b"\r\n")
    assert b"X-Forwarded-For: 203.0.113.9, 10.0.0.1" in lines
    assert b"X-Forwarded-Proto: http" in lines
    assert b"X-Forwarded-Host: a.test" in lines
    assert b"X-Forwarded-Port: 443" in lines
    assert not any(b"gopher" in line or b"6.6.6.6" in line for line in lines)


@pytest.mark.parametrize(
    ("earlier", "line"),
    [
        (b"", b'Forwarded: for="[::1]";host="a.test";proto=https'),
        (
            b'for=_hidden;by="_x", For="[2001:db8::1]:80"',
            b'Forwarded: for=_hidden;by="_x", For="[2001:db8::1]:80", for="[::1]";host="a.test";proto=https',
        ),
        (b'for="_open', b'Forwarded: for="[::1]";host="a.test";proto=https'),
    ],
)
def test_a_forwarded_field_grows_unless_it_cannot_be_read(earlier: bytes, line: bytes) -> None:
    fields = forwarded(*X_FIELDS, (b"forwarded", earlier))
    spoken = Forwarding("forwarded", NETWORKS)
    assert spoken.of_proxy("::1", b"a.test", fields, encrypted=True, port=443) == line + b"\r\n"


def test_a_family_that_is_not_spoken_is_not_believed() -> None:
    fields = forwarded((b"x-forwarded-for", b"203.0.113.9"), (b"forwarded", b"for=198.51.100.1"))
    clients = {style: Forwarding(style, NETWORKS).client("10.0.0.1", fields) for style in STYLES}
    assert clients == {"x-forwarded": "203.0.113.9", "forwarded": "198.51.100.1", "both": "203.0.113.9"}
    assert Forwarding("both", NETWORKS).client("10.0.0.1", fields[1:]) == "198.51.100.1"


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (b"", []),
        (b"for=1.2.3.4", [{b"for": b"1.2.3.4"}]),
        (b'For="_gazonk" ; proto=http;', [{b"for": b"_gazonk", b"proto": b"http"}]),
        (b'for="a\\"b,;c"', [{b"for": b'a"b,;c'}]),
        (b"for=a, ,for=b", [{b"for": b"a"}, {b"for": b"b"}]),
    ],
)
def test_elements_are_read(value: bytes, elements: list[dict[bytes, bytes]]) -> None:
    assert parse(value) == elements


@pytest.mark.parametrize(
    "value", [b"for", b"for=", b"for = a", b"for=a b", b'for="a', b'for="a"b', b"for=[::1]", b"for=a;for=b", b"=a"]
)
def test_what_cannot_be_read_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="Forwarded"):
        parse(value)


@given(
    st.ip_addresses(),
    st.from_regex(rb"[0-9A-Za-z_.-]{1,99}(?::[0-9]{0,5})?|\[[0-9a-f:]{2,39}\]", fullmatch=True),
    st.booleans(),
    st.binary(max_size=60),
)
def test_what_is_written_reads_back_behind_whatever_can_be_read(
    address: IPv4Address | IPv6Address, host: bytes, encrypted: bool, earlier: bytes
) -> None:
    own = element(str(address), host, encrypted=encrypted)
    try:
        before = parse(earlier)
    except ValueError:
        before = []
        earlier = b""
    *first, last = parse(b"%b, %b" % (earlier, own))
    assert first == before
    assert last[b"for"].strip(b"[]").decode() == str(address)
    assert last[b"host"] == host
