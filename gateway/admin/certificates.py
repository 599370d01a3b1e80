"""``/tyk/certs``: Tyk's certificate store, in Tyk's shapes and words.

Where this differs on purpose stands in docs/admin-api.md. Nothing here can return a private key: `operations` has
no way to ask for one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.admin import uploads
from gateway.admin.declarations import Call, Message, Model, Parameter, Refusal, Reply
from gateway.admin.operations import Kind
from gateway.certs import describe, loading
from gateway.errors import CertificateError, ConflictError

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked
    from gateway.admin.operations import StoredCertificate

_MAX_IDS = 100
_NOTHING = (403, "Failed to decode certificate. It should be PEM encoded.")  # in Tyk that includes an empty body
_NO_TIME = datetime(1, 1, 1, tzinfo=UTC)  # what Go calls the zero time: a public key has no dates

_ORG_ID = Parameter(
    "org_id",
    "query",
    "the organisation; letters, digits, _ and -",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]*$", "maxLength": 128},
)
_MODE = Parameter("mode", "query", "`detailed` lists more than the ids")
_IGNORED_ORG_ID = Parameter("org_id", "query", "of no effect: the id says it")
_FORCE = Parameter("force", "query", "remove it although it is in use", {"type": "boolean", "default": False})
_ID = Parameter("id", "path", "the id of a certificate; at GET several, with commas between")


class CertificateAdded(Model):
    """The id under which a certificate is kept."""

    id: str
    status: Literal["ok"]
    message: str


class CertificateBasics(Model):
    """A certificate in a few words."""

    id: str
    issuer_cn: str
    subject_cn: str
    dns_names: tuple[str, ...] | None
    has_private: bool
    not_before: datetime
    not_after: datetime
    is_ca: bool


class CertificateList(Model):
    """The certificates of an organisation; null when there are none."""

    certs: tuple[str, ...] | tuple[CertificateBasics, ...] | None


class NameAttribute(Model):
    """One attribute of a name: its OID, and its value."""

    Type: tuple[int, ...]
    Value: str


class DistinguishedName(Model):
    """A subject or an issuer, as Go writes it."""

    Country: tuple[str, ...] | None
    Organization: tuple[str, ...] | None
    OrganizationalUnit: tuple[str, ...] | None
    Locality: tuple[str, ...] | None
    Province: tuple[str, ...] | None
    StreetAddress: tuple[str, ...] | None
    PostalCode: tuple[str, ...] | None
    SerialNumber: str
    CommonName: str
    Names: tuple[NameAttribute, ...] | None
    ExtraNames: None


class CertificateDetails(Model):
    """All about a certificate. ``fingerprint`` is the SHA-256 of the leaf, or of a bare public key."""

    id: str
    fingerprint: str
    has_private: bool
    issuer: DistinguishedName
    subject: DistinguishedName
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...] = ()
    is_ca: bool


async def _add(asked: Asked) -> Reply:
    upload = await uploads.read(asked, _NOTHING)
    pem = b"\n".join(part for part in (upload.certificate, upload.chain, upload.private_key) if part)
    try:
        made = await asked.operations.add_certificate(asked.text("org_id"), pem, upload.passphrase, asked.actor)
    except (CertificateError, ConflictError) as error:
        raise Refusal(403, str(error)) from error  # Tyk's status for every certificate that it refuses
    return Reply(CertificateAdded(id=made, status="ok", message="Certificate added"))


async def _list(asked: Asked) -> Reply:
    found = await asked.operations.list_certificates(asked.text("org_id") or None)
    if asked.text("mode") == "detailed":
        return Reply(CertificateList(certs=tuple(_basics(one) for one in found) or None))
    return Reply(CertificateList(certs=tuple(one.id for one in found) or None))


async def _get(asked: Asked) -> Reply:
    ids = asked.text("id").split(",")
    if len(ids) > _MAX_IDS:
        raise Refusal(400, f"{len(ids)} ids were given; ask for at most {_MAX_IDS} at once")
    found = await asked.operations.certificates(ids)
    details = [_details(one) if one else None for one in found]
    if len(ids) > 1:
        return Reply(details)
    if details[0] is None:
        raise Refusal(404, "Certificate with given SHA256 fingerprint not found")
    return Reply(details[0])


async def _delete(asked: Asked) -> Reply:
    await asked.operations.delete_certificate(asked.text("id"), force=asked.flag("force"), actor=asked.actor)
    return Reply(Message(status="ok", message="removed"))


CALLS = (
    Call(
        "POST", "/tyk/certs", "Keep a certificate", _add, CertificateAdded, (_ORG_ID,), uploads.BODY,
        {403: "The certificate is refused, and the message says why; or the secret is wrong."},
        description="Several can be kept side by side, and named in a configuration by the id that is returned.",
    ),
    Call("GET", "/tyk/certs", "List certificates", _list, CertificateList, (_ORG_ID, _MODE)),
    Call(
        "GET", "/tyk/certs/{id}", "Show one certificate or several", _get,
        CertificateDetails | list[CertificateDetails | None], (_ID, _IGNORED_ORG_ID),
        refusals={404: "There is none. Of several, those that do not exist are null."},
    ),
    Call(
        "DELETE", "/tyk/certs/{id}", "Remove a certificate", _delete, Message, (_ID, _IGNORED_ORG_ID, _FORCE),
        refusals={409: "It is in use, and `force` was not given."},
        description="A success also when there was none.",
    ),
)  # fmt: skip


def _basics(stored: StoredCertificate) -> CertificateBasics:
    details = _details(stored)
    return CertificateBasics(
        id=stored.id,
        issuer_cn=details.issuer.CommonName,
        subject_cn=details.subject.CommonName,
        dns_names=details.dns_names or None,
        has_private=details.has_private,
        not_before=details.not_before,
        not_after=details.not_after,
        is_ca=details.is_ca,
    )


def _details(stored: StoredCertificate) -> CertificateDetails:
    fingerprint, has_private = sha256(stored.der).hexdigest(), stored.kind is Kind.PAIR
    if stored.kind is Kind.PUBLIC_KEY:
        nobody = _go_name(x509.Name([]))
        return CertificateDetails(
            id=stored.id, fingerprint=fingerprint, has_private=False,
            issuer=nobody, subject=nobody.model_copy(update={"CommonName": f"Public Key: {stored.id}"}),
            not_before=_NO_TIME, not_after=_NO_TIME, is_ca=False,
        )  # fmt: skip
    try:
        certificate = loading.certificate(stored.der)
    except CertificateError as error:  # kept by a version that looked less closely
        nobody = _go_name(x509.Name([]))
        return CertificateDetails(
            id=stored.id, fingerprint=fingerprint, has_private=has_private,
            issuer=nobody, subject=nobody.model_copy(update={"CommonName": str(error)}),
            not_before=_NO_TIME, not_after=_NO_TIME, is_ca=False,
        )  # fmt: skip
    alternatives = describe.extension(certificate, x509.SubjectAlternativeName)
    dns_names = tuple(alternatives.get_values_for_type(x509.DNSName)) if alternatives else ()
    return CertificateDetails(
        id=stored.id, fingerprint=fingerprint, has_private=has_private,
        issuer=_go_name(certificate.issuer), subject=_go_name(certificate.subject),
        not_before=certificate.not_valid_before_utc, not_after=certificate.not_valid_after_utc,
        is_ca=describe.is_ca(certificate), **({"dns_names": dns_names} if dns_names else {}),
    )  # fmt: skip


def _go_name(name: x509.Name) -> DistinguishedName:
    def texts(oid: x509.ObjectIdentifier) -> tuple[str, ...]:
        return tuple(_text(attribute.value) for attribute in name.get_attributes_for_oid(oid))

    attributes = tuple(
        NameAttribute(Type=tuple(map(int, entry.oid.dotted_string.split("."))), Value=_text(entry.value))
        for entry in name
    )
    return DistinguishedName(
        Country=texts(NameOID.COUNTRY_NAME) or None,
        Organization=texts(NameOID.ORGANIZATION_NAME) or None,
        OrganizationalUnit=texts(NameOID.ORGANIZATIONAL_UNIT_NAME) or None,
        Locality=texts(NameOID.LOCALITY_NAME) or None,
        Province=texts(NameOID.STATE_OR_PROVINCE_NAME) or None,
        StreetAddress=texts(NameOID.STREET_ADDRESS) or None,
        PostalCode=texts(NameOID.POSTAL_CODE) or None,
        SerialNumber="".join(texts(NameOID.SERIAL_NUMBER)[-1:]),
        CommonName="".join(texts(NameOID.COMMON_NAME)[-1:]),
        Names=attributes or None,
        ExtraNames=None,
    )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()
