"""Private keys at rest: sealed with AES-256-GCM under the master keys of a data directory (``keyring``).

A sealed text is: version (1 byte), key id (8), nonce (12), ciphertext with its tag. Version, key id and the
caller's context are authenticated: a text that is moved to another entry does not open. Nonces are random,
which one AES-GCM key bears for 2**32 texts (NIST SP 800-38D section 8.3).

Rotating means adding a master key: what older ones sealed stays readable, because every sealed text names its key. A
process that meets a key that it does not know looks at the keyring again.
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from hashlib import sha256
from secrets import token_bytes
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.certs import keyring
from gateway.certs.held import held
from gateway.certs.keyring import ID_BYTES, NONCE_BYTES, Keyring
from gateway.errors import DamagedError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = b"\x01"
_TRIES = 3


class UnknownKeyError(DamagedError):
    """A text was sealed with a key that the keyring does not have."""


class Sealer:
    """Seals and opens private keys with the keys of one data directory."""

    __slots__ = ("_data_dir", "_keys", "_ring", "_root", "_stamp")

    def __init__(self, data_dir: Path, ring: Keyring, root: bytes | None) -> None:
        """``root`` is the root master key of ``ring``, or None while it is not known here."""
        self._data_dir = data_dir
        self._ring, self._root = ring, root
        self._keys: dict[bytes, AESGCM] = {}
        self._stamp: tuple[int, int] | None = None

    @classmethod
    def open(cls, data_dir: Path) -> Sealer:
        """Read the keys of ``data_dir``, which must exist; the first caller makes them. Any process may.

        In AWS mode a process that has not inherited the root master key may open it, and not use it. Raises StoreError
        when they cannot be read or written, or when others may read the root key.
        """
        ring, root = _unlocked(data_dir)
        sealer = cls(data_dir, ring, root)
        if root is not None:
            sealer._key(sealer.current)  # what is wrong shows now
        return sealer

    @property
    def current(self) -> bytes:
        """The id of the master key that seals."""
        return bytes.fromhex(self._ring.master_keys[-1].id)

    @property
    def root_master_key(self) -> bytes:
        """The root master key. Raises StoreError when only the cloud knows it."""
        if self._root is None:
            self._root = held().get(self._ring.root_id)
        if self._root is None:
            assert self._ring.cloud is not None, "a root key is there, or its lack was told"
            raise StoreError(
                f"the root master key {self._ring.root_master_key.id} is sealed with {self._ring.cloud.arn}; only the "
                "running gateway, which had it opened at its start, can use it"
            )
        return self._root

    def derived_key(self, purpose: bytes) -> bytes:
        """Return a key for something else, of 32 bytes: the same in every process, until secrets are regenerated.

        It tells nothing about the key that it is derived from, or another purpose's (NIST SP 800-108r1, HMAC).
        """
        with suppress(OSError):  # what is known serves on, whatever becomes of the file
            if keyring.stamp(self._data_dir) != self._stamp:
                self.refresh()
        return hmac.digest(self._ring.derivation(self.root_master_key), purpose, sha256)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt ``plain``; it opens only with the same ``context``, such as what the text is and whose."""
        header, nonce = _VERSION + self.current, token_bytes(NONCE_BYTES)
        key = self._key(self.current)
        assert key is not None, "the keyring holds the key that seals"
        return header + nonce + key.encrypt(nonce, plain, header + context)

    def unseal(self, sealed: object, context: bytes) -> bytes:
        """Decrypt what `seal` made with the same ``context``. Raises DamagedError for anything else, and StoreError."""
        if not isinstance(sealed, bytes):
            raise DamagedError("it is no sealed text")
        header, nonce = sealed[: 1 + ID_BYTES], sealed[1 + ID_BYTES : 1 + ID_BYTES + NONCE_BYTES]
        if header[:1] != _VERSION or len(nonce) < NONCE_BYTES:
            raise DamagedError("it is damaged, or was written by a newer version of the gateway")
        key = self._key(header[1:])
        if key is None:
            self.refresh()
            key = self._key(header[1:])
        if key is None:
            raise UnknownKeyError(
                f"it was sealed with master key {header[1:].hex()}, which is not in keyring.json; "
                "restore root.key and keyring.json from the backup that belongs to the database"
            )
        try:
            return key.decrypt(nonce, sealed[len(header) + NONCE_BYTES :], header + context)
        except InvalidTag as error:
            raise DamagedError("it was changed, or belongs to another entry or another root.key") from error

    def knows(self, sealed: object) -> bool:
        """Return whether the keyring has the key that a text was sealed with."""
        return isinstance(sealed, bytes) and self._key(sealed[1 : 1 + ID_BYTES]) is not None

    def is_current(self, sealed: object) -> bool:
        """Whether a text was sealed with the key that seals now."""
        return isinstance(sealed, bytes) and sealed.startswith(_VERSION + self.current)

    def refresh(self) -> None:
        """Look at the keyring again: control may have changed it. Raises StoreError."""
        with suppress(OSError):  # before the file is read: a change in between shows the next time
            self._stamp = keyring.stamp(self._data_dir)
        self._ring, self._root = _unlocked(self._data_dir)
        self._keys.clear()

    def _key(self, key_id: bytes) -> AESGCM | None:
        if key_id not in self._keys:
            name = key_id.hex()
            for master in self._ring.master_keys:
                if master.id == name:
                    self._keys[key_id] = AESGCM(self._ring.open(self.root_master_key, master))
        return self._keys.get(key_id)


def _unlocked(data_dir: Path) -> tuple[Keyring, bytes | None]:
    """Read the keyring, and the root master key of it if that is known here. Raises StoreError."""
    try:
        ring = keyring.find(data_dir)
        for _ in range(_TRIES):
            try:
                return ring, _root_master_key(data_dir, ring)
            except StoreError:
                # Root key and keyring are two files: control may have changed both meanwhile.
                before, ring = ring, keyring.find(data_dir)
                if ring == before:
                    raise
        return ring, _root_master_key(data_dir, ring)
    except OSError as error:
        raise StoreError(f"the keys in {data_dir} cannot be used: {error.strerror}; check its owner") from error


def _root_master_key(data_dir: Path, ring: Keyring) -> bytes | None:
    if ring.cloud is not None:
        return held().get(ring.root_id)
    return keyring.unlocked(ring, keyring.root_key(data_dir))
