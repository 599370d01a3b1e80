"""Certificate files at a second look: which of them are read again, and what is said of those that are not."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.certs.self_signed import Authority
from gateway.config.load import Configuration
from gateway.config.settings import CertificateFiles, GatewaySection, HttpServerOptions, Settings
from gateway.store import certificate_files, file_status
from gateway.store.audit import Deed
from gateway.store.file_sources import Collected, collect
from gateway.store.readings import FilesRead
from gateway.store.schema import BEFORE_READINGS
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.certs.pem import CertificatePair

NOW = datetime.now(UTC)


class Node:
    """A directory of certificates and a store; what is looked at is published, as a reload does."""

    def __init__(self, home: Path, store: Store) -> None:
        self.directory, self.store = home / "certs", store
        self.directory.mkdir()
        self.authority = Authority.create()
        self.read: list[str] = []
        self.certificates: tuple[CertificateFiles, ...] = ()

    def issue(self, *names: str, days: int = 90) -> CertificatePair:
        return self.authority.leaf(*names, days=days, now=NOW)

    def bundle(self, name: str, pair: CertificatePair, mode: int = 0o600) -> Path:
        path = self.directory / name
        path.write_bytes(pair.chain_pem + pair.key_pem)
        path.chmod(mode)
        return path

    def split(self, name: str, pair: CertificatePair) -> tuple[Path, Path]:
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        certificate.write_bytes(pair.chain_pem)
        key.write_bytes(pair.key_pem)
        key.chmod(0o600)
        return certificate, key

    def look(self, now: datetime = NOW, most: int | None = None) -> Collected:
        settings = Settings(
            http_server_options=HttpServerOptions(use_ssl=True, certificates=self.certificates),
            gateway=GatewaySection(certificates_dir=self.directory),
        )
        configuration = Configuration(settings=settings, apis=(), warnings=(), files=())
        self.read.clear()
        found = collect(configuration, now, self.store, anew=False, most=most)
        files = FilesRead(now, tuple(map(str, found.unresolved)), found.readings)
        self.store.publish(configuration, found.entries, found.default, "test", files=files)
        return found

    def served(self, name: str) -> list[str]:
        return [pair.fingerprint for pair in self.store.find(name)]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that counts what it reads, and to which no file is too young to be remembered."""
    monkeypatch.setattr(file_status, "_YOUNG_NS", 0)
    with closing(Store.open(tmp_path / "data", writable=True)) as store:
        node = Node(tmp_path, store)
        read = certificate_files.CertificateReader.read

        def counted(self: certificate_files.CertificateReader, files: certificate_files.Files, *more: bytes) -> object:
            node.read.append(Path(files.certificate).name)
            return read(self, files, *more)

        monkeypatch.setattr(certificate_files.CertificateReader, "read", counted)
        yield node


def test_only_files_that_changed_are_read_again(node: Node) -> None:
    stays, goes = node.issue("a.test", "b.test"), node.issue("c.test")
    node.bundle("a.pem", stays)
    node.bundle("c.pem", goes)
    node.look()
    assert node.read == ["a.pem", "c.pem"]
    node.look()
    assert node.read == []
    assert node.served("a.test") == node.served("b.test") == [stays.fingerprint]
    renewed = node.issue("c.test")
    node.bundle("c.pem", renewed)
    node.look()
    assert node.read == ["c.pem"]
    assert node.served("c.test") == [renewed.fingerprint]


@pytest.mark.parametrize("which", [0, 1])
def test_a_certificate_and_its_key_in_two_files_are_read_together(node: Node, which: int) -> None:
    pair = node.issue("a.test")
    files = node.split("a", pair)
    node.look()
    files[which].write_bytes(files[which].read_bytes())
    node.look()
    assert node.read == ["a.crt"]
    node.look()
    assert node.read == []
    assert node.served("a.test") == [pair.fingerprint]


def test_a_key_that_moves_into_its_own_file_or_out_of_it_is_noticed(node: Node) -> None:
    pair = node.issue("a.test")
    bundle = node.bundle("a.crt", pair)
    node.look()
    node.split("a", pair)
    node.look()
    assert node.read == ["a.crt"]
    bundle.with_suffix(".key").unlink()
    assert node.look().unresolved
    assert node.served("a.test") == [pair.fingerprint]


def test_the_same_files_under_two_keys_of_the_configuration_serve_both(node: Node) -> None:
    certificate, key = node.split("a", pair := node.issue("a.test"))
    node.certificates = (CertificateFiles(cert_file=certificate, key_file=key, domain_name="a.test"),)
    node.look()
    assert not node.look().problems
    assert node.served("a.test") == [pair.fingerprint]


def test_a_file_that_was_written_within_the_clocks_granularity_is_read_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_status, "_YOUNG_NS", 3600 * 10**9)
    path = node.bundle("a.pem", node.issue("a.test"))
    node.look()
    before = path.stat()
    renewed = node.issue("a.test")
    path.write_bytes((renewed.chain_pem + renewed.key_pem).ljust(before.st_size, b"\n")[: before.st_size + 9])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    node.look()
    assert node.read == ["a.pem"]
    assert node.served("a.test") == [renewed.fingerprint]


def test_a_file_that_changes_while_it_is_read_is_read_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    path = node.bundle("a.pem", node.issue("a.test"))
    read = file_status.read

    def disturbed(name: str, most: int) -> tuple[bytes, file_status.Status]:
        content, _ = read(name, most)
        return content, ()

    with monkeypatch.context() as patch:
        patch.setattr(file_status, "read", disturbed)
        node.look()
    node.look()
    assert node.read == [path.name]


