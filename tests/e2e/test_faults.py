"""A disk that is full or read-only, and every process killed at once, with real processes and traffic that goes on."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from support.load import Load
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

SECRET = "open sesame"
PATH = "/tyk/domains/a.test/certificate"
# As root the mode of a file stops nobody, unless the right to pass over it is given up.
OBEDIENT = """
import ctypes, os, sys
for capability in 1, 2:  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("first") as server:
        yield server
        server.shutdown()


@pytest.fixture
def gateway(tmp_path: Path, authority: Authority, upstream: Upstream) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, authority, upstream)
    gateway.settings["secret"] = SECRET
    gateway.configure()
    try:
        yield gateway
    finally:
        if hasattr(gateway, "process"):
            gateway.end()


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{gateway.control_port}", headers={"X-Tyk-Authorization": SECRET}, timeout=PATIENCE
    ) as client:
        yield client


def serial(pair: CertificatePair) -> str:
    return f"{pair.leaf.serial_number:X}"


def put(admin: httpx.Client, pair: CertificatePair) -> httpx.Response:
    return admin.put(PATH, content=pair.chain_pem + pair.key_pem)


def shown(gateway: Gateway) -> set[str]:
    """The serial numbers that eight new connections see."""
    serials = set()
    for _ in range(8):
        with contextlib.closing(gateway.connect()) as connection:
            serials.add(connection.serial)
    return serials


def control_of(gateway: Gateway) -> int:
    return int(gateway.hear("control.started").split(" pid=")[1].split()[0])


@contextlib.contextmanager
def traffic(gateway: Gateway) -> Iterator[None]:
    """Requests on kept and on new connections, none of which may fail."""

    def newcomer() -> None:
        assert gateway.get() == "first"

    with contextlib.closing(gateway.connect()) as kept, Load(newcomer, kept.get) as load:
        yield
        rounds = load.rounds
        until(lambda: load.rounds > rounds)


def refused_and_served_again(gateway: Gateway, admin: httpx.Client, authority: Authority, said: str) -> None:
    """What must hold while the store cannot be written, after one swap was acknowledged."""
    before = shown(gateway)
    for _ in range(3):
        response = put(admin, authority.leaf("a.test"))
        assert response.status_code == 500
        assert said in response.json()["message"]
    pair = authority.leaf("b.test")
    assert admin.post("/tyk/certs", content=pair.chain_pem + pair.key_pem).status_code == 500
    assert admin.get("/tyk/reload/?block=true").status_code in (200, 409)
    assert shown(gateway) == before
    assert {entry["fingerprint"] for entry in admin.get(PATH).json()["certificates"]}


def recovered(gateway: Gateway, admin: httpx.Client, authority: Authority) -> None:
    """What must hold when the cause is gone: nothing has to be restarted."""
    pair = authority.leaf("a.test")
    assert put(admin, pair).json()["warnings"] == []
    assert shown(gateway) == {serial(pair)}


