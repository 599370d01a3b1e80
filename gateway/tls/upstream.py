"""What is demanded of an upstream before a byte of a request is sent to it, and what it is shown. Decisions only."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.certs import loading
from gateway.errors import CertificateError
from gateway.tls.names import common_name_matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.tls.policy import TlsPolicy


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS towards one upstream.

    With ``verify`` its certificate must come from ``authorities`` (PEM; and unless ``exclusive`` from the system's),
    and name ``server_name``, or the host that is dialled where that is empty. ``identity`` (PEM, chain and key) is
    what it is shown when it asks. With ``pins`` (SHA-256 of public keys in hex) one of them must be its own, or that
    of a certificate through which it was verified. ``renegotiates`` is whether it may shake hands again (TLS 1.2).
    """

    policy: TlsPolicy
    verify: bool = True
    check_common_name: bool = False
    server_name: str = ""
    authorities: str = field(default="", repr=False)
    exclusive: bool = False
    identity: str = field(default="", repr=False)
    pins: frozenset[str] = frozenset()
    renegotiates: bool = True

    @property
    def key(self) -> str:
        """A name for all of it that tells nothing of it."""
        said = (
            self.policy, self.verify, self.check_common_name, self.server_name, _digest(self.authorities),
            self.exclusive, sha256(self.identity.encode()).digest(), sorted(self.pins), self.renegotiates,
        )  # fmt: skip
        return sha256(repr(said).encode()).hexdigest()

    @property
    def checks_more(self) -> bool:
        """Whether there is a `refusal` to ask for, beyond what the handshake itself makes sure of."""
        return self.check_common_name or bool(self.pins)

    def refusal(self, chain: Sequence[bytes], host: str) -> str:
        """Why an upstream is not the one that is meant, "" if it is.

        ``chain`` is its certificate (DER), then those through which it was verified. What it sent beyond these counts
        for nothing: anybody can send the certificate of another.
        """
        if not chain:
            return "it showed no certificate" if self.check_common_name or self.pins else ""
        if self.check_common_name and not common_name_matches(chain[0], self.server_name or host):
            return "the common name of the upstream's certificate is not its host name"
        if self.pins and self.pins.isdisjoint(map(public_key_digest, chain)):
            shown = public_key_digest(chain[0])
            return f"its public key is not pinned: {f'SHA-256 {shown}' if shown else 'it cannot be read'}"
        return ""


@lru_cache(256)  # many upstreams share the same ones
def _digest(authorities: str) -> str:
    return sha256(authorities.encode()).hexdigest()


def public_key_digest(certificate: bytes) -> str:
    """The SHA-256 of the SubjectPublicKeyInfo of a certificate (DER), in hex; "" when that cannot be read."""
    try:
        return sha256(loading.key_of(loading.peer_certificate(certificate))).hexdigest()
    except CertificateError:
        return ""
