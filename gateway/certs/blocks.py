"""PEM text to labelled blocks (RFC 7468), forgiving what mail, shells and JSON do to text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Iterable

# A chain is a few certificates of about 2 kB each.
MAX_BYTES = 1 << 20

# The body stops at the next five dashes: a text of many BEGIN lines without an END is read once, not once per line.
# (A possessive quantifier around the whole body would say the same, but Python 3.11 before 3.11.4 never matches it.)
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----([^-]*+(?:-(?!----)[^-]*)*)-----END \1-----")
# RFC 1421 headers, as OpenSSL writes them into keys that are encrypted the traditional way.
_ENCRYPTED_HEADERS = re.compile(rb"\s*Proc-Type:\s*4,\s*ENCRYPTED\s+DEK-Info:\s*(\S+)\s")

_REQUEST = "a certificate request (send it to the CA; the certificate that comes back is needed)"
FOREIGN = {
    "CERTIFICATE REQUEST": _REQUEST,
    "NEW CERTIFICATE REQUEST": _REQUEST,
    "PUBLIC KEY": "a public key",
    "RSA PUBLIC KEY": "a public key",
    "OPENSSH PRIVATE KEY": "an OpenSSH key (convert a copy of it: ssh-keygen -p -m PEM -f COPY)",
    "PKCS7": "a PKCS#7 bundle (convert it: openssl pkcs7 -print_certs -in FILE -out FILE.pem)",
    "TRUSTED CERTIFICATE": "an OpenSSL trusted certificate (convert it: openssl x509 -in FILE -out FILE.pem)",
}
# By what follows the header of the outer SEQUENCE.
_BINARY = {
    rb"\x02\x01\x03\x30": "a PKCS#12 file (convert it: openssl pkcs12 -in FILE -nodes -out FILE.pem)",
    rb"\x02\x01[\x00\x01]": "a DER private key (convert it: openssl pkey -inform der -in FILE -out FILE.pem)",
    rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02": "a DER PKCS#7 bundle"
    " (convert it: openssl pkcs7 -inform der -print_certs -in FILE -out FILE.pem)",
    rb"\x30": "a DER certificate (convert it: openssl x509 -inform der -in FILE -out FILE.pem)",
}


@dataclass(frozen=True, slots=True, repr=False)
class Block:
    """One PEM block, written out anew with its body on one line: loaders see no oddity of the input."""

    label: str
    pem: bytes
    encrypted: bool

    @property
    def is_certificate(self) -> bool:
        """Whether it holds a certificate, by the label of today or of old (RFC 7468 section 5)."""
        return self.label in ("CERTIFICATE", "X509 CERTIFICATE")

    @property
    def has_trust(self) -> bool:
        """True when the block is a certificate with OpenSSL's record of the purposes that it is trusted for."""
        return self.label == "TRUSTED CERTIFICATE"


def read_blocks(text: bytes) -> list[Block]:
    """All PEM blocks of ``text``, in order. What stands between them is ignored (RFC 7468 section 2).

    Raises CertificateError when a block is cut off, or when there is text but no block at all.
    """
    if len(text) > MAX_BYTES:
        raise CertificateError(f"the PEM text is over {MAX_BYTES} bytes; give one certificate with its chain")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):  # PowerShell's `>` writes UTF-16
        text = text.decode("utf-16", "ignore").encode("ascii", "ignore")
    text = text.replace(rb"\r", b"").replace(rb"\n", b"\n")  # line ends that were escaped once too often
    blocks = []
    for label, body in _BLOCK.findall(text):
        headers = _ENCRYPTED_HEADERS.match(body)
        preamble = b"Proc-Type: 4,ENCRYPTED\nDEK-Info: %b\n\n" % headers[1] if headers else b""
        content = b"".join(body[headers.end() if headers else 0 :].split())
        pem = b"-----BEGIN %b-----\n%b%b\n-----END %b-----\n" % (label, preamble, content, label)
        blocks.append(Block(label.decode(), pem, encrypted=bool(headers) or label.startswith(b"ENCRYPTED")))
    if text.count(b"-----BEGIN ") != len(blocks):
        raise CertificateError("a PEM block begins but does not end properly; give the file whole and unedited")
    if text.strip() and not blocks:
        raise CertificateError(f"this is not PEM text but {_name_binary(text)}")
    return blocks


def instead(blocks: Iterable[Block]) -> str:
    """What was given in the place of what is missing, as the end of a sentence."""
    found = dict.fromkeys(FOREIGN.get(block.label, f"a block named {block.label}") for block in blocks)
    return f", only {' and '.join(found)}" if found else ""


def refuse_trust(blocks: Iterable[Block]) -> None:
    """Refuse OpenSSL's trusted certificates where it counts what one is trusted for, which nothing here looks at.

    Raises CertificateError.
    """
    if any(block.has_trust for block in blocks):
        raise CertificateError(f"there is {FOREIGN['TRUSTED CERTIFICATE']} in it, whose trust settings would not count")


def _name_binary(data: bytes) -> str:
    for pattern, name in _BINARY.items():
        if re.match(rb"\x30(?:[\x00-\x80]|[\x81-\x84].{1,4}?)" + pattern, data, re.DOTALL):
            return name
    return "something else (PEM starts with a line like -----BEGIN CERTIFICATE-----)"
