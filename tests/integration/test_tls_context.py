"""What a policy comes to on the wire, and what a connection keeps of the context that it was opened on."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trustme
from OpenSSL import SSL
from support.handshake import AUTHORITY, BASE, EC, RSA, client_context, shake, site

from gateway.certs.pem import CertificatePair, parse_pair
from gateway.certs.self_signed import self_signed
from gateway.errors import CertificateError
from gateway.tls.ciphers import BY_OPENSSL_NAME, DEFAULT_CIPHERS, DEFAULT_SUITES, SUITES
from gateway.tls.context import NoApplicationProtocolError, accept

VERSIONS = ("1.0", "1.1", "1.2", "1.3")


@pytest.mark.parametrize(("minimum", "maximum"), [(low, high) for low in VERSIONS for high in VERSIONS if low <= high])
def test_exactly_the_versions_of_the_policy_are_negotiated(minimum, maximum):
    """On a base context that allows all four: the bounds travel as options of the connection."""
    served = site(minimum=minimum, maximum=maximum)
    negotiated = [shake(served, minimum=version, maximum=version).version for version in VERSIONS]
    assert negotiated == [version if minimum <= version <= maximum else None for version in VERSIONS]


def test_the_security_level_travels_with_the_site():
    """At level 2 TLS 1.0 stays impossible even when nothing else forbids it."""
    assert shake(replace(site(), options=0), maximum="1.0").version is None
    assert shake(replace(site(minimum="1.0"), options=0), maximum="1.0").version == "1.0"


@pytest.mark.parametrize("size", [1, 100])
def test_a_hello_in_many_small_records_is_served(size):
    client = SSL.Connection(client_context())
    client.set_connect_state()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = accept(BASE, site(), ours)
        ours.setblocking(False)
        with pytest.raises(SSL.WantReadError):
            client.do_handshake()
        hello = client.bio_read(16384)[5:]
        fragments = [hello[at : at + size] for at in range(0, len(hello), size)]
        theirs.send(b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in fragments))
        with pytest.raises(SSL.WantReadError):
            server.do_handshake()
        client.bio_write(theirs.recv(65536))
        client.do_handshake()
        theirs.send(client.bio_read(16384))
        server.do_handshake()


@pytest.mark.parametrize("suite", [s for s in SUITES if s.exchange], ids=lambda suite: suite.openssl)
def test_every_suite_of_the_table_is_negotiated_when_it_is_chosen(suite):
    served = site(suite.iana, pairs=(RSA, EC), maximum="1.2")
    assert shake(served).cipher == suite.openssl


@pytest.mark.parametrize("suite", [s for s in SUITES if not s.exchange], ids=lambda suite: suite.openssl)
def test_every_tls_1_3_suite_of_the_table_is_negotiated_when_it_is_chosen(suite):
    offer = ":".join(s.openssl for s in SUITES if not s.exchange)
    assert shake(site(suite.iana), suites=offer).cipher == suite.openssl


def accepted(served, version="1.2") -> set[str]:
    """The suites that a site accepts when they are offered one at a time."""
    offers = [suite.openssl for suite in SUITES if suite.exchange]
    return {name for name in offers if shake(served, ciphers=f"{name}:@SECLEVEL=0", maximum=version).done}


def test_an_rsa_site_with_thoughtspots_cipher_string_accepts_its_eight_suites_and_no_other():
    served = site("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH")
    assert {BY_OPENSSL_NAME[name].iana for name in accepted(served)} == {
        "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
        "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    }


def test_the_default_list_is_accepted_and_no_other():
    assert accepted(site(pairs=(RSA, EC))) == set(DEFAULT_CIPHERS)


def test_old_clients_find_suites_in_the_default_list_of_a_policy_for_them():
    assert accepted(site(minimum="1.0"), "1.0") == {
        "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "AES128-SHA", "AES256-SHA",
    }  # fmt: skip


def test_tls_1_3_suites_that_are_not_named_are_refused():
    served = site("TLS_CHACHA20_POLY1305_SHA256")
    assert [shake(served, suites=name, minimum="1.3").cipher for name in DEFAULT_SUITES] == [
        None, None, "TLS_CHACHA20_POLY1305_SHA256",
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("server_preference", [True, False])
def test_the_preferred_cipher_is_the_servers_or_the_clients_by_policy(version, server_preference):
    names = ("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384", *DEFAULT_SUITES)
    served = site(*names, maximum=version, server_preference=server_preference)
    offers = {
        "ciphers": "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256",
        "suites": "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
    }
    assert ("128" if server_preference else "256") in shake(served, **offers).cipher


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ("X25519MLKEM768:X25519:P-256:P-384", "X25519MLKEM768"),
        ("X25519:P-256", "X25519"),
        ("P-256", "secp256r1"),
        ("P-384:P-521", "secp384r1"),
        ("P-521", None),
        ("ffdhe3072", None),
    ],
)
def test_the_groups_are_mozillas(offered, expected):
    group = shake(site(), groups=offered, minimum="1.3").group
    assert (group or "").lower() == (expected or "").lower()


@pytest.mark.parametrize("groups", ["X25519", "X25519:ffdhe2048", "ffdhe3072", "ffdhe2048:ffdhe3072:ffdhe8192"])
def test_dhe_works_with_clients_that_announce_its_groups_and_with_those_that_do_not(groups):
    """RFC 7919: a client that announces finite-field groups gets one of them or no DHE at all."""
    result = shake(site("DHE+AESGCM"), ciphers="DHE+AESGCM", groups=groups, minimum="1.2", maximum="1.2")
    assert result.cipher == "DHE-RSA-AES256-GCM-SHA384"


def issued(key_type: trustme.KeyType) -> CertificatePair:
    """A pair with an intermediate of its own."""
    leaf = trustme.CA().create_child_ca().issue_cert("a.test", key_type=key_type)
    return parse_pair(leaf.private_key_and_cert_chain_pem.bytes())[0]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("offers", "kind"),
    [
        ({"ciphers": "aRSA", "maximum": "1.2"}, "rsa"),
        ({"ciphers": "aECDSA", "maximum": "1.2"}, "ec"),
        ({"maximum": "1.2"}, "ec"),
        ({}, "ec"),
    ],
)
def test_an_rsa_and_an_ecdsa_pair_serve_side_by_side_each_with_its_own_chain(order, offers, kind):
    pairs = {"rsa": issued(trustme.KeyType.RSA), "ec": issued(trustme.KeyType.ECDSA)}
    result = shake(site(pairs=[*pairs.values()][::order]), **offers)
    assert tuple(result.client.get_peer_cert_chain(as_cryptography=True)) == pairs[kind].chain
    assert len(pairs[kind].chain) == 2


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (CertificatePair(RSA.chain, AUTHORITY.leaf("a.test", key="rsa2048").key, RSA.names), "mismatch"),
        (CertificatePair(RSA.chain, EC.key, RSA.names), "no certificate assigned"),
        (self_signed("a.test", key="rsa1024"), "ee key too small"),
    ],
)
def test_a_pair_that_openssl_does_not_take_is_refused_with_the_cure(pair, reason):
    with pytest.raises(CertificateError) as caught:
        site(pairs=(pair,))
    assert "for a.test" in str(caught.value)
    assert reason in str(caught.value)
    assert "use an RSA key of at least 2048 bits or an EC key" in str(caught.value)


def connected(**choices):
    result = shake(site(**choices))
    assert result.done
    return result


def test_a_send_is_whole_or_waits_and_may_be_repeated_from_another_buffer():
    """The modes belong to the base context: partial writes cleared, moving buffers allowed."""
    result = connected()
    sent = bytes(4_000_000)
    with pytest.raises(SSL.WantWriteError):
        result.server.send(sent)
    received = 0
    while received < len(sent):
        try:
            received += len(result.client.recv(65536))
        except SSL.WantReadError:
            try:
                assert result.server.send(bytearray(sent)) == len(sent)
            except SSL.WantWriteError:
                continue


def test_renegotiation_is_refused():
    result = connected(maximum="1.2")
    result.client.renegotiate()
    with pytest.raises(SSL.WantReadError):
        result.client.do_handshake()
    with pytest.raises(SSL.Error):
        result.server.recv(1)
    assert result.server.total_renegotiations() == 0


def test_a_peer_that_says_goodbye_is_told_apart_from_one_that_only_hangs_up():
    polite, rude = connected(), connected()
    polite.client.shutdown()
    with pytest.raises(SSL.ZeroReturnError):
        polite.server.recv(1)
    rude.client.sock_shutdown(socket.SHUT_WR)
    with pytest.raises(SSL.SysCallError, match="Unexpected EOF"):
        rude.server.recv(1)


@pytest.mark.parametrize(
    ("served", "offered", "expected"),
    [
        ((b"http/1.1",), (b"http/1.1",), b"http/1.1"),
        ((b"http/1.1",), (b"h2", b"http/1.1"), b"http/1.1"),
        ((b"h2", b"http/1.1"), (b"http/1.1", b"h2"), b"h2"),
        ((b"h2", b"http/1.1"), (), b""),
        ((b"h2", b"http/1.1"), (b"http/1.0",), b"http/1.0"),
        ((b"http/1.1",), (b"http/1.0", b"http/1.1"), b"http/1.1"),
    ],
)
def test_the_servers_preferred_protocol_is_selected(served, offered, expected):
    result = shake(site(protocols=served), protocols=offered)
    assert result.client.get_alpn_proto_negotiated() == expected


def test_a_client_of_other_protocols_only_is_refused():
    """RFC 7301 section 3.2; two in a row, for nothing must be left behind in the context that they share."""
    served = site()
    for _ in range(2):
        result = shake(served, protocols=(b"h2", b"\xff"))
        assert isinstance(result.server_error, NoApplicationProtocolError)
        assert "alert no application protocol" in str(result.client_error)
    assert shake(served).done
