"""The certificate that a gateway makes for itself: when, for which names, for how long."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.certs.pem import CertificatePair
from gateway.certs.self_signed import Authority
from gateway.config.load import Configuration
from gateway.config.problems import Problem, Severity
from gateway.config.settings import GatewaySection, GatewayTls, HttpServerOptions, Settings
from gateway.store.audit import Deed
from gateway.store.default_certificate import RENEWED, stand_in
from gateway.store.file_sources import Collected
from gateway.store.sites import SELF_SIGNED, SiteEntry
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTHING = Collected((), None, ())
SSL = Settings(http_server_options=HttpServerOptions(use_ssl=True))
NOW = datetime(2026, 5, 1, tzinfo=UTC)
AUTHORITY = Authority.create("Test CA", now=NOW)
NAMES = ("node-7.lan", "localhost", "127.0.0.1", "::1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "data", writable=True)) as store:
        yield store


def publish(store: Store, collected: Collected) -> None:
    configuration = Configuration(settings=SSL, apis=(), warnings=(), files=())
    store.publish(configuration, collected.entries, collected.default, "test")


def test_it_is_for_this_host_with_a_warning_that_says_what_to_do() -> None:
    made = stand_in(NOTHING, SSL, "Node-7.lan", NOW, None)
    assert tuple(entry.name for entry in made.entries) == NAMES
    (pair,) = {entry.pair for entry in made.entries}
    assert isinstance(pair, CertificatePair)
    assert pair.names == NAMES
    assert made.made is pair
    assert {entry.source for entry in made.entries} == {SELF_SIGNED}
    assert made.default == "node-7.lan"
    (problem,) = made.problems
    assert problem.severity is Severity.WARNING
    assert "a self-signed one for node-7.lan, localhost, 127.0.0.1, ::1 serves" in problem.message
    assert "gateway cert swap" in problem.cure


def test_a_host_whose_name_is_no_name_is_localhost() -> None:
    assert stand_in(NOTHING, SSL, "my host!", NOW, None).default == "localhost"


def test_there_is_none_where_something_else_serves_or_nothing_should(store: Store) -> None:
    pair = AUTHORITY.leaf("a.test", now=NOW)
    problem = Problem(Severity.WARNING, "", "a.pem", "cannot be read")
    for other in (
        Collected((SiteEntry("a.test", pair, "a.pem"),), "a.test", ()),
        Collected((), None, (), postponed=3),
        Collected((), None, (problem,), (problem,)),
    ):
        assert stand_in(other, SSL, "host", NOW, store) is other
    assert stand_in(NOTHING, Settings(), "host", NOW, store) is NOTHING


def test_strict_names_refuse_instead_and_say_so() -> None:
    strict = SSL.model_copy(update={"gateway": GatewaySection(tls=GatewayTls(strict_sni=True))})
    found = stand_in(NOTHING, strict, "host", NOW, None)
    assert found.entries == ()
    assert [str(problem) for problem in found.problems] == [
        (
            "warning: http_server_options.use_ssl: there is no certificate, so every TLS handshake will be refused "
            "(name one in ssl_certificates or certificates)"
        )
    ]


def test_it_stays_until_its_end_is_near_or_the_host_has_another_name(store: Store) -> None:
    publish(store, stand_in(NOTHING, SSL, "host", NOW, store))
    (first,) = store.find("host")
    assert store.find("") == store.find("::1") == (first,)
    end = store.end_of_self_signed()
    assert end == first.not_after

    def fingerprint(host: str, moment) -> str:
        entry = stand_in(NOTHING, SSL, host, moment, store).entries[0]
        assert isinstance(entry.pair, CertificatePair)
        return entry.pair.fingerprint

    assert fingerprint("host", end - RENEWED - timedelta(seconds=1)) == first.fingerprint
    assert fingerprint("host", end - RENEWED) != first.fingerprint
    assert fingerprint("another", NOW) != first.fingerprint


def test_one_that_is_put_ends_it_at_once_and_answers_whoever_asks_for_no_name(store: Store) -> None:
    publish(store, stand_in(NOTHING, SSL, "host", NOW, store))
    pair = AUTHORITY.leaf("a.test", now=NOW)
    swap = store.put("a.test", pair, lambda _: None, Deed("tester", "", "put", "a.test"))
    assert swap.changed == {"a.test", "", "host", "localhost", "127.0.0.1", "::1"}
    assert store.find("localhost") == ()
    assert store.find("") == (pair,)
    assert store.end_of_self_signed() is None
    assert stand_in(NOTHING, SSL, "host", NOW, store) is NOTHING
    publish(store, replace(NOTHING))
    assert store.find("") == (pair,)


def test_a_put_for_its_own_name_takes_its_place(store: Store) -> None:
    made = stand_in(NOTHING, SSL, "host", NOW, store)
    publish(store, made)
    (first,) = store.find("localhost")
    swap = store.put("localhost", AUTHORITY.leaf("localhost", now=NOW), lambda _: None, Deed("t", "", "put", ""))
    assert swap.old == first.fingerprint
    assert store.find("host") == ()
