"""The one writer: rights are kept, links stay, whoever reads sees the old or the new, and nothing is left behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from gateway import files
from gateway.errors import FileError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = b"old\n", b"new content\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_a_new_file_is_this_users_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write(tmp_path / "a", NEW)
        files.write(tmp_path / "b", NEW, mode=0o644)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a"), mode(tmp_path / "b")) == (0o600, 0o644)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o644, 0o660, 0o400, 0o444])
def test_what_is_there_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(kept)
    files.write(path, NEW)
    assert (path.read_bytes(), mode(path)) == (NEW, kept)


def test_a_secret_is_for_nobody_else_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(0o644)
    files.write(path, NEW, secret=True)
    assert mode(path) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="this user is not root, who alone gives files away")
def test_what_is_there_keeps_its_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    os.chown(path, 4321, 1234)
    path.chmod(0o640)
    files.write(path, NEW)
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode(path)) == (4321, 1234, 0o640)


@pytest.mark.parametrize(("was", "becomes"), [(0o640, 0o600), (0o660, 0o600), (0o644, 0o644), (0o600, 0o600)])
def test_a_group_that_cannot_be_kept_passes_its_rights_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: int, becomes: int
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(was)
    monkeypatch.setattr("gateway.files.os.fchown", refuse)
    files.write(path, NEW)
    assert mode(path) == becomes


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link, over = tmp_path / "real" / "file", tmp_path / "link", tmp_path / "over"
    target.write_bytes(OLD)
    target.chmod(0o640)
    link.symlink_to("real/file")
    over.symlink_to(link)
    files.write(over, NEW)
    assert [one.is_symlink() for one in (over, link, target)] == [True, True, False]
    assert (target.read_bytes(), mode(target)) == (NEW, 0o640)


def test_a_link_that_leads_nowhere_yet_gets_its_file(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("target")
    files.write(link, NEW)
    assert link.is_symlink()
    assert (mode(tmp_path / "target"), (tmp_path / "target").read_bytes()) == (0o600, NEW)


def test_what_cannot_be_written_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, said in {
        "one": "circle", "directory": "name a file", "missing/a": "make the directory", "pipe": "no regular file",
        "x" * 256: "choose a shorter name",
    }.items():  # fmt: skip
        with pytest.raises(FileError, match=said):
            files.write(tmp_path / name, NEW)
    with pytest.raises(StoreError, match="cannot be removed"):
        files.remove(tmp_path / "missing")
    assert {path.name for path in tmp_path.iterdir()} == {"one", "other", "directory", "pipe"}


def test_a_file_is_created_once(tmp_path: Path) -> None:
    assert files.create(tmp_path / "a", OLD)
    assert not files.create(tmp_path / "a", NEW)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", OLD)]


def test_a_trial_stands_beside_the_name_with_its_rights_and_goes(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "main").write_bytes(OLD)
    (tmp_path / "real" / "main").chmod(0o640)
    (tmp_path / "main.yaml").symlink_to("real/main")
    with files.trial(tmp_path / "main.yaml", NEW) as path:
        assert (path.parent, path.suffix, path.read_bytes(), mode(path)) == (tmp_path, ".yaml", NEW, 0o640)
    assert {one.name for one in tmp_path.iterdir()} == {"real", "main.yaml"}


def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("os.open", "os.fchmod", "os.fsync", "Path.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"gateway.files.{step}", full)
            with pytest.raises(FileError, match="make room"):
                files.write(path, NEW)
        assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a", OLD)]


def test_a_disk_without_room_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(FileError, match="File too large"):
            files.write(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a", OLD)]


MOUNTED = """
import sys
from pathlib import Path
from gateway import files
path = Path(sys.argv[1])
files.write(path, b"longer than what was there before\\n")
assert path.read_bytes() == b"longer than what was there before\\n"
files.write(path, b"short\\n")
"""


def test_a_file_that_is_mounted_by_itself_is_overwritten(tmp_path: Path) -> None:
    """As a container has a file of its host."""
    host, path = tmp_path / "host", tmp_path / "a"
    host.write_bytes(OLD)
    host.chmod(0o640)
    path.write_bytes(b"")
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    mount = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'
    command = [*unshare, "sh", "-c", mount, "sh", host, path, sys.executable, MOUNTED]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host does not let us unshare")
    subprocess.run(command, check=True, timeout=20)
    assert (host.read_bytes(), mode(host)) == (b"short\n", 0o640)
    assert {one.name for one in tmp_path.iterdir()} == {"host", "a"}


def test_a_reader_sees_the_old_or_the_new_whenever_the_writer_is_killed_and_drafts_are_swept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = {bytes([65 + n]) * 300_000 for n in range(2)}
    path.write_bytes(min(contents))
    script = (
        "import sys, itertools, pathlib\nfrom gateway import files\nprint(flush=True)\n"
        "for n in itertools.count(): files.write(pathlib.Path(sys.argv[1]), bytes([65 + n % 2]) * 300_000)"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            for _ in range(50):
                assert path.read_bytes() in contents
            writer.kill()
        assert path.read_bytes() in contents
    (tmp_path / f".gateway-{'0' * 16}.draft").write_bytes(b"")
    for one in tmp_path.iterdir():
        os.utime(one, (time.time() - 3600,) * 2)
    (young := tmp_path / f".gateway-{'1' * 16}.draft").write_bytes(b"")
    files.sweep(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {"a", young.name}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"secret\nmore", b"secret"), (b"secret\r\n", b"secret"), (b"\xef\xbb\xbfsecret\n", b"secret"),
        (b" kept \n", b" kept "), (b"", b""), (b"\n", b""), (b"secret", b"secret"),
    ],
)  # fmt: skip
def test_the_first_line_is_the_secret(tmp_path: Path, content: bytes, line: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert files.first_line(content) == files.read_first_line(tmp_path / "a") == line
