"""What may be uploaded as a certificate: PEM text as it is, or JSON that keeps the parts and a passphrase apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from gateway.admin.declarations import Body, Model, Refusal, complaint
from gateway.admin.operations import Upload

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked

_EMPTY = (400, "there is no certificate in the body; send a PEM bundle")
_PEM = {"type": "string", "pattern": "-----BEGIN "}


class CertificateUpload(Model):
    """A certificate in parts; ``certificate`` may hold all of them, in any order."""

    certificate: str = Field(min_length=1, description="PEM: the certificate, perhaps with its chain and key")
    private_key: str | None = Field(None, description="PEM: the private key; never shown again")
    chain: str | None = Field(None, description="PEM: the certificates of the issuers")
    passphrase: str | None = Field(None, description="of the private key, when it is encrypted")

    def upload(self) -> Upload:
        """Return it as the gateway takes it."""
        return Upload(
            self.certificate.encode(errors="replace"),
            self.private_key.encode(errors="replace") if self.private_key else None,
            self.chain.encode(errors="replace") if self.chain else None,
            self.passphrase,
        )


BODY = Body(
    "A PEM bundle: certificate, chain and private key in any order. Or the same in JSON.",
    {"application/x-pem-file": _PEM, "text/plain": _PEM, "application/json": CertificateUpload},
)


async def read(asked: Asked, when_empty: tuple[int, str] = _EMPTY) -> Upload:
    """Return what was uploaded; nothing at all is refused as told.

    What has PEM in it and is no JSON object is PEM, whatever it is said to be, as in Tyk: its clients send a form, or
    say that it is JSON. PEM stands between its own lines, so that what a form has around it does no harm.
    """
    body = await asked.body()
    if not body.strip():
        raise Refusal(*when_empty)
    said = asked.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_pem = b"-----BEGIN " in body
    if not body.lstrip().startswith(b"{") and (has_pem or said != "application/json"):
        return Upload(body)
    try:
        return CertificateUpload.model_validate_json(body).upload()
    except ValidationError as error:
        raise Refusal(400, f"the JSON is not an upload: {complaint(error)}") from None  # it quotes the body