def test_dates_are_judged_at_each_look_though_nothing_is_read(node: Node) -> None:
    node.bundle("a.pem", node.issue("a.test"))
    assert node.look().problems == ()
    for days, said in ((70, "expires on"), (100, "expired on")):
        (problem,) = node.look(NOW + timedelta(days=days)).problems
        assert said in problem.message
        assert problem.source.endswith("a.pem")
        assert node.read == []
    (problem,) = node.look(NOW - timedelta(days=9)).problems
    assert "not valid before" in problem.message


def test_what_was_said_of_a_file_is_said_again(node: Node) -> None:
    pair = node.issue("a.test")
    path = node.bundle("a.pem", pair, mode=0o644)
    first, again = node.look().problems, node.look().problems
    assert node.read == []
    assert first == again
    assert "every user of this host" in first[0].message
    path.chmod(0o600)
    assert node.look().problems == ()


def test_of_many_new_files_the_rest_keeps_what_it_held_until_its_turn(node: Node) -> None:
    old = [node.issue(f"{name}.test") for name in "abc"]
    for name, pair in zip("abc", old, strict=True):
        node.bundle(f"{name}.pem", pair)
    node.look()
    new = [node.issue(f"{name}.test") for name in "abc"]
    for name, pair in zip("abc", new, strict=True):
        node.bundle(f"{name}.pem", pair)
    found = node.look(most=2)
    assert (found.postponed, node.read) == (1, ["a.pem", "b.pem"])
    assert "certificate files that are not read yet: 1" in found.unresolved[-1].message
    assert [node.served(f"{name}.test") for name in "abc"] == [[p.fingerprint] for p in (*new[:2], old[2])]
    found = node.look(most=2)
    assert (found.postponed, node.read) == (0, ["c.pem"])
    assert node.served("c.test") == [new[2].fingerprint]
    assert found.unresolved == ()


def test_what_no_file_holds_any_more_is_forgotten_with_its_key(node: Node) -> None:
    path = node.bundle("a.pem", node.issue("a.test"))
    shadow = node.bundle("z.pem", node.issue("a.test"))
    node.look()
    execute = node.store._database.execute
    assert execute("SELECT count(*) FROM materials").fetchone() == (2,)  # the one that does not serve is remembered
    shadow.unlink()
    node.look()
    assert node.read == []
    assert execute("SELECT count(*) FROM materials").fetchone() == (1,)
    path.unlink()
    node.look()
    assert execute("SELECT count(*) FROM materials").fetchone() == (0,)


def test_a_name_that_is_not_utf_8_is_told_and_harms_nobody(node: Node) -> None:
    pair = node.issue("a.test")
    node.bundle("a.pem", pair)
    Path(os.fsdecode(os.fsencode(node.directory) + b"/\xff.pem")).write_bytes(b"whatever")
    (problem,) = node.look().problems
    assert "not UTF-8" in problem.message
    assert node.served("a.test") == [pair.fingerprint]


def test_a_database_of_before_has_the_last_good_state_until_it_is_brought_on(node: Node) -> None:
    old, new = node.issue("a.test"), node.issue("a.test")
    node.bundle("a.pem", old)
    node.look()
    node.bundle("a.pem", new)
    data_dir, newer = node.store._database.path.parent, node.store
    for table in ("readings", "sessions", "administrators", "expiry_told", "crls"):
        newer._database.execute(f"DROP TABLE {table}")
    newer._database.execute("DROP INDEX certificates_by_expiry")
    for column in ("certificates DROP COLUMN expires", "materials DROP COLUMN begins", "names DROP COLUMN rank"):
        newer._database.execute(f"ALTER TABLE {column}")
    newer._database.execute("ALTER TABLE names DROP COLUMN place")
    newer._database.execute(f"PRAGMA user_version = {BEFORE_READINGS}")
    settings = Settings(
        http_server_options=HttpServerOptions(use_ssl=True), gateway=GatewaySection(certificates_dir=node.directory)
    )
    configuration = Configuration(settings=settings, apis=(), warnings=(), files=())
    with closing(Store.open(data_dir, writable=False)) as reader:
        found = collect(configuration, NOW, reader, anew=False, most=0)
    assert found.postponed == 1
    with closing(Store.open(data_dir, writable=True)) as node.store:
        files = FilesRead(NOW, tuple(map(str, found.unresolved)), found.readings)
        node.store.publish(configuration, found.entries, found.default, "test", files=files)
        assert node.served("a.test") == [old.fingerprint]
        node.look()
        assert node.served("a.test") == [new.fingerprint]


def test_a_look_that_finds_nothing_new_leaves_the_generation(node: Node) -> None:
    path = node.bundle("a.pem", node.issue("a.test"))
    node.look()
    path.touch()
    node.look(now=NOW + timedelta(seconds=9))
    generation = node.store.newest()
    assert (generation.number, generation.files_read) == (1, NOW + timedelta(seconds=9))
    assert [entry.result for entry in node.store.audit(2)] == ["ok: nothing had changed", "ok"]
    path.write_bytes(b"garbage")
    node.look()
    assert node.store.newest().number == 2
    node.look()
    assert node.store.newest().number == 2


def test_the_default_site_stays_with_its_name_when_the_first_file_breaks(node: Node) -> None:
    first = node.bundle("1.pem", pair := node.issue("m.test", "a.test", "z.test"))
    node.bundle("2.pem", node.issue("b.test"))
    assert node.look().default == "m.test"
    node.store.put("a.test", node.issue("a.test"), lambda _: None, Deed("tester", "", "put", "a.test"))
    for damage in (lambda: first.write_bytes(b"garbage"), lambda: node.directory.rename(node.directory.parent / "x")):
        damage()
        assert node.look().default == "m.test"
        assert node.served("") == [pair.fingerprint]
