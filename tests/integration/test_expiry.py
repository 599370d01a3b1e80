"""The ends of certificates, wherever the gateway knows one from, told in time and not again and again."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.certs.self_signed import Authority, self_signed
from gateway.config.client_trust import ClientTrust
from gateway.config.definitions import ApiDefinition
from gateway.config.expiry import ExpiryMonitor
from gateway.config.load import Configuration
from gateway.config.material import Material, Purpose, key
from gateway.config.settings import GatewaySection, Settings
from gateway.observe.events import EventLog
from gateway.runtime.expiry import ExpiryWatch
from gateway.store.audit import Deed
from gateway.store.expiry import ExpiryStore
from gateway.store.sites import SiteEntry
from gateway.store.sqlite import Store
from gateway.store.uploads import examine

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
DEED = Deed("test", "", "test", "test")


def pair(name: str, days: int) -> CertificatePair:
    return self_signed(name, days=days, now=NOW - timedelta(hours=23))


class Node:
    """A store, a configuration and a clock, which are the test's; ``told`` is what the event log has got since."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.now = directory, NOW
        self.configuration = Configuration(settings=Settings(), apis=(), warnings=(), files=())
        self.log = directory / "log"
        self.store = Store.open(directory, writable=True)
        self.serve()

    def serve(self, *pairs: CertificatePair) -> None:
        entries = [SiteEntry(one.names[0], one, "") for one in pairs]
        self.store.publish(self.configuration, entries, None, "test")

    def watch(self) -> ExpiryWatch:
        """As a control that has just started."""
        events = EventLog(os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC))
        return ExpiryWatch(self.directory, lambda: self.configuration, lambda: 1, events, lambda: self.now)

    def told(self) -> list[str]:
        watch = self.watch()
        assert not watch.look()
        return self.log.read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path):
    node = Node(tmp_path)
    with closing(node.store):
        yield node


def test_what_ends_within_thirty_days_is_told_with_tyks_words_and_fields(node: Node) -> None:
    soon, later = pair("soon.test", 11), pair("later.test", 90)
    node.serve(soon, later)
    (line,) = node.told()
    assert " warn  Certificate soon.test is expiring in 10 days  event=CertificateExpiringSoon " in line
    assert f" cert_id={soon.fingerprint} cert_name=soon.test expires_at=2030-01-11T12:00:00Z days_remaining=10 " in line
    assert " cert_role=server places=soon.test" in line


def test_nobody_is_told_again_before_the_cooldown_has_passed_whoever_asks(node: Node) -> None:
    node.serve(pair("soon.test", 11))
    assert len(node.told()) == 1
    node.now += timedelta(hours=23, minutes=59)
    assert node.told() == []
    node.now += timedelta(minutes=2)
    (line,) = node.told()
    assert "is expiring in 8 days and 23 hours" in line
    node.now = NOW + timedelta(days=9, hours=23, minutes=30)
    (line,) = node.told()
    assert "is expiring in 0 hours" in line
    node.now += timedelta(hours=1)
    (line,) = node.told()
    assert "Certificate soon.test is expired since 0 hours  event=CertificateExpired " in line
    assert "expired_at=2030-01-11T12:00:00Z days_since_expiry=0 " in line


def test_what_a_renewal_has_replaced_is_told_no_more(node: Node) -> None:
    old, new = pair("a.test", 5), pair("a.test", 90)
    node.store.put("a.test", old, lambda _: None, DEED)
    assert len(node.told()) == 1
    node.store.put("a.test", new, lambda _: None, DEED)
    node.now += timedelta(days=10)
    assert node.told() == []


def test_certificates_that_are_not_served_are_watched_as_well(node: Node) -> None:
    authority, upstream = Authority.create("Old CA", now=NOW - timedelta(days=3640)), pair("client.of.upstream", 20)
    kept, alone = pair("kept.test", 10), pair("alone.test", 15)
    for pem in (kept.chain_pem + kept.key_pem, alone.chain_pem):
        node.store.add_certificate(*examine("acme", pem, None, NOW), DEED)
    settings = Settings.model_validate({"security": {"certificates": {"upstream": {"*": "/identity.pem"}}}})
    settings = settings.model_copy(update={"gateway": GatewaySection(ca_certificates={"ours": "/ca.pem"})})
    found = {
        key(Purpose.IDENTITY, "/identity.pem"): (upstream.chain_pem + upstream.key_pem).decode(),
        key(Purpose.AUTHORITIES, "/ca.pem"): authority.pair.chain_pem.decode(),
    }
    node.configuration = node.configuration.model_copy(update={"settings": settings, "material": Material(found=found)})
    told = sorted(line.partition("cert_name=")[2] for line in node.told())
    assert ["Old CA" in line or line.split()[0] for line in told] == [
        True, "alone.test", "client.of.upstream", "kept.test",
    ]  # fmt: skip
    assert [line.partition("cert_role=")[2].split()[0] for line in told] == ["authority", "store", "upstream", "store"]
    assert "places=gateway.ca_certificates.ours" in told[0]
    assert f"places=acme{alone.fingerprint}" in told[1]
    assert node.told() == []
    ending = node.watch().ending(NOW + timedelta(days=12), 10)
    assert [one.name for one in ending if one.role == "store"] == ["kept.test"]


