"""The hierarchy of keys: what is renewed, what stays readable, and what an older version left."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_bytes
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.certs import keyring
from gateway.certs.held import HeldKeys, held
from gateway.certs.keyring import CloudKey, Keyring, Mode
from gateway.certs.seal import Sealer
from gateway.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

_CLOUD = CloudKey(arn="arn:aws:kms:eu-west-1:123456789012:key/1", region="eu-west-1")


def _renew(data_dir: Path) -> Keyring:
    sealer = Sealer.open(data_dir)
    renewed = keyring.find(data_dir).renewed(sealer.root_master_key, datetime.now(UTC))
    keyring.replace(data_dir, renewed)
    return renewed


def _to_cloud(data_dir: Path) -> None:
    """Seal the root master key as a cloud would: nobody here can open it."""
    ring, old = keyring.find(data_dir), Sealer.open(data_dir).root_master_key
    fresh, key = keyring.new_root_master_key(ring.store, seal=lambda plain: b"sealed by the cloud")
    held().put(bytes.fromhex(fresh.id), key)
    keyring.replace(data_dir, ring.under(old, fresh, key, _CLOUD))
    keyring.forget_root_key(data_dir)


def _earlier(data_dir: Path, count: int = 1) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Write what a version before the keyring wrote; return its root key, and its data keys with their ids."""
    root, keys = token_bytes(32), [(token_bytes(8), token_bytes(32)) for _ in range(count)]
    sealed = {}
    for key_id, key in keys:
        header, nonce = b"\x01" + bytes(8), token_bytes(12)
        text = header + nonce + AESGCM(root).encrypt(nonce, key, header + key_id)
        sealed[key_id.hex()] = base64.b64encode(text).decode()
    (data_dir / "root.key").touch(mode=0o600)
    (data_dir / "root.key").write_bytes(root)
    (data_dir / "data-keys.json").write_text(json.dumps({"current": keys[-1][0].hex(), "keys": sealed}))
    return root, keys


def test_a_new_directory_has_one_master_key_that_seals(tmp_path):
    Sealer.open(tmp_path)
    ring = keyring.load(tmp_path)
    assert ring is not None
    assert ring.mode is Mode.LOCAL
    (key,) = ring.master_keys
    assert (key.decrypt_only_since, key.created) == (None, key.encrypt_since)


def test_what_an_older_master_key_sealed_opens_and_the_new_one_seals(tmp_path):
    sealer = Sealer.open(tmp_path)
    sealed = sealer.seal(b"plain", b"c")
    ring = _renew(tmp_path)
    renewed = Sealer.open(tmp_path)
    assert renewed.unseal(sealed, b"c") == b"plain"
    assert not renewed.is_current(sealed)
    assert renewed.is_current(renewed.seal(b"plain", b"c"))
    assert [key.decrypt_only_since is None for key in ring.master_keys] == [False, True]
    assert ring.master_keys[0].decrypt_only_since == ring.master_keys[1].encrypt_since


def test_a_process_that_opened_it_before_opens_what_a_newer_key_sealed(tmp_path):
    before = Sealer.open(tmp_path)
    _renew(tmp_path)
    assert before.unseal(Sealer.open(tmp_path).seal(b"plain", b"c"), b"c") == b"plain"


def test_derived_keys_change_when_it_is_renewed_and_tell_nothing_of_another_purpose(tmp_path):
    sealer = Sealer.open(tmp_path)
    assert sealer.derived_key(b"a") == Sealer.open(tmp_path).derived_key(b"a") != sealer.derived_key(b"b")
    before = sealer.derived_key(b"a")
    _renew(tmp_path)
    assert Sealer.open(tmp_path).derived_key(b"a") == sealer.derived_key(b"a") != before


@pytest.mark.parametrize("count", [1, 3])
def test_an_older_store_goes_on_with_its_keys(tmp_path, count):
    root, keys = _earlier(tmp_path, count)
    sealer = Sealer.open(tmp_path)
    for key_id, key in keys:
        header, nonce = b"\x01" + key_id, token_bytes(12)
        assert sealer.unseal(header + nonce + AESGCM(key).encrypt(nonce, b"plain", header + b"c"), b"c") == b"plain"
    assert sealer.current == keys[-1][0]
    secret = hmac.digest(root, b"derived keys", sha256)
    assert sealer.derived_key(b"sticky cookies") == hmac.digest(secret, b"sticky cookies", sha256)


