"""One gateway takes the place of another under load: nothing is refused, nothing is lost, and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.restless import Load
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGE = 32 << 20


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("first", large=_LARGE) as server:
        yield server
        server.shutdown()


class Installed(Gateway):
    """A gateway that was started by an entry point, which another version may replace."""

    def __init__(self, directory: Path, authority: Authority, upstream: Upstream) -> None:
        super().__init__(directory, authority, upstream)
        self.pids: list[int] = []
        self.entry = directory / "gateway"
        self.install("from gateway.cli.main import app\napp(prog_name='gateway')\n")
        self.program = [str(self.entry)]

    def install(self, code: str) -> None:
        fresh = self.entry.with_name("gateway.new")
        fresh.write_text(f"#!{sys.executable}\n{code}")
        fresh.chmod(0o755)
        fresh.rename(self.entry)

    def upgraded(self) -> int:
        """Upgrade; return the new supervisor's process id."""
        os.kill(self.pids[-1] if self.pids else self.process.pid, signal.SIGUSR2)
        pid = int(self.hear("upgrade.started").rsplit("successor=")[1])
        self.pids.append(pid)
        self.hear("upgrade.done", successor=f"{pid}\n")
        return pid

    def end(self) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        super().end()


@pytest.fixture
def gateway(tmp_path: Path, authority: Authority, upstream: Upstream) -> Iterator[Installed]:
    prepared = Installed(tmp_path, authority, upstream)
    try:
        yield prepared
    finally:
        prepared.end()