def test_one_that_is_kept_here_and_named_there_is_told_once_with_what_it_is_for(node: Node) -> None:
    stored = pair("stored.test", 5)
    node.store.add_certificate(*examine("", stored.chain_pem, None, NOW), DEED)
    security = {"control_api_use_mutual_tls": True, "certificates": {"control_api": (stored.fingerprint,)}}
    trust = ClientTrust(found={stored.fingerprint: stored.chain_pem.decode()})
    settings = Settings.model_validate({"security": security})
    node.configuration = node.configuration.model_copy(update={"settings": settings, "client_trust": trust})
    (line,) = node.told()
    assert "cert_role=client places=security.certificates.control_api[0]" in line
    assert node.told() == []
    (ending,) = node.watch().ending(NOW + timedelta(days=30), 10)
    assert ending.role == "client"


def test_the_monitor_obeys_its_settings_and_0_is_the_default(node: Node) -> None:
    node.serve(pair("a.test", 50))
    assert node.told() == []
    monitor = ExpiryMonitor(warning_threshold_days=60, event_cooldown_seconds=10)
    settings = Settings.model_validate({"security": {"certificate_expiry_monitor": monitor.model_dump()}})
    node.configuration = node.configuration.model_copy(update={"settings": settings})
    assert len(node.told()) == 1
    node.now += timedelta(seconds=11)
    assert len(node.told()) == 1
    zero = ExpiryMonitor(warning_threshold_days=0, check_cooldown_seconds=0, event_cooldown_seconds=0)
    assert (zero.threshold, zero.between_looks, zero.between_events) == (30 * 86400, 3600, 86400)


def test_very_many_are_told_little_by_little_and_the_first_to_end_first(node: Node) -> None:
    node.serve(*(pair(f"{number}.test", 25 - number % 20) for number in range(1001)))
    watch = node.watch()
    assert watch.look()
    assert "ending within 30 days: 1000 or more (" in watch.summary
    assert len(node.log.read_text().splitlines()) == 500
    assert "days_remaining=20" not in node.log.read_text()
    assert watch.look()
    assert not watch.look()
    assert len(node.log.read_text().splitlines()) == 1001


def test_the_search_goes_along_the_dates(node: Node) -> None:
    from gateway.store import expiry

    pairs = expiry._PAIRS.format(more=f"{expiry._USED} AND {expiry._UNTOLD.format(fingerprint='fingerprint')}")
    for query, index in ((pairs, "materials_by_expiry"), (expiry._OTHERS.format(more="1"), "certificates_by_expiry")):
        asked = {"before": 1, "now": 1, "limit": 1}
        with closing(ExpiryStore.open(node.directory, writable=False)) as store:
            plan = store._database.execute(f"EXPLAIN QUERY PLAN {query}", asked).fetchall()
        assert index in str(plan)
        assert "SCAN" not in str(plan)


def test_clients_certificates_and_their_cas_are_watched_like_all_others(node: Node) -> None:
    client, ca, shared = pair("client.test", 11), Authority.create("Clients' CA", days=8, now=NOW), pair("all.test", 5)
    proxy = {"listen_path": "/", "target_url": "http://a"}
    listed = [client.chain_pem.decode(), "/ca.pem", "/missing.pem"]
    api = {"api_id": "one", "use_keyless": True, "use_mutual_tls_auth": True, "client_certificates": listed}
    node.configuration = Configuration(
        settings=Settings.model_validate({"security": {"certificates": {"apis": ("/all.pem",)}}}),
        apis=(ApiDefinition.model_validate({**api, "proxy": proxy}, strict=False),),
        warnings=(),
        files=(),
        client_trust=ClientTrust(found={"/ca.pem": ca.pair.chain_pem.decode(), "/all.pem": shared.chain_pem.decode()}),
    )
    told = {line.partition("cert_name=")[2].split("  ")[0].split(" expires")[0]: line for line in node.told()}
    assert len(told) == 3
    assert all("cert_role=client" in line for line in told.values())
    (line,) = (line for name, line in told.items() if "client.test" in name)
    assert "api_id=one" in line
    assert "places=apis[one].client_certificates[0]" in line
