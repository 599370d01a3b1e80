"""The hierarchy of keys of one data directory, as it stands in ``keyring.json``.

    customer master key    ``root.key``, 32 bytes that this user alone may read; or a key that AWS KMS keeps
    root master key        one at a time, sealed by the customer master key
    master keys            sealed by the root master key; one seals, the others only open what they sealed

A key of one level can be replaced without what is below the next: another customer master key is a root master key
sealed anew and a few lines of this file, and nothing in the database. The file stands outside the database, so that a
stolen copy of that holds nothing to attack.

Beside them stands a secret from which keys for other purposes are derived. What a version before this file kept, data
keys sealed by the root key itself (``data-keys.json``), is taken over; that file stays, for as long as it holds
everything, so that the older version can come back.
"""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from secrets import token_bytes
from typing import TYPE_CHECKING, Annotated, Self
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from gateway import files
from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

KEY_BYTES = 32
ID_BYTES = 8
"""Of a master key: every sealed text begins with one."""
NONCE_BYTES = 12

_FILE, _ROOT_FILE, _EARLIER_FILE = "keyring.json", "root.key", "data-keys.json"
_SECRET = "derivation"  # noqa: S105 - the name of a key
_EARLIER_SECRET = b"derived keys"

_Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$")]
_MasterId = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{2 * ID_BYTES}}}$")]


class Mode(StrEnum):
    """What the customer master key is."""

    LOCAL = "local"
    AWS = "aws"


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", hide_input_in_errors=True
    )


class CloudKey(_Part):
    """A key of AWS KMS."""

    arn: str
    region: str


class RootMasterKey(_Part):
    """``sealed`` by the customer master key: AES-256-GCM with a root key, or whatever the cloud makes of it."""

    id: _Hex
    created: AwareDatetime
    sealed: bytes


class MasterKey(_Part):
    """``sealed`` by the root master key. ``decrypt_only_since`` is None as long as it seals."""

    id: _MasterId
    created: AwareDatetime
    encrypt_since: AwareDatetime
    decrypt_only_since: AwareDatetime | None = None
    sealed: bytes


class Keyring(_Part):
    """All keys of a data directory, sealed. ``store`` is its id, to which every one of them is bound.

    ``cloud`` is None in local mode. ``regenerating`` is since when everything is being sealed anew. Of the master keys
    the last one seals.
    """

    store: _Hex
    cloud: CloudKey | None = None
    root_master_key: RootMasterKey
    derivation_secret: bytes
    master_keys: tuple[MasterKey, ...]
    regenerating: AwareDatetime | None = None

    @model_validator(mode="after")
    def _has_one_that_seals(self) -> Self:
        if [key.decrypt_only_since is None for key in self.master_keys] != [False] * (len(self.master_keys) - 1) + [
            True
        ]:
            raise ValueError("exactly the last master key seals")
        return self

    @property
    def mode(self) -> Mode:
        """What the customer master key is."""
        return Mode.LOCAL if self.cloud is None else Mode.AWS

    @property
    def root_id(self) -> bytes:
        """The id of the root master key."""
        return bytes.fromhex(self.root_master_key.id)

    def derivation(self, root_master_key: bytes) -> bytes:
        """Return the secret that other keys are derived from. Raises StoreError."""
        return _unwrap(root_master_key, self.derivation_secret, _context(self.store, self.root_master_key, _SECRET))

    def open(self, root_master_key: bytes, master_key: MasterKey) -> bytes:
        """Return a master key. Raises StoreError."""
        context = _context(self.store, self.root_master_key, master_key.id)
        return _unwrap(root_master_key, master_key.sealed, context)

    def under(self, old: bytes, fresh: RootMasterKey, new: bytes, cloud: CloudKey | None) -> Keyring:
        """Return it with ``fresh``, which is ``new``, for a root master key instead of ``old``. Raises StoreError."""

        def wrapped(plain: bytes, what: str) -> bytes:
            return _wrap(new, plain, _context(self.store, fresh, what))

        keys = [key.model_copy(update={"sealed": wrapped(self.open(old, key), key.id)}) for key in self.master_keys]
        changed = {
            "cloud": cloud,
            "root_master_key": fresh,
            "master_keys": tuple(keys),
            "derivation_secret": wrapped(self.derivation(old), _SECRET),
        }
        return self.model_copy(update=changed)

    def renewed(self, root_master_key: bytes, now: datetime) -> Keyring:
        """Return it with a new master key, which seals from now on, and with another derivation secret."""

        def fresh(what: str) -> bytes:
            return _wrap(root_master_key, token_bytes(KEY_BYTES), _context(self.store, self.root_master_key, what))

        last = self.master_keys[-1].model_copy(update={"decrypt_only_since": now})
        key_id = token_bytes(ID_BYTES).hex()
        master_key = MasterKey(id=key_id, created=now, encrypt_since=now, sealed=fresh(key_id))
        keys = (*self.master_keys[:-1], last, master_key)
        changed = {"master_keys": keys, "derivation_secret": fresh(_SECRET), "regenerating": now}
        return self.model_copy(update=changed)


