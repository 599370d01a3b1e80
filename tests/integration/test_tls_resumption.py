"""Sessions resume on another worker and after a certificate swap, and never at another site."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from OpenSSL import SSL
from support.handshake import AUTHORITY, BASE, EC, RSA, site

from gateway.tls.context import accept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.tls.context import Site

# Python 3.12 and later warn when a process that ever had threads forks..
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@contextmanager
def worker(served: Site) -> Iterator[int]:
    """A forked process that serves one site until the end of the block; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if (child := os.fork()) == 0:
            try:
                _serve(listener, served)
            finally:
                os._exit(1)
        try:
            yield listener.getsockname()[1]
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _serve(listener: socket.socket, served: Site) -> None:
    while True:
        sock, _ = listener.accept()
        with sock:
            connection = accept(BASE, served, sock)
            connection.do_handshake()
            connection.send(b"x")  # behind the tickets, so that whoever has read it has them
            connection.shutdown()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def client(request) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=AUTHORITY.pair.chain_pem.decode())
    context.maximum_version = request.param
    return context


def resumed(client: ssl.SSLContext, first: int, second: int) -> bool:
    """Whether a session from the first port resumes at the second."""
    session = None
    for port in (first, second):
        with (
            socket.create_connection(("127.0.0.1", port)) as sock,
            client.wrap_socket(sock, server_hostname="a.test", session=session) as tls,
        ):
            assert tls.recv(1) == b"x"
            session = tls.session
            reused = tls.session_reused
    return reused


def test_a_session_resumes_at_the_same_worker(client):
    with worker(site()) as port:
        assert resumed(client, port, port)


def test_a_session_resumes_at_another_worker_after_the_certificate_was_swapped_for_another_kind(client):
    with worker(site(pairs=(RSA,))) as first, worker(site(pairs=(EC,))) as second:
        assert resumed(client, first, second)


@pytest.mark.parametrize(
    "other",
    [site(name="b.test"), site(name=""), site("ECDHE-RSA-AES256-GCM-SHA384"), site(server_preference=False)],
    ids=["another name", "the default site", "other ciphers", "another preference"],
)
def test_a_session_never_resumes_at_another_site_or_under_another_policy(client, other):
    with worker(site()) as first, worker(other) as second:
        assert not resumed(client, first, second)


def test_sessions_are_kept_by_clients_only():
    assert BASE.get_session_cache_mode() == SSL.SESS_CACHE_OFF
