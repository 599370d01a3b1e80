"""Whom limits take for one client."""

from __future__ import annotations

import pytest

from gateway.config.networks import one_client


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_ipv4_address_or_an_ipv6_network_is_one_client(address: str, client: str) -> None:
    assert one_client(address) == client
