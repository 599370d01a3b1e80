"""The files of cryptography-vectors: two thousand certificates, lists and keys, proper, odd and broken."""

from __future__ import annotations

from base64 import encodebytes
from functools import cache
from pathlib import Path

import cryptography_vectors

_KINDS = {".pem", ".der", ".crt", ".cer", ".crl", ".key", ".pub", ".p12", ".p7b", ".txt"}
_MOST_BYTES = 1 << 18


@cache
def files() -> dict[str, bytes]:
    """All of them, by name: what is DER stands there once more as PEM, as a certificate and as a list."""
    root = Path(cryptography_vectors.__file__).parent
    found = {}
    for path in sorted(root.rglob("*")):
        if path.suffix in _KINDS and path.is_file() and path.stat().st_size < _MOST_BYTES:
            found[str(path.relative_to(root))] = path.read_bytes()
    for name, data in list(found.items()):
        if data.startswith(b"\x30"):
            found[f"{name} in PEM"] = in_pem(data, "X509 CRL" if name.endswith(".crl") else "CERTIFICATE")
    return found


@cache
def certificates() -> dict[str, bytes]:
    """Those that claim to hold a certificate, in PEM."""
    return {name: data for name, data in files().items() if b"-----BEGIN CERTIFICATE-----" in data}


def in_pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    """Dress up bytes as a PEM block."""
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), encodebytes(der), label.encode())
