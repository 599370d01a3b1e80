"""Who the upstream is told that the client is."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.config.networks import contain
from gateway.http.fields import Field, Kind
from gateway.http.forwarding import client_address, connection_lines, trusted_lines

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
    ],
)
def test_the_client_is_the_last_one_whom_no_trusted_proxy_vouched_for(hops: bytes, client: str) -> None:
    assert client_address("10.0.0.1", forwarded((b"x-forwarded-for", hops)), NETWORKS) == client


def test_a_stranger_is_described_from_the_connection_alone() -> None:
    assert connection_lines("192.0.2.1", encrypted=True, port=8443) == (
        b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n"
    )


def test_what_a_trusted_proxy_says_is_kept_and_its_address_is_appended() -> None:
    fields = forwarded(
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-proto", b"gopher"),
    )
    lines = trusted_lines("10.0.0.1", b"a.test", fields, encrypted=True, port=443).split(b"\r\n")
    assert b"X-Forwarded-For: 203.0.113.9, 10.0.0.1" in lines
    assert b"X-Forwarded-Proto: http" in lines
    assert b"X-Forwarded-Host: a.test" in lines
    assert b"X-Forwarded-Port: 443" in lines
    assert not any(b"gopher" in line for line in lines)
