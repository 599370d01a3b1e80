"""The secret that is made when none is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.errors import StoreError
from gateway.store.admin_secret import ensure

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
    (tmp_path / "admin.draft").write_text("hal")
    assert len(ensure(tmp_path).read_text().strip()) >= 40


def test_a_directory_that_cannot_be_written_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/admin\.secret: .*data_dir writable, or set `secret`"):
        ensure(tmp_path / "nowhere")
