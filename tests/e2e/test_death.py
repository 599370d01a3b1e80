"""Everybody killed: what runs is finished, what was acknowledged stays, and the next start serves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "open sesame"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream("first") as server:
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def gateway(tmp_path: Path, authority: Authority, upstream: Upstream) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, authority, upstream)
    gateway.settings["secret"] = SECRET
    gateway.settings["gateway"]["limits"] = {"drain_timeout": 3 * PATIENCE}
    gateway.configure()
    everybody: list[int] = []
    gateway.start()
    try:
        until(gateway.ready)
        everybody += gateway.children()
        yield gateway
    finally:
        with contextlib.suppress(OSError):
            everybody += gateway.children()
        for pid in everybody:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        gateway.end()


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{gateway.control_port}", headers={"X-Tyk-Authorization": SECRET}, timeout=PATIENCE
    ) as client:
        yield client


def roles(gateway: Gateway) -> tuple[int, list[int]]:
    """The process ids of control and of the workers."""
    control = int(next(line for line in gateway.log if "event=control.started " in line).split(" pid=")[1].split()[0])
    return control, [pid for pid in gateway.children() if pid != control]


@contextlib.contextmanager
def again(gateway: Gateway, authority: Authority, upstream: Upstream) -> Iterator[Gateway]:
    """Another start of the same, without waiting for anything; it is ready in the block."""
    second = Gateway(gateway.directory, authority, upstream)
    second.port, second.control_port, second.settings = gateway.port, gateway.control_port, gateway.settings
    second.configure()
    second.start()
    try:
        until(second.ready)
        assert second.get() == "first"
        yield second
        second.signal(signal.SIGTERM)
        assert second.process.wait(PATIENCE) == 0
    finally:
        second.end()


def test_a_start_right_after_the_supervisor_was_killed_serves_at_once_while_the_orphans_finish(
    gateway: Gateway, authority: Authority, upstream: Upstream
) -> None:
    with contextlib.closing(gateway.connect()) as running:
        running.send("/slow")
        assert upstream.entered.wait(PATIENCE)
        gateway.signal(signal.SIGKILL)  # not waited for: it stays a zombie
        with again(gateway, authority, upstream):
            upstream.go_on.set()
            assert running.receive() == "first"


@pytest.mark.parametrize("first", ["control", "workers", "supervisor"])
def test_a_start_serves_at_once_whoever_was_killed_first(
    gateway: Gateway, authority: Authority, upstream: Upstream, first: str
) -> None:
    control, workers = roles(gateway)
    everybody = {"control": [control], "workers": workers, "supervisor": [gateway.process.pid]}
    for pid in [*everybody.pop(first), *(pid for pids in everybody.values() for pid in pids)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with again(gateway, authority, upstream):
        pass


def test_orphans_wait_for_no_change_that_is_under_way_and_one_that_was_written_stays(
    gateway: Gateway, admin: httpx.Client, authority: Authority, upstream: Upstream
) -> None:
    """A worker that is stopped never confirms, so the answer of the swap waits; nobody else does."""
    _, workers = roles(gateway)
    os.kill(workers[0], signal.SIGSTOP)
    pair = authority.leaf("a.test")

    def swap() -> None:
        with contextlib.suppress(httpx.TransportError):
            admin.put("/tyk/domains/a.test/certificate", content=pair.chain_pem + pair.key_pem)

    swapping = threading.Thread(target=swap)
    swapping.start()
    with contextlib.closing(Store.open(gateway.directory / "data", writable=False)) as store:
        until(lambda: store.newest().number == 2)
    gateway.signal(signal.SIGKILL)
    os.kill(workers[0], signal.SIGKILL)  # a stopped process lets go of nothing
    with again(gateway, authority, upstream) as second, contextlib.closing(second.connect()) as connection:
        assert connection.serial == f"{pair.leaf.serial_number:X}"
    swapping.join(PATIENCE)