def gone(pids: list[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)  # noqa: PTH110


def test_an_upgrade_under_load_loses_nothing(gateway: Installed) -> None:
    gateway.settings["pid_file_location"] = str(gateway.directory / "pid")
    gateway.configure()
    gateway.started()
    assert (gateway.directory / "pid").read_text() == f"{gateway.process.pid}\n"
    old = gateway.children()
    with Load(gateway) as load, contextlib.closing(gateway.connect()) as download:
        download.send("/large")
        response = download._http.getresponse()
        got = len(response.read(1 << 16))
        pid = gateway.upgraded()
        load.goes_on()
        assert gateway.process.poll() is None  # for the download
        got += len(response.read())
        assert got == _LARGE
        assert gateway.process.wait(PATIENCE) == 0
        load.goes_on()
        assert gone(old)
        until(gateway.ready)
        assert len(gateway.children(pid)) == 3
        assert (gateway.directory / "pid").read_text() == f"{pid}\n"
        gateway.certify("a.test")
        os.kill(pid, signal.SIGHUP)
        gateway.hear("reload.applied")
        load.goes_on()
        again = gateway.upgraded()
        load.goes_on()
        until(lambda: gone([pid]))
    os.kill(again, signal.SIGTERM)
    assert "requests were cut" not in gateway.rest()
    assert sorted(path.name for path in (gateway.directory / "data").glob("workers*")) == []
    assert not (gateway.directory / "pid").exists()


_FAILS_LATE = """
import os, sys, gateway.runtime.worker as worker
def run(*_): raise RuntimeError("this version does not work")
worker.run = run
import gateway.runtime.succession, gateway.store.schema as schema
schema.MIGRATIONS += (("CREATE TABLE future (x)",),)
from gateway.cli.main import app
app(prog_name='gateway')
"""


def test_systemd_follows_through_reload_upgrade_and_stop(
    gateway: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        gateway.start()
        assert systemd.recv(200) == b"READY=1"
        assert gateway.get() == "first"
        gateway.signal(signal.SIGHUP)
        assert systemd.recv(200).startswith(b"RELOADING=1\n")
        assert systemd.recv(200) == b"READY=1"
        pid = gateway.upgraded()
        assert systemd.recv(200) == b"MAINPID=%d\nREADY=1" % pid
        os.kill(pid, signal.SIGTERM)
        assert systemd.recv(200) == b"STOPPING=1"
    gateway.rest()


@pytest.mark.parametrize("way", ["does not start", "bad configuration", "dies", "is stopped"])
def test_an_upgrade_that_fails_leaves_everything_as_it_was(gateway: Installed, way: str) -> None:
    gateway.started()
    good: Any = dict(gateway.settings)
    if way == "does not start":
        gateway.install("raise SystemExit('no such module')\n")
    elif way == "bad configuration":
        gateway.settings["listen_port"] = "many"
        gateway.configure()
    else:
        gateway.install(_FAILS_LATE)
    with Load(gateway) as load:
        gateway.signal(signal.SIGUSR2)
        pid = int(gateway.hear("upgrade.started").rsplit("successor=")[1])
        gateway.pids.append(pid)
        if way in ("dies", "is stopped"):
            gateway.hear("child.died")
            load.goes_on()
            os.kill(pid, signal.SIGKILL if way == "dies" else signal.SIGTERM)
        gateway.hear("upgrade.failed")
        gateway.hear("upgrade.undone")
        until(lambda: gone([pid]))
        until(gateway.ready)
        gateway.settings = good
        gateway.certify("a.test")
        gateway.configure()
        gateway.signal(signal.SIGHUP)
        gateway.hear("reload.applied", generation="2")
        load.goes_on()
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    gateway.rest()


def test_a_stop_during_an_upgrade_stops_both(gateway: Installed) -> None:
    gateway.started()
    gateway.install("import time\ntime.sleep(60)\n")
    gateway.signal(signal.SIGUSR2)
    pid = int(gateway.hear("upgrade.started").rsplit("successor=")[1])
    gateway.pids.append(pid)
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    gateway.rest()


_HESITATES = """
import sys, time, gateway.store.spare as spare
def hesitate(_):
    sys.stderr.write("all serve  event=hesitates \\n")
    time.sleep(60)
spare.drop = hesitate
from gateway.cli.main import app
app(prog_name='gateway')
"""


class Swaps:
    """Swaps the certificate of a.test again and again; knows what was acknowledged last, and asked for since."""

    def __init__(self, gateway: Installed) -> None:
        self._gateway = gateway
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged = 0
        self._possible: list[str] = []

    def __enter__(self) -> Swaps:
        self._thread.start()
        until(lambda: self.acknowledged > 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._ending.is_set():
            pair = self._gateway.authority.leaf("a.test")
            self._possible.append(f"{pair.leaf.serial_number:X}")
            with contextlib.suppress(httpx.TransportError):
                response = httpx.put(
                    f"http://127.0.0.1:{self._gateway.control_port}/tyk/domains/a.test/certificate",
                    content=pair.chain_pem + pair.key_pem, headers={"X-Tyk-Authorization": "open sesame"},
                    timeout=PATIENCE,
                )  # fmt: skip
                if response.status_code == 200:
                    self._possible = self._possible[-1:]
                    self.acknowledged += 1

    def check(self) -> None:
        """What is served is what was acknowledged last, or asked for since."""
        with contextlib.closing(self._gateway.connect()) as connection:
            assert connection.serial in self._possible


def test_nothing_is_acknowledged_that_an_upgrade_which_fails_takes_back(gateway: Installed) -> None:
    gateway.settings["secret"] = "open sesame"
    gateway.configure()
    gateway.started()
    gateway.install(_HESITATES)
    with Swaps(gateway) as swaps:
        gateway.signal(signal.SIGUSR2)
        pid = int(gateway.hear("upgrade.started").rsplit("successor=")[1])
        gateway.pids.append(pid)
        gateway.hear("hesitates")
        before = swaps.acknowledged
        time.sleep(0.5)  # the time in which a swap would be answered that must not be
        assert swaps.acknowledged <= before + 1  # whose answer was on its way
        os.kill(pid, signal.SIGKILL)
        gateway.hear("upgrade.undone")
        done = swaps.acknowledged
        until(lambda: swaps.acknowledged > done)
    swaps.check()
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    gateway.rest()
    gateway.started()
    swaps.check()


@pytest.mark.parametrize(
    ("moment", "victim"),
    [
        ("upgrade.started", "predecessor"), ("gateway.started", "successor"), ("gateway.started", "predecessor"),
        ("worker.started", "successor"), ("worker.started", "both"), ("upgrade.done", "both"),
    ],
)  # fmt: skip
def test_a_kill_at_any_moment_of_an_upgrade_loses_nothing_that_was_acknowledged(
    gateway: Installed, moment: str, victim: str
) -> None:
    gateway.settings["secret"] = "open sesame"
    gateway.configure()
    gateway.started()
    first = gateway.process
    with Swaps(gateway) as swaps:
        gateway.signal(signal.SIGUSR2)
        pid = int(gateway.hear("upgrade.started").rsplit("successor=")[1])
        gateway.pids.append(pid)
        if moment != "upgrade.started":
            gateway.hear(moment)
        for one in {"successor": [pid], "predecessor": [first.pid], "both": [first.pid, pid]}[victim]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if victim == "successor" and moment != "upgrade.done":
            gateway.hear("upgrade.undone")
        else:
            with contextlib.suppress(ProcessLookupError):  # whoever is left
                os.kill(first.pid, signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)
            first.wait(PATIENCE)
            gateway.rest()
            gateway.started()
        done = swaps.acknowledged
        until(lambda: swaps.acknowledged > done)
    swaps.check()
    assert not list((gateway.directory / "data").glob("gateway.db.*"))
