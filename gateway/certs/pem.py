"""From the PEM text that a person hands in to a certificate pair that can be served.

People paste what they have: the key before the certificate, the chain upside down, everything on one line, a
request instead of a certificate. What can only mean one thing is mended, with a warning; the rest is refused
with the name of what was found and the way to what is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from gateway.certs import der, describe, loading
from gateway.certs.blocks import FOREIGN, Block, instead, read_blocks
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KeyType = Literal["rsa", "ec", "ed25519"]

# A chain is a handful of certificates; more is a mistake, such as a whole trust store.
MAX_CERTIFICATES = 20
MIN_RSA_BITS = 2048
# A signature with 8192 bits takes 60 ms, in which a worker does nothing else; with 16384 half a second.
_MAX_RSA_BITS = 8192

_EXPLICIT_CURVE = (
    "has the parameters of its curve written out, against RFC 5480 section 2.1.1, so some clients, such as those in Go,"
    " refuse it; make one with a named curve"
)


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate chain and the private key of its first certificate, checked to belong together.

    ``chain`` starts with the leaf and leaves a self-signed root out: a client trusts its own copy or none
    (RFC 8446 section 4.4.2), so sending it only costs bytes in every handshake. ``names`` are the names that
    the leaf covers: DNS names in lower case as A-labels, then IP addresses.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False, compare=False)
    names: tuple[str, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that is shown to clients as the server's own."""
        return self.chain[0]

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the leaf in lower-case hex: the pair's name."""
        return describe.fingerprint(self.leaf)

    @property
    def key_type(self) -> KeyType:
        """Which kind of key signs: one pair of each kind can be served for one name."""
        match self.key:
            case rsa.RSAPrivateKey():
                return "rsa"
            case ec.EllipticCurvePrivateKey():
                return "ec"
            case _:
                return "ed25519"

    @property
    def not_before(self) -> datetime:
        """The first moment (UTC) at which clients accept the leaf."""
        return self.leaf.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """The last moment (UTC) at which clients accept the leaf."""
        return self.leaf.not_valid_after_utc

    @property
    def chain_pem(self) -> bytes:
        """The chain, leaf first."""
        return b"".join(entry.public_bytes(serialization.Encoding.PEM) for entry in self.chain)

    @property
    def key_pem(self) -> bytes:
        """The private key in the clear: for sealing, never for showing."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def restore(cls, chain_pem: bytes, key_pem: bytes) -> CertificatePair:
        """The pair whose `chain_pem` and `key_pem` these are, unchecked: for what was parsed, then sealed.

        CertificateError and TypeError mean that it was not.
        """
        chain = loading.certificates(chain_pem)
        key = loading.private_key(key_pem)
        if not isinstance(key, PrivateKey):
            raise TypeError("not the key of a certificate pair")
        return cls(chain, key, describe.names(chain[0]))

    def __reduce__(self) -> NoReturn:
        """Refuse pickling: a private key leaves the process sealed or not at all."""
        raise TypeError("a certificate pair holds a private key and is never pickled")


def parse_pair(
    certificate_pem: bytes,
    key_pem: bytes | None = None,
    *,
    chain_pem: bytes = b"",
    passphrase: bytes | None = None,
    for_servers: bool = True,
) -> tuple[CertificatePair, tuple[str, ...]]:
    """Read a certificate, its key and its chain; the three may come in one text or in several, in any order.

    ``for_servers``: it is to be shown to clients, and judged as one that is. Returns the pair, and warnings about
    what was mended or will not please every client.
    Raises CertificateError, which never quotes the input.
    """
    blocks = [block for text in (certificate_pem, key_pem or b"", chain_pem) for block in read_blocks(text)]
    warnings: list[str] = []
    certificates = _certificates(blocks)
    key = _private_key(blocks, passphrase, warnings)
    with loading.reading("a certificate"):
        leaf = _leaf(certificates, key)
        chain = _chain(leaf, certificates, warnings)
        names = describe.names(leaf)
        for certificate in chain:
            _refuse_weak(certificate)
        if for_servers:
            refuse_foreign_use(leaf)
            warnings += remarks(leaf)
        else:
            warnings += oddities(leaf)
    return CertificatePair(chain, key, names), tuple(warnings)


def check_names(names: Sequence[str], domain: str) -> tuple[Problem, ...]:
    """A warning when the ``names`` of a leaf do not cover ``domain``, a canonical name or ``*.parent``."""
    parent = domain.partition(".")[2]
    if domain in names or f"*.{parent}" in names:
        return ()
    covered = ", ".join(names[:5]) + (", ..." if names[5:] else "") or "no name at all"
    message = f"the certificate does not cover {domain}, only {covered}"
    return (Problem(Severity.WARNING, "", "", message, "use a certificate that names it"),)


def _certificates(blocks: Iterable[Block]) -> list[x509.Certificate]:
    """The certificates in the order given, each once."""
    texts = list(dict.fromkeys(block.pem for block in blocks if block.is_certificate or block.has_trust))
    if not texts:
        raise CertificateError(f"no certificate was given{instead(blocks)}")
    if len(texts) > MAX_CERTIFICATES:
        raise CertificateError(f"{len(texts)} certificates were given; give one with its chain")
    count = len(texts)
    found = (loading.certificate(text, f"certificate {number} of {count}") for number, text in enumerate(texts, 1))
    return list(dict.fromkeys(found))


def _private_key(blocks: Sequence[Block], passphrase: bytes | None, warnings: list[str]) -> PrivateKey:
    found = {b.pem: b for b in blocks if b.label.endswith("PRIVATE KEY") and b.label not in FOREIGN}
    if not found:
        raise CertificateError(f"no private key was given{instead(blocks)}")
    if len(found) > 1:
        raise CertificateError(f"{len(found)} private keys were given; give only the one of the certificate")
    (block,) = found.values()
    if block.encrypted and not passphrase:
        raise CertificateError("the private key is encrypted and no passphrase was given; set one, or decrypt the key")
    if passphrase and not block.encrypted:
        warnings.append("a passphrase was given but the private key is not encrypted")
    key = _opened(block, passphrase)
    match key:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1() | ec.SECP384R1() | ec.SECP521R1()):
            return key
        case ed25519.Ed25519PrivateKey():
            warnings.append("the key is Ed25519, which browsers do not accept; serve an RSA or EC P-256 one as well")
            return key
        case rsa.RSAPrivateKey():
            return key
    raise CertificateError("the private key is of a kind that is not served; use RSA, or EC on P-256, P-384 or P-521")


def _opened(block: Block, passphrase: bytes | None) -> PrivateKeyTypes:
    if block.encrypted:
        loading.refuse_costly(block.pem)
    try:
        key = loading.private_key(block.pem, passphrase if block.encrypted else None)
        if isinstance(key, rsa.RSAPrivateKey) and MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
            # This replaces the validation, which tests primes for 40 ms: minutes for thousands of files.
            with loading.reading("the private key"):
                key.public_key().verify(key.sign(b"", PKCS1v15(), SHA256()), b"", PKCS1v15(), SHA256())
    except CertificateError as error:
        if block.encrypted:
            reason = "the passphrase of the private key is wrong, or the key is damaged"
        elif loading.has_explicit_curve(block.pem):
            reason = f"the private key {_EXPLICIT_CURVE}"
        else:
            reason = "the private key is damaged, or of a kind that TLS does not use"
        raise CertificateError(reason) from error.__cause__
    return key


def _leaf(certificates: Sequence[x509.Certificate], key: PrivateKey) -> x509.Certificate:
    """The certificate that was issued for ``key``."""
    public = key.public_key()
    for certificate in certificates:
        if describe.key_size(certificate)[1] and certificate.public_key() == public:
            return certificate
    first = next(iter(describe.names(certificates[0])), _subject(certificates[0]))
    raise CertificateError(
        f"the private key does not belong to the certificate (of {first}); give the key of its request"
    )


def _chain(
    leaf: x509.Certificate, certificates: Sequence[x509.Certificate], warnings: list[str]
) -> tuple[x509.Certificate, ...]:
    """Leaf first, each followed by its issuer, up to but without the self-signed root."""
    chain, rest = [leaf], [entry for entry in certificates if entry != leaf]
    # Of two certificates of one issuer (a root, and the same cross-signed by an older root) the cross-signed
    # one leads on.
    while issuers := [entry for entry in rest if _issued(entry, chain[-1])]:
        chain.append(min(issuers, key=_self_issued))
        rest.remove(chain[-1])
    if [entry for entry in certificates if entry in chain] != chain:
        warnings.append("the certificates were not in order (leaf first, each followed by its issuer); put in order")
    if rest:
        warnings.append(f"certificates that do not belong to the chain were left out: {'; '.join(map(_subject, rest))}")
    if len(chain) > 1 and _self_issued(chain[-1]):
        chain.pop()
    elif len(chain) == 1 and _names_issuer_address(leaf):
        warnings.append(
            "the issuer's certificate is missing, so many clients will not trust this one; append"
            f" {leaf.issuer.rfc4514_string()}, which the CA publishes"
        )
    return tuple(chain)


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        with loading.reading("the signature"):
            subject.verify_directly_issued_by(issuer)
    except CertificateError:
        return False
    return True


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _self_issued(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _names_issuer_address(certificate: x509.Certificate) -> bool:
    """Whether it says where to fetch its issuer's certificate, as public CAs do and private ones rarely."""
    access = describe.extension(certificate, x509.AuthorityInformationAccess)
    return access is not None and any(e.access_method == AuthorityInformationAccessOID.CA_ISSUERS for e in access)


