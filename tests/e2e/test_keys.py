"""The keys of a gateway of real processes: AWS KMS that comes and goes, and everything sealed anew under kills."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.cloud import REGION, Cloud
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs import keyring
from gateway.certs.keyring import CloudKey, Keyring
from gateway.certs.seal import Sealer
from gateway.certs.self_signed import Authority
from gateway.store import cloud_key
from gateway.store.audit import Deed
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

CERTIFICATES = 300
KILLS = 5


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    upstream = Upstream("upstream")
    gateway = Gateway(tmp_path, Authority.create(), upstream)
    try:
        yield gateway
    finally:
        if hasattr(gateway, "process"):
            gateway.end()
        upstream.shutdown()
        upstream.server_close()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud()
    for name, value in cloud.environ.items():
        monkeypatch.setenv(name, value)
    try:
        yield cloud.come()
    finally:
        cloud.go()


def _command(gateway: Gateway, *words: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *words, "--config", str(gateway.directory / "gateway.yaml")]


def _run(gateway: Gateway, *words: str, status: int = 0) -> str:
    done = subprocess.run(_command(gateway, *words), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def _status(gateway: Gateway) -> dict[str, object]:
    shown: dict[str, object] = json.loads(_run(gateway, "kms", "status", "--json"))
    return shown


def _ring(gateway: Gateway) -> Keyring:
    ring = keyring.load(gateway.directory / "data")
    assert ring is not None
    return ring


def _forms(secret: bytes) -> tuple[bytes, ...]:
    return secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)


def _kill(gateway: Gateway, event: str) -> None:
    """Kill the process that wrote the last line of ``event``; wait until another one has."""
    lines = [line for line in gateway.log if f"event={event} " in line]
    os.kill(int(lines[-1].partition(" pid=")[2].split()[0]), signal.SIGKILL)
    until(lambda: len([line for line in gateway.log if f"event={event} " in line]) > len(lines))
    until(gateway.ready)


def _switched(gateway: Gateway, cloud: Cloud) -> tuple[CloudKey, list[bytes]]:
    """Start it, and have AWS KMS seal its keys; return that key, and what must never be seen of the others."""
    gateway.started()
    key = CloudKey(arn=cloud.key(), region=REGION)
    _run(gateway, "kms", "set-mode", "aws", "--key-arn", key.arn, "--aws-region", REGION)
    ring = _ring(gateway)
    root = cloud_key.unseal(key, ring.store, ring.root_master_key.sealed, 5)
    keys = [root, *(ring.open(root, one) for one in ring.master_keys)]
    return key, [form for one in keys for form in _forms(one)]


def _stopped(gateway: Gateway, pid: int) -> None:
    """Stop it, and look for what must not be in its files and its log."""
    os.kill(pid, signal.SIGTERM)
    gateway.rest()
    until(lambda: gateway.process.poll() is not None)


def _clean(gateway: Gateway, clear: list[bytes]) -> None:
    log = "".join(gateway.log).encode()
    assert not any(form in log for form in clear)
    for path in (gateway.directory / "data").iterdir():
        if path.is_file():
            content = path.read_bytes()
            assert not any(form in content for form in clear), path
            assert b"PRIVATE KEY" not in content, path


def test_in_aws_mode_children_and_a_successor_start_while_the_cloud_is_away(gateway: Gateway, cloud: Cloud) -> None:
    key, clear = _switched(gateway, cloud)
    shown = _status(gateway)
    assert (shown["mode"], shown["key_arn"], shown["region"]) == ("aws", key.arn, REGION)
    assert not (gateway.directory / "data" / "root.key").exists()
    cloud.go()
    _kill(gateway, "control.started")
    _kill(gateway, "worker.started")
    assert gateway.get() == "upstream"
    ring = _ring(gateway)
    assert key.arn in _run(gateway, "secrets", "regenerate", status=1)
    assert key.arn in _run(
        gateway, "kms", "set-mode", "aws", "--key-arn", key.arn + "0", "--aws-region", REGION, status=1
    )
    assert _ring(gateway) == ring
    gateway.signal(signal.SIGUSR2)
    successor = int(gateway.hear("upgrade.done").partition("successor=")[2].split()[0])
    until(gateway.ready)
    assert gateway.get() == "upstream"
    _stopped(gateway, successor)
    _clean(gateway, clear)


def test_in_aws_mode_a_fresh_start_waits_for_the_cloud_and_can_be_stopped(gateway: Gateway, cloud: Cloud) -> None:
    key, clear = _switched(gateway, cloud)
    _stopped(gateway, gateway.process.pid)
    cloud.go()
    gateway.start()
    waiting = gateway.hear("keys.waiting")
    assert key.arn in waiting
    assert f"region={REGION}" in waiting
    assert "a-secret-of-the-test" not in waiting
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    gateway.rest()
    gateway.start()
    gateway.hear("keys.waiting")
    cloud.come()
    gateway.hear("keys.opened")
    until(gateway.ready)
    assert gateway.get() == "upstream"
    told = _run(gateway, "secrets", "regenerate")
    assert str(gateway.directory / "data" / "admin.secret") in told
    _run(gateway, "kms", "set-mode", "local")
    assert (gateway.directory / "data" / "root.key").stat().st_mode & 0o777 == 0o600
    cloud.go()
    _stopped(gateway, gateway.process.pid)
    gateway.started()
    assert gateway.get() == "upstream"
    _clean(gateway, clear)


def _fill(gateway: Gateway) -> tuple[str, ...]:
    """Put certificates into the store of a gateway that does not run; return their domains."""
    pair = gateway.authority.leaf("*.filled.test")
    names = tuple(f"n{number}.filled.test" for number in range(CERTIFICATES))
    with contextlib.closing(Store.open(gateway.directory / "data", writable=True)) as store:
        pairs = [(name, gateway.authority.leaf(name)) for name in names]
        deeds = [Deed("test", "", "put certificate", name) for name in names]
        assert len(store.put_all(pairs, deeds, ())) == len(names)
    assert pair.names == ("*.filled.test",)
    return names


def _readable(gateway: Gateway, names: tuple[str, ...]) -> set[bytes]:
    """Open every key of the store; return the ids of the master keys that they are sealed with."""
    with contextlib.closing(Store.open(gateway.directory / "data", writable=False)) as store:
        for name in names:
            (pair,) = store.find(name)
            assert pair.names == (name,)
        rows = store._database.execute("SELECT substr(key, 2, 8) FROM materials").fetchall()
        rows += store._database.execute("SELECT substr(content, 2, 8) FROM configurations").fetchall()
    return {key_id for (key_id,) in rows}


class _Handshakes:
    """Asks for one domain after the other, on a connection each, until told to stop."""

    def __init__(self, gateway: Gateway, names: tuple[str, ...]) -> None:
        self.done, self.failures = 0, list[OSError]()
        self._gateway, self._names, self._ended = gateway, names, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(0.002):
            try:
                with contextlib.closing(self._gateway.connect(random.choice(self._names))):
                    self.done += 1
            except OSError as error:
                self.failures.append(error)

    def __enter__(self) -> _Handshakes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)


def test_everything_is_sealed_anew_through_kills_while_handshakes_go_on(gateway: Gateway) -> None:
    gateway.started()
    gateway.signal(signal.SIGTERM)
    gateway.process.wait(PATIENCE)
    names = _fill(gateway)
    gateway.started()
    data_dir = gateway.directory / "data"
    secret = (data_dir / "admin.secret").read_text()
    before = {one.id for one in _ring(gateway).master_keys}
    chance = random.Random(5)
    interrupted = 0
    with _Handshakes(gateway, names) as handshakes:
        for _ in range(KILLS):
            asked = subprocess.Popen(
                _command(gateway, "secrets", "regenerate"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until(lambda asked=asked: _ring(gateway).regenerating is not None or asked.poll() is not None)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.15))  # anywhere in it, that is the point
            if chance.random() < 0.3:
                asked.kill()
                asked.wait(PATIENCE)
            _kill(gateway, "control.started")
            asked.wait(PATIENCE)
            interrupted += _ring(gateway).regenerating is not None
            _readable(gateway, names)
        told = _run(gateway, "secrets", "regenerate")
        until(lambda: handshakes.done > 50)
    assert interrupted
    assert not handshakes.failures
    ring = _ring(gateway)
    assert ring.regenerating is None
    assert _readable(gateway, names) == {bytes.fromhex(ring.master_keys[-1].id)}
    assert before < {one.id for one in ring.master_keys}
    fresh = (data_dir / "admin.secret").read_text()
    assert fresh != secret
    assert fresh.strip() not in told
    assert f"new admin secret in {data_dir / 'admin.secret'}" in told
    assert _status(gateway)["regenerating"] is None  # with the new secret
    root = Sealer.open(data_dir).root_master_key
    gateway.signal(signal.SIGTERM)
    gateway.process.wait(PATIENCE)
    gateway.rest()
    log = "".join(gateway.log).encode()
    assert not any(form in log for form in (*_forms(root), fresh.strip().encode(), secret.strip().encode()))
