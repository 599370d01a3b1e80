"""Server names as they are compared: lower-case A-labels without the final dot, wildcards, IP addresses."""

from __future__ import annotations

import re
from ipaddress import ip_address

import idna
from cryptography.x509.oid import NameOID

from gateway.certs import loading
from gateway.errors import CertificateError

# Letters, digits and hyphens (RFC 1123 section 2.1), and the underscore, which real host names contain.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)*{_LABEL}\Z", re.ASCII)


def canonical(name: str) -> str:
    """Return the one spelling under which ``name`` is compared.

    Any case, a final dot and U-labels are accepted, and so is ``*`` as the whole left-most label. IPv4 and
    IPv6 addresses, with or without brackets, come out in their shortest form. Raises ValueError for anything
    else.
    """
    host = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        if is_address(host) and "%" not in host:  # a zone may be any text, and means nothing to others
            return str(ip_address(host))
        host = (name.lower() if name.isascii() else _to_ascii(name)).removesuffix(".")
        if _NAME.match(host) and not is_address(host):
            return host
    except ValueError:
        pass
    raise ValueError(f"{name!r} is not a host name; use letters, digits, hyphens and dots, or an IP address")


def candidates(name: str) -> tuple[str, ...]:
    """Return the keys under which a certificate for ``name`` may stand: itself, then its wildcard.

    A wildcard covers exactly one label (RFC 9525 section 6.3), and never part of an address.
    """
    _, dot, parent = name.partition(".")
    return (name, f"*.{parent}") if dot and not is_address(name) else (name,)


def covers(pattern: str, name: str) -> bool:
    """Whether a certificate for ``pattern`` speaks for ``name``; both are canonical."""
    return pattern in candidates(name)


def is_address(host: str) -> bool:
    """Tell whether ``host`` can only be an address: no top-level domain is all digits, no name has colons."""
    return ":" in host or host.rpartition(".")[2].isdecimal()


def common_name_matches(certificate: bytes, host: str) -> bool:
    """Whether the subject's common name in a DER ``certificate`` is ``host``: Tyk's extra check of upstreams.

    A certificate without a common name, or with several, does not match; nor does one that cannot be read.
    """
    try:
        with loading.reading("the certificate"):
            subject = loading.peer_certificate(certificate).subject
            values = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            return [canonical(value) for value in values] == [canonical(host)]
    except CertificateError:
        return False


def _to_ascii(name: str) -> str:
    """Map as browsers do (UTS #46), then turn every label that needs it into its A-label."""
    mapped = idna.uts46_remap(name, std3_rules=False)
    return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in mapped.split("."))
