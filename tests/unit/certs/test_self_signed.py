"""Certificates of one's own, judged by another verifier."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509 import verification

from gateway.certs.pem import parse_pair
from gateway.certs.self_signed import Authority, self_signed


@pytest.mark.parametrize(("kind", "size"), [("ec", 256), ("rsa2048", 2048), ("rsa4096", 4096)])
def test_a_leaf_verifies_against_its_authority_for_each_of_its_names(authority, kind, size):
    pair = authority.leaf("a.example.com", "*.b.example.com", "127.0.0.1", "::1", key=kind)
    assert pair.key.key_size == size
    assert pair.names == ("a.example.com", "*.b.example.com", "127.0.0.1", "::1")
    store = verification.Store([authority.pair.leaf])
    for subject in (
        x509.DNSName("a.example.com"),
        x509.DNSName("x.b.example.com"),
        x509.IPAddress(ip_address("::1")),
    ):
        verifier = verification.PolicyBuilder().store(store).build_server_verifier(subject)
        assert verifier.verify(pair.leaf, []) == [pair.leaf, authority.pair.leaf]


def test_a_leaf_parses_without_a_warning(authority):
    pair = authority.leaf("a.example.com")
    assert parse_pair(pair.chain_pem + pair.key_pem) == (pair, ())


def test_a_self_signed_certificate_is_its_own_issuer():
    pair = self_signed("localhost")
    pair.leaf.verify_directly_issued_by(pair.leaf)
    assert parse_pair(pair.chain_pem, pair.key_pem) == (pair, ())


def test_dates_start_an_hour_ago(now):
    pair = self_signed("localhost", days=3, now=now)
    assert (pair.not_before, pair.not_after) == (now - timedelta(hours=1), now + timedelta(days=3, hours=-1))
    assert Authority.create(days=2, now=now).pair.not_after == now + timedelta(days=2, hours=-1)


def test_serial_numbers_are_random_and_of_twenty_bytes():
    serials = {self_signed("localhost").leaf.serial_number for _ in range(20)}
    assert len(serials) == 20
    assert 140 < max(serial.bit_length() for serial in serials) < 160


def test_a_name_longer_than_a_common_name_may_be_still_works(authority):
    name = ".".join(["a" * 60] * 3)
    assert authority.leaf(name).names == (name,)