def test_while_no_file_may_grow_uploads_are_refused_and_a_changed_file_is_served_as_soon_as_it_can_be(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    gateway.started()
    control = control_of(gateway)
    with traffic(gateway):
        assert put(admin, first := authority.leaf("a.test")).status_code == 200
        limits = resource.prlimit(control, resource.RLIMIT_FSIZE)
        resource.prlimit(control, resource.RLIMIT_FSIZE, (2000, limits[1]))  # a page of SQLite's has 4096
        refused_and_served_again(gateway, admin, authority, "has free space")
        assert shown(gateway) == {serial(first)}
        gateway.settings["http_server_options"]["ssl_certificates"].append("b.test.pem")
        new = gateway.certify("b.test")
        gateway.configure()
        gateway.hear("reload.refused", cause='"another try"')
        until(lambda: "has free space" in gateway.health()["details"]["configuration"].get("output", ""))
        resource.prlimit(control, resource.RLIMIT_FSIZE, limits)
        gateway.hear("reload.applied", cause='"another try"')
        with contextlib.closing(gateway.connect("b.test")) as connection:
            assert connection.serial == new
        assert gateway.health()["details"]["configuration"]["status"] == "pass"
        recovered(gateway, admin, authority)


@pytest.fixture
def unshare(tmp_path: Path) -> list[str]:
    """A command that runs another where it can mount file systems for itself."""
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    trial = [*command, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("this host mounts no file system for us; other tests ask the same of a limit")
    return command


def test_on_a_full_disk_uploads_are_refused_until_there_is_room(
    gateway: Gateway, admin: httpx.Client, authority: Authority, unshare: list[str]
) -> None:
    data = gateway.directory / "data"
    data.mkdir()
    mount = 'mount -t tmpfs -o size=2m none "$0" && exec "$@"'
    gateway.program = [*unshare, "sh", "-c", mount, str(data), *gateway.program]
    gateway.started()
    with traffic(gateway):
        assert put(admin, first := authority.leaf("a.test")).status_code == 200
        filler = f"/proc/{gateway.process.pid}/root{data}/filler"
        fill(filler)
        refused_and_served_again(gateway, admin, authority, "full; check that the directory exists")
        assert shown(gateway) == {serial(first)}
        os.unlink(filler)  # noqa: PTH108 - seen through another process's root
        recovered(gateway, admin, authority)


def fill(path: str) -> None:
    """Write until there is no room."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):  # noqa: PTH123
        while file.write(bytes(4096)):
            pass


def test_a_read_only_data_directory_stops_changes_and_neither_traffic_nor_new_workers(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    gateway.program = [sys.executable, "-c", OBEDIENT, *gateway.program]
    gateway.started()
    data = gateway.directory / "data"
    with traffic(gateway):
        assert put(admin, first := authority.leaf("a.test")).status_code == 200
        files = [path for path in data.iterdir() if path.is_file()]  # sockets work on a read-only disk
        modes = {path: path.stat().st_mode for path in (*files, data)}
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        refused_and_served_again(gateway, admin, authority, "must be a writable directory")
        victim = int(gateway.hear("worker.started").split(" pid=")[1].split()[0])
    os.kill(victim, signal.SIGKILL)
    gateway.hear("worker.started")
    with traffic(gateway):
        until(gateway.ready)
        assert shown(gateway) == {serial(first)}
        for path, mode in modes.items():
            path.chmod(mode)
        recovered(gateway, admin, authority)


FULL = """
mount -t tmpfs -o size=2m none "$0" && cp -a "$1/." "$0" && shift || exit
cat /dev/zero >"$0/filler"
exec "$@"
"""


@pytest.mark.parametrize("end", ["in good order", "killed"])
def test_a_start_on_a_full_disk_serves_what_is_stored_and_says_what_it_cannot_do(
    gateway: Gateway, admin: httpx.Client, authority: Authority, unshare: list[str], end: str
) -> None:
    first = left_behind(gateway, admin, authority, end)
    data = gateway.directory / "data"
    data.rename(saved := gateway.directory / "saved")
    data.mkdir()
    gateway.program = [*unshare, "sh", "-c", FULL, str(data), str(saved), *gateway.program]
    with stored(gateway, admin, authority, first, end):
        os.unlink(f"/proc/{gateway.process.pid}/root{data}/filler")  # noqa: PTH108 - seen through another process's root


@pytest.mark.parametrize("end", ["in good order", "killed"])
def test_a_start_on_a_read_only_disk_serves_what_is_stored_and_says_what_it_cannot_do(
    gateway: Gateway, admin: httpx.Client, authority: Authority, end: str
) -> None:
    first = left_behind(gateway, admin, authority, end)
    data = gateway.directory / "data"
    modes = {path: path.stat().st_mode for path in (*data.iterdir(), data)}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    gateway.program = [sys.executable, "-c", OBEDIENT, *gateway.program]
    with stored(gateway, admin, authority, first, end):
        for path, mode in modes.items():
            path.chmod(mode)


def left_behind(gateway: Gateway, admin: httpx.Client, authority: Authority, end: str) -> CertificatePair:
    """Start, swap a certificate, and end; return the certificate."""
    gateway.started()
    pair = authority.leaf("a.test")
    assert put(admin, pair).status_code == 200
    everybody = [gateway.process.pid, *gateway.children()]
    for pid in everybody if end == "killed" else everybody[:1]:
        os.kill(pid, signal.SIGKILL if end == "killed" else signal.SIGTERM)
    gateway.process.wait(PATIENCE)
    gateway.rest()
    return pair


@contextlib.contextmanager
def stored(
    gateway: Gateway, admin: httpx.Client, authority: Authority, first: CertificatePair, end: str
) -> Iterator[None]:
    """Start where nothing can be written: ``first`` is served, until the block has made room for another."""
    gateway.started()
    with traffic(gateway):
        assert shown(gateway) == {serial(first)}
        second = authority.leaf("a.test")
        status = put(admin, second).status_code
        # What was killed has left a log with room in it: that is enough for a change, which then is one.
        assert status == 500 or (end == "killed" and status == 200)
        assert shown(gateway) == {serial(second if status == 200 else first)}
        yield
        recovered(gateway, admin, authority)
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0


def test_a_kill_of_everything_in_the_middle_of_swaps_loses_nothing_that_was_acknowledged(
    gateway: Gateway, admin: httpx.Client, authority: Authority
) -> None:
    gateway.started()
    for _ in range(2):
        everybody = [*gateway.children(), gateway.process.pid]
        acknowledged, asked = swap_until_killed(admin, authority, everybody)
        gateway.process.wait(PATIENCE)
        gateway.rest()  # which ends when nobody is left
        gateway.started()
        (served,) = shown(gateway)
        assert served in (acknowledged, asked)


def swap_until_killed(admin: httpx.Client, authority: Authority, victims: list[int]) -> tuple[str, str]:
    """Return the serials of the last swap that was acknowledged, and of the one that was not."""
    acknowledged = asked = ""

    def kill() -> None:
        until(lambda: bool(acknowledged))
        time.sleep(0.05)  # somewhere in one of the next swaps; which one does not matter
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with contextlib.suppress(httpx.TransportError):
        while True:
            pair = authority.leaf("a.test")
            asked = serial(pair)
            assert put(admin, pair).status_code == 200
            acknowledged = asked
    killer.join()
    return acknowledged, asked
