"""TLS handshakes between the gateway's side and a client, over a real socket pair, without threads or waiting."""

from __future__ import annotations

import socket
import ssl
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from OpenSSL._util import lib

from gateway.certs.self_signed import Authority
from gateway.tls.context import accept, base_context, build_site
from gateway.tls.policy import TlsPolicy, server_policy
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from gateway.tls.context import Site

AUTHORITY = Authority.create("Handshake CA")
RSA = AUTHORITY.leaf("a.test", key="rsa2048")
EC = AUTHORITY.leaf("a.test")
BASE = base_context()
ALL_SUITES = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"


def policy(*names: str, minimum="1.2", maximum="1.3", server_preference=True) -> TlsPolicy:
    versions = TlsVersion.parse(minimum), TlsVersion.parse(maximum)
    return server_policy(*versions, names, server_preference=server_preference)[0]


def site(*names: str, pairs=(RSA,), name="a.test", protocols=(b"http/1.1",), **choices) -> Site:
    return build_site(name, pairs, policy(*names, **choices), protocols=protocols)


@dataclass
class Handshake:
    """Both ends after a handshake, whole or failed, and the error of each that failed."""

    server: SSL.Connection
    client: Any
    server_error: Exception | None = None
    client_error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.server_error is None and self.client_error is None

    @property
    def version(self) -> str | None:
        return (
            self.server.get_protocol_version_name().replace("TLSv1.", "1.").replace("TLSv1", "1.0")
            if self.done
            else None
        )

    @property
    def cipher(self) -> str | None:
        return self.server.get_cipher_name() if self.done else None

    @property
    def group(self) -> str | None:
        return self.server.get_group_name() if self.done else None


def client_context(
    *, ciphers="ALL:@SECLEVEL=0", suites=ALL_SUITES, minimum="1.0", maximum="1.3", groups="", protocols=()
) -> SSL.Context:
    """A client that offers these; by default all that OpenSSL has, down to TLS 1.0, and trusts everybody."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(ciphers.encode())
    context.set_tls13_ciphersuites(suites.encode())
    context.set_min_proto_version(TlsVersion.parse(minimum))
    context.set_max_proto_version(TlsVersion.parse(maximum))
    if groups:
        assert lib.SSL_CTX_set1_curves_list(context._context, groups.encode()) == 1
    if protocols:
        context.set_alpn_protos(list(protocols))
    return context


def shake(site: Site, client: SSL.Context | ssl.SSLContext | None = None, **offers) -> Handshake:
    """Shake hands for a.test until both sides are done or have failed, with OpenSSL's client or Python's."""
    ours, theirs = socket.socketpair()
    client = client or client_context(**offers)
    if isinstance(client, ssl.SSLContext):
        peer = client.wrap_socket(theirs, server_hostname="a.test", do_handshake_on_connect=False)
        theirs = peer
    else:
        peer = SSL.Connection(client, theirs)
        peer.set_tlsext_host_name(b"a.test")
        peer.set_connect_state()
    result = Handshake(accept(BASE, site, ours), peer)
    for end in (ours, theirs):
        end.setblocking(False)
        weakref.finalize(result, end.close)
    unfinished = {"server_error": (result.server, ours), "client_error": (peer, theirs)}
    while unfinished:
        for error, (side, end) in tuple(unfinished.items()):
            try:
                side.do_handshake()
            except (SSL.WantReadError, SSL.WantWriteError, ssl.SSLWantReadError):
                continue
            except (SSL.Error, OSError) as failure:
                setattr(result, error, failure.with_traceback(None))
                end.shutdown(socket.SHUT_WR)  # so that the other side cannot wait for ever
            del unfinished[error]
    return result
