"""The demo's certificates: a throw-away authority, whose key is never written down, and what it signed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature

from gateway import files
from gateway.certs import loading
from gateway.certs.pem import parse_pair
from gateway.certs.self_signed import Authority
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

NAMES = {
    "localhost.pem": ("localhost", "127.0.0.1", "::1"),
    "alpha.localhost.pem": ("alpha.localhost",),
    "beta.localhost.pem": ("*.beta.localhost",),
}
AUTHORITY = "ca.pem"
NEAR = timedelta(days=7)
"""Certificates that end within this time are made anew."""


def prepare(directory: Path, now: datetime) -> None:
    """Make the demo's certificates in ``directory``, unless all of them are there and good for a while."""
    if is_fresh(directory, now):
        return
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority.create("gateway demo CA", now=now)
    for file, names in NAMES.items():
        pair = authority.leaf(*names, now=now)
        files.write(directory / file, pair.key_pem + pair.chain_pem)
    files.write(directory / AUTHORITY, authority.pair.chain_pem, mode=0o644)


def is_fresh(directory: Path, now: datetime) -> bool:
    """Whether every certificate is there, has time left and comes from the authority that is there."""
    try:
        authority = loading.certificate((directory / AUTHORITY).read_bytes())
        pairs = [parse_pair((directory / file).read_bytes())[0] for file in NAMES]
        for pair in pairs:
            pair.leaf.verify_directly_issued_by(authority)
    except (OSError, ValueError, TypeError, InvalidSignature, CertificateError):
        return False
    return all(pair.not_before <= now < pair.not_after - NEAR for pair in pairs)
