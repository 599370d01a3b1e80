"""The answer to a client that connects and asks for a name, as one worker would give it at this moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Front:
    """``tls`` says whether the gateway's own port speaks TLS; where it does not, the rest is true of services' ports.

    ``site`` is the name whose certificates answer: the one asked for, its wildcard, or "" for the default site. It is
    None where nothing answers: nowhere is TLS, or the name is refused.
    ``fingerprints`` are those of the certificates, ``ciphers`` (TLS 1.2 and below) and ``suites`` (TLS 1.3) are in the
    order of preference, and ``trouble`` says why the certificates cannot be used.
    """

    tls: bool
    site: str | None = None
    fingerprints: tuple[str, ...] = ()
    minimum: str = ""
    maximum: str = ""
    ciphers: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    server_preference: bool = True
    trouble: str = ""
