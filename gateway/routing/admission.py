"""Who may ask an API, and on which connections: looked at only where it makes a difference."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.networks import contain, networks
from gateway.tls.client_certificates import Standing

if TYPE_CHECKING:
    from cryptography import x509

    from gateway.config.definitions import ApiDefinition
    from gateway.config.networks import Network
    from gateway.routing.policies import HostPolicy
    from gateway.tls.client_certificates import AllowList, ClientCertificate


@dataclass(frozen=True, slots=True)
class Admission:
    """The networks that may use an API (empty: all), and those that may not, which counts more.

    ``policy`` is that of ``host``, for which the request is; None where all hosts have the same. ``clients`` are those
    who may use the API by their certificate; None where that does not count.
    """

    allowed: tuple[Network, ...] = ()
    blocked: tuple[Network, ...] = ()
    host: str = ""
    policy: HostPolicy | None = None
    clients: AllowList | None = None
    fields: Literal["certificate", "chain", "off"] = "off"

    def refusal(self, server_name: str, began_under: object, address: str) -> tuple[int, str] | None:
        """Return the status and message for a request that must not pass, None if it may.

        The connection was made for ``server_name`` and ``began_under`` a policy. One made for the very same host
        goes on when the host's policy has changed since: connections keep what they began with.
        """
        if self.policy is not None and self.host != server_name and self.policy != began_under:
            return 421, f"this connection was made for {server_name or 'no name'}, whose TLS differs: open another"
        if not self.admits(address):
            return 403, "access from this IP has been disallowed"
        return None

    def admits(self, address: str) -> bool:
        """Tell whether a client with this address may use the API."""
        return not contain(self.blocked, address) and (not self.allowed or contain(self.allowed, address))

    def certificate_refusal(self, certificate: ClientCertificate | None, *, encrypted: bool) -> str:
        """Return why the client of a connection must not pass by its certificate, in Tyk's words; "" if it may."""
        if self.clients is None:
            return ""
        if not encrypted:
            return "TLS not enabled"
        if certificate is None:
            return "Client TLS certificate is required"
        match certificate.judged(self.clients).standing:
            case Standing.ALLOWED:
                return ""
            case Standing.EXPIRED:
                return "Certificate has expired"
            case Standing.REVOKED:
                return f"Certificate with SHA256 {certificate.fingerprint} has been revoked"
            case Standing.UNSURE:
                return (
                    f"Certificate with SHA256 {certificate.fingerprint} cannot be checked: no current revocation list"
                )
        return f"Certificate with SHA256 {certificate.fingerprint} not allowed"

    def identity(self, certificate: ClientCertificate) -> bytes:
        """Write who the client is, for the upstream: the field lines of RFC 9440, each with its CRLF."""
        if self.clients is None or self.fields == "off":
            return b""
        lines = b"Client-Cert: %b\r\n" % _byte_sequence(certificate.leaf)
        chain = certificate.judged(self.clients).chain if self.fields == "chain" else ()
        # RFC 9440 section 2.3: from the leaf's issuer on; who trusts a root has it.
        sent = [_byte_sequence(one) for one in chain if one.issuer != one.subject]
        return lines + b"Client-Cert-Chain: %b\r\n" % b", ".join(sent) if sent else lines


def _byte_sequence(certificate: x509.Certificate) -> bytes:
    """A certificate as an item of RFC 8941 (section 3.3.5)."""
    return b":%b:" % b64encode(certificate.public_bytes(Encoding.DER))


def admission(api: ApiDefinition, clients: AllowList | None = None) -> Admission | None:
    """Return whom ``api`` lets in, None for everybody. Tyk's lists count only where they are switched on.

    ``clients`` are those with the right certificates; None where none is asked for.
    """
    lists = not api.ip_access_control_disabled
    allowed = api.allowed_ips if lists and api.enable_ip_whitelisting else ()
    blocked = api.blacklisted_ips if lists and api.enable_ip_blacklisting else ()
    own = api.gateway
    if not (allowed or blocked or own.allowed_networks or own.blocked_networks or clients):
        return None
    return Admission(
        networks(allowed or own.allowed_networks),
        networks((*blocked, *own.blocked_networks)),
        clients=clients,
        fields=own.client_cert_fields,
    )
