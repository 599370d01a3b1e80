"""Keys are changed and secrets regenerated on a real store: what is refused, and what goes on after each break."""

from __future__ import annotations

import os
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.admin.operations import Actor
from gateway.certs import keyring
from gateway.certs.keyring import CloudKey
from gateway.certs.self_signed import Authority
from gateway.errors import ConflictError, KeyServiceError, StoreError
from gateway.observe.events import EventLog
from gateway.runtime import key_operations, renewal
from gateway.runtime.key_operations import LiveKeys
from gateway.runtime.reloads import Reloads
from gateway.store import admin_secret, cloud_key
from gateway.store.audit import Deed
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ACTOR = Actor("tester", "192.0.2.1")
NAMES = tuple(f"n{number}.test" for number in range(12))
CLOUD = CloudKey(arn="arn:aws:kms:eu-west-1:123456789012:key/1", region="eu-west-1")


class Roster:
    """Workers that confirm everything."""

    def __init__(self) -> None:
        self.generation, self.applied = 1, list[frozenset[str]]()

    async def apply(self, generation: int, names: frozenset[str], seconds: float) -> tuple[str, ...]:
        self.generation = generation
        self.applied.append(names)
        return ()


class Node:
    """Keys of a store with a dozen certificates."""

    def __init__(self, directory: Path, settings: dict[str, Any], *, certificates: bool = True) -> None:
        main = directory / "gateway.yaml"
        main.write_text(yaml.safe_dump({"http_server_options": {"use_ssl": True}, **settings}))
        self.data_dir = directory / "data"
        candidate = renewal.read(main, {})
        generation, _ = renewal.publish(self.data_dir, candidate, Deed("gateway", "", "start", str(main)))
        if certificates:
            authority = Authority.create()
            with closing(Store.open(self.data_dir, writable=True)) as store:
                pairs = [(name, authority.leaf(name)) for name in NAMES]
                store.put_all(pairs, [Deed("test", "", "put certificate", name) for name in NAMES], ())
        self.configuration, self.main, self.generation = candidate.configuration, main, generation
        self.roster = Roster()
        self.start()

    def start(self) -> None:
        """Be another control, that knows only what is on the disk."""
        events = EventLog(os.open(os.devnull, os.O_WRONLY))
        inherited: Any = SimpleNamespace(
            config_path=self.main, environ={}, settings=self.configuration.settings, data_dir=self.data_dir
        )
        roster: Any = self.roster
        self.reloads = Reloads(inherited, self.generation, roster, events)
        self.keys = LiveKeys(self.data_dir, self.reloads, roster, events)

    def read(self) -> set[bytes]:
        """Open everything that is sealed; return the ids of the keys that it is sealed with."""
        with closing(Store.open(self.data_dir, writable=False)) as store:
            assert all(store.find(name)[0].names == (name,) for name in store.names("", 100) if name in NAMES)
            store.newest()
            rows = store._database.execute("SELECT key FROM materials UNION ALL SELECT content FROM configurations")
            return {text[1:9] for (text,) in rows.fetchall()}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(key_operations, "ROWS_AT_ONCE", 4)
    return Node(tmp_path, {})


