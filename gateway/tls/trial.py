"""A handshake in memory, before a certificate is served: what OpenSSL will not do shall show now, not to clients."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

from OpenSSL import SSL

from gateway.errors import CertificateError
from gateway.tls.context import accept, base_context, build_site

if TYPE_CHECKING:
    from gateway.certs.pem import CertificatePair
    from gateway.tls.policy import TlsPolicy

_ROUNDS = 10
"""More than any handshake takes."""


def attempt(domain: str, pair: CertificatePair, policy: TlsPolicy) -> None:
    """Shake hands with ourselves for ``domain``, a canonical name or ``*.parent``, under ``policy``.

    The client takes whatever it is offered; what counts is that the server can. Raises CertificateError when it
    cannot, or shows another certificate.
    """
    base, towards = _contexts()
    # None stands for memory buffers instead of a socket.
    server = accept(base, build_site(domain, (pair,), policy), None)  # type: ignore[arg-type]
    client = SSL.Connection(towards, None)
    client.set_tlsext_host_name(domain.replace("*", "trial", 1).encode())
    client.set_connect_state()
    try:
        shaken = _converse(client, server)
    except SSL.Error as error:
        raise CertificateError(
            f"a trial handshake for {domain} failed ({_reason(error)}); the policy (ssl_ciphers, min_version,"
            f" max_version) has to allow certificates with {pair.key_type.upper()} keys"
        ) from error
    shown = client.get_peer_certificate(as_cryptography=True)
    if not shaken or shown != pair.leaf:
        raise CertificateError(f"a trial handshake for {domain} did not show the certificate; report this as a defect")


@functools.cache
def _contexts() -> tuple[SSL.Context, SSL.Context]:
    """The server's base and the client's: kept, since making them costs as much as shaking hands."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_verify(SSL.VERIFY_NONE)
    return base_context(), context


def _converse(client: SSL.Connection, server: SSL.Connection) -> bool:
    """Carry bytes to and fro until both have finished; tell whether they have."""
    pending = {client, server}
    for _ in range(_ROUNDS):
        for speaker, listener in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                speaker.do_handshake()
                pending.discard(speaker)
            with suppress(SSL.WantReadError):
                listener.bio_write(speaker.bio_read(1 << 16))
        if not pending:
            return True
    return False


def _reason(error: SSL.Error) -> str:
    """OpenSSL's words for what went wrong, which end each entry of its error queue."""
    queue = error.args[0] if error.args else ()
    return ", ".join(entry[-1] for entry in queue) or type(error).__name__ if isinstance(queue, list) else str(error)
