"""What one supervisor leaves to the next: sockets, the lock, the database; and what whoever started it is told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.config.load import Configuration
from gateway.config.settings import GatewaySection, Settings
from gateway.errors import GatewayError, StoreError
from gateway.observe.events import EventLog
from gateway.runtime import listeners
from gateway.runtime.service import Service
from gateway.runtime.upgrade import VARIABLE, Command, News, Predecessor, Successor
from gateway.store import schema, spare
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUCCESSOR = """
import os, sys
from pathlib import Path
from gateway.runtime.upgrade import Predecessor
before = Predecessor.of(os.environ)
before.take_over(Path(sys.argv[1]))
before.tell_serving()
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@contextlib.contextmanager
def started(arguments: tuple[str, ...], listening: socket.socket, data_dir: Path) -> Iterator[Successor]:
    """Start a successor as the supervisor does, with the signal blocked that says that it has spoken."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    successor = Successor.start(Command(arguments[0], arguments, str(Path.cwd())), [listening], data_dir)
    try:
        yield successor
    finally:
        successor.forget()
        while signal.sigtimedwait({signal.SIGIO}, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_two_supervisors_agree_word_by_word(listening: socket.socket, tmp_path: Path) -> None:
    with started((sys.executable, "-c", _SUCCESSOR, str(tmp_path)), listening, tmp_path) as successor:
        assert signal.sigtimedwait({signal.SIGIO}, 20)
        assert (successor.news(), successor.news()) == (News.CHECKED, News.NOTHING)
        successor.hand_over()
        assert os.waitpid(successor.pid, 0)[1] == 0
        assert (successor.news(), successor.news()) == (News.SERVING, News.GONE)


def test_a_successor_with_another_data_directory_gives_up(listening: socket.socket, tmp_path: Path) -> None:
    with started((sys.executable, "-c", _SUCCESSOR, "/elsewhere"), listening, tmp_path) as successor:
        assert os.waitpid(successor.pid, 0)[1] != 0
        assert successor.news() is News.GONE
        successor.end(signal.SIGTERM)  # it is gone already
        successor.hand_over()


def test_a_program_that_is_not_there_is_a_successor_that_ends(listening: socket.socket, tmp_path: Path) -> None:
    with started((str(tmp_path / "gateway"),), listening, tmp_path) as successor:
        assert os.waitstatus_to_exitcode(os.waitpid(successor.pid, 0)[1]) == 127


@pytest.mark.parametrize(
    "told",
    ["{", '{"channel": 999, "sockets": [], "data_dir": "/"}', '{"channel": 0, "sockets": [1, 2], "data_dir": "/"}'],
)
def test_who_is_no_predecessor_is_not_believed(told: str) -> None:
    with pytest.raises(GatewayError, match=VARIABLE):
        Predecessor.of({VARIABLE: told})
    assert Predecessor.of({}) is None


def test_an_entry_point_is_started_by_its_path_and_anything_else_by_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "gateway"
    script.write_text("#!/bin/sh\n")
    monkeypatch.setattr(sys, "argv", [str(script), "serve"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "gateway", "serve"])
    assert Command.of_this_process().arguments == (sys.executable, "-m", "gateway", "serve")
    script.chmod(0o755)
    assert Command.of_this_process().arguments == (str(script), "serve")


def test_the_directory_is_named_as_it_was_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "release-1").mkdir()
    (tmp_path / "current").symlink_to("release-1")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert Command.of_this_process().directory == str(tmp_path / "current")
    monkeypatch.setenv("PWD", "/")
    assert Command.of_this_process().directory == str(tmp_path / "release-1")


def test_a_socket_is_taken_over_where_it_fits_and_closed_where_it_does_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as main, socket.create_server(("127.0.0.1", 0)) as other:
        with socket.create_server(("127.0.0.1", 0)) as free:
            control = free.getsockname()[1]
        wanted = Settings(
            listen_address="127.0.0.1", listen_port=main.getsockname()[1], control_api_port=control,
            gateway=GatewaySection(data_dir=tmp_path),
        )  # fmt: skip
        of_another_gateway = tmp_path / "workers-1.sock"
        of_another_gateway.touch()
        opened = listeners.open_all(wanted, (other, main))
        assert opened.main is main
        assert opened.control.getsockname() == ("127.0.0.1", control)
        assert other.fileno() == -1
        assert of_another_gateway.exists()
        opened.close()
        listeners.open_all(wanted).close()
        assert not of_another_gateway.exists()


def publish(data_dir: Path) -> int:
    configuration = Configuration(settings=Settings(), apis=(), warnings=(), files=())
    with contextlib.closing(Store.open(data_dir, writable=True)) as store:
        return store.publish(configuration, [], None, "test")[0].number


def test_a_database_is_put_back_while_it_is_read(tmp_path: Path) -> None:
    assert publish(tmp_path) == 1
    with contextlib.closing(Store.open(tmp_path, writable=False)) as reader:
        spare.make(tmp_path)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("gateway.db*")} == {0o600}
        assert publish(tmp_path) == 2
        assert reader.newest().number == 2
        assert spare.put_back(tmp_path)
        assert reader.newest().number == 1
        assert not spare.put_back(tmp_path)
        assert publish(tmp_path) == 2
        assert reader.newest().number == 2


def test_a_copy_that_cannot_be_put_back_is_given_up_where_the_database_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    publish(tmp_path)
    assert spare.settle(tmp_path) == ""
    spare.make(tmp_path)
    assert publish(tmp_path) == 2
    monkeypatch.setattr("gateway.store.spare._copy", full)
    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.schema.MIGRATIONS", schema.MIGRATIONS[:-1])  # this version is the older one
        with pytest.raises(StoreError, match="disk is full"):
            spare.settle(tmp_path)
    assert spare.exists(tmp_path)
    assert "disk is full" in spare.settle(tmp_path)
    assert not spare.exists(tmp_path)
    assert publish(tmp_path) == 3


def test_no_copy_is_made_of_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(StoreError):
        spare.make(tmp_path)
    assert not spare.put_back(tmp_path)


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_in_its_own_words(tmp_path: Path, abstract: bool) -> None:
    name = f"\0gateway-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(0)
        service = Service({"NOTIFY_SOCKET": name.replace("\0", "@")}, None, EventLog())
        service.ready()
        service.replaced_by(77)
        service.reloading()
        service.stopping()
        said = [systemd.recv(200) for _ in range(4)]
    assert said[:2] == [b"READY=1", b"MAINPID=77\nREADY=1"]
    assert said[2].startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert said[3] == b"STOPPING=1"
    service.ready()  # nobody listens any more


def test_a_pid_file_is_removed_only_by_whom_it_names(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    service = Service({}, file, EventLog())
    service.has_main_process()
    assert file.read_text() == f"{os.getpid()}\n"
    file.write_text("1\n")
    service.ended()
    assert file.exists()
    service.has_main_process()
    service.ended()
    assert [*tmp_path.iterdir()] == []
