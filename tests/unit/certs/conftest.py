"""One authority for all tests of certificates, and a way to issue what `Authority.leaf` never would."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.certs.pem import CertificatePair
from gateway.certs.self_signed import Authority

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Oddities:
    """Issues certificates with exactly the extensions that a test wants."""

    authority: Authority

    def issue(self, *extensions, names=(), key=None, common_name="odd.test", issuer=None, days=365) -> CertificatePair:
        key = key or ec.generate_private_key(ec.SECP256R1())
        issuer = issuer or self.authority.pair
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]))
            .issuer_name(issuer.leaf.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=days))
        )
        if names:
            extensions += (x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return CertificatePair((builder.sign(issuer.key, SHA256()),), key, ())

    def intermediate(self, name: str, issuer: CertificatePair | None = None, key=None) -> CertificatePair:
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        return self.issue(constraints, common_name=name, issuer=issuer, key=key)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="session")
def odd(authority) -> Oddities:
    return Oddities(authority)


@pytest.fixture(scope="session")
def pair(authority) -> CertificatePair:
    return authority.leaf("www.example.com", "*.example.com", "127.0.0.1")


@pytest.fixture(scope="session")
def rsa_pair(authority) -> CertificatePair:
    return authority.leaf("www.example.com", key="rsa2048")
