"""The secret that is made when none is configured."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from gateway.errors import StoreError
from gateway.store.admin_secret import digest, ensure

if TYPE_CHECKING:
    from pathlib import Path


def test_the_secret_is_long_private_and_made_once(tmp_path: Path) -> None:
    path = ensure(tmp_path)
    secret = path.read_text()
    assert len(secret.strip()) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure(tmp_path) == path
    assert path.read_text() == secret
    assert [file.name for file in tmp_path.iterdir()] == ["admin.secret"]


def test_a_write_that_was_cut_short_is_not_taken_for_a_secret(tmp_path: Path) -> None:
    (tmp_path / "admin.secret").write_text("")
    with pytest.raises(StoreError, match="holds no secret"):
        digest(None, tmp_path)


def test_a_directory_that_cannot_be_written_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/admin\.secret cannot be written: .*nowhere first, or set `secret`"):
        ensure(tmp_path / "nowhere")


def test_the_digest_is_of_the_configured_secret_or_else_of_the_one_that_was_made(tmp_path: Path) -> None:
    assert digest(SecretStr("s"), tmp_path) == sha256(b"s").digest()
    assert not list(tmp_path.iterdir())
    made = ensure(tmp_path).read_text().strip()
    assert digest(None, tmp_path) == sha256(made.encode()).digest()


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "admin.secret").write_bytes(b"\xff")
    with pytest.raises(StoreError, match=r"admin\.secret cannot be read"):
        digest(None, tmp_path)
