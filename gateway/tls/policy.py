"""What a listener or a connection to an upstream may negotiate: versions, ciphers, whose order wins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.tls.ciphers import BY_OPENSSL_NAME, DEFAULT_CIPHERS, DEFAULT_SUITES, select
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

HTTP1, HTTP1_0, HTTP2 = b"http/1.1", b"http/1.0", b"h2"
"""What is spoken with clients, as ALPN names it (RFC 7301 section 6, RFC 9113 section 3.1)."""

# Mozilla's "intermediate" list, version 5.8: the post-quantum hybrid first, then what every client has.
GROUPS: tuple[str, ...] = ("X25519MLKEM768", "X25519", "P-256", "P-384")

# What clients that speak nothing newer than TLS 1.1 can use; appended to the default list for those who ask
# for them.
_OLD_CIPHERS: tuple[str, ...] = (
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-SHA",
    "AES256-SHA",
)
# Upstreams are often older than browsers: forward secrecy is asked for, authenticated encryption is not.
_UPSTREAM_CIPHERS: tuple[str, ...] = (
    *DEFAULT_CIPHERS,
    *select(["DHE+AESGCM:DHE+CHACHA20:ECDHE+AES+CBC:DHE+AES+CBC"]).ciphers,
)


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What may be negotiated.

    ``ciphers`` are OpenSSL names for TLS 1.2 and below and ``suites`` names for TLS 1.3, both in order of
    preference and never empty. ``server_preference`` says whether this order beats the client's.
    """

    minimum: TlsVersion
    maximum: TlsVersion
    ciphers: tuple[str, ...]
    suites: tuple[str, ...]
    server_preference: bool

    @property
    def security_level(self) -> int:
        """OpenSSL's level: 2 (112 bits) is its default; TLS 1.0 and 1.1 need 0 for their MD5 and SHA-1."""
        return 0 if self.minimum < TlsVersion.TLS1_2 else 2

    @property
    def http2_minimum(self) -> TlsVersion:
        """The version from which HTTP/2 may be spoken: 1.2 where each cipher for it is allowed, else 1.3.

        RFC 9113 section 9.2.2 demands ephemeral keys and authenticated encryption. Which cipher a client gets is not
        known yet when the protocol is chosen (ALPN), so one that is not allowed leaves TLS 1.2 to HTTP/1.1.
        """
        fit = all(BY_OPENSSL_NAME[name].fits_http2 for name in self.ciphers)
        return TlsVersion.TLS1_2 if fit else TlsVersion.TLS1_3

    @property
    def uses_dhe(self) -> bool:
        """Whether a finite-field Diffie-Hellman exchange may come up."""
        return any(BY_OPENSSL_NAME[name].exchange == "DHE" for name in self.ciphers)


def server_policy(
    minimum: TlsVersion, maximum: TlsVersion, names: Sequence[str], *, server_preference: bool
) -> tuple[TlsPolicy, tuple[str, ...]]:
    """Return the policy of a listener, and warnings; ``names`` as in gateway.tls.ciphers, or none.

    Raises ValueError when the versions leave nothing.
    """
    policy, warnings = _policy(minimum, maximum, names, DEFAULT_CIPHERS)
    return replace(policy, server_preference=server_preference), warnings


def upstream_policy(
    minimum: TlsVersion | None, maximum: TlsVersion | None, names: Sequence[str]
) -> tuple[TlsPolicy, tuple[str, ...]]:
    """Return the policy of connections to an upstream, and warnings; None means 1.2 at least and 1.3 at most.

    TLS 1.3 suites cannot be chosen here: Python's own TLS cannot restrict them, and neither does Tyk.
    Raises ValueError when the versions leave nothing.
    """
    versions = (minimum or TlsVersion.TLS1_2, maximum or TlsVersion.TLS1_3)
    policy, warnings = _policy(*versions, names, _UPSTREAM_CIPHERS)
    if policy.suites != DEFAULT_SUITES:
        warnings += ("TLS 1.3 suites cannot be chosen towards upstreams; the default ones are offered",)
    return replace(policy, suites=DEFAULT_SUITES), warnings


def _policy(
    minimum: TlsVersion, maximum: TlsVersion, names: Sequence[str], default: tuple[str, ...]
) -> tuple[TlsPolicy, tuple[str, ...]]:
    if minimum > maximum:
        raise ValueError(f"the minimum TLS version {minimum.label} is above the maximum {maximum.label}; give both")
    chosen = select(names)
    warnings = list(chosen.warnings)
    if names and not chosen.ciphers and not chosen.suites:
        warnings.append("none of the given ciphers can be served; the default ones are")
    if chosen.suites and maximum < TlsVersion.TLS1_3:
        warnings.append("TLS 1.3 suites are chosen but the maximum TLS version is below 1.3")
    if minimum < TlsVersion.TLS1_2:
        warnings.append(f"TLS {minimum.label} is obsolete and weak (RFC 8996); use 1.2 unless old clients need it")
        default = tuple(dict.fromkeys((*default, *_OLD_CIPHERS)))
        if chosen.ciphers and all(BY_OPENSSL_NAME[n].minimum > TlsVersion.TLS1_1 for n in chosen.ciphers):
            warnings.append("none of the chosen ciphers works below TLS 1.2; add ECDHE+SHA1 for old clients")
    policy = TlsPolicy(
        minimum, maximum, chosen.ciphers or default, chosen.suites or DEFAULT_SUITES, server_preference=False
    )
    return policy, tuple(warnings)
