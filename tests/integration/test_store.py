"""The node's database: what a publish promises, who may read it, and what a kill leaves."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.certs.self_signed import Authority
from gateway.config.load import Configuration
from gateway.config.settings import Settings
from gateway.errors import StoreError
from gateway.store import audit, generations
from gateway.store.sqlite import SiteEntry, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "data", writable=True)) as store:
        yield store


def configuration(**settings: object) -> Configuration:
    return Configuration(settings=Settings(**settings), apis=(), warnings=(), files=())


def entry(name: str, pair: CertificatePair, source: str = "test.pem") -> SiteEntry:
    return SiteEntry(name, pair, source)


def key_of(pair: CertificatePair) -> bytes:
    return pair.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.current() is None
    assert store.find("a.test") == ()


def test_what_is_published_is_read_back_by_a_reader(store: Store, tmp_path: Path, authority: Authority) -> None:
    pair = authority.leaf("a.test")
    generation, changed = store.publish(configuration(listen_port=8443), [entry("a.test", pair)], None, "start")
    assert changed == {"a.test"}
    with closing(Store.open(tmp_path / "data", writable=False)) as reader:
        assert reader.current() == generation
        (found,) = reader.find("a.test")
    assert (generation.number, generation.cause) == (1, "start")
    assert generation.configuration.settings.listen_port == 8443
    assert (found.chain, found.names, key_of(found)) == (pair.chain, pair.names, key_of(pair))


def test_generations_are_numbered_and_the_last_hundred_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "KEPT", 3)
    numbers = [store.publish(configuration(), [], None, f"cause {n}")[0].number for n in range(5)]
    assert numbers == [1, 2, 3, 4, 5]
    assert store._database.execute("SELECT number FROM generations").fetchall() == [(3,), (4,), (5,)]
    current = store.current()
    assert current is not None
    assert (current.number, current.cause) == (5, "cause 4")


def test_rsa_and_ec_stand_side_by_side_for_one_name(store: Store, authority: Authority) -> None:
    ec, rsa = authority.leaf("a.test"), authority.leaf("a.test", key="rsa2048")
    store.publish(configuration(), [entry("a.test", rsa), entry("a.test", ec)], None, "start")
    assert [pair.fingerprint for pair in store.find("a.test")] == [ec.fingerprint, rsa.fingerprint]


def test_of_two_entries_with_one_name_and_key_type_the_last_counts(store: Store, authority: Authority) -> None:
    first, last = authority.leaf("a.test"), authority.leaf("a.test")
    store.publish(configuration(), [entry("a.test", first), entry("a.test", last)], None, "start")
    assert [pair.fingerprint for pair in store.find("a.test")] == [last.fingerprint]


def test_the_default_site_shares_the_certificates_of_its_name(store: Store, authority: Authority) -> None:
    a, b = authority.leaf("a.test"), authority.leaf("b.test")
    store.publish(configuration(), [entry("a.test", a), entry("b.test", b)], "b.test", "start")
    assert [pair.fingerprint for pair in store.find("")] == [b.fingerprint]
    _, changed = store.publish(configuration(), [entry("a.test", a), entry("b.test", b)], "a.test", "reload")
    assert changed == {""}
    assert [pair.fingerprint for pair in store.find("")] == [a.fingerprint]


def test_changed_names_are_those_with_other_certificates(store: Store, authority: Authority) -> None:
    stays, old, new = (authority.leaf("x.test") for _ in range(3))
    before = [entry("stays", stays), entry("swapped", old), entry("gone", old)]
    after = [entry("stays", stays, "moved.pem"), entry("swapped", new), entry("added", new)]
    store.publish(configuration(), before, None, "start")
    assert store.publish(configuration(), after, None, "reload")[1] == {"swapped", "gone", "added"}
    assert store.find("gone") == ()
    assert store.publish(configuration(), after, None, "reload")[1] == frozenset()
    sources = store._database.execute("SELECT name, source FROM names ORDER BY name").fetchall()
    assert sources == [("added", "test.pem"), ("stays", "moved.pem"), ("swapped", "test.pem")]


def test_a_new_chain_for_the_same_leaf_is_a_change(store: Store, authority: Authority) -> None:
    pair = authority.leaf("a.test")
    longer = type(pair)((pair.leaf, authority.pair.leaf), pair.key, pair.names)
    store.publish(configuration(), [entry("a.test", pair)], None, "start")
    assert store.publish(configuration(), [entry("a.test", longer)], None, "reload")[1] == {"a.test"}
    assert store.find("a.test")[0].chain == longer.chain


def test_material_that_serves_no_name_is_removed(store: Store, authority: Authority) -> None:
    store.publish(configuration(), [entry("a", authority.leaf("a")), entry("b", authority.leaf("b"))], None, "start")
    store.publish(configuration(), [entry("b", authority.leaf("b"))], None, "reload")
    assert store._database.execute("SELECT count(*) FROM materials").fetchone() == (1,)


def test_expired_names_are_told(store: Store, authority: Authority) -> None:
    past = datetime.now(UTC) - timedelta(days=100)
    entries = [
        entry("old.test", authority.leaf("old.test", days=10, now=past)),
        entry("new.test", authority.leaf("new.test")),
    ]
    store.publish(configuration(), entries, "old.test", "start")
    assert store.expired(datetime.now(UTC)) == ("old.test",)
    assert store.expired(past) == ()


def test_no_key_and_no_secret_is_in_any_file(store: Store, tmp_path: Path, authority: Authority) -> None:
    pair = authority.leaf("a.test")
    holding = configuration(hostname="hidden.internal.test", secret="open sesame")
    store.publish(holding, [entry("a.test", pair)], None, "start")
    content = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir())
    assert pair.chain_pem in content
    secret_number = pair.key.private_numbers().private_value.to_bytes(32, "big")
    for hidden in (key_of(pair), secret_number, b"PRIVATE KEY", b"open sesame", b"hidden.internal.test"):
        assert hidden not in content


def test_directory_and_files_are_private(store: Store, tmp_path: Path, authority: Authority) -> None:
    store.publish(configuration(), [entry("a.test", authority.leaf("a.test"))], None, "start")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "data").iterdir()}
    assert {"gateway.db", "gateway.db-wal", "gateway.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_database_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").touch(mode=0o644)
    Store.open(tmp_path, writable=True).close()
    assert (tmp_path / "gateway.db").stat().st_mode & 0o777 == 0o600


def test_a_reader_cannot_write(store: Store, tmp_path: Path) -> None:
    with (
        closing(Store.open(tmp_path / "data", writable=False)) as reader,
        pytest.raises(StoreError, match="readonly"),
    ):
        reader.publish(configuration(), [], None, "never")


def test_a_failed_publish_changes_nothing(store: Store, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = authority.leaf("a.test")
    store.publish(configuration(), [entry("a.test", pair)], "a.test", "start")

    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(audit, "append", fail)
    with pytest.raises(StoreError, match=r"gateway\.db: database or disk is full; check .*free space"):
        store.publish(configuration(), [entry("b.test", authority.leaf("b.test"))], None, "reload")
    monkeypatch.undo()
    assert store.find("b.test") == ()
    assert [found.fingerprint for found in store.find("")] == [pair.fingerprint]
    assert store.publish(configuration(), [], None, "reload")[0].number == 2


def test_a_missing_database_is_told_to_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gateway\.db: unable to open database file; check that"):
        Store.open(tmp_path, writable=False)


def test_a_file_that_is_no_database_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"gateway\.db: file is not a database; restore a backup, or move it away"):
        Store.open(tmp_path, writable=True)


def test_damage_inside_is_told_with_the_cure(tmp_path: Path, authority: Authority) -> None:
    entries = [entry(f"{n}.test", authority.leaf(f"{n}.test")) for n in range(20)]
    with closing(Store.open(tmp_path, writable=True)) as store:
        store.publish(configuration(), entries, None, "start")
    file = tmp_path / "gateway.db"
    content = bytearray(file.read_bytes())
    content[4096:] = random.Random(1).randbytes(len(content) - 4096)
    file.write_bytes(content)
    with (
        pytest.raises(StoreError, match="restore a backup"),
        closing(Store.open(tmp_path, writable=True)) as store,
    ):
        store.find("3.test")


def test_a_database_of_a_newer_gateway_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path, writable=True).close()
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="written by a newer gateway"):
        Store.open(tmp_path, writable=True)


def test_a_configuration_with_keys_of_another_version_is_told_and_no_value_of_it(store: Store) -> None:
    store.publish(configuration(secret="s3cret"), [], None, "start")
    written = configuration().model_dump_json().replace('"settings":{', '"settings":{"new_key":"s3cret",', 1).encode()
    database = store._database
    with database.writing():
        database.execute(
            "UPDATE configurations SET content = ?", (database.sealer.seal(written, generations.context(1)),)
        )
    with pytest.raises(StoreError, match=r"generation 1 has a settings\.new_key .* another version wrote it") as told:
        store.current()
    assert "s3cret" not in str(told.value)


def test_a_data_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(StoreError, match=r"data/gateway\.db: .*must be a writable directory"):
        Store.open(tmp_path / "data", writable=True)


def test_nothing_is_added_to_a_database_whose_keys_are_lost(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path, writable=True)) as store:
        store.publish(configuration(), [], None, "start")
    (tmp_path / "root.key").unlink()
    (tmp_path / "keyring.json").unlink()
    with (
        closing(Store.open(tmp_path, writable=True)) as store,
        pytest.raises(StoreError, match="restore root"),
    ):
        store.publish(configuration(), [], None, "start")


def publish_for_ever(data_dir: Path, pairs: list[CertificatePair], tell: int) -> None:
    """Swap the certificates of fifty names again and again, and tell each generation that is durable."""
    with closing(Store.open(data_dir, writable=True)) as store:
        for which in cycle((0, 1)):
            entries = [entry(f"{n}.test", pairs[which]) for n in range(50)]
            generation, _ = store.publish(configuration(listen_port=which + 1), entries, "0.test", "loop")
            os.write(tell, b"%d\n" % generation.number)


def kill_a_writer(data_dir: Path, pairs: list[CertificatePair], after: float) -> int:
    """Kill a writer ``after`` seconds from its first generation. Return the last generation it told."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            publish_for_ever(data_dir, pairs, writer)
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as told:
        first = told.readline()
        threading.Event().wait(after)
        os.kill(pid, signal.SIGKILL)
        last = [first, *told][-1]
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return int(last)


def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one(tmp_path: Path, authority: Authority) -> None:
    """A hundred writers are killed: all names agree with their generation, and what was told is there."""
    pairs = [authority.leaf("one.test"), authority.leaf("two.test")]
    moments = random.Random(7)
    for _ in range(100):
        told = kill_a_writer(tmp_path, pairs, moments.uniform(0, 0.02))
        with closing(Store.open(tmp_path, writable=True)) as store:
            generation = store.current()
            assert generation is not None
            assert generation.number in (told, told + 1)
            expected = pairs[generation.configuration.settings.listen_port - 1].fingerprint
            names = ["", *(f"{n}.test" for n in range(50))]
            assert {pair.fingerprint for name in names for pair in store.find(name)} == {expected}
            assert store._database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