def _breaking(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], bool]:
    """Have the change to the disk with that number fail, before or after it is made in turns; tell whether it did."""
    count = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == at and at % 2:
                raise StoreError("power cut before")
            result = change(*arguments)
            if count == at:
                raise StoreError("power cut after")
            return result

        return counting

    for owner, name in ((keyring, "replace"), (Store, "reseal"), (Store, "regenerated"), (admin_secret, "renew")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return lambda: count >= at


@pytest.mark.parametrize("at", range(1, 20))
async def test_whatever_breaks_off_all_can_be_read_and_the_next_try_goes_on(
    node: Node, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with monkeypatch.context() as patch:
        broke = _breaking(patch, at)
        try:
            await node.keys.regenerate(ACTOR)
        except StoreError:
            assert broke()
        else:
            assert not broke(), "what breaks is told"
    node.read()
    node.start()
    interrupted = (await node.keys.regeneration()).state == "interrupted"
    keys = len((await node.keys.status()).master_keys)
    done = await node.keys.regenerate(ACTOR)
    assert done.resumed is interrupted
    assert done.keys is not None
    assert len(done.keys.master_keys) == keys + (not interrupted)
    assert node.read() == {bytes.fromhex(done.keys.master_keys[-1].id)}
    assert (await node.keys.regeneration()).state == "idle"


async def test_the_breaks_above_reach_to_the_last_step(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = _breaking(monkeypatch, 19)
    await node.keys.regenerate(ACTOR)
    assert not reached()


async def test_the_admin_secret_is_another_one_and_known_at_once(node: Node) -> None:
    before = node.reloads.secret_digest
    done = await node.keys.regenerate(ACTOR)
    assert done.secret_file == str(node.data_dir / "admin.secret")
    assert node.reloads.secret_digest == admin_secret.digest(None, node.data_dir) != before


async def test_a_configured_secret_stays(tmp_path: Path) -> None:
    node = Node(tmp_path, {"secret": "the operator's"})
    before = node.reloads.secret_digest
    assert (await node.keys.regenerate(ACTOR)).secret_file == ""
    assert node.reloads.secret_digest == before


async def test_the_self_signed_certificate_is_made_anew_for_the_same_names(tmp_path: Path) -> None:
    node = Node(tmp_path, {}, certificates=False)
    with closing(Store.open(node.data_dir, writable=False)) as store:
        (before,) = store.find("localhost")
    done = await node.keys.regenerate(ACTOR)
    with closing(Store.open(node.data_dir, writable=False)) as store:
        (after,), (default,) = store.find("localhost"), store.find("")
    assert after.fingerprint == default.fingerprint != before.fingerprint
    assert after.names == before.names
    assert "localhost" in done.certificates
    assert node.roster.applied == [frozenset({*before.names, ""})]


async def test_what_cannot_be_opened_is_counted_and_left(node: Node) -> None:
    with closing(Store.open(node.data_dir, writable=True)) as store:
        store._database.execute("UPDATE materials SET key = ? WHERE material = 3", (lost := b"\1" + bytes(60),))
    done = await node.keys.regenerate(ACTOR)
    assert (done.unreadable, done.sealed) == (1, len(NAMES) - 1 + 1)
    with closing(Store.open(node.data_dir, writable=True)) as store:
        assert store._database.execute("SELECT key FROM materials WHERE material = 3").fetchone() == (lost,)


async def test_a_cloud_that_does_not_let_its_key_be_used_changes_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise KeyServiceError("not today")

    monkeypatch.setattr(cloud_key, "seal", refuse)
    before = keyring.find(node.data_dir)
    with pytest.raises(KeyServiceError):
        await node.keys.set_mode(CLOUD, ACTOR)
    with pytest.raises(ConflictError, match="region"):
        await node.keys.set_mode(CLOUD.model_copy(update={"region": "us-west-2"}), ACTOR)
    assert keyring.find(node.data_dir) == before
    node.read()
    with closing(Store.open(node.data_dir, writable=False)) as store:
        assert [entry.result[:8] for entry in store.audit(2)] == ["refused:", "refused:"]


async def test_a_control_that_died_after_the_switch_leaves_no_root_key(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_key, "seal", lambda *_: b"sealed by the cloud")
    monkeypatch.setattr(keyring, "forget_root_key", lambda _: None)
    await node.keys.set_mode(CLOUD, ACTOR)
    assert (node.data_dir / "root.key").exists()
    monkeypatch.undo()
    node.start()
    assert not (node.data_dir / "root.key").exists()
    node.read()
    before = await node.keys.status()
    after = await node.keys.set_mode(None, ACTOR)
    assert before.root_master_key != after.root_master_key
    assert (after.mode, after.master_keys) == ("local", before.master_keys)
    assert (node.data_dir / "root.key").exists()
    node.read()
    assert await node.keys.set_mode(None, ACTOR) == after
