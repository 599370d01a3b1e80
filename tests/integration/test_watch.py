"""Every way in which certificate files are delivered, with real files, with notifications and without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from gateway.observe.events import EventLog
from gateway.runtime import watch as watching
from gateway.runtime.watch import watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path

PATIENCE = 20.0
"""Seconds until a test gives up on something that takes far less."""


class Watched:
    """A watch that runs, its calls, and what it logged."""

    def __init__(self, paths: Collection[Path], log: Path) -> None:
        self.paths = paths
        self.log = log
        self.calls = 0
        self.begun = asyncio.Event()
        self._called = asyncio.Event()

    def ask(self) -> Collection[Path]:
        return self.paths

    def changed(self) -> None:
        self.calls += 1
        self._called.set()

    async def call(self) -> int:
        """Wait for the next call; return how many there have been."""
        await asyncio.wait_for(self._called.wait(), PATIENCE)
        self._called.clear()
        return self.calls

    def said(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "files.changed" in line]


@pytest.fixture(params=["notified", "polled"])
def polled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "polled":

        def none() -> None:
            raise OSError("none to be had")

        monkeypatch.setattr(watching, "Inotify", none)
        return True
    return False


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path, *paths: Path, polled: bool = False, settle: float = 0.05, since: float | None = None
) -> AsyncIterator[Watched]:
    """Watch ``paths``; with notifications there is no poll that could help."""
    log = tmp_path / "events.log"
    watched = Watched(paths, log)
    surveyed, survey = asyncio.Event(), watching._Watcher.survey

    async def tell(watcher: watching._Watcher, wanted: Collection[Path]) -> set[str]:
        different = await survey(watcher, wanted)
        surveyed.set()
        return different

    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching._Watcher, "survey", tell)
        file = stack.enter_context(log.open("ab"))
        events, poll = EventLog(file.fileno()), 0.05 if polled else 3600
        task = asyncio.create_task(watch(watched.ask, watched.changed, events, settle=settle, poll=poll, since=since))
        await asyncio.wait_for(surveyed.wait(), PATIENCE)
        try:
            yield watched
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, PATIENCE)
            assert task.cancelled()


def replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


def kubernetes_volume(mount: Path, version: str, **files: str) -> None:
    """What a kubelet's AtomicWriter does with a secret or a config map."""
    mount.mkdir(exist_ok=True)
    data = mount / f"..{version}"
    data.mkdir()
    for name, text in files.items():
        (data / name).write_text(text)
    old = (mount / "..data").readlink() if (mount / "..data").is_symlink() else None
    (mount / "..data_tmp").symlink_to(data.name)
    (mount / "..data_tmp").replace(mount / "..data")
    for name in files:
        if not (mount / name).is_symlink():
            (mount / name).symlink_to(f"..data/{name}")
    if old:
        shutil.rmtree(mount / old)


def certbot_lineage(root: Path, number: int) -> Path:
    """What certbot does at a renewal; returns the directory in ``live``."""
    archive, live = root / "archive/a.test", root / "live/a.test"
    for directory in (archive, live):
        directory.mkdir(parents=True, exist_ok=True)
    for kind in ("privkey", "fullchain"):
        (archive / f"{kind}{number}.pem").write_text(f"{kind} {number}")
        (live / f"{kind}.pem").unlink(missing_ok=True)
        (live / f"{kind}.pem").symlink_to(f"../../archive/a.test/{kind}{number}.pem")
    return live


