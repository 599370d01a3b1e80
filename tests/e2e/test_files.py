"""Certificates as files, in every style in which they are delivered, and as an import: one gateway, real processes.

A test waits for what it wants to see, and nothing else: a swap that never came fails it after a while.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Gateway]:
    """A gateway whose configuration names files in every style; two of them are not there yet."""
    home = tmp_path_factory.mktemp("files")
    with Upstream("first") as upstream:
        gateway = Gateway(home, authority, upstream)
        options = gateway.settings["http_server_options"]
        options["ssl_certificates"] += ["written.pem", "renamed.pem", "kube/tls.pem", "later/on/late.pem"]
        options["certificates"] = [
            {"cert_file": "live/bot.test/fullchain.pem", "key_file": "live/bot.test/privkey.pem"},
            {"cert_file": "split.crt", "key_file": "split.key"},
        ]
        gateway.configure()
        for name in ("written", "renamed"):
            bundle(home / f"{name}.pem", authority.leaf(f"{name}.test"))
        mount(home / "kube", "1", authority.leaf("kube.test"))
        renew(home, 1, authority.leaf("bot.test"))
        pair = authority.leaf("split.test")
        private(home / "split.crt", pair.chain_pem)
        private(home / "split.key", pair.key_pem)
        try:
            gateway.started()
            yield gateway
        finally:
            gateway.end()
            upstream.shutdown()


def private(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def bundle(path: Path, pair: CertificatePair) -> CertificatePair:
    private(path, pair.chain_pem + pair.key_pem)
    return pair


def turn(link: Path, target: str) -> None:
    """Have a link lead elsewhere from one moment to the next."""
    fresh = link.with_name(f"{link.name}.fresh")
    fresh.symlink_to(target)
    fresh.rename(link)


def mount(volume: Path, version: str, pair: CertificatePair) -> None:
    """Put a certificate into a volume as the kubelet does."""
    bundle(volume / f"..{version}" / "tls.pem", pair)
    turn(volume / "..data", f"..{version}")
    if not (volume / "tls.pem").is_symlink():
        (volume / "tls.pem").symlink_to("..data/tls.pem")


def renew(home: Path, number: int, pair: CertificatePair) -> None:
    """Renew a certificate as certbot does."""
    for kind, content in (("fullchain", pair.chain_pem), ("privkey", pair.key_pem)):
        private(home / "archive/bot.test" / f"{kind}{number}.pem", content)
        live = home / "live/bot.test"
        live.mkdir(parents=True, exist_ok=True)
        turn(live / f"{kind}.pem", f"../../archive/bot.test/{kind}{number}.pem")


def shown(gateway: Gateway, name: str) -> set[str]:
    """The serial numbers that eight new connections see: both workers are asked, most of the time."""
    serials = set()
    for _ in range(8):
        with contextlib.closing(gateway.connect(name)) as connection:
            serials.add(connection.serial)
    return serials


def serves(gateway: Gateway, name: str, pair: CertificatePair) -> bool:
    return shown(gateway, name) == {f"{pair.leaf.serial_number:X}"}


def complaint(gateway: Gateway, about: str) -> str:
    """Wait for a problem that has to do with a file."""
    while about not in (line := gateway.hear("configuration.problem")):
        pass
    return line


def test_a_file_that_is_written_in_place(gateway: Gateway, authority: Authority) -> None:
    pair = bundle(gateway.directory / "written.pem", authority.leaf("written.test"))
    until(lambda: serves(gateway, "written.test", pair))


def test_a_file_that_is_written_beside_and_renamed(gateway: Gateway, authority: Authority) -> None:
    pair = bundle(gateway.directory / "renamed.pem.new", authority.leaf("renamed.test"))
    (gateway.directory / "renamed.pem.new").rename(gateway.directory / "renamed.pem")
    until(lambda: serves(gateway, "renamed.test", pair))


def test_a_volume_whose_data_link_turns(gateway: Gateway, authority: Authority) -> None:
    for version in "23":
        pair = authority.leaf("kube.test")
        mount(gateway.directory / "kube", version, pair)
        until(lambda pair=pair: serves(gateway, "kube.test", pair))  # type: ignore[misc]


def test_links_that_certbot_turns(gateway: Gateway, authority: Authority) -> None:
    pair = authority.leaf("bot.test")
    renew(gateway.directory, 2, pair)
    until(lambda: serves(gateway, "bot.test", pair))


def test_a_file_in_a_directory_that_comes_later(gateway: Gateway, authority: Authority) -> None:
    pair = bundle(gateway.directory / "later/on/late.pem", authority.leaf("late.test"))
    until(lambda: serves_by_name(gateway, "late.test", pair))


def test_the_default_directory_when_it_is_made_and_filled(gateway: Gateway, authority: Authority) -> None:
    (gateway.directory / "certs").mkdir()
    pair = bundle(gateway.directory / "certs/drop.pem", authority.leaf("drop.test"))
    until(lambda: serves_by_name(gateway, "drop.test", pair))
    renewed = bundle(gateway.directory / "certs/drop.pem", authority.leaf("drop.test"))
    until(lambda: serves(gateway, "drop.test", renewed))


def test_a_certificate_and_its_key_that_come_one_after_the_other(gateway: Gateway, authority: Authority) -> None:
    before, pair = shown(gateway, "split.test"), authority.leaf("split.test")
    private(gateway.directory / "split.crt", pair.chain_pem)
    assert "does not belong to the certificate" in complaint(gateway, "split.crt")
    assert shown(gateway, "split.test") == before
    private(gateway.directory / "split.key", pair.key_pem)
    until(lambda: serves(gateway, "split.test", pair))


def test_a_bad_file_leaves_what_is_served_and_is_told(gateway: Gateway, authority: Authority) -> None:
    before, file = shown(gateway, "written.test"), gateway.directory / "written.pem"
    file.write_bytes(b"not a certificate")
    assert "not PEM text" in complaint(gateway, "written.pem")
    assert shown(gateway, "written.test") == before
    assert gateway.get() == "first"
    until(lambda: "written.pem" in gateway.health()["details"]["certificates"].get("output", ""))
    pair = bundle(file, authority.leaf("written.test"))
    until(lambda: serves(gateway, "written.test", pair))


def test_an_import_of_a_directory_and_an_archive(gateway: Gateway, authority: Authority) -> None:
    home = gateway.directory / "to-import"
    pairs = {name: authority.leaf(name) for name in ("one.test", "two.test", "three.test")}
    bundle(home / "one.pem", pairs["one.test"])
    private(home / "two.crt", pairs["two.test"].chain_pem)
    private(home / "two.key", pairs["two.test"].key_pem)
    private(home / "wrong.pem", pairs["one.test"].chain_pem + pairs["two.test"].key_pem)
    bundle(gateway.directory / "three.pem", pairs["three.test"])
    with tarfile.open(gateway.directory / "more.tar.gz", "w:gz") as archive:
        archive.add(gateway.directory / "three.pem", "deep/three.pem")
    told = imported(gateway, 1, "to-import", "more.tar.gz")
    assert (told["total"], told["imported"], told["domains"]) == (4, 3, 3)
    ((place, reason),) = told["refused"]
    assert (place, "does not belong to the certificate" in reason) == ("to-import/wrong.pem", True)
    for name, pair in pairs.items():
        assert serves(gateway, name, pair)
    again = imported(gateway, 0, "more.tar.gz")
    assert (again["imported"], again["unchanged"]) == (0, 1)


def test_a_reload_is_in_the_audit_log_as_whoever_asked_for_it(gateway: Gateway) -> None:
    with admin(gateway) as client:
        assert client.get("/tyk/reload").json()["status"] == "ok"
        until(lambda: ("secret", "127.0.0.1", "reload") in doers(client))
        assert ("watched files", "", "reload") in doers(client)
        before = client.get("/tyk/reload?block=true").json()
        assert before["message"] == "nothing has changed"
        gateway.signal(signal.SIGHUP)
        until(lambda: ("SIGHUP", "", "reload") in doers(client))
        assert client.get("/tyk/reload?block=true").json()["generation"] == before["generation"]
        entries = client.get("/tyk/generations?limit=1000").json()["generations"]
        assert [entry for entry in entries if not entry["subject"]] == []


def admin(gateway: Gateway) -> httpx.Client:
    secret = (gateway.directory / "data" / "admin.secret").read_text().strip()
    url, headers = f"http://127.0.0.1:{gateway.control_port}", {"X-Tyk-Authorization": secret}
    return httpx.Client(base_url=url, headers=headers, timeout=PATIENCE)


def doers(client: httpx.Client) -> set[tuple[str, str, str]]:
    entries = client.get("/tyk/generations?limit=1000").json()["generations"]
    return {(entry["who"], entry["address"], entry["what"]) for entry in entries}


def imported(gateway: Gateway, status: int, *paths: str) -> dict[str, Any]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TYK_GW_")}
    finished = subprocess.run(
        [sys.executable, "-m", "gateway", "cert", "import", *paths, "--config", "gateway.yaml", "--json"],
        cwd=gateway.directory, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert finished.returncode == status, finished.stderr
    told: dict[str, Any] = json.loads(finished.stdout)
    return told


def serves_by_name(gateway: Gateway, name: str, pair: CertificatePair) -> bool:
    """`serves`, of a name for which the default certificate was shown before, which does not match."""
    try:
        return serves(gateway, name, pair)
    except OSError:
        return False
