"""Certificates out of their time: refused unless forced, given way to by valid ones, and chosen anew with time."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.admin.operations import BulkUpload, Expectation, Upload
from gateway.certs.choice import NEVER, Choice
from gateway.certs.self_signed import Authority
from gateway.config.settings import ControlTls
from gateway.errors import CertificateError, StoreError
from gateway.proxy.sites import Sites
from gateway.routing import snapshot
from gateway.store import control_certificate
from gateway.store.audit import Deed
from gateway.store.sites import CONTROL_PORT, SiteEntry
from gateway.store.sqlite import Store
from tests.integration.test_operations import ACTOR, Node
from tests.support.front import api, configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = Authority.create()
DEED = Deed("tester", "", "put", "a.test")
DAY = timedelta(days=1)


def issue(*names: str, begins: int = -10, days: int = 40, key: Any = "ec") -> CertificatePair:
    return AUTHORITY.leaf(*names, days=days, key=key, now=NOW + timedelta(days=begins, hours=1))


VALID, OVER, EARLY = issue("a.test"), issue("a.test", begins=-60), issue("a.test", begins=7, days=90)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path, AUTHORITY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "own", writable=True)) as store:
        store.publish(configuration(api()), (), None, "test")
        yield store


def put(store: Store, pair: CertificatePair, name: str = "a.test") -> None:
    store.put(name, pair, lambda _: None, DEED)


def at(store: Store, moment: datetime, name: str = "a.test") -> list[CertificatePair]:
    return list(store.choose(name, moment.timestamp()).chosen)


# what is put


@pytest.mark.parametrize(
    ("pair", "reason"), [(OVER, "expired on .*or force it"), (EARLY, "is not valid before .*force")]
)
async def test_one_that_is_not_valid_is_refused_unless_it_is_a_must(node: Node, pair: Any, reason: str) -> None:
    for dry_run in (True, False):
        with pytest.raises(CertificateError, match=reason):
            await node.put(pair, dry_run=dry_run)
    result = await node.operations.put_certificates(
        [BulkUpload(Upload(pair.chain_pem + pair.key_pem), ("a.test",))], dry_run=False, actor=ACTOR
    )
    assert "or force it" in result.outcomes[0].refusal
    assert node.served() == [node.filed.fingerprint]
    forced = await node.put(pair, force=True)
    # The file's is valid, so it goes on; and the answer says who serves.
    assert (forced.fingerprint, node.served()) == (node.filed.fingerprint, [node.filed.fingerprint])
    assert f"it is not valid now, so {node.filed.fingerprint} serves in its place" in forced.warnings


async def test_where_there_is_nothing_else_what_is_forced_serves(node: Node) -> None:
    over = issue("new.test", begins=-60)
    result = await node.put(over, "new.test", force=True)
    assert result.fingerprint == over.fingerprint
    assert node.served("new.test") == [over.fingerprint]
    bulk = await node.operations.put_certificates(
        [BulkUpload(Upload(over.chain_pem + over.key_pem), ("more.test", "new.test"))],
        dry_run=False, actor=ACTOR, force=True,
    )  # fmt: skip
    assert [bool(one.refusal) for one in bulk.outcomes] == [True, False]  # it must cover the name all the same


async def test_a_valid_wildcard_serves_in_the_place_of_what_is_forced(node: Node) -> None:
    wildcard, over = issue("*.deep.test"), issue("x.deep.test", begins=-60)
    await node.put(wildcard, "*.deep.test")
    result = await node.put(over, "x.deep.test", force=True)
    assert result.fingerprint == wildcard.fingerprint
    assert any(wildcard.fingerprint in warning for warning in result.warnings)


async def test_going_back_to_one_that_has_expired_is_refused_unless_it_is_a_must(node: Node) -> None:
    over, good = issue("b.test", begins=-60), issue("b.test")
    await node.put(over, "b.test", force=True)
    await node.put(good, "b.test")
    with pytest.raises(CertificateError, match="going back would not do: the certificate expired on"):
        await node.operations.rollback("b.test", Expectation(), ACTOR)
    assert node.served("b.test") == [good.fingerprint]
    result = await node.operations.rollback("b.test", Expectation(), ACTOR, force=True)
    assert (result.fingerprint, node.served("b.test")) == (over.fingerprint, [over.fingerprint])
    assert (await node.operations.rollback("b.test", Expectation(), ACTOR)).fingerprint == good.fingerprint


def test_what_was_put_before_its_time_leaves_the_name_to_what_it_replaced(store: Store) -> None:
    put(store, VALID)
    put(store, EARLY)
    assert at(store, NOW) == [VALID]
    assert store.choose("a.test").until == EARLY.not_before.timestamp()
    assert at(store, EARLY.not_before) == [EARLY]
    assert at(store, NOW + 35 * DAY) == at(store, NOW + 300 * DAY) == [EARLY]
    put(store, OVER)  # and what a swap has replaced otherwise never comes back by itself
    assert at(store, NOW) == at(store, EARLY.not_before) == [OVER]


def test_of_two_key_types_one_that_waits_leaves_the_other_alone(store: Store) -> None:
    rsa, early = issue("a.test", key="rsa2048"), issue("a.test", begins=7, key="rsa2048")
    for pair in (VALID, rsa, early):
        put(store, pair)
    assert at(store, NOW) == [VALID, rsa]
    assert at(store, NOW + 8 * DAY) == [VALID, early]


def test_a_name_is_told_as_expired_only_if_nothing_valid_serves_it(store: Store) -> None:
    wildcard = issue("*.deep.test")
    for name, pair in (("a.test", OVER), ("x.deep.test", OVER), ("*.deep.test", wildcard)):
        put(store, pair, name)
    assert store.expired(NOW) == ("a.test",)
    config = configuration(api())
    store.publish(config, (SiteEntry("a.test", VALID, "a.pem"), SiteEntry("b.test", OVER, "b.pem")), None, "test")
    assert store.expired(NOW) == ("b.test",)


def test_the_default_site_follows_its_name_to_a_valid_wildcard(store: Store) -> None:
    wildcard, over = issue("*.deep.test"), issue("x.deep.test", begins=-60)
    entries = (SiteEntry("x.deep.test", over, "x.pem"), SiteEntry("*.deep.test", wildcard, "w.pem"))
    store.publish(configuration(api()), entries, "x.deep.test", "test")
    assert store.find("") == (wildcard,)
    put(store, fresh := issue("x.deep.test"), "x.deep.test")
    assert store.find("") == (fresh,)


def test_the_control_port_shows_a_valid_one(store: Store) -> None:
    entries = (
        SiteEntry(CONTROL_PORT, VALID, "old"),
        SiteEntry(CONTROL_PORT, EARLY, "new"),
        SiteEntry("a.test", OVER, "a"),
    )
    store.publish(configuration(api()), entries, None, "test")
    found = control_certificate.find(ControlTls(domain="a.test"), store)
    assert (found.chosen, found.until) == ((VALID,), EARLY.not_before.timestamp())
    assert [one.leaf for one in control_certificate.served(ControlTls(domain="a.test"), store)] == [VALID.leaf]


# what a worker shows


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


class Worker:
    """The sites of a worker, with a clock that a test turns."""

    def __init__(self, store: Store) -> None:
        self.clock, self.looked = Clock(), list[str]()
        self.snapshot = snapshot.build(configuration(api()), 1)
        self.fault: Exception | None = None

        def choose(name: str) -> Choice[CertificatePair]:
            self.looked.append(name)
            if self.fault:
                raise self.fault
            return store.choose(name, self.clock.now)

        self.sites = Sites(choose, self.clock)

    def shown(self, name: str) -> Any:
        _, site = self.sites.find(name, self.snapshot, self.snapshot)
        return site


def test_a_worker_builds_a_site_anew_when_its_time_has_come_and_not_before(store: Store) -> None:
    put(store, VALID)
    put(store, EARLY)
    worker = Worker(store)
    first = worker.shown("a.test")
    assert worker.shown("a.test") is first
    assert worker.looked == ["a.test"]
    worker.clock.now = EARLY.not_before.timestamp()
    second = worker.shown("a.test")
    assert second is not first
    assert worker.shown("a.test") is second
    assert worker.looked == ["a.test", "a.test"]


def test_a_worker_shows_the_wildcard_while_the_exact_one_is_not_valid(store: Store) -> None:
    put(store, issue("*.deep.test"), "*.deep.test")
    put(store, issue("x.deep.test", days=11), "x.deep.test")
    worker = Worker(store)
    assert worker.shown("x.deep.test").name == "x.deep.test"
    worker.clock.now += 5 * 86400
    assert worker.shown("x.deep.test").name == "*.deep.test"
    worker.clock.now += 300 * 86400  # nothing is valid any more
    assert worker.shown("x.deep.test").name == "x.deep.test"


def test_a_store_that_cannot_be_read_when_time_changes_something_leaves_what_there_is(store: Store) -> None:
    put(store, VALID)
    put(store, EARLY)
    worker = Worker(store)
    first = worker.shown("a.test")
    worker.clock.now, worker.fault = EARLY.not_before.timestamp(), StoreError("the disk is on fire")
    assert worker.shown("a.test") is worker.shown("a.test") is first
    assert worker.looked == ["a.test", "a.test"]  # nor is it asked for each connection
    worker.clock.now, worker.fault = worker.clock.now + 10, None
    assert worker.shown("a.test") is not first


def test_nothing_to_wait_for_is_never_looked_up_again(store: Store) -> None:
    worker = Worker(store)
    assert worker.shown("nobody.test") is None
    worker.clock.now += 1000 * 86400
    assert worker.shown("nobody.test") is None
    assert len(worker.looked) == len(set(worker.looked))
    assert store.choose("nobody.test").until == NEVER