async def test_a_write_in_place_is_told(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "a.pem"
    file.write_text("old")
    async with running(tmp_path, file, polled=polled) as watched:
        file.write_text("new")
        await watched.call()


async def test_a_write_in_place_of_the_same_length_in_the_same_moment_is_told(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "a.pem"
    file.write_text("old")
    status = file.stat()
    async with running(tmp_path, file, polled=polled) as watched:
        file.write_text("new")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        await watched.call()


async def test_a_renamed_draft_is_told_each_time(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "a.pem"
    file.write_text("0")
    async with running(tmp_path, file, polled=polled) as watched:
        for number in (1, 2, 3):
            replace(file, str(number))
            assert await watched.call() == number


async def test_a_kubernetes_volume_is_told_each_time(tmp_path: Path, polled: bool) -> None:
    mount = tmp_path / "tls"
    kubernetes_volume(mount, "2026_1", **{"tls.crt": "1", "tls.key": "1"})
    async with running(tmp_path, mount / "tls.crt", mount / "tls.key", polled=polled) as watched:
        for number in (2, 3, 4):
            kubernetes_volume(mount, f"2026_{number}", **{"tls.crt": str(number), "tls.key": str(number)})
            assert await watched.call() == number - 1


async def test_a_kubernetes_volume_that_is_watched_as_a_directory_is_told(tmp_path: Path, polled: bool) -> None:
    mount = tmp_path / "certs"
    kubernetes_volume(mount, "2026_1", **{"a.pem": "1"})
    async with running(tmp_path, mount, polled=polled) as watched:
        for number in (2, 3):
            kubernetes_volume(mount, f"2026_{number}", **{"a.pem": str(number)})
            assert await watched.call() == number - 1


async def test_certbots_links_are_told_each_time(tmp_path: Path, polled: bool) -> None:
    live = certbot_lineage(tmp_path, 1)
    async with running(tmp_path, live / "privkey.pem", live / "fullchain.pem", polled=polled) as watched:
        for number in (2, 3):
            certbot_lineage(tmp_path, number)
            assert await watched.call() == number - 1


async def test_a_write_to_where_a_link_leads_is_told(tmp_path: Path, polled: bool) -> None:
    live = certbot_lineage(tmp_path, 1)
    async with running(tmp_path, live / "privkey.pem", polled=polled) as watched:
        (tmp_path / "archive/a.test/privkey1.pem").write_text("another")
        await watched.call()


async def test_a_file_that_appears_later_is_told(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "a.pem"
    async with running(tmp_path, file, polled=polled) as watched:
        file.write_text("new")
        await watched.call()


async def test_a_file_is_waited_for_in_directories_that_are_missing(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "one/two/a.pem"
    async with running(tmp_path, file, polled=polled) as watched:
        file.parent.mkdir(parents=True)
        file.write_text("new")
        await watched.call()


async def test_a_link_that_leads_nowhere_is_waited_for(tmp_path: Path, polled: bool) -> None:
    link = tmp_path / "a.pem"
    link.symlink_to("elsewhere/b.pem")
    async with running(tmp_path, link, polled=polled) as watched:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/b.pem").write_text("new")
        await watched.call()


async def test_a_file_that_vanishes_and_comes_back_is_told_both_times(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "certs/a.pem"
    file.parent.mkdir()
    file.write_text("old")
    async with running(tmp_path, file, polled=polled) as watched:
        shutil.rmtree(file.parent)
        assert await watched.call() == 1
        file.parent.mkdir()
        file.write_text("new")
        assert await watched.call() == 2
        replace(file, "newer")
        assert await watched.call() == 3


async def test_a_directory_that_is_swapped_by_renaming_is_told(tmp_path: Path, polled: bool) -> None:
    for name, text in (("certs", "old"), ("certs.new", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.pem").write_text(text)
    async with running(tmp_path, tmp_path / "certs/a.pem", polled=polled) as watched:
        (tmp_path / "certs").rename(tmp_path / "certs.old")
        (tmp_path / "certs.new").rename(tmp_path / "certs")
        await watched.call()
        before = watched.calls
        (tmp_path / "certs/a.pem").write_text("newer")
        assert await watched.call() == before + 1


@pytest.mark.parametrize("change", ["add", "write", "rename", "remove", "link"])
async def test_what_changes_in_a_directory_is_told(tmp_path: Path, polled: bool, change: str) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "a.pem").write_text("old")
    (tmp_path / "b.pem").write_text("linked")
    acts: dict[str, Callable[[], object]] = {
        "add": lambda: (certs / "b.pem").write_text("new"),
        "write": lambda: (certs / "a.pem").write_text("new"),
        "rename": lambda: replace(certs / "a.pem", "new"),
        "remove": (certs / "a.pem").unlink,
        "link": lambda: (certs / "b.pem").symlink_to("../b.pem"),
    }
    async with running(tmp_path, certs, polled=polled) as watched:
        acts[change]()
        await watched.call()
        assert any("/certs/" in line for line in watched.said())


async def test_a_directory_that_appears_later_is_told_and_so_are_its_files(tmp_path: Path, polled: bool) -> None:
    certs = tmp_path / "certs"
    async with running(tmp_path, certs, polled=polled) as watched:
        certs.mkdir()
        assert await watched.call() == 1
        (certs / "a.pem").write_text("new")
        assert await watched.call() == 2


async def test_only_what_has_changed_is_told(tmp_path: Path, polled: bool) -> None:
    """A touch, a copy of the same content, a hidden file and a subdirectory are no changes."""
    certs = tmp_path / "certs"
    certs.mkdir()
    for name in ("a.pem", "b.pem", "c.pem"):
        (certs / name).write_text(name)
    async with running(tmp_path, certs, certs / "a.pem", polled=polled) as watched:
        (certs / "a.pem").touch()
        (certs / "a.pem").chmod(0o600)
        replace(certs / "b.pem", "b.pem")
        (certs / ".c.pem.swp").write_text("an editor's")
        (certs / "sub").mkdir()
        (certs / "sub/d.pem").write_text("not looked at")
        (certs / "c.pem").write_text("new")
        await watched.call()
        (line,) = watched.said()
        assert line.endswith(f"files={certs / 'c.pem'}")


async def test_a_certificate_and_its_key_make_one_call(tmp_path: Path, polled: bool) -> None:
    pair = [tmp_path / "a.crt", tmp_path / "a.key"]
    async with running(tmp_path, *pair, polled=polled, settle=0.5) as watched:
        pair[0].write_text("new")
        pair[1].write_text("new")
        assert await watched.call() == 1
        pair[0].unlink()
        assert await watched.call() == 2
        assert all(str(file) in watched.said()[0] for file in pair)


async def test_a_file_that_never_rests_is_told_all_the_same(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "a.pem"
    file.write_text("0")

    async def write_on_and_on() -> None:
        number = 0
        while True:
            number += 1
            file.write_text(str(number))
            await asyncio.sleep(0.02)

    async with running(tmp_path, file, polled=polled, settle=0.3) as watched:
        writing = asyncio.create_task(write_on_and_on())
        began = time.monotonic()
        await watched.call()
        assert time.monotonic() - began > 1  # it has hoped for rest
        assert await watched.call() == 2
        assert not writing.done()
        writing.cancel()


async def test_other_paths_are_watched_as_soon_as_they_are_asked_for(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pem", tmp_path / "b.pem"
    async with running(tmp_path, first, polled=True) as watched:
        second.write_text("newer than the last call")
        watched.paths = [second]
        assert await watched.call() == 1
        replace(second, "newer still")
        assert await watched.call() == 2
        assert str(first) not in watched.log.read_text()


async def test_what_changed_before_it_was_watched_is_told(tmp_path: Path, polled: bool) -> None:
    file = tmp_path / "a.pem"
    before = time.time() - 1
    file.write_text("written while nobody watched")
    async with running(tmp_path, file, polled=polled, since=before) as watched:
        assert await watched.call() == 1


async def test_what_cannot_be_watched_is_no_error(tmp_path: Path, polled: bool) -> None:
    loop, fifo, large, odd, file = (tmp_path / name for name in ("loop", "fifo", "large", "o\udcffdd", "a.pem"))
    loop.symlink_to("loop")
    os.mkfifo(fifo)
    with large.open("wb") as sparse:
        sparse.truncate(1 << 30)
    unlikely = [tmp_path / ("x" * 300), tmp_path / "a\0b", file / "below a file", odd, tmp_path.joinpath(*"a" * 1900)]
    async with running(tmp_path, loop, fifo, large, *unlikely, file, polled=polled) as watched:
        file.write_text("new")
        await watched.call()


async def test_more_files_than_one_poll_looks_at_are_all_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "STATS", 3)
    monkeypatch.setattr(watching, "Inotify", lambda: (_ for _ in ()).throw(OSError("none to be had")))
    files = [tmp_path / f"{number}.pem" for number in range(20)]
    for file in files:
        file.write_text("old")
    async with running(tmp_path, *files, polled=True) as watched:
        for number, file in enumerate((files[0], files[10], files[19]), 1):
            file.write_text("in place")
            assert await watched.call() == number


async def test_the_kernels_limit_is_told_once_and_the_rest_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watching.Inotify, "add", add)
    files = [tmp_path / name / "a.pem" for name in ("a", "b")]
    async with running(tmp_path, *files, polled=True) as watched:
        for file in files:
            file.parent.mkdir()
            file.write_text("new")
        await watched.call()
        assert watched.log.read_text().count("max_user_watches") == 1


async def test_lost_notifications_make_it_look_at_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.pem"
    read = watching.Inotify.read
    monkeypatch.setattr(watching.Inotify, "read", lambda inotify: [("", "") for _ in read(inotify)])
    async with running(tmp_path, file) as watched:
        file.write_text("new")
        await watched.call()
