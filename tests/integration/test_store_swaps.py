"""What is put for a name at runtime: what serves it, what a rollback brings back, what is kept, what a kill leaves."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from gateway.certs.self_signed import Authority
from gateway.config.load import Configuration
from gateway.config.settings import Settings
from gateway.errors import ConflictError, NotFoundError, PreconditionError, StoreError
from gateway.store import audit, generations, schema, uploads
from gateway.store.audit import Deed
from gateway.store.sqlite import SiteEntry, Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair
    from gateway.store.domains import Swap

DEED = Deed("tester", "192.0.2.1", "swap", "a.test")
EMPTY = Configuration(settings=Settings(), apis=(), warnings=(), files=())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path, writable=True)) as store:
        store.publish(EMPTY, [], None, "start")
        yield store


def anything(_: Collection[str]) -> None:
    """Expect nothing of what is served before."""


def put(store: Store, pair: CertificatePair, name: str = "a.test") -> Swap:
    return store.put(name, pair, anything, DEED)


def served(store: Store, name: str = "a.test") -> list[str]:
    return [pair.fingerprint for pair in store.find(name)]


def count(store: Store, table: str) -> int:
    (rows,) = store._database.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(rows)


def test_what_is_put_goes_before_what_is_configured(store: Store, authority: Authority) -> None:
    filed, rsa, new = authority.leaf("a.test"), authority.leaf("a.test", key="rsa2048"), authority.leaf("a.test")
    other = SiteEntry("b.test", authority.leaf("b.test"), "b.pem")
    configured = [SiteEntry("a.test", filed, "a.pem"), SiteEntry("a.test", rsa, "r.pem"), other]
    store.publish(EMPTY, configured, "b.test", "reload")
    swap = put(store, new)
    assert (swap.old, swap.new, swap.generation, swap.changed) == (filed.fingerprint, new.fingerprint, 3, {"a.test"})
    assert served(store) == [new.fingerprint]
    assert [(entry.source, entry.previous) for entry in store.served("a.test")] == [("admin", None)]


def test_a_reload_of_a_hidden_certificate_changes_nothing(store: Store, authority: Authority) -> None:
    put(store, new := authority.leaf("a.test"))
    entries = [SiteEntry("a.test", authority.leaf("a.test"), "a.pem")]
    assert store.publish(EMPTY, entries, None, "reload")[1] == frozenset()
    assert served(store) == [new.fingerprint]


def test_the_default_site_follows_the_swap_of_its_name(store: Store, authority: Authority) -> None:
    store.publish(EMPTY, [SiteEntry("a.test", authority.leaf("a.test"), "a.pem")], "a.test", "reload")
    assert put(store, new := authority.leaf("a.test")).changed == {"a.test", ""}
    assert served(store, "") == [new.fingerprint]


def test_where_nothing_is_configured_the_first_that_is_put_is_the_default(store: Store, authority: Authority) -> None:
    first, second = authority.leaf("a.test"), authority.leaf("b.test")
    assert put(store, first).changed == {"a.test", ""}
    assert put(store, second, "b.test").changed == {"b.test"}
    assert store.publish(EMPTY, [], None, "reload")[1] == frozenset()
    assert served(store, "") == [first.fingerprint]
    assert store.remove("a.test", anything, DEED).changed == {"a.test", ""}
    assert served(store, "") == []
    assert store.publish(EMPTY, [SiteEntry("c.test", second, "c.pem")], "c.test", "reload")[1] == {"c.test", ""}
    assert served(store, "") == [second.fingerprint]


def test_rsa_and_ec_are_put_side_by_side(store: Store, authority: Authority) -> None:
    rsa, ec, newer = authority.leaf("a.test", key="rsa2048"), authority.leaf("a.test"), authority.leaf("a.test")
    put(store, rsa)
    assert put(store, ec).old is None
    assert put(store, newer).old == ec.fingerprint
    assert served(store) == [newer.fingerprint, rsa.fingerprint]
    assert store.roll_back("a.test", anything, DEED).new == ec.fingerprint
    assert served(store) == [ec.fingerprint, rsa.fingerprint]


def test_a_rollback_toggles_between_the_last_two(store: Store, authority: Authority) -> None:
    first, second, third = (authority.leaf("a.test") for _ in range(3))
    for pair in (first, second, third):
        put(store, pair)
    for expected in (second, third, second):
        swap = store.roll_back("a.test", anything, DEED)
        assert (swap.new, served(store)) == (expected.fingerprint, [expected.fingerprint])
    assert put(store, third).old == second.fingerprint
    assert store.served("a.test")[0].previous == second.fingerprint


def test_a_rollback_of_the_first_goes_to_the_configuration_and_back(store: Store, authority: Authority) -> None:
    filed, new = authority.leaf("a.test"), authority.leaf("a.test")
    store.publish(EMPTY, [SiteEntry("a.test", filed, "a.pem")], None, "reload")
    put(store, new)
    assert store.roll_back("a.test", anything, DEED).new == filed.fingerprint
    assert [entry.source for entry in store.served("a.test")] == ["a.pem"]
    assert store.roll_back("a.test", anything, DEED).new == new.fingerprint


def test_where_nothing_was_before_there_is_nothing_to_roll_back_to(store: Store, authority: Authority) -> None:
    put(store, pair := authority.leaf("a.test"))
    with pytest.raises(ConflictError, match=r"a\.test had no certificate before"):
        store.roll_back("a.test", anything, DEED)
    assert served(store) == [pair.fingerprint]
    with pytest.raises(NotFoundError):
        store.roll_back("b.test", anything, DEED)


def test_a_removal_leaves_what_is_configured_and_forgets_the_keys(store: Store, authority: Authority) -> None:
    put(store, authority.leaf("a.test"))
    put(store, authority.leaf("a.test"))
    assert store.remove("a.test", anything, DEED).new is None
    assert (served(store), count(store, "materials")) == ([], 0)
    with pytest.raises(NotFoundError):
        store.remove("a.test", anything, DEED)
    store.publish(EMPTY, [SiteEntry("a.test", authority.leaf("a.test"), "a.pem")], None, "reload")
    with pytest.raises(ConflictError, match=r"from the configuration \(a\.pem\)"):
        store.remove("a.test", anything, DEED)


def test_the_same_pair_again_changes_nothing(store: Store, authority: Authority) -> None:
    before, pair = authority.leaf("a.test"), authority.leaf("a.test")
    put(store, before)
    first = put(store, pair)
    again = put(store, pair)
    assert (again.changed, again.generation) == (frozenset(), first.generation)
    assert store.served("a.test")[0].previous == before.fingerprint


def test_an_unmet_expectation_prevents_the_change(store: Store, authority: Authority) -> None:
    put(store, pair := authority.leaf("a.test"))
    seen: list[list[str]] = []

    def refuse(fingerprints: Collection[str]) -> None:
        seen.append([*fingerprints])
        raise PreconditionError("no")

    for change in (store.remove, store.roll_back):
        with pytest.raises(PreconditionError):
            change("a.test", refuse, DEED)
    with pytest.raises(PreconditionError):
        store.put("a.test", authority.leaf("a.test"), refuse, DEED)
    assert seen == [[pair.fingerprint]] * 3
    assert served(store) == [pair.fingerprint]


def test_generations_of_swaps_share_their_configuration(store: Store, authority: Authority) -> None:
    put(store, authority.leaf("a.test"))
    known = store.newest()
    put(store, authority.leaf("a.test"))
    newest = store.newest(known)
    assert (newest.number, newest.origin, newest.configuration is known.configuration) == (3, 1, True)
    assert count(store, "configurations") == 1
    other = Configuration(settings=Settings(listen_port=1), apis=(), warnings=(), files=())
    assert store.publish(other, [], None, "reload")[0].origin == 4
    assert store.newest(known).configuration == other


def test_a_thousand_swaps_leave_no_more_than_a_few(store: Store, authority: Authority, tmp_path: Path) -> None:
    pairs = [authority.leaf("a.test") for _ in range(5)]
    for number in range(1000):
        put(store, pairs[number % 5])
        if number == 200:
            pages = store._database.execute("PRAGMA page_count").fetchone()
    assert (count(store, "materials"), count(store, "domains"), count(store, "configurations")) == (2, 1, 1)
    assert count(store, "generations") == generations.KEPT
    (grown,) = store._database.execute("PRAGMA page_count").fetchone()
    assert grown - pages[0] < 100  # the audit log: 800 lines of less than 500 bytes
    assert (tmp_path / "gateway.db-wal").stat().st_size < 8 << 20


def test_no_swap_looks_at_more_than_its_own_name(store: Store, authority: Authority) -> None:
    """Every statement of a swap, a rollback and a removal finds its rows by an index."""
    statements: list[str] = []
    store._database.connection.set_trace_callback(statements.append)
    put(store, authority.leaf("a.test"))
    put(store, authority.leaf("a.test"))
    store.roll_back("a.test", anything, DEED)
    store.find("a.test")
    store.remove("a.test", anything, DEED)
    store._database.connection.set_trace_callback(None)
    explained = [text for text in statements if text.startswith(("SELECT", "INSERT", "DELETE", "UPDATE"))]
    assert len(explained) > 20
    for text in explained:
        for *_, step in store._database.execute(f"EXPLAIN QUERY PLAN {text}").fetchall():
            # A walk along the primary key that stops at the first row; the others have a hundred rows at most.
            assert "SCAN" not in step or step == "SCAN generations", (text, step)


def test_names_are_told_in_order_and_in_parts(store: Store, authority: Authority) -> None:
    pair = authority.leaf("x.test")
    store.publish(EMPTY, [SiteEntry(name, pair, "x.pem") for name in ("b", "d", "a", "")], None, "reload")
    for name in ("c", "b"):
        put(store, pair, name)
    assert store.names("", 10) == ["a", "b", "c", "d"]
    assert store.names("a", 2) == ["b", "c"]
    assert store.names("", 10, "c*") == ["c"]
    assert store.names("c", 10, "c*") == []
    assert store.names("", 1, "*") == ["a"]


def test_the_audit_log_says_who_did_what_and_cannot_be_rewritten(store: Store, authority: Authority) -> None:
    first, second = authority.leaf("a.test"), authority.leaf("a.test")
    put(store, first)
    put(store, second)
    store.note(Deed("x" * 10_000, "", "tried", "b.test"), "refused: no")
    refused, last, *_ = store.audit(10)
    assert (last.deed, last.old, last.new) == (DEED, first.fingerprint, second.fingerprint)
    assert (last.result, last.generation) == ("ok", 3)
    assert (refused.result, refused.generation, len(refused.deed.who)) == ("refused: no", None, 500)
    for statement in ("UPDATE audit SET who = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(Exception, match="append-only"):
            store._database.execute(statement)


def test_the_oldest_audit_lines_go_beyond_the_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "AUDIT_KEPT", 3)
    store._database.execute("DROP TRIGGER audit_is_kept")
    for number in range(6):
        store.note(DEED, f"{number}")
    assert [entry.result for entry in store.audit(10)] == ["5", "4", "3"]


def test_a_database_of_the_first_version_is_carried_over(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.leaf("a.test")
    with closing(Store.open(tmp_path / "new", writable=True)) as new:
        new.publish(EMPTY, [SiteEntry("a.test", pair, "a.pem")], None, "start")
        digest, chain, sealed_key = new._database.execute("SELECT digest, chain, key FROM materials").fetchone()
        (content,) = new._database.execute("SELECT content FROM configurations").fetchone()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with closing(Store.open(tmp_path / "new2", writable=True)) as old:
            for key in ("root.key", "keyring.json"):
                (tmp_path / "new2" / key).write_bytes((tmp_path / "new" / key).read_bytes())
            execute = old._database.execute
            execute("INSERT INTO materials VALUES (7, ?, ?, ?, ?, 0)", (digest, pair.fingerprint, chain, sealed_key))
            for name in ("a.test", ""):
                execute("INSERT INTO names VALUES (?, 'ec', 7, 'a.pem')", (name,))
            execute("INSERT INTO generations VALUES (1, '2026-01-01T00:00:00+00:00', 'start', ?)", (content,))
    with closing(Store.open(tmp_path / "new2", writable=True)) as carried:
        assert (served(carried), served(carried, "")) == ([pair.fingerprint], [pair.fingerprint])
        assert (carried.newest().cause, carried.newest().configuration) == ("start", EMPTY)
        put(carried, new_pair := authority.leaf("a.test"))
        assert (served(carried), carried.newest().number) == ([new_pair.fingerprint], 2)


def test_no_key_is_in_any_file(store: Store, authority: Authority, tmp_path: Path) -> None:
    put(store, first := authority.leaf("a.test"))
    put(store, second := authority.leaf("a.test"))
    third = authority.leaf("b.test")
    store.add_certificate(*uploads.examine("", third.chain_pem + third.key_pem, None, datetime.now(UTC)), DEED)
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert first.chain_pem in content
    assert third.chain_pem in content
    for pair in (first, second, third):
        assert isinstance(pair.key, EllipticCurvePrivateKey)
        secret = pair.key.private_numbers().private_value.to_bytes(32, "big")
        body = b"".join(pair.key_pem.splitlines()[1:-1])
        for hidden in (b"PRIVATE KEY", secret, body[:40], body[40:80]):
            assert hidden not in content


def swap_for_ever(data_dir: Path, pairs: list[CertificatePair], tell: int) -> None:
    """Swap, roll back and remove again and again; tell each generation that is durable, and what it serves."""
    with closing(Store.open(data_dir, writable=True)) as store:
        which = 0
        while True:
            which = 1 - which
            swap = put(store, pairs[which])
            os.write(tell, b"%d %s\n" % (swap.generation, swap.new.encode() if swap.new else b"-"))
            with contextlib.suppress(ConflictError):
                swap = store.roll_back("a.test", anything, DEED)
                os.write(tell, b"%d %s\n" % (swap.generation, swap.new.encode() if swap.new else b"-"))


def kill_a_swapper(data_dir: Path, pairs: list[CertificatePair], after: float) -> list[str]:
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            swap_for_ever(data_dir, pairs, writer)
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as told:
        first = told.readline()
        threading.Event().wait(after)
        os.kill(pid, signal.SIGKILL)
        last = [first, *told][-1]
    os.waitpid(pid, 0)
    return last.split()


def test_a_kill_during_swaps_leaves_the_last_one_told_or_the_next(
    store: Store, tmp_path: Path, authority: Authority
) -> None:
    pairs = [authority.leaf("a.test") for _ in range(2)]
    moments = random.Random(11)
    for _ in range(100):
        number, fingerprint = kill_a_swapper(tmp_path, pairs, moments.uniform(0, 0.02))
        newest = store.newest().number
        assert newest in (int(number), int(number) + 1)
        if newest == int(number):
            assert served(store) == [fingerprint]
        (last, *_) = store.audit(1)
        assert (last.generation, [last.new]) == (newest, served(store))
        assert store._database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_swap_without_room_changes_nothing(store: Store, authority: Authority) -> None:
    put(store, pair := authority.leaf("a.test"))
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match=r"full; .*free space"):
        fill(store, authority)
    assert served(store) == [pair.fingerprint]


def fill(store: Store, authority: Authority) -> None:
    for number in range(100):
        put(store, authority.leaf("b.test"), f"{number}.test")
