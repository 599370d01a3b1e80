"""From policy and certificates to OpenSSL: the only file that does this, with `client_authentication` for clients'.

Theory of operation. A context holds a site's certificates; SSL_set_SSL_CTX switches a connection to it before
the handshake. Measured with OpenSSL 4.0, each fact with a test, that call carries over

* the certificates with their keys and chains, the cipher list with the TLS 1.3 suites, the DH parameters, the
  security level, the ALPN callback and the session id context,

but not how clients are verified, the options, the modes, the groups and the version bounds, which a connection
copies from the context it is opened on. So every connection is opened on one base context that allows every
version, and then gets the site's context, options (which bound the versions) and, if they differ, groups.

The base context also keeps the keys of the session tickets. It is made once, before the workers are forked: a
session resumes on every worker and after a certificate swap, until the gateway restarts. It never resumes at
another site or under another policy, because both are in the session id context.

A peer that closes without close_notify is not forgiven (no SSL_OP_IGNORE_UNEXPECTED_EOF): the truth costs
nothing, and whoever reads bodies of unknown length can tell a whole one from a truncated one.
"""

from __future__ import annotations

import _ssl
import os
import secrets
import ssl
import sys
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from OpenSSL import SSL
from OpenSSL._util import lib

from gateway.certs import loading
from gateway.errors import CertificateError, GatewayError
from gateway.tls.policy import GROUPS, HTTP1, HTTP1_0, HTTP2, TlsPolicy
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from gateway.certs.pem import CertificatePair
    from gateway.tls.client_authentication import ClientAuthentication
    from gateway.tls.upstream import UpstreamTls

# RFC 7919: who announces groups of this kind, as nmap does with the small one, gets one of those announced or no
# DHE at all. Who announces none gets the parameters of the file, which are ffdhe3072's.
_DHE_GROUPS = ("ffdhe3072", "ffdhe2048")
_DH_PARAMETERS = Path(__file__).with_name("ffdhe3072.pem")

# SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL switches on and does not name.
_PARTIAL_WRITE = 1
_WITHOUT = {
    TlsVersion.TLS1_0: SSL.OP_NO_TLSv1,
    TlsVersion.TLS1_1: SSL.OP_NO_TLSv1_1,
    TlsVersion.TLS1_2: SSL.OP_NO_TLSv1_2,
    TlsVersion.TLS1_3: SSL.OP_NO_TLSv1_3,
}


class NoApplicationProtocolError(SSL.Error):
    """The client speaks only protocols (ALPN) that are not served here."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a connection needs to serve ``name``: a canonical name, ``*.parent``, or "" for the default.

    ``options`` are OpenSSL's, to be added to the connection's; ``groups``, unless empty, replace the base's;
    ``clients`` says whom it asks for certificates; ``fingerprints`` are its own certificates' (SHA-256).
    """

    name: str
    context: SSL.Context
    options: int
    policy: TlsPolicy
    groups: tuple[str, ...]
    clients: ClientAuthentication | None = None
    fingerprints: tuple[str, ...] = ()


def base_context() -> SSL.Context:
    """Return a context on which connections of every site are opened. Make it once, before forking."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    # Idle connections keep no buffers. A send is whole or has to wait: partial ones cost twice the CPU.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(_PARTIAL_WRITE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets, which clients keep, are enough
    context.set_session_id(b"base")
    # RFC 6066 section 3: a server that acted on the server name says so, and OpenSSL does if a callback agrees.
    context.set_tlsext_servername_callback(lambda _: None)
    _set_groups(context, GROUPS)
    return context


def build_site(
    name: str,
    pairs: Sequence[CertificatePair],
    policy: TlsPolicy,
    *,
    protocols: tuple[bytes, ...] = (HTTP1,),
    clients: ClientAuthentication | None = None,
) -> Site:
    """Return the site ``name`` with its certificates, at most one of each key type.

    ``protocols`` are what is spoken, the preferred one first (ALPN); HTTP/2 only where the policy is fit for it
    (``TlsPolicy.http2_minimum``), and HTTP/1.0 where HTTP/1.1 is: ``curl --http1.0`` offers nothing else. A client that
    offers only others is refused, as RFC 7301 section 3.2 demands: leniency would let it take our answers for another
    protocol's. With none, all are taken.
    Raises CertificateError when OpenSSL does not take a pair.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(f"{':'.join(policy.ciphers)}:@SECLEVEL={policy.security_level}".encode())
    context.set_tls13_ciphersuites(":".join(policy.suites).encode())
    for pair in pairs:
        _use(context, pair, name)
    if policy.uses_dhe:
        context.load_tmp_dh(_DH_PARAMETERS)
    # At most 32 bytes. The policy is in it so that no session outlives the rules under which it was made.
    rules = f"{name} {policy} {protocols}" + (f" {clients}" if clients else "")
    context.set_session_id(sha256(rules.encode()).digest())
    if clients is not None:
        clients.prepare(context)
    if protocols:
        context.set_alpn_select_callback(_selector(protocols, policy.http2_minimum))
    options = SSL.OP_CIPHER_SERVER_PREFERENCE if policy.server_preference else 0
    for version, without in _WITHOUT.items():
        if not policy.minimum <= version <= policy.maximum:
            options |= without
    groups = (*GROUPS, *_DHE_GROUPS) if policy.uses_dhe else ()
    return Site(name, context, options, policy, groups, clients, tuple(pair.fingerprint for pair in pairs))


