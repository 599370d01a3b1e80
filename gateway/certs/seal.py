"""Private keys at rest: sealed with AES-256-GCM under a data key, which is itself sealed under the root key.

Two files in the data directory:

* ``root.key``        32 random bytes, readable by the owner alone; it only ever seals data keys
* ``data-keys.json``  the data keys by id, sealed under the root key, and which of them seals from now on

Two levels, because each can then be replaced alone. Rotating means adding a data key: what older ones sealed
stays readable, because every sealed text names its key. Handing the root to a cloud's key service means
sealing the few lines of ``data-keys.json`` anew, and nothing in the database. The data keys stand outside the
database, so that a stolen copy of it holds nothing to attack, and sealing needs no database.

A sealed text is: version (1 byte), key id (8), nonce (12), ciphertext with its tag. Version, key id and the
caller's context are authenticated: a text that is moved to another entry does not open. Nonces are random,
which one AES-GCM key bears for 2**32 texts (NIST SP 800-38D section 8.3).
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from tempfile import mkstemp
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
_ROOT_ID = bytes(_ID_BYTES)


class Sealer:
    """Seals and opens private keys with the keys of one data directory."""

    __slots__ = ("_current", "_keys", "_secret")

    def __init__(self, keys: Mapping[bytes, AESGCM], current: bytes, secret: bytes = b"") -> None:
        """Seal with ``keys[current]``, open with whichever of ``keys`` a sealed text names; derive from ``secret``."""
        self._keys = keys
        self._current = current
        self._secret = secret

    @classmethod
    def open(cls, data_dir: Path) -> Sealer:
        """Read the keys of ``data_dir``, which must exist; the first caller makes them. Any process may.

        Raises StoreError when they cannot be read or written, or when others may read the root key.
        """
        root_file, keys_file = data_dir / "root.key", data_dir / "data-keys.json"
        try:
            # Looked at before the root, which is made before them: else another process that makes both just
            # now would look like a lost root.
            has_data_keys = keys_file.exists()
            if not root_file.exists():
                if has_data_keys:
                    raise StoreError(f"{root_file} is missing but {keys_file} needs it; restore it from a backup")
                _create(root_file, token_bytes(_KEY_BYTES))
            secret = _read_root(root_file)
            root = cls({_ROOT_ID: AESGCM(secret)}, _ROOT_ID, hmac.digest(secret, b"derived keys", sha256))
            if not keys_file.exists():
                _create(keys_file, _first_data_key(root))
            return _open_data_keys(root, keys_file)
        except OSError as error:
            raise StoreError(f"the keys in {data_dir} cannot be used: {error.strerror}; check its owner") from error

    def derived_key(self, purpose: bytes) -> bytes:
        """Return a key for something else, of 32 bytes: the same in every process, for as long as the root key stays.

        It tells nothing about the root key or another purpose's (NIST SP 800-108r1, HMAC as the function).
        """
        return hmac.digest(self._secret, purpose, sha256)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt ``plain``; it opens only with the same ``context``, such as what the text is and whose."""
        header, nonce = _VERSION + self._current, token_bytes(_NONCE_BYTES)
        return header + nonce + self._keys[self._current].encrypt(nonce, plain, header + context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt what `seal` made with the same ``context``. Raises StoreError for anything else."""
        header, nonce = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES : 1 + _ID_BYTES + _NONCE_BYTES]
        if header[:1] != _VERSION or len(nonce) < _NONCE_BYTES:
            raise StoreError("a sealed key is damaged, or was written by a newer version of the gateway")
        key = self._keys.get(header[1:])
        if key is None:
            raise StoreError(
                f"a private key was sealed with data key {header[1:].hex()}, which is not in data-keys.json; "
                "restore root.key and data-keys.json from the backup that belongs to the database"
            )
        try:
            return key.decrypt(nonce, sealed[len(header) + _NONCE_BYTES :], header + context)
        except InvalidTag as error:
            raise StoreError("a sealed key was changed, or belongs to another entry or another root.key") from error


def _first_data_key(root: Sealer) -> bytes:
    key_id = token_bytes(_ID_BYTES)
    sealed = root.seal(token_bytes(_KEY_BYTES), key_id)
    text = {"current": key_id.hex(), "keys": {key_id.hex(): base64.b64encode(sealed).decode()}}
    return json.dumps(text, indent=2).encode()


def _open_data_keys(root: Sealer, path: Path) -> Sealer:
    try:
        text = json.loads(path.read_bytes())
        sealed = {bytes.fromhex(key_id): base64.b64decode(value) for key_id, value in text["keys"].items()}
        current = bytes.fromhex(text["current"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged; restore it from a backup") from error
    keys = {key_id: AESGCM(root.unseal(value, key_id)) for key_id, value in sealed.items()}
    if current not in keys:
        raise StoreError(f"{path} does not hold the key that it names as current; restore it from a backup")
    return Sealer(keys, current, root._secret)  # noqa: SLF001 - of this class


def _read_root(path: Path) -> bytes:
    # The group may read it: a container platform that mounts volumes for a group gives it that right unasked
    # (Kubernetes fsGroup), and a mounted secret belongs to root.
    if path.stat().st_mode & 0o007:
        raise StoreError(f"{path} can be read by every user of this machine; make it yours alone: chmod 600 {path}")
    root = path.read_bytes()
    if len(root) != _KEY_BYTES:
        raise StoreError(f"{path} is not a root key of {_KEY_BYTES} bytes; restore it from a backup")
    return root


def _create(path: Path, content: bytes) -> None:
    """Write a new file, whole and on the disk; leave the one that another process was quicker to make."""
    descriptor, draft = mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            path.hardlink_to(draft)  # a link, unlike a rename, never replaces what is there
    finally:
        Path(draft).unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
