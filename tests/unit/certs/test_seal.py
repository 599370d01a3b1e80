"""Private keys at rest: what opens, what does not, and what the files look like."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.certs.seal import Sealer
from gateway.errors import StoreError


@pytest.fixture(scope="module")
def sealer(tmp_path_factory):
    return Sealer.open(tmp_path_factory.mktemp("data"))


def test_a_sealed_text_opens_with_its_context(sealer):
    assert sealer.unseal(sealer.seal(b"plain", b"key:ab"), b"key:ab") == b"plain"


def test_a_sealed_text_opens_after_a_restart(tmp_path):
    sealed = Sealer.open(tmp_path).seal(b"plain", b"c")
    assert Sealer.open(tmp_path).unseal(sealed, b"c") == b"plain"


def test_a_sealed_text_shows_nothing_and_is_never_the_same(sealer):
    first, second = sealer.seal(b"plain text", b"c"), sealer.seal(b"plain text", b"c")
    assert b"plain" not in first
    assert first != second


def test_a_sealed_text_does_not_open_with_another_context(sealer):
    with pytest.raises(StoreError, match="another entry"):
        sealer.unseal(sealer.seal(b"plain", b"key:ab"), b"key:cd")


def test_a_sealed_text_does_not_open_with_the_keys_of_another_directory(sealer, tmp_path):
    with pytest.raises(StoreError, match=r"restore root\.key and keyring\.json"):
        Sealer.open(tmp_path).unseal(sealer.seal(b"plain", b"c"), b"c")


@given(st.data())
def test_a_sealed_text_that_was_changed_anywhere_does_not_open(sealer, data):
    sealed = bytearray(sealer.seal(b"plain", b"c"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StoreError):
        sealer.unseal(bytes(sealed), b"c")


@pytest.mark.parametrize("length", [0, 1, 8, 9, 20, 21, 36])
def test_a_sealed_text_that_was_cut_does_not_open(sealer, length):
    with pytest.raises(StoreError):
        sealer.unseal(sealer.seal(b"", b"c")[:length], b"c")


def test_the_key_files_are_for_the_owner_alone_and_nothing_else_is_left(tmp_path):
    Sealer.open(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"root.key": 0o600, "keyring.json": 0o600}


def test_a_root_key_that_every_user_can_read_is_refused(tmp_path):
    Sealer.open(tmp_path)
    (tmp_path / "root.key").chmod(0o604)
    with pytest.raises(StoreError, match="chmod 600"):
        Sealer.open(tmp_path)


def test_a_lost_root_key_is_not_quietly_replaced(tmp_path):
    Sealer.open(tmp_path)
    (tmp_path / "root.key").unlink()
    with pytest.raises(StoreError, match="restore it from a backup"):
        Sealer.open(tmp_path)
    assert not (tmp_path / "root.key").exists()


def test_another_root_key_does_not_open_the_data_keys(tmp_path):
    Sealer.open(tmp_path)
    (tmp_path / "root.key").write_bytes(bytes(32))
    with pytest.raises(StoreError, match=r"another root\.key"):
        Sealer.open(tmp_path)


def test_a_root_key_of_the_wrong_length_is_refused(tmp_path):
    Sealer.open(tmp_path)
    (tmp_path / "root.key").write_bytes(b"short")
    with pytest.raises(StoreError, match="32 bytes"):
        Sealer.open(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"store": "zz"}', "\xff"])
def test_a_damaged_keyring_is_refused(tmp_path, text):
    Sealer.open(tmp_path)
    (tmp_path / "keyring.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match="damaged"):
        Sealer.open(tmp_path)


def test_a_missing_directory_is_a_store_error_that_names_it(tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        Sealer.open(tmp_path / "nowhere")


def test_all_who_open_a_new_directory_at_once_get_the_same_keys(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        sealers = list(pool.map(lambda _: Sealer.open(tmp_path), range(16)))
    sealed = sealers[0].seal(b"plain", b"c")
    assert {sealer.unseal(sealed, b"c") for sealer in sealers} == {b"plain"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_sealer_shows_and_gives_away_nothing(sealer):
    assert "0x" in repr(sealer)
    with pytest.raises(TypeError):
        pickle.dumps(sealer)
