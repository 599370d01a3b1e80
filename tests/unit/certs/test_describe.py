"""What one certificate says about itself."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448

from gateway.certs import describe
from gateway.certs.self_signed import Authority


def test_a_description_says_what_an_operator_asks(now):
    authority = Authority.create("Some CA", now=now)
    leaf = authority.leaf("a.example.com", days=10, key="rsa2048", now=now).leaf
    assert describe.describe(leaf, now) == describe.Description(
        subject="CN=a.example.com",
        issuer="CN=Some CA",
        names=("a.example.com",),
        serial=f"{leaf.serial_number:x}",
        not_before=now - timedelta(hours=1),
        not_after=now + timedelta(days=10, hours=-1),
        days_left=9,
        key_type="rsa",
        key_bits=2048,
        signature_algorithm="ecdsa_with_sha256",
        fingerprint=describe.fingerprint(leaf),
        is_ca=False,
    )
    assert describe.describe(authority.pair.leaf, now).is_ca


@pytest.mark.parametrize(("later", "left"), [(0, 0), (1, -1), (-1, 0), (-86_400, 1), (86_401, -2)])
def test_days_left_are_rounded_down(pair, later, left):
    assert describe.describe(pair.leaf, pair.not_after + timedelta(seconds=later)).days_left == left


def test_names_are_lower_case_and_once_and_addresses_are_short(odd):
    alternative = x509.SubjectAlternativeName(
        [
            x509.IPAddress(ip_address("2001:db8:0:0::1")),
            x509.DNSName("WWW.Example.COM"),
            x509.DNSName("www.example.com."),
            x509.DNSName("*.xn--bcher-kva.example"),
            x509.RFC822Name("me@example.com"),
        ]
    )
    leaf = odd.issue(alternative).leaf
    assert describe.names(leaf) == ("www.example.com", "*.xn--bcher-kva.example", "2001:db8::1")


@pytest.mark.parametrize("name", ["a b", "a..b", "*", "a.*.b", "w*.b", "", "a\nb", "a" * 64, "https://a"])
def test_what_is_no_host_name_is_left_out(odd, name):
    assert describe.names(odd.issue(names=[name]).leaf) == ()


def test_the_common_name_counts_only_without_alternative_names(odd):
    assert describe.names(odd.issue(common_name="Old.example.com").leaf) == ("old.example.com",)
    assert describe.names(odd.issue(names=["new.example.com"], common_name="old.example.com").leaf) == (
        "new.example.com",
    )


def test_a_key_of_another_kind_has_a_name_too(odd):
    assert describe.key_size(odd.issue(key=ed448.Ed448PrivateKey.generate()).leaf) == ("ed448", 0)
