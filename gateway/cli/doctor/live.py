"""What answers: the control port, the ports of clients, and TLS for every domain, as `openssl s_client` tries it."""

from __future__ import annotations

import re
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib  # the words for errors of chains have no name above it

from gateway import __version__
from gateway.certs import describe, loading
from gateway.certs.dates import check_dates
from gateway.certs.pem import check_names, oddities
from gateway.cli.doctor.finding import Finding, ok, problem, warning
from gateway.cli.failures import AdminError
from gateway.config.networks import bracketed
from gateway.config.problems import Severity
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from gateway.cli.admin_client import AdminClient

_SECONDS = 5.0
_COUNTS = re.compile(r"handshakes: (\d+), failed: (\d+)")
_UNSPECIFIED = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, asked on loopback
# OpenSSL's X509_V_ERR_*: not yet valid and expired, of which there is more to say; and the self-signed kinds.
_DATES, _SELF_SIGNED = frozenset({9, 10}), frozenset({18})
_LABEL = "gateway-doctor"
"""What stands for the * of a wildcard."""
_LOG = "its log has a line event=tls.handshake for each (stderr: journalctl -u UNIT, docker logs CONTAINER)"


def control(client: AdminClient) -> Iterator[Finding]:
    """Say how the running gateway says that it is, and whether it takes the secret. Raises AdminError."""
    hello = client.call("GET", "/hello")
    yield ok("control port", f"{client.address.url} answers")
    yield from _health(hello)
    running = hello.get("version")
    if running == __version__:
        yield ok("versions", f"gateway {running}, the same as this command")
    else:
        yield warning(
            "versions",
            f"gateway {running} runs, this command is {__version__}",
            "upgrade it in place: kill -USR2 its supervisor",
        )
    try:
        client.call("GET", "/tyk/domains", params={"limit": 1})
        yield ok("control port", f"{client.address.secret_source or 'the session'} is accepted as who asks")
    except AdminError as error:
        yield problem("control port", str(error), "give the right secret with --secret-file FILE, or --user NAME")


def _health(hello: Any) -> Iterator[Finding]:
    for name, part in hello["details"].items():
        said = part.get("output") or "fine"
        if part.get("status") == "pass" and name != "handshakes":
            yield ok("running gateway", f"{name}: {said}")
        elif part.get("status") == "pass":
            counts = _COUNTS.search(said)
            many = counts and int(counts[2]) * 10 > int(counts[1]) + int(counts[2])
            yield warning("logs", said, _LOG) if many else ok("logs", said)
        else:
            tell = problem if part.get("status") == "fail" else warning
            yield tell("running gateway", f"{name}: {said}", "see its log, and `gateway status`")


@dataclass(frozen=True, slots=True)
class Place:
    """Where clients connect, seen from this host."""

    host: str
    port: int

    @classmethod
    def of(cls, address: str, port: int) -> Place:
        """The place behind a listen address."""
        return cls(_UNSPECIFIED.get(address, address), port)

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    def connect(self) -> socket.socket:
        """Connect. Raises OSError."""
        return socket.create_connection((self.host, self.port), _SECONDS)


def port(place: Place, what: str) -> Finding:
    """Say whether a port accepts connections."""
    try:
        place.connect().close()
    except OSError as error:
        cure = "start the gateway, or mend listen_address and listen_port; then look at firewalls"
        return problem("ports", f"{place} ({what}): {error.strerror or error}", cure)
    return ok("ports", f"{place} ({what}) accepts connections")


