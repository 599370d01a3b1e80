"""``/tyk/kms`` and ``/tyk/secrets/regenerate``: which keys seal what the store keeps, and new ones."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from gateway.admin.declarations import Body, Call, Model, Refusal, Reply, complaint
from gateway.certs.keyring import CloudKey

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked
    from gateway.admin.key_operations import KeyStatus

_BODY_BYTES = 4096


class MasterKeyState(Model):
    """A master key. The one in the state ``encrypt or decrypt`` seals; the others open what they sealed."""

    id: str
    state: Literal["encrypt or decrypt", "decrypt-only"]
    created: datetime
    encrypt_and_decrypt_since: datetime
    decrypt_only_since: datetime | None


class Keys(Model):
    """The hierarchy: the customer master key, the root master key that it seals, the master keys that this one seals.

    ``key_arn`` and ``region`` are empty in local mode. ``regenerating`` is since when everything is being sealed anew.
    """

    mode: Literal["local", "aws"]
    key_arn: str
    region: str
    store: str
    root_master_key: str
    root_master_key_created: datetime
    master_keys: tuple[MasterKeyState, ...]
    regenerating: datetime | None


class WantedMode(Model):
    """``local``, or ``aws`` with the key and its region."""

    mode: Literal["local", "aws"]
    key_arn: str = Field("", max_length=2048)
    region: str = Field("", max_length=64)


class RegenerationState(Model):
    """How far it is; ``interrupted`` waits to be asked for again."""

    state: Literal["idle", "running", "interrupted"]
    done: int
    total: int
    since: datetime | None


class RegenerationResult(Model):
    """What came of it. ``secret_file`` is empty when the admin secret is one that the operator configured.

    ``unreadable`` could not be opened before either, and are as they were. ``certificates`` are the names of the
    gateway's own certificate, if that was made anew.
    """

    resumed: bool
    sealed: int
    unreadable: int
    secret_file: str
    certificates: tuple[str, ...]
    keys: Keys


async def _status(asked: Asked) -> Reply:
    return Reply(_keys(await asked.operations.keys.status()))


async def _set_mode(asked: Asked) -> Reply:
    try:
        wanted = WantedMode.model_validate_json(await asked.body())
    except ValidationError as error:
        raise Refusal(400, complaint(error)) from error
    cloud = CloudKey(arn=wanted.key_arn, region=wanted.region) if wanted.mode == "aws" else None
    if cloud is None and (wanted.key_arn or wanted.region):
        raise Refusal(409, "key_arn and region belong to the mode aws")
    return Reply(_keys(await asked.operations.keys.set_mode(cloud, asked.actor)))


async def _regenerate(asked: Asked) -> Reply:
    done = await asked.operations.keys.regenerate(asked.actor)
    assert done.keys is not None, "it is done"
    return Reply(
        RegenerationResult(
            resumed=done.resumed, sealed=done.sealed, unreadable=done.unreadable, secret_file=done.secret_file,
            certificates=done.certificates, keys=_keys(done.keys),
        )
    )  # fmt: skip


async def _regeneration(asked: Asked) -> Reply:
    now = await asked.operations.keys.regeneration()
    return Reply(RegenerationState(state=now.state, done=now.done, total=now.total, since=now.since))


_CLOUD = "AWS KMS cannot be reached, or does not let the key be used; nothing has changed."
CALLS = (
    Call("GET", "/tyk/kms", "Tell which keys there are", _status, Keys),
    Call(
        "PUT", "/tyk/kms/mode", "Choose the customer master key", _set_mode, Keys,
        body=Body("the mode", {"application/json": WantedMode}, _BODY_BYTES),
        refusals={409: "That can be no key, or the mode has none.", 502: _CLOUD},
        description="The root master key is replaced, and the master keys are sealed with the new one.",
    ),
    Call(
        "POST", "/tyk/secrets/regenerate", "Make new keys and secrets", _regenerate, RegenerationResult,
        refusals={502: _CLOUD},
        description="Answers when everything is sealed anew. Goes on where it was interrupted, and joins what is under "
        "way. The admin secret is another one afterwards, unless it is configured.",
    ),
    Call("GET", "/tyk/secrets/regenerate", "Tell how far it is", _regeneration, RegenerationState),
)  # fmt: skip


def _keys(status: KeyStatus) -> Keys:
    return Keys(
        mode="aws" if status.key_arn else "local",
        key_arn=status.key_arn,
        region=status.region,
        store=status.store,
        root_master_key=status.root_master_key,
        root_master_key_created=status.root_master_key_created,
        master_keys=tuple(
            MasterKeyState(
                id=key.id,
                state="decrypt-only" if key.decrypt_only_since else "encrypt or decrypt",
                created=key.created,
                encrypt_and_decrypt_since=key.encrypt_since,
                decrypt_only_since=key.decrypt_only_since,
            )
            for key in status.master_keys
        ),
        regenerating=status.regenerating,
    )
