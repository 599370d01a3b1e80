"""What the admin API writes into ``app_path`` keeps its rights; what is new is the gateway's alone."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.load import load
from gateway.errors import ConfigurationError, StoreError
from gateway.runtime import definition_files

if TYPE_CHECKING:
    from pathlib import Path


def definition(target: str) -> dict[str, Any]:
    return {
        "api_id": "a", "use_keyless": True, "proxy": {"listen_path": "/", "target_url": target},
        "upstream_auth": {"basic_auth": {"enabled": True, "username": "u", "password": "hidden"}, "enabled": True},
    }  # fmt: skip


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_definition_can_be_read_by_nobody_else(tmp_path: Path) -> None:
    assert definition_files.create(tmp_path, definition("http://one.test"), ()) == "a"
    assert [(path.name, mode(path)) for path in tmp_path.iterdir()] == [("a.json", 0o600)]


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o644])
def test_a_definition_that_is_written_over_keeps_its_rights(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "named.json"
    path.write_text(json.dumps(definition("http://one.test")))
    path.chmod(kept)
    definition_files.update(tmp_path, "a", definition("http://two.test"), ())
    definition_files.create(tmp_path, definition("http://three.test"), ())
    assert [path.name for path in tmp_path.iterdir()] == ["named.json"]
    assert (mode(path), "three.test" in path.read_text()) == (kept, True)


def test_a_linked_definition_is_changed_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(definition("http://one.test")))
    elsewhere.chmod(0o640)
    link = tmp_path / "apps" / "a.json"
    link.symlink_to("../elsewhere.json")
    definition_files.update(link.parent, "a", definition("http://two.test"), ())
    assert link.is_symlink()
    assert ("two.test" in elsewhere.read_text(), mode(elsewhere)) == (True, 0o640)
    definition_files.delete(link.parent, "a", ())
    assert elsewhere.exists()
    assert list(link.parent.iterdir()) == []


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing: .*check that it is there"):
        definition_files.create(tmp_path / "missing", definition("http://one.test"), ())


def test_no_file_of_the_host_is_sent_to_an_upstream_that_the_admin_api_named(tmp_path: Path) -> None:
    def sending(file: str) -> dict[str, Any]:
        basic = {"enabled": True, "username": "u", "password_file": file}
        return {**definition("http://one.test"), "upstream_auth": {"enabled": True, "basic_auth": basic}}

    apps, main = tmp_path / "apps", tmp_path / "gateway.json"
    apps.mkdir()
    main.write_text("{}")
    for file in ("/etc/shadow", "relative"):
        with pytest.raises(ConfigurationError, match="password_file @ request: names a file on the gateway"):
            definition_files.create(apps, sending(file), (), load(main, {}))
    (apps / "a.json").write_text(json.dumps(sending("/run/password")))
    definition_files.update(apps, "a", sending("/run/password"), ("a",), load(main, {}))
    with pytest.raises(ConfigurationError):
        definition_files.update(apps, "a", sending("/etc/shadow"), ("a",), load(main, {}))
    with pytest.raises(ConfigurationError):
        definition_files.create(apps, {**sending("/run/password"), "api_id": "b"}, (), load(main, {}))
