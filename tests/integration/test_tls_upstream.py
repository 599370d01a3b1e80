"""The client side: what is demanded of an upstream before a byte is sent to it."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trustme
from OpenSSL import SSL
from support.handshake import AUTHORITY, EC, shake, site

from gateway.certs.pem import parse_pair
from gateway.certs.self_signed import self_signed
from gateway.tls.context import upstream_context
from gateway.tls.policy import upstream_policy
from gateway.tls.upstream import UpstreamTls
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def trust(monkeypatch, tmp_path):
    """Makes a certificate the system's only authority."""

    def trust(pem: bytes) -> None:
        path = tmp_path / "ca.pem"
        path.write_bytes(pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    trust(AUTHORITY.pair.chain_pem)
    return trust


def upstream(minimum=None, maximum=None, names=(), *, verify=True) -> ssl.SSLContext:
    versions = (text and TlsVersion.parse(text) for text in (minimum, maximum))
    return upstream_context(UpstreamTls(upstream_policy(*versions, names)[0], verify=verify))


def test_an_upstream_with_a_certificate_from_the_systems_authorities_is_trusted(trust):
    result = shake(site(), upstream())
    assert result.version == "1.3"
    assert result.client.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (AUTHORITY.leaf("b.test"), "Hostname mismatch"),
        (self_signed("a.test"), "self-signed certificate"),
    ],
)
def test_an_upstream_that_cannot_prove_its_name_is_refused_unless_that_is_asked_for(trust, pair, reason):
    served = site(pairs=(pair,))
    assert reason in str(shake(served, upstream()).client_error)
    assert shake(served, upstream(verify=False)).done


def test_an_upstream_with_its_name_only_in_the_common_name_is_refused(trust):
    """RFC 9525 section 6.3, and what Go does."""
    authority = trustme.CA()
    trust(authority.cert_pem.bytes())
    leaf = authority.issue_cert(common_name="a.test")
    pair, _ = parse_pair(leaf.private_key_and_cert_chain_pem.bytes())
    assert "Hostname mismatch" in str(shake(site(pairs=(pair,)), upstream()).client_error)


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3"])
def test_upstreams_of_every_version_can_be_spoken_to(trust, version):
    assert shake(site(minimum=version, maximum=version), upstream(version, version)).version == version


def test_old_upstreams_are_refused_by_default(trust):
    assert not shake(site(minimum="1.0", maximum="1.1"), upstream()).done


def test_the_ciphers_towards_an_upstream_can_be_chosen(trust):
    client = upstream(maximum="1.2", names=["ECDHE-RSA-AES256-SHA"])
    assert shake(site("ECDHE+AES"), client).cipher == "ECDHE-RSA-AES256-SHA"
    assert not shake(site(), client).done


@pytest.mark.parametrize("allowed", [True, False])
def test_an_upstream_negotiates_anew_only_where_it_may(allowed):
    """The server asks for it with a HelloRequest (RFC 5246 section 7.4.1.1), and waits for what comes."""
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    server.use_certificate(EC.leaf)
    server.use_privatekey(EC.key)
    server.set_max_proto_version(SSL.TLS1_2_VERSION)
    policy = upstream_policy(None, None, ())[0]
    context = upstream_context(UpstreamTls(policy, verify=False, renegotiates=allowed))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="a.test")
    peer = SSL.Connection(server)
    peer.set_accept_state()

    def take_turns(*steps: Callable[[], object]) -> None:
        """Let each side do its step, and carry what it says to the other one, until nobody has anything to say."""
        for _ in range(6):
            for step in steps:
                with suppress(ssl.SSLWantReadError, SSL.WantReadError):
                    step()
                with suppress(SSL.WantReadError):
                    to_client.write(peer.bio_read(65536))
                if to_server.pending:
                    peer.bio_write(to_server.read())

    take_turns(client.do_handshake, peer.do_handshake)
    assert client.cipher()
    assert peer.renegotiate()
    peer.do_handshake()
    with suppress(SSL.Error, ssl.SSLError):  # a refusal is an alert, which the server may take badly
        take_turns(lambda: peer.recv(1), lambda: client.read(1))
    assert peer.renegotiate_pending() is not allowed