def load(data_dir: Path) -> Keyring | None:
    """Read the keys of ``data_dir``; None when there are none yet, or those of an older version.

    Raises StoreError when they are damaged, and OSError.
    """
    path = data_dir / _FILE
    try:
        return Keyring.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"{path} is damaged; restore it from a backup") from error


def stamp(data_dir: Path) -> tuple[int, int]:
    """Return what differs once the keys of ``data_dir`` were replaced. Raises OSError."""
    status = (data_dir / _FILE).stat()
    return status.st_ino, status.st_mtime_ns


def find(data_dir: Path) -> Keyring:
    """Read the keys of ``data_dir``, which must exist; the first caller makes them. Raises StoreError and OSError."""
    if keyring := load(data_dir):
        return keyring
    root_file, earlier_file = data_dir / _ROOT_FILE, data_dir / _EARLIER_FILE
    # Looked at before the root, which is made before them: else another process that makes all just now would look
    # like a lost root.
    earlier = earlier_file.exists()
    if not root_file.exists():
        if earlier:
            raise StoreError(f"{root_file} is missing but {earlier_file} needs it; restore it from a backup")
        files.create(root_file, token_bytes(KEY_BYTES))  # or another process was quicker
    root = root_key(data_dir)
    made = _taken_over(root, earlier_file) if earlier else _fresh(root)
    files.create(data_dir / _FILE, _text(made))
    keyring = load(data_dir)  # what another process may have been quicker to make
    assert keyring is not None, "it was just made, and nothing removes it"
    return keyring


def replace(data_dir: Path, keyring: Keyring) -> None:
    """Make these the keys of ``data_dir``, durably: they are the old ones or the new, whenever the machine stops.

    To be called by one process at a time. Raises StoreError.
    """
    files.write(data_dir / _FILE, _text(keyring), secret=True)
    with files.explained(data_dir / _EARLIER_FILE, "removed"):
        (data_dir / _EARLIER_FILE).unlink(missing_ok=True)


def new_root_key(data_dir: Path) -> bytes:
    """Make the customer master key of local mode, whatever was there. Raises StoreError."""
    root = token_bytes(KEY_BYTES)
    files.write(data_dir / _ROOT_FILE, root, secret=True)
    return root


def forget_root_key(data_dir: Path) -> None:
    """Remove the customer master key of local mode, which nothing is sealed with any more. Raises OSError."""
    (data_dir / _ROOT_FILE).unlink(missing_ok=True)


