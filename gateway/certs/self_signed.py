"""Certificates that nobody vouches for, requests for such that somebody will, and a throw-away authority.

The authority is for the demo and the tests, never for the public.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.certs import describe
from gateway.certs.pem import CertificatePair

if TYPE_CHECKING:
    from collections.abc import Iterator

NewKey = Literal["ec", "rsa2048", "rsa4096"]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
SubjectField = Literal["C", "ST", "L", "O", "OU", "CN"]

_OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}

# A client whose clock is a little slow must not find the certificate not yet valid.
_BACKDATED = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that signs server certificates; who trusts ``pair.leaf`` trusts them all."""

    pair: CertificatePair

    @classmethod
    def create(cls, name: str = "Throw-away CA", *, days: int = 365, now: datetime | None = None) -> Authority:
        """Make an authority with an EC P-256 key and that common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _common_name(name)
        builder = (
            _builder(subject, key, None, _validity(days, now))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        )
        return cls(CertificatePair((builder.sign(key, SHA256()),), key, ()))

    def leaf(self, *names: str, days: int = 90, key: NewKey = "ec", now: datetime | None = None) -> CertificatePair:
        """Make a server certificate for DNS names (A-labels, wildcards) and IP addresses.

        It is valid from an hour before ``now`` (default: the clock) for ``days`` days.
        """
        return _server(Wish(names), key, _validity(days, now), self.pair)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a certificate is to say: DNS names (A-labels, wildcards) and IP addresses, and whose it is.

    ``subject`` are attributes as `openssl req` abbreviates them, in order; without a common name it is the first of
    ``names``. ``client`` has it serve for the client's side too.
    """

    names: tuple[str, ...]
    subject: tuple[tuple[SubjectField, str], ...] = ()
    client: bool = False


def self_signed(
    *names: str, days: int = 90, key: NewKey = "ec", now: datetime | None = None, wish: Wish | None = None
) -> CertificatePair:
    """Make a server certificate like `Authority.leaf`, but one that nobody vouches for.

    ``wish`` says more than names do. Raises ValueError for a subject that X.520 does not allow.
    """
    return _server(wish or Wish(names), key, _validity(days, now), None)


def signing_request(wish: Wish, key: NewKey = "ec") -> tuple[x509.CertificateSigningRequest, Key]:
    """Make a key, and the request that a CA signs for it (RFC 2986). Raises ValueError as `self_signed` does."""
    new = _new_key(key)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(wish))
    for extension, critical in _extensions(wish, key):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(new, SHA256()), new


def _server(
    wish: Wish, kind: NewKey, validity: tuple[datetime, datetime], issuer: CertificatePair | None
) -> CertificatePair:
    key = _new_key(kind)
    builder = _builder(_subject(wish), key, issuer, validity)
    for extension, critical in _extensions(wish, kind):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(issuer.key if issuer else key, SHA256())
    return CertificatePair((certificate,), key, describe.names(certificate))


def _extensions(wish: Wish, kind: NewKey) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """What a server's certificate says beside the names of subject and issuer, and whether that is critical."""
    # Clients encrypt to an RSA key in those key exchanges of TLS 1.2 that have no Diffie-Hellman.
    usage = ["digital_signature"] if kind == "ec" else ["digital_signature", "key_encipherment"]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if wish.client else ())]
    yield x509.SubjectAlternativeName([_general_name(name) for name in wish.names]), False
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield _key_usage(*usage), True
    yield x509.ExtendedKeyUsage(purposes), False


def _builder(
    subject: x509.Name,
    key: Key,
    issuer: CertificatePair | None,
    validity: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    """What every certificate has; without an ``issuer`` it is its own."""
    public = key.public_key()
    signer = issuer.key.public_key() if issuer else public
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.leaf.subject if issuer else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _new_key(kind: NewKey) -> Key:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def _validity(days: int, now: datetime | None) -> tuple[datetime, datetime]:
    start = (now or datetime.now(UTC)) - _BACKDATED
    return start, start + timedelta(days=days)


def _subject(wish: Wish) -> x509.Name:
    if not wish.subject:
        return _common_name(wish.names[0])
    given = [x509.NameAttribute(_OIDS[field], text) for field, text in wish.subject]
    named = any(field == "CN" for field, _ in wish.subject)
    return x509.Name([*given, *([] if named else _common_name(wish.names[0]))])


def _common_name(text: str) -> x509.Name:
    """A subject of one common name, which X.520 bounds to 64 characters."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*allowed: str) -> x509.KeyUsage:
    uses = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{use: use in allowed for use in uses})