def _refuse_weak(certificate: x509.Certificate) -> None:
    """Refuse what browsers, and other clients with an OpenSSL of today, refuse."""
    kind, bits = describe.key_size(certificate)
    subject = _subject(certificate)
    if kind == "unknown":
        odd = _EXPLICIT_CURVE if has_explicit_curve(certificate) else "is of a kind that is not known"
        raise CertificateError(f"the public key of {subject} {odd}")
    if kind == "rsa" and bits > _MAX_RSA_BITS:
        raise CertificateError(f"the RSA key of {subject} has {bits} bits; over {_MAX_RSA_BITS} take too long to sign")
    if kind == "rsa" and bits < MIN_RSA_BITS:
        raise CertificateError(f"the RSA key of {subject} has {bits} bits; at least {MIN_RSA_BITS} are needed")
    if not _self_issued(certificate) and isinstance(certificate.signature_hash_algorithm, MD5 | SHA1):
        raise CertificateError(f"{subject} is signed with SHA-1 or MD5, which clients refuse; have it issued anew")


def refuse_foreign_use(leaf: x509.Certificate) -> None:
    """Refuse what no client takes for a server's certificate (RFC 5280 section 4.2.1.12). Raises CertificateError."""
    usage = describe.extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & {*usage}:
        raise CertificateError("the certificate is not for servers (no serverAuth in its extended key usage)")
    if leaf.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise CertificateError("the certificate is for an RSA-PSS key, which browsers refuse; use a plain RSA key")


