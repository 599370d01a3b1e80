"""Clients with certificates of every kind, proper and odd, for real handshakes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.front import client_context

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Identity:
    """A certificate, its key, and what is sent with it."""

    leaf: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return self.leaf.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The public key alone."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def sha256(self) -> str:
        return self.leaf.fingerprint(SHA256()).hex()

    def sending(self, *others: Identity) -> Identity:
        """The same, with other certificates sent behind its own."""
        return Identity(self.leaf, self.key, tuple(one.leaf for one in others))

    def context(self, directory: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client that shows it."""
        return self.shown_by(client_context(version=version), directory)

    def shown_by(self, context: ssl.SSLContext, directory: Path) -> ssl.SSLContext:
        """Have a client show it."""
        path = directory / f"{self.sha256[:16]}.pem"
        secret = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(secret + b"".join(one.public_bytes(Encoding.PEM) for one in (self.leaf, *self.chain)))
        context.load_cert_chain(path)
        return context


def identity(
    name: str,
    issuer: Identity | None = None,
    *,
    ca: bool = False,
    usages: tuple[x509.ObjectIdentifier, ...] = (CLIENT,),
    days: tuple[int, int] = (-1, 30),
    key: ec.EllipticCurvePrivateKey | None = None,
    signs: bool = True,
) -> Identity:
    """Make one; by default a client's, self-signed. ``signs``: its key usage allows signatures (other than a CA's)."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(
        (
            "content_commitment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.leaf.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs and not ca, key_encipherment=not signs, key_cert_sign=ca, crl_sign=ca, **usage
            ),
            critical=True,
        )
    )
    if usages and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Identity(builder.sign(issuer.key if issuer else key, SHA256()), key)


def crl(issuer: Identity, *revoked: Identity, days: tuple[int, int] = (-1, 7)) -> str:
    """A revocation list in PEM."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.leaf.subject)
        .last_update(NOW + timedelta(days=days[0]))
        .next_update(NOW + timedelta(days=days[1]))
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.leaf.serial_number).revocation_date(NOW).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.PEM).decode()