def handshakes(place: Place, domains: Iterable[str], ca: Path | None, now: datetime) -> Iterator[Finding]:
    """Shake hands for each domain: name, dates and chain of what is shown, with the system's authorities or ``ca``.

    Whatever is wrong with a certificate, the handshake is finished, so that nothing of this is in the gateway's log.
    Raises AdminError when ``ca`` cannot be read.
    """
    faults: set[int] = set()
    context = _lenient(ca, faults)
    for domain in domains:
        faults.clear()
        try:
            tls = _shake_hands(context, place, domain.replace("*", _LABEL))
        except (OSError, SSL.Error) as error:
            cure = "its line event=tls.handshake in the gateway's log says why; see also `gateway tls scan`"
            yield problem("connection", f"{domain}: no TLS handshake: {_reason(error)}", cure)
            continue
        try:
            leaf = _leaf(tls)
        except CertificateError as error:
            yield problem("connection", f"{domain}: {error}", "see whether the gateway is what answers there")
            continue
        if leaf is None:
            continue  # no suite that the gateway serves leaves the certificate out
        found = [*_faults(leaf, domain, now), *_distrust(faults - _DATES, ca)]
        yield from (Finding("connection", fault.state, f"{domain}: {fault.message}", fault.cure) for fault in found)
        if not found:
            negotiated = f"{tls.get_protocol_version_name()}, {tls.get_cipher_name()}"
            end = f"until {leaf.not_valid_after_utc:%Y-%m-%d}"
            yield ok("connection", f"{domain}: {negotiated}; the certificate covers it, {end}, and is trusted")


def _leaf(tls: SSL.Connection) -> x509.Certificate | None:
    """Return the certificate that was shown. Raises CertificateError when it cannot be read."""
    shown = tls.get_peer_certificate()
    if shown is None:
        return None
    with loading.reading("the certificate that is shown"):
        leaf = shown.to_cryptography()
        loading.describable(leaf)
        return leaf


def _lenient(ca: Path | None, faults: set[int]) -> SSL.Context:
    """A context that finishes every handshake, and adds to ``faults`` what OpenSSL has against a chain."""

    def note(_: SSL.Connection, __: crypto.X509, error: int, ___: int, fine: int) -> bool:
        faults.update(() if fine else (error,))
        return True

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    try:
        context.load_verify_locations(str(ca)) if ca else context.set_default_verify_paths()
    except SSL.Error as error:
        raise AdminError(f"{ca} holds no certificates", exit_code=2) from error
    context.set_verify(SSL.VERIFY_PEER, note)
    return context


def _shake_hands(context: SSL.Context, place: Place, name: str) -> SSL.Connection:
    """Finish a handshake. Raises OSError and SSL.Error."""
    with place.connect() as sock:
        tls = SSL.Connection(context, sock)
        tls.set_tlsext_host_name(name.encode())
        tls.set_connect_state()
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                tls.do_handshake()
            except SSL.WantReadError:
                if not select.select([sock], [], [], max(deadline - time.monotonic(), 0))[0]:
                    raise TimeoutError(f"nothing came within {_SECONDS:g} s") from None
            else:
                tls.shutdown()
                return tls


def _faults(leaf: x509.Certificate, domain: str, now: datetime) -> Iterator[Finding]:
    for one in check_names(describe.names(leaf), domain):
        yield problem("", one.message, "gateway cert swap, or gateway tls add-cert, with one that does")
    for odd in oddities(leaf):
        message, _, cure = odd.partition("; ")
        yield warning("", message, cure)
    for one in check_dates((leaf,), now):
        tell = problem if one.severity is Severity.ERROR or "not valid before" in one.message else warning
        yield tell("", one.message, one.cure)


def _distrust(faults: set[int], ca: Path | None) -> Iterator[Finding]:
    said = ", ".join(ffi.string(lib.X509_verify_cert_error_string(fault)).decode() for fault in sorted(faults))
    if faults and ca:
        yield problem(
            "", f"{ca} does not vouch for its certificate: {said}", "name the right file, or append the chain"
        )
    elif faults & _SELF_SIGNED:
        cure = "give it to clients, or put one that a CA signed: gateway cert csr; here, --ca FILE takes it"
        yield warning("", f"clients do not trust its certificate: {said}", cure)
    elif faults:
        cure = (
            "append the CA's intermediates; if the CA is your own, give it to clients, and here name it with --ca FILE"
        )
        yield warning("", f"this machine's authorities do not vouch for its certificate: {said}", cure)


def _reason(error: Exception) -> str:
    match error:
        case SSL.SysCallError(args=(_, reason)):
            return f"the gateway hung up ({reason})"
        case SSL.Error(args=([(_, _, reason), *_],)):
            return str(reason)
        case OSError(strerror=str(reason)):
            return reason
    return str(error) or type(error).__name__
