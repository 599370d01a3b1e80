"""Who can read a file with a secret in it, as mode, group and directories have it."""

from __future__ import annotations

import grp
import os
from typing import TYPE_CHECKING

import pytest

from gateway.store import exposure

if TYPE_CHECKING:
    from pathlib import Path

KEY = "-----BEGIN PRIVATE KEY-----\\nAAAA"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('{"secret": "hidden"}', True), ('{"a": 1, "Password":"x"}', True), ("basic_auth:\n  password: x", True),
        ("- passphrase: 'x'", True), ("node_secret: x", True), (f'{{"certificates": ["{KEY}"]}}', True),
        ('{"secret": ""}', False), ("password: ''", False), ("password:\n", False), ("secret: null", False),
        ("password_file: /run/x", False), ("# secret: x", False), ("a: b # password: x", False), ("", False),
    ],
)  # fmt: skip
def test_a_secret_is_known_by_the_key_that_it_stands_behind(tmp_path: Path, text: str, holds: bool) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert exposure.holds_secret(path) is holds
    path.write_text("secret: there is one now")
    assert exposure.holds_secret(path)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in directories that everybody may enter, or so it seems."""
    path = tmp_path / "in" / "main.yaml"
    path.parent.mkdir(mode=0o755)
    path.write_text("secret: hidden")
    above = {parent for parent in path.parent.parents if not parent.stat().st_mode & 0o001}
    real = type(path).stat

    def stat(self: Path, **options: bool) -> os.stat_result:
        found = real(self, **options)
        return os.stat_result((found.st_mode | 0o011, *found[1:])) if self in above else found

    monkeypatch.setattr(type(path), "stat", stat)
    return path


@pytest.mark.parametrize(("mode", "who"), [(0o644, "every user of this host"), (0o640, "the group"), (0o600, "")])
def test_who_can_read_it_is_said_of_mode_and_group(path: Path, mode: int, who: str) -> None:
    path.chmod(mode)
    said = exposure.exposed(path, "it")
    assert said.startswith(who)
    assert said.endswith("can read it" if who else "")
    if who == "the group":
        assert grp.getgrgid(path.stat().st_gid).gr_name in said


def test_a_directory_that_others_cannot_enter_is_named(path: Path) -> None:
    path.chmod(0o644)
    path.parent.chmod(0o700)
    assert exposure.exposed(path, "it") == f"every user of this host could read it if they could enter {path.parent}"
    link = path.parent.parent / "link"
    link.symlink_to(path)
    assert exposure.exposed(link, "it").endswith(f"enter {path.parent}")


def test_configuration_files_with_a_secret_that_everybody_can_read_are_warned_of(path: Path) -> None:
    path.chmod(0o644)
    (warning,) = exposure.problems([path, path.with_name("missing")])
    assert (warning.source, warning.cure) == (str(path), f"chmod o= {path}")
    path.chmod(0o640)
    assert list(exposure.problems([path])) == []
    path.write_text("listen_port: 1")
    path.chmod(0o644)
    assert list(exposure.problems([path])) == []
