"""What a start finds out about its database before it serves from it, and the way back, typed as it is told."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.load import Configuration
from gateway.config.settings import Settings
from gateway.errors import StoreError
from gateway.runtime import inspection
from gateway.store import spare
from gateway.store.database import Database
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """With a database that one generation was published to. The signals are those of a supervisor."""
    place = tmp_path / "the data"
    publish(place)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    yield place
    while signal.sigtimedwait({signal.SIGCHLD}, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def publish(data_dir: Path) -> int:
    configuration = Configuration(settings=Settings(), apis=(), warnings=(), files=())
    with contextlib.closing(Store.open(data_dir, writable=True)) as store:
        return store.publish(configuration, [], None, "test")[0].number


def trouble(data_dir: Path) -> str:
    try:
        inspection.inspect(data_dir, set())
    except StoreError as error:
        return str(error)
    return ""


def typed(said: str) -> None:
    subprocess.run(["sh", "-c", said[said.index("(cd ") :]], check=True)


def test_nothing_is_said_of_a_sound_database_and_of_none(data_dir: Path, tmp_path: Path) -> None:
    assert trouble(data_dir) == ""
    assert trouble(tmp_path / "missing") == ""
    with contextlib.closing(Store.open(data_dir, writable=True)):
        assert trouble(data_dir) == ""


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = random.Random(1).randbytes(len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize("way", ["empty", "cut", "overwritten", "zeroes", "inside"])
def test_a_damaged_database_is_told_of_and_the_way_back_begins_anew(data_dir: Path, way: str) -> None:
    path = data_dir / "gateway.db"
    content = path.read_bytes()
    if way == "inside":
        damage(path)
    else:
        broken = {"empty": b"", "cut": content[:9000], "overwritten": b"x" * 9000, "zeroes": bytes(len(content))}
        path.write_bytes(broken[way])
    said = trouble(data_dir)
    assert ("is empty, and the keyring" if way == "empty" else "gateway.db is damaged") in said
    typed(said)
    assert trouble(data_dir) == ""
    assert publish(data_dir) == 1
    assert (data_dir / "damaged" / "gateway.db").exists()


def test_the_copy_of_an_upgrade_is_the_better_way_back(data_dir: Path) -> None:
    publish(data_dir)
    spare.make(data_dir)
    damage(data_dir / "gateway.db")
    said = trouble(data_dir)
    assert "an upgrade has left a copy" in said
    typed(said)
    assert trouble(data_dir) == ""
    assert publish(data_dir) == 3


def test_a_large_database_is_not_read_to_its_end(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtime.inspection._SECONDS", 0.0)
    damage(data_dir / "gateway.db")
    assert trouble(data_dir) == ""


def test_a_reader_of_a_frozen_database_sees_what_is_written_once_that_can_be(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def refuse(path: str, **options: Any) -> Any:
        return Refusing() if "mode=rw" in path else connect(path, **options)

    class Refusing:
        def execute(self, _: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        def close(self) -> None:
            pass

    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.database.sqlite3.connect", refuse)
        database = Database.open(data_dir, writable=False)
    with contextlib.closing(Store(database)):
        numbers = "SELECT max(number) FROM generations"
        with database.reading():
            assert database.execute(numbers).fetchone() == (1,)
        publish(data_dir)
        with database.reading():
            assert database.execute(numbers).fetchone() == (2,)