def test_an_older_version_can_come_back_until_the_keys_are_changed(tmp_path):
    root, _ = _earlier(tmp_path)
    before = (tmp_path / "data-keys.json").read_bytes()
    Sealer.open(tmp_path)
    assert (tmp_path / "data-keys.json").read_bytes() == before
    assert (tmp_path / "root.key").read_bytes() == root
    _renew(tmp_path)
    assert not (tmp_path / "data-keys.json").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"current": "zz", "keys": {}}', '{"current": "00", "keys": {"00": 1}}', "\xff",
             '{"current": "00", "keys": []}', '{"current": "00", "keys": {"00": "AAAA"}}']
)  # fmt: skip
def test_damaged_data_keys_of_an_older_version_are_refused(tmp_path, text):
    _earlier(tmp_path)
    (tmp_path / "data-keys.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match="damaged"):
        Sealer.open(tmp_path)
    assert not (tmp_path / "keyring.json").exists()


def test_a_current_data_key_that_is_not_there_is_refused(tmp_path):
    _earlier(tmp_path)
    (tmp_path / "data-keys.json").write_text('{"current": "00", "keys": {}}')
    with pytest.raises(StoreError, match="current"):
        Sealer.open(tmp_path)


def test_in_aws_mode_the_root_master_key_is_in_memory_and_nowhere_in_the_directory(tmp_path):
    sealed = Sealer.open(tmp_path).seal(b"plain", b"c")
    _to_cloud(tmp_path)
    sealer = Sealer.open(tmp_path)
    assert sealer.unseal(sealed, b"c") == b"plain"
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files.keys() == {"keyring.json"}
    key = sealer.root_master_key
    assert key not in files["keyring.json"]
    assert not any(form in files["keyring.json"] for form in (key.hex().encode(), base64.b64encode(key)))


def test_in_aws_mode_a_process_without_the_key_opens_the_store_and_says_what_it_cannot(tmp_path, monkeypatch):
    sealed = Sealer.open(tmp_path).seal(b"plain", b"c")
    _to_cloud(tmp_path)
    monkeypatch.setattr("gateway.certs.seal.held", HeldKeys)
    sealer = Sealer.open(tmp_path)
    with pytest.raises(StoreError, match="arn:aws:kms:eu-west-1:123456789012:key/1"):
        sealer.unseal(sealed, b"c")


def test_a_process_that_opened_it_in_local_mode_goes_on_after_the_switch(tmp_path):
    before = Sealer.open(tmp_path)
    sealed = before.seal(b"plain", b"c")
    _to_cloud(tmp_path)
    _renew(tmp_path)
    assert before.unseal(sealed, b"c") == b"plain"
    assert before.unseal(Sealer.open(tmp_path).seal(b"new", b"c"), b"c") == b"new"


def test_the_keys_of_another_store_do_not_fit_in(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = Sealer.open(tmp_path / "a"), Sealer.open(tmp_path / "b")
    ring, foreign = keyring.find(tmp_path / "a"), keyring.find(tmp_path / "b")
    with pytest.raises(StoreError, match="another"):
        ring.open(one.root_master_key, foreign.master_keys[0])
    assert one.root_master_key != other.root_master_key


def test_held_keys_keep_the_one_that_is_needed_however_many_come():
    keys = HeldKeys()
    keys.put(b"n" * 16, b"N" * 32)
    for number in range(50):
        keys.put(number.to_bytes(16, "big").replace(b"\0" * 15, b"x" * 15), bytes([number]) * 32, b"n" * 16)
    assert keys.get(b"n" * 16) == b"N" * 32
    assert keys.get(b"x" * 15 + bytes([49])) == bytes([49]) * 32
    assert keys.get(b"?" * 16) is None


def test_held_keys_are_shared_with_whoever_adopts_the_page():
    one, other = HeldKeys(), HeldKeys()
    other.adopt(one.fd)
    one.put(b"n" * 16, b"N" * 32)
    assert other.get(b"n" * 16) == b"N" * 32