def accept(base: SSL.Context, site: Site, sock: socket.socket) -> SSL.Connection:
    """Return a connection that is ready to shake hands as ``site``; ``base`` comes from base_context."""
    connection = SSL.Connection(base, sock)
    connection.set_context(site.context)
    connection.set_options(site.options)
    if site.groups:
        _set_groups(connection, site.groups)
    if site.clients is not None:
        site.clients.ask(connection)
    connection.set_accept_state()
    return connection


def upstream_context(tls: UpstreamTls, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """Return the stdlib's context for connections to upstreams, which are offered ``protocols`` (ALPN).

    To verify means that the certificate names the host in a subject alternative name (RFC 9525 section 6.3); the
    common name and the pins are the caller's to check when the handshake is over (`UpstreamTls.refusal`). Reading the
    system's authorities takes tens of milliseconds: keep it.

    Raises:
        ssl.SSLError: OpenSSL does not take the identity or the authorities.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.verify:
        if not tls.exclusive:
            context.load_default_certs()
        if tls.authorities:
            context.load_verify_locations(cadata=tls.authorities)
            # Whatever was named is trusted for what it signed, be it no root, and for itself.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.hostname_checks_common_name = False
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    policy = tls.policy
    level = ":@SECLEVEL=0" if policy.security_level == 0 else ""
    context.set_ciphers(":".join(policy.ciphers) + level)
    context.set_alpn_protocols(list(protocols))
    if not tls.renegotiates:
        context.options |= ssl.OP_NO_RENEGOTIATION
    if tls.identity:
        _show(context, tls.identity)
    with warnings.catch_warnings():  # TLS 1.0 and 1.1 are deprecated, and asked for
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion(policy.minimum)
        context.maximum_version = ssl.TLSVersion(policy.maximum)
    return context


def _show(context: ssl.SSLContext, identity: str) -> None:
    """Have a context show ``identity``: the stdlib reads it from files only, so the key is sealed on its way there."""
    chain, begin, rest = identity.partition("-----BEGIN PRIVATE KEY-----")
    key = loading.private_key((begin + rest).encode())
    once = secrets.token_hex(32).encode()
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(once))
    with _path_of(chain.encode() + sealed) as path:
        context.load_cert_chain(path, password=once)


def peer_chain(ssl_object: ssl.SSLObject, *, verified: bool) -> tuple[bytes, ...]:
    """The certificate of a peer (DER), and those through which it was verified, if it was."""
    leaf = ssl_object.getpeercert(binary_form=True)
    if leaf is None:
        return ()
    if not verified:
        return (leaf,)
    public = getattr(ssl_object, "get_verified_chain", None)  # Python 3.13; before it is the inner object's only
    if public is not None:
        return tuple(public())
    return tuple(one.public_bytes(_ssl.ENCODING_DER) for one in ssl_object._sslobj.get_verified_chain())  # type: ignore[attr-defined] # noqa: SLF001


def _use(context: SSL.Context, pair: CertificatePair, name: str) -> None:
    """Add ``pair`` to the pairs of other key types.

    Only OpenSSL's loader of chain files attaches a chain to one pair; add_extra_chain_cert would to all of
    them.
    """
    try:
        with _path_of(pair.chain_pem) as path:
            context.use_certificate_chain_file(path)
        context.use_privatekey(pair.key)
        context.check_privatekey()
    except SSL.Error as error:
        reasons = ", ".join(text for *_, text in error.args[0])
        raise CertificateError(
            f"OpenSSL refuses the {pair.key_type} certificate for {name or 'the default site'}: {reasons};"
            " use an RSA key of at least 2048 bits or an EC key, signed with SHA-256 or better"
        ) from error
    except OSError as error:  # out of descriptors, or of space for temporary files
        raise GatewayError(f"the certificate for {name or 'the default site'} cannot be loaded: {error}") from error


@contextmanager
def _path_of(public: bytes) -> Iterator[str]:
    """A path that reads as ``public``, for as long as the context lasts; on Linux without touching a disk."""
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("chain"), "wb", buffering=0) as file:
            file.write(public)
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(buffering=0) as file:
            file.write(public)
            yield file.name


def _selector(
    protocols: tuple[bytes, ...], http2_minimum: TlsVersion
) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    served = (*protocols, HTTP1_0) if HTTP1 in protocols else protocols

    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in served:
            if protocol in offered and (protocol != HTTP2 or connection.get_protocol_version() >= http2_minimum):
                return protocol
        names = b", ".join(offered).decode("ascii", "backslashreplace")
        raise NoApplicationProtocolError(f"no application protocol supported by both: client offers {names}")

    return select


def _set_groups(target: SSL.Context | SSL.Connection, groups: Sequence[str]) -> None:
    """Set the key exchange groups, in order of preference.

    pyOpenSSL has a method for a single curve only, so this one function reaches below it.
    """
    names = ":".join(groups).encode()
    if isinstance(target, SSL.Context):
        done = lib.SSL_CTX_set1_curves_list(target._context, names)  # noqa: SLF001
    else:
        done = lib.SSL_set1_curves_list(target._ssl, names)  # noqa: SLF001
    if done != 1:
        raise RuntimeError(
            f"{SSL.OpenSSL_version(0).decode()} does not know all of {names.decode()}; install pyOpenSSL and"
            " cryptography as wheels, which bring OpenSSL 3.5 or newer"
        )
