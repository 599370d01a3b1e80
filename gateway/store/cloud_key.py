"""AWS KMS, which seals and opens the root master key: the extra ``aws`` of the package.

boto3 finds credentials and, where they differ, endpoints as every AWS program does: environment, files, the role of the
machine. What is sealed is bound to the id of the store (the encryption context), so that it opens for no other. Calls
block, each for a bounded time; they belong in a thread or a process of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.errors import KeyServiceError

if TYPE_CHECKING:
    from typing import Any

    from gateway.certs.keyring import CloudKey

ARN = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]{1,256}"
"""What names a key, as the pages of AWS KMS show it."""

_INSTALL = "boto3 is not installed; install the gateway with its extra: pip install 'sni-gateway[aws]'"


def refusal(key: CloudKey) -> str:
    """Why this can be no key; "" when it can."""
    if not re.fullmatch(ARN, key.arn):
        return f"{key.arn!r} is not the ARN of a key; write it like arn:aws:kms:REGION:ACCOUNT:key/ID"
    region = key.arn.split(":")[3]
    return "" if region == key.region else f"the key is in the region {region}, not in {key.region!r}"


def seal(key: CloudKey, store: str, plain: bytes, seconds: float) -> bytes:
    """Seal a key of the store, and see that it opens again. Raises KeyServiceError."""
    service = _Service(key, store, seconds)
    sealed = service.ask("Encrypt", Plaintext=plain)["CiphertextBlob"]
    if service.ask("Decrypt", CiphertextBlob=sealed)["Plaintext"] != plain:
        raise KeyServiceError(f"{key.arn} does not open what it has sealed")
    return bytes(sealed)


def unseal(key: CloudKey, store: str, sealed: bytes, seconds: float) -> bytes:
    """Open what `seal` returned. Raises KeyServiceError."""
    return bytes(_Service(key, store, seconds).ask("Decrypt", CiphertextBlob=sealed)["Plaintext"])


class _Service:
    def __init__(self, key: CloudKey, store: str, seconds: float) -> None:
        self._key = key
        self._about = {"KeyId": key.arn, "EncryptionContext": {"gateway-store": store}}
        try:
            import boto3  # noqa: PLC0415 - heavy, and an extra
            import botocore.exceptions  # noqa: PLC0415
            from botocore.config import Config  # noqa: PLC0415
        except ImportError as error:
            raise KeyServiceError(_INSTALL) from error
        self._errors = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
        patience = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 2})
        try:
            self._client = boto3.session.Session().client("kms", region_name=key.region, config=patience)
        except (*self._errors, ValueError) as error:
            raise self._failure(error) from error

    def ask(self, operation: str, **values: object) -> dict[str, Any]:
        try:
            call = self._client.encrypt if operation == "Encrypt" else self._client.decrypt
            answer: dict[str, Any] = call(**self._about, **values)
        except self._errors as error:
            raise self._failure(error) from error
        return answer

    def _failure(self, error: Exception) -> KeyServiceError:
        return KeyServiceError(f"AWS KMS in {self._key.region} does not let {self._key.arn} be used: {error}")