def has_explicit_curve(certificate: x509.Certificate) -> bool:
    """Return whether the key has the parameters of its curve written out instead of the curve's name."""
    return der.has_explicit_curve(certificate.public_bytes(serialization.Encoding.DER))


def is_must_staple(certificate: x509.Certificate) -> bool:
    """Return whether clients must refuse the certificate without a stapled OCSP response (RFC 7633)."""
    features = describe.extension(certificate, x509.TLSFeature)
    return features is not None and x509.TLSFeatureType.status_request in features


def oddities(leaf: x509.Certificate) -> list[str]:
    """Tell what is so unusual about a certificate, which could be read, that some peers refuse it."""
    found = []
    if is_must_staple(leaf):
        found.append(
            "the certificate demands a stapled OCSP response (must-staple), which this gateway does not send, so strict"
            " clients, such as Firefox, refuse it; have one issued without"
        )
    if has_explicit_curve(leaf):
        found.append(f"the key of the certificate {_EXPLICIT_CURVE}")
    return found


def remarks(leaf: x509.Certificate) -> list[str]:
    """Tell what will not please every client of a server that shows ``leaf``, which could be read."""
    warnings, names = oddities(leaf), describe.names(leaf)
    bits = describe.extension(leaf, x509.KeyUsage)
    if bits is not None and not bits.digital_signature:
        warnings.append("the certificate's key usage forbids signatures, so modern clients will refuse it")
    if describe.is_ca(leaf):
        warnings.append("the certificate is a CA's own; some clients refuse it as a server's")
    if not names:
        warnings.append("the certificate names no host, so every client will refuse it")
    elif describe.extension(leaf, x509.SubjectAlternativeName) is None:
        warnings.append("the certificate has no subject alternative name, only a common name, which browsers ignore")
    return warnings
