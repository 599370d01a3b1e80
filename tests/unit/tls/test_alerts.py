"""Reasons are those of real handshakes that fail: OpenSSL's own words change from version to version."""

from __future__ import annotations

import errno
import shutil
import socket
import ssl
import subprocess

import pytest
from OpenSSL import SSL
from support.handshake import BASE, EC, policy, shake, site

from gateway.certs.self_signed import self_signed
from gateway.tls.alerts import UNRECOGNIZED_NAME, explain, refusal
from gateway.tls.client_hello import ClientHello, ClientHelloError, PlainHttpError
from gateway.tls.context import accept
from gateway.tls.versions import TlsVersion

TLS1_0, TLS1_1, TLS1_2, TLS1_3 = TlsVersion


def hello(*versions: int) -> ClientHello:
    return ClientHello("a.test", (), versions, 100)


@pytest.mark.parametrize(
    ("served", "offers", "versions", "reason"),
    [
        (
            site("ECDHE-RSA-AES128-GCM-SHA256"),
            {"ciphers": "ECDHE-RSA-CHACHA20-POLY1305", "maximum": "1.2"},
            [TLS1_2],
            "no cipher suite supported by both client and server",
        ),
        (
            site("TLS_AES_128_GCM_SHA256"),
            {"suites": "TLS_AES_256_GCM_SHA384", "minimum": "1.3"},
            [TLS1_3],
            "no cipher suite supported by both client and server",
        ),
        (
            site("ECDHE+aECDSA", pairs=(EC,)),
            {"ciphers": "aRSA", "maximum": "1.2"},
            [TLS1_2],
            "no cipher suite supported by both client and server",
        ),
        (
            site(),
            {"maximum": "1.1"},
            [TLS1_1],
            "client offers TLS 1.1 at most, the minimum here is 1.2",
        ),
        (
            site(minimum="1.3"),
            {"maximum": "1.2"},
            [TLS1_2],
            "client offers TLS 1.2 at most, the minimum here is 1.3",
        ),
        (
            site(maximum="1.2"),
            {"minimum": "1.3"},
            [TLS1_3],
            "client offers TLS 1.3 at least, the maximum here is 1.2",
        ),
        (
            site(minimum="1.0", maximum="1.1"),
            {"minimum": "1.2", "maximum": "1.2"},
            [TLS1_2],
            "client offers TLS 1.2 at least, the maximum here is 1.1",
        ),
        (
            site(),
            {"groups": "P-521", "minimum": "1.3"},
            [TLS1_3],
            "no key exchange group supported by both client and server",
        ),
        (
            site(),
            {"protocols": (b"h2", b"foo")},
            [TLS1_3],
            "no application protocol supported by both: client offers h2, foo",
        ),
    ],
)
def test_a_client_that_cannot_be_served_is_told_by_what_it_lacks(served, offers, versions, reason):
    error = shake(served, **offers).server_error
    assert explain(error, hello(*versions), served.policy) == reason


@pytest.mark.parametrize(
    ("pair", "alert"), [(self_signed("a.test"), "unknown ca"), (self_signed("b.test"), "bad certificate")]
)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_client_that_refuses_the_certificate_is_told_with_its_alert(pair, alert, version):
    client = ssl.create_default_context()
    if alert == "bad certificate":  # the name is wrong, the authority known
        client.load_verify_locations(cadata=pair.chain_pem.decode())
    error = shake(site(pairs=(pair,), maximum=version), client).server_error
    reason = f"client does not trust this certificate (alert {alert})"
    assert explain(error, hello(TLS1_3), policy()) == reason


@pytest.fixture
def waiting():
    """The gateway's side of a connection whose client has said nothing yet, and the client's socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield accept(BASE, site(), ours), theirs


def failure(connection: SSL.Connection) -> Exception:
    with pytest.raises((SSL.Error, OSError)) as caught:
        connection.do_handshake()
    return caught.value


def test_a_client_that_closes_during_the_handshake(waiting):
    connection, client = waiting
    client.close()
    assert explain(failure(connection), None) == "client closed the connection during the handshake"


def test_a_client_that_closes_in_the_middle_of_its_hello(waiting):
    connection, client = waiting
    client.send(b"\x16\x03\x01\x02\x00\x01")
    client.close()
    assert explain(failure(connection), None) == "client closed the connection during the handshake"


def test_a_client_that_resets_the_connection():
    reason = "client reset the connection during the handshake"
    assert explain(SSL.SysCallError(errno.ECONNRESET, "ECONNRESET")) == reason
    assert explain(ConnectionResetError()) == reason


def test_plain_http_on_the_tls_port(waiting):
    connection, client = waiting
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert explain(failure(connection)) == "client sent plain HTTP to the HTTPS port"


def test_something_else_than_tls(waiting):
    connection, client = waiting
    client.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert explain(failure(connection)) == "client sent something that is not TLS"


@pytest.mark.parametrize("error", [ClientHelloError("client did this"), PlainHttpError("client did this")])
def test_what_is_found_before_tls_starts_speaks_for_itself(error):
    assert explain(error) == "client did this"


def test_a_deadline_says_how_far_the_client_got():
    assert explain(TimeoutError()) == "client sent no ClientHello in time"
    assert explain(TimeoutError(), hello(TLS1_3)) == "client did not finish the handshake in time"


def test_an_unknown_error_is_told_in_openssls_words():
    assert explain(SSL.Error([("SSL routines", "", "library bug"), ("", "", "library bug")])) == "library bug"
    assert explain(SSL.Error([])) == "unknown TLS error"
    assert explain(SSL.Error()) == "Error"


def test_a_record_of_a_wrong_version_is_no_matter_of_policy():
    queue = [("SSL routines", "", "wrong version number"), ("SSL routines", "", "record layer failure")]
    assert explain(SSL.Error(queue), hello(TLS1_3, TLS1_2), policy()) == "wrong version number"


def test_drafts_of_versions_are_no_versions():
    reason = explain(SSL.Error([("", "", "unsupported protocol")]), hello(0x7F1C), policy())
    assert reason == "no TLS version supported by both client and server"


def test_an_ssl_3_client_is_named_as_such():
    reason = explain(SSL.Error([("", "", "unsupported protocol")]), hello(0x0300), policy())
    assert reason == "client offers SSL 3.0 at most, the minimum here is 1.2"


def test_a_refusal_is_one_whole_alert_record():
    """RFC 8446 section 5.1 and 6: alert, TLS 1.2, two bytes, fatal, which one."""
    assert refusal(UNRECOGNIZED_NAME).hex(" ") == "15 03 03 00 02 02 70"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_shows_a_refusal_as_what_it_is(version):
    context = ssl.create_default_context()
    context.maximum_version = version
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(refusal(UNRECOGNIZED_NAME))
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            context.wrap_socket(theirs, server_hostname="a.test")


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl's command line")
def test_openssl_shows_a_refusal_as_what_it_is():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        ) as client:
            sock, _ = listener.accept()
            with sock:
                sock.recv(16384)
                sock.send(refusal(UNRECOGNIZED_NAME))
            assert b"unrecognized name" in client.communicate()[1]
