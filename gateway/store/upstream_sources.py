"""From what a configuration names towards upstreams, in files, inline or in the store, to what stands there.

What cannot be read keeps its last good state, if it has one. Where there is none nothing is sent to the upstreams
that it protects, which `routing.upstream_trust` sees to; everybody else is served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.certs import describe, loading
from gateway.certs.blocks import MAX_BYTES, instead, read_blocks, refuse_trust
from gateway.certs.dates import check_dates
from gateway.certs.pem import parse_pair
from gateway.config.kinds import is_inline_pem, is_store_id, source_of
from gateway.config.material import Material, Purpose, Wanted, key, password_reference, sends_password, wanted
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.files import first_line
from gateway.store import file_status

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.certs.pem import CertificatePair
    from gateway.config.load import Configuration
    from gateway.store.sqlite import Store

_DIGEST = 64
_READABLE_BY_ALL = "every user of this host can read it"


@dataclass(frozen=True, slots=True)
class Provided:
    """What was found, and what is wrong; ``unresolved`` are those of the problems that say what could not be had."""

    material: Material
    problems: tuple[Problem, ...]
    unresolved: tuple[Problem, ...]


def collect(configuration: Configuration, now: datetime, store: Store | None = None) -> Provided:
    """Read everything that ``configuration`` names towards upstreams, as of ``now`` (aware).

    ``store`` has what is named by id, and the last good state. Raises StoreError when it cannot be read itself.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    unresolved: list[Problem] = []

    @cache
    def last() -> Material:
        configuration = store.last_good() if store else None
        return configuration.material if configuration else Material()

    for item in wanted(configuration.settings, configuration.apis):
        name = key(item.purpose, item.reference)
        if name in found:
            continue
        try:
            found[name], remarks = _read(item, now, store)
            source = source_of(item.reference)
            problems += [
                replace(one, severity=Severity.WARNING, path=item.place, source=one.source or source) for one in remarks
            ]
        except (OSError, CertificateError) as error:
            if name in last().found:
                found[name] = last().found[name]
            unresolved.append(_unresolved(item, error, kept=name in found))
    for api in configuration.apis:
        basic = api.upstream_auth.basic_auth
        if not sends_password(api) or basic.password_file:
            continue
        name = key(Purpose.PASSWORD, password_reference(api))
        if basic.password:
            found[name] = basic.password.get_secret_value()
        elif secret := last().found.get(name):  # of a definition that cannot be read
            found[name] = secret
    return Provided(Material(found=found), (*problems, *unresolved), tuple(unresolved))


def authorities(content: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates in a file, PEM or DER. Raises CertificateError."""
    if content.startswith(b"\x30"):
        return (loading.certificate(content),)
    blocks = read_blocks(content)
    refuse_trust(blocks)
    texts = [block.pem for block in blocks if block.is_certificate]
    found = tuple(loading.certificate(text, f"certificate {at} of it") for at, text in enumerate(texts, 1))
    if not found:
        raise CertificateError(f"there is no certificate in it{instead(blocks)}")
    return found


def _unresolved(item: Wanted, error: Exception, *, kept: bool) -> Problem:
    source = source_of(item.reference)
    message = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
    if kept:
        cure = "what it was before is used on"
    elif item.place.startswith("gateway.ca_certificates"):
        cure = "nobody is trusted for it"
    else:
        cure = "nothing is sent to the upstreams that it is for, whose clients get 502"
    return Problem(Severity.WARNING, item.place, source, message, cure)


def _read(item: Wanted, now: datetime, store: Store | None) -> tuple[str, tuple[Problem, ...]]:
    """What a reference stands for, as `Material` has it, and remarks. Raises OSError and CertificateError."""
    match item.purpose:
        case Purpose.IDENTITY:
            return _identity(item.reference, now, store)
        case Purpose.AUTHORITIES:
            content, _ = _content(item.reference, store)
            found = authorities(content)
            remarks = tuple(one for certificate in found for one in check_dates((certificate,), now))
            return "".join(one.public_bytes(Encoding.PEM).decode() for one in found), remarks
        case Purpose.PIN:
            return _pins(item.reference, store), ()
        case Purpose.PASSWORD:
            content, remarks = _content(item.reference, None, secret=True)
            if not (line := first_line(content)):
                raise CertificateError("there is no password in its first line")
            return line.decode(errors="surrogateescape"), remarks
    raise AssertionError(item.purpose)


def _content(reference: str, store: Store | None, *, secret: bool = False) -> tuple[bytes, tuple[Problem, ...]]:
    if is_inline_pem(reference):
        return reference.encode(), ()
    if is_store_id(reference):
        stored = store.certificate(reference) if store else None
        if stored is None:
            raise CertificateError("the certificate store has nothing under this id; add it there")
        return stored.pem, ()
    content, status = file_status.read(reference, MAX_BYTES + 1)
    if secret and status and status[0] & 0o007:
        return content, (Problem(Severity.WARNING, "", "", _READABLE_BY_ALL, f"chmod o= {reference}"),)
    return content, ()


def _identity(reference: str, now: datetime, store: Store | None) -> tuple[str, tuple[Problem, ...]]:
    remarks: tuple[Problem, ...] = ()
    if is_store_id(reference):
        pair = store.stored_pair(reference) if store else None
        if pair is None:
            raise CertificateError("the certificate store has no certificate with a key under this id; add it there")
    else:
        content, remarks = _content(reference, store, secret=True)
        pair, warnings = parse_pair(content, for_servers=False)
        remarks += tuple(Problem(Severity.WARNING, "", "", warning) for warning in warnings)
    remarks += _foreign_use(pair) + check_dates(pair.chain, now)
    return (pair.chain_pem + pair.key_pem).decode(), remarks


def _foreign_use(pair: CertificatePair) -> tuple[Problem, ...]:
    """A warning when no upstream takes it for a client's certificate (RFC 5280 section 4.2.1.12)."""
    usage = describe.extension(pair.leaf, x509.ExtendedKeyUsage)
    if usage is None or {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & {*usage}:
        return ()
    message = (
        "the certificate is not for clients (no clientAuth in its extended key usage), so most upstreams refuse it"
    )
    return (Problem(Severity.WARNING, "", "", message, "have one issued for client authentication"),)


def _pins(reference: str, store: Store | None) -> str:
    if is_store_id(reference):
        stored = store.certificate(reference) if store else None
        if stored is None and len(reference) == _DIGEST:
            return reference.lower()  # the digest itself; as the id of something else it fits no key
        if stored is not None and stored.kind == "public_key":
            return sha256(stored.der).hexdigest()
    content, _ = _content(reference, store)
    blocks = read_blocks(content)
    keys = [loading.public_key(block.pem) for block in blocks if block.label == "PUBLIC KEY"]
    # Of a chain the first is meant: with its authority's key every certificate of that would do.
    leaf = [block.pem for block in blocks if block.is_certificate][:1]
    keys += [loading.key_of(loading.certificate(pem)) for pem in leaf]
    if not keys:
        raise CertificateError(f"there is no public key and no certificate in it{instead(blocks)}")
    return " ".join(sha256(key).hexdigest() for key in keys)
