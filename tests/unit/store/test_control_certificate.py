"""Which certificate the control port gets, and what becomes of it when that cannot be had."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.certs.self_signed import Authority
from gateway.config.load import Configuration
from gateway.config.settings import ControlTls, Settings
from gateway.routing.policies import towards_clients
from gateway.store import control_certificate, uploads
from gateway.store.audit import Deed
from gateway.store.control_certificate import collect
from gateway.store.sites import CONTROL_PORT, SiteEntry
from gateway.store.sqlite import Store
from gateway.tls.policy import server_policy
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gateway.certs.pem import CertificatePair
    from gateway.store.file_sources import Collected

NOW = datetime.now(UTC)
POLICY = towards_clients(Settings())[0]
RSA_ONLY = server_policy(
    TlsVersion.TLS1_2, TlsVersion.TLS1_2, ("ECDHE-RSA-AES128-GCM-SHA256",), server_preference=True
)[0]
DEED = Deed("test", "", "test", "")
AUTHORITY = Authority.create()


def bundle(pair: CertificatePair) -> str:
    return (pair.chain_pem + pair.key_pem).decode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path, writable=True)) as store:
        publish(store)
        yield store


def publish(store: Store, *entries: SiteEntry) -> None:
    store.publish(Configuration(settings=Settings(), apis=(), warnings=(), files=()), entries, None, "test")


def found(collected: Collected) -> list[CertificatePair]:
    assert {entry.name for entry in collected.entries} <= {CONTROL_PORT}
    return [entry.pair for entry in collected.entries]


def of_domain(store: Store | None, *sites: SiteEntry, domain: str = "admin.test") -> Collected:
    return collect(ControlTls(domain=domain), sites, NOW, POLICY, store)


def referred(reference: str, store: Store | None = None, now: datetime = NOW) -> Collected:
    return collect(ControlTls(certificate=reference), (), now, POLICY, store)


def test_a_domain_gives_what_is_served_for_it_and_what_was_put_goes_first(store: Store) -> None:
    exact, wildcard, put = (AUTHORITY.leaf(name) for name in ("admin.test", "*.test", "admin.test"))
    sites: Sequence[SiteEntry] = [SiteEntry("*.test", wildcard, "w"), SiteEntry("admin.test", exact, "e")]
    assert found(of_domain(store, *sites)) == [exact]
    assert found(of_domain(store, *sites, domain="Other.Test.")) == [wildcard]
    store.put("admin.test", put, lambda _: None, DEED)
    assert found(of_domain(store, *sites)) == [put]


def test_what_is_in_the_store_inline_or_in_a_file_is_found(store: Store, tmp_path: Path) -> None:
    pair = AUTHORITY.leaf("admin.test")
    stored, kept = uploads.examine("org", bundle(pair).encode(), None, NOW)
    store.add_certificate(stored, kept, DEED)
    path = tmp_path / "control.pem"
    path.touch(0o600)
    path.write_text(bundle(pair))
    for reference in (stored.id, bundle(pair), str(path)):
        collected = referred(reference, store)
        assert (found(collected), collected.problems) == ([pair], ())
    path.chmod(0o644)
    assert "every user" in str(referred(str(path)).problems)


@pytest.mark.parametrize("reference", ["/nowhere.pem", "0" * 64, "-----BEGIN nothing", "DOMAIN"])
def test_what_cannot_be_had_is_an_error_unless_there_is_a_last_good_one(store: Store, reference: str) -> None:
    def ask(store: Store | None) -> Collected:
        return of_domain(store) if reference == "DOMAIN" else referred(reference, store)

    nothing = ask(store)
    assert ([problem.severity for problem in nothing.problems], nothing.entries) == (["error"], ())
    assert ask(None).entries == ()
    last = AUTHORITY.leaf("admin.test")
    publish(store, SiteEntry(CONTROL_PORT, last, "gateway.control_tls"))
    kept = ask(store)
    assert ([problem.severity for problem in kept.problems], found(kept)) == (["warning"], [last])
    assert "-----BEGIN" not in str(kept.problems)


def test_an_expired_one_is_shown_unless_the_last_one_is_good(store: Store) -> None:
    old, good = AUTHORITY.leaf("admin.test", days=1, now=NOW - timedelta(days=9)), AUTHORITY.leaf("admin.test")
    first = referred(bundle(old), store)
    assert found(first) == [old]
    assert "expired" in str(first.problems)
    publish(store, SiteEntry(CONTROL_PORT, good, "gateway.control_tls"))
    assert found(referred(bundle(old), store)) == [good]
    assert found(referred(bundle(good), store, NOW + timedelta(days=900))) == [good]


def test_one_that_the_policy_does_not_allow_is_refused_and_so_is_the_last_one(store: Store) -> None:
    ec, rsa = AUTHORITY.leaf("admin.test"), AUTHORITY.leaf("admin.test", key="rsa2048")
    publish(store, SiteEntry(CONTROL_PORT, ec, "gateway.control_tls"))
    refused = collect(ControlTls(certificate=bundle(ec)), (), NOW, RSA_ONLY, store)
    assert ([problem.severity for problem in refused.problems], refused.entries) == (["error"], ())
    assert found(collect(ControlTls(certificate=bundle(rsa)), (), NOW, RSA_ONLY, store)) == [rsa]


def test_without_tls_there_is_nothing(store: Store) -> None:
    assert collect(None, (), NOW, POLICY, store).entries == ()


def test_its_own_certificate_is_no_domain_and_stands_in_for_one_that_is_gone(store: Store) -> None:
    pair, other = AUTHORITY.leaf("admin.test"), AUTHORITY.leaf("a.test")
    publish(store, SiteEntry("a.test", other, "file"), SiteEntry(CONTROL_PORT, pair, "gateway.control_tls"))
    assert store.names("", 10) == ["a.test"]
    assert control_certificate.find(ControlTls(domain="gone.test"), store).chosen == (pair,)
    assert control_certificate.find(ControlTls(domain="a.test"), store).chosen == (other,)
    assert [one.fingerprint for one in control_certificate.served(ControlTls(certificate="x"), store)] == [
        pair.fingerprint
    ]


@pytest.mark.parametrize("name", ["pipe", "x" * 300])
def test_a_name_of_no_file_is_told_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    collected = collect(ControlTls(certificate=str(tmp_path / name)), (), NOW, POLICY, None)
    assert [problem.path for problem in collected.unresolved] == ["gateway.control_tls.certificate"]