def root_key(data_dir: Path) -> bytes:
    """Return the customer master key of local mode. Raises StoreError, and OSError."""
    path = data_dir / _ROOT_FILE
    # The group may read it: a container platform that mounts volumes for a group gives it that right unasked
    # (Kubernetes fsGroup), and a mounted secret belongs to root.
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing but {data_dir / _FILE} needs it; restore it from a backup") from error
    if mode & 0o007:
        raise StoreError(f"{path} can be read by every user of this machine; make it yours alone: chmod 600 {path}")
    root = path.read_bytes()
    if len(root) != KEY_BYTES:
        raise StoreError(f"{path} is not a root key of {KEY_BYTES} bytes; restore it from a backup")
    return root


def new_root_master_key(
    store: str, root: bytes | None = None, seal: Callable[[bytes], bytes] | None = None
) -> tuple[RootMasterKey, bytes]:
    """Return a new root master key, sealed, and the key itself. ``root`` is a root key, or ``seal`` asks the cloud."""
    key_id, key = uuid4().hex, token_bytes(KEY_BYTES)
    sealed = seal(key) if seal else _wrap(root or b"", key, _binding(store, key_id))
    return RootMasterKey(id=key_id, created=_now(), sealed=sealed), key


def unlocked(keyring: Keyring, root: bytes) -> bytes:
    """Return the root master key of local mode. Raises StoreError."""
    return _unwrap(root, keyring.root_master_key.sealed, _binding(keyring.store, keyring.root_master_key.id))


def _fresh(root: bytes) -> Keyring:
    key_id = token_bytes(ID_BYTES).hex()
    return _made(root, {key_id: token_bytes(KEY_BYTES)}, key_id, token_bytes(KEY_BYTES), _now())


def _taken_over(root: bytes, path: Path) -> Keyring:
    """The keys of a version that sealed data keys with the root key itself."""
    try:
        text = json.loads(path.read_bytes())
        sealed = {bytes.fromhex(key_id): base64.b64decode(value) for key_id, value in text["keys"].items()}
        current = bytes.fromhex(text["current"]).hex()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged; restore it from a backup") from error
    keys = {}
    for key_id, value in sealed.items():
        header = b"\x01" + bytes(ID_BYTES)  # of the texts of that version: no key id but the root's
        if not value.startswith(header):
            raise StoreError(f"{path} is damaged; restore it from a backup")
        keys[key_id.hex()] = _unwrap(root, value[len(header) :], header + key_id)
    if current not in keys:
        raise StoreError(f"{path} does not hold the key that it names as current; restore it from a backup")
    secret = hmac.digest(root, _EARLIER_SECRET, sha256)
    return _made(root, keys, current, secret, datetime.fromtimestamp(path.stat().st_mtime, UTC))


def _made(root: bytes, keys: Mapping[str, bytes], current: str, secret: bytes, since: datetime) -> Keyring:
    store = uuid4().hex
    root_master_key, key = new_root_master_key(store, root)
    masters = [
        MasterKey(
            id=key_id, created=since, encrypt_since=since, decrypt_only_since=None if key_id == current else since,
            sealed=_wrap(key, master, _context(store, root_master_key, key_id)),
        )
        for key_id, master in sorted(keys.items(), key=lambda item: item[0] == current)
    ]  # fmt: skip
    return Keyring(
        store=store, root_master_key=root_master_key, master_keys=tuple(masters),
        derivation_secret=_wrap(key, secret, _context(store, root_master_key, _SECRET)),
    )  # fmt: skip


def _context(store: str, root_master_key: RootMasterKey, what: str) -> bytes:
    return f"{store} {root_master_key.id} {what}".encode()


def _binding(store: str, key_id: str) -> bytes:
    return f"root master key {store} {key_id}".encode()


def _wrap(key: bytes, plain: bytes, context: bytes) -> bytes:
    nonce = token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def _unwrap(key: bytes, sealed: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        raise StoreError("a sealed key was changed, or belongs to another entry or another root.key") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _text(keyring: Keyring) -> bytes:
    return keyring.model_dump_json(indent=2, exclude_none=True).encode()
