"""Of several certificates for a name: a valid one serves, wherever they stand, and what is told of the others."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.certs.self_signed import Authority
from gateway.config.definitions import ApiDefinition, Proxy
from gateway.config.load import Configuration
from gateway.config.settings import CertificateFiles, GatewaySection, HttpServerOptions, Settings
from gateway.store.audit import Deed
from gateway.store.file_sources import Collected, collect
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.certs.pem import CertificatePair

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = Authority.create()
DAY = timedelta(days=1)


def issue(name: str, begins: int, days: int, key: Any = "ec") -> CertificatePair:
    """One that begins so many days from now, and is valid for that many."""
    return AUTHORITY.leaf(name, days=days, key=key, now=NOW + timedelta(days=begins, hours=1))


VALID, LONGER = issue("a.test", -10, 40), issue("a.test", -10, 50)
OVER, EARLY = issue("a.test", -60, 30), issue("a.test", 7, 90)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "data", writable=True)) as store:
        yield store


class Place:
    """A directory with certificates, and what becomes of configurations that name them."""

    def __init__(self, path: Path, store: Store) -> None:
        self.path, self.store = path, store
        (path / "certs").mkdir()

    def file(self, name: str, pair: CertificatePair) -> str:
        path = self.path / name
        path.touch(mode=0o600)
        path.write_bytes(pair.chain_pem + pair.key_pem)
        return str(path)

    def configuration(self, *, apis: tuple[str, ...] = (), **options: Any) -> Configuration:
        options = {"use_ssl": True, **options}
        settings = Settings(
            http_server_options=HttpServerOptions(**options),
            gateway=GatewaySection(certificates_dir=self.path / "certs"),
        )
        proxy = Proxy(listen_path="/", target_url="http://127.0.0.1/")
        api = ApiDefinition(api_id="one", domain="a.test", certificates=apis, use_keyless=True, proxy=proxy)
        return Configuration(settings=settings, apis=(api,), warnings=(), files=())

    def look(self, now: datetime = NOW, *, anew: bool = True, **options: Any) -> Collected:
        configuration = self.configuration(**options)
        found = collect(configuration, now, self.store, anew=anew)
        self.store.publish(configuration, found.entries + found.later, found.default, "test")
        return found

    def at(self, moment: datetime, name: str = "a.test") -> list[str]:
        return [pair.fingerprint for pair in self.store.choose(name, moment.timestamp()).chosen]


@pytest.fixture
def place(tmp_path: Path, store: Store) -> Place:
    return Place(tmp_path, store)


def served(found: Collected, name: str = "a.test") -> list[str]:
    return [entry.pair.fingerprint for entry in found.entries if entry.name == name]  # type: ignore[union-attr]


def in_directory(place: Place, pairs: Sequence[CertificatePair]) -> dict[str, Any]:
    for at, pair in enumerate(pairs):
        place.file(f"certs/{at}.pem", pair)
    return {}


def in_files(place: Place, pairs: Sequence[CertificatePair]) -> tuple[str, ...]:
    return tuple(place.file(f"{at}.pem", pair) for at, pair in enumerate(pairs))


def listed(place: Place, pairs: Sequence[CertificatePair]) -> dict[str, Any]:
    return {"ssl_certificates": in_files(place, pairs)}


def inline(_: Place, pairs: Sequence[CertificatePair]) -> dict[str, Any]:
    return {"ssl_certificates": tuple((pair.chain_pem + pair.key_pem).decode() for pair in pairs)}


def of_api(place: Place, pairs: Sequence[CertificatePair]) -> dict[str, Any]:
    return {"apis": in_files(place, pairs)}


def with_domain(place: Place, pairs: Sequence[CertificatePair]) -> dict[str, Any]:
    files = map(Path, in_files(place, pairs))
    return {"certificates": tuple(CertificateFiles(cert_file=one, key_file=one, domain_name="a.test") for one in files)}


ORDERS = {
    "-".join(names): tuple({"valid": VALID, "over": OVER, "early": EARLY}[name] for name in names)
    for names in permutations(("valid", "over", "early"))
}


@pytest.mark.parametrize("where", [in_directory, listed, inline, of_api, with_domain])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_valid_one_serves_in_whatever_order_they_come_and_time_changes_it(
    place: Place, where: Any, order: Any
) -> None:
    found = place.look(**where(place, order))
    assert served(found) == place.at(NOW) == [VALID.fingerprint]
    assert place.at(NOW + 6 * DAY) == [VALID.fingerprint]
    assert place.at(EARLY.not_before) == place.at(NOW + 60 * DAY) == [EARLY.fingerprint]  # it lasts longer
    assert place.store.choose("a.test").until == EARLY.not_before.timestamp()
    assert len(found.later) == 1


def test_of_valid_ones_the_one_that_lasts_longest_serves(place: Place) -> None:
    for order in permutations((VALID, LONGER)):
        assert served(place.look(**listed(place, order))) == [LONGER.fingerprint]
    assert place.look(**listed(place, (VALID, LONGER))).later == ()  # and that is for good


def test_a_place_that_goes_before_another_does_not_with_one_that_is_not_valid(place: Place) -> None:
    place.file("certs/a.pem", VALID)
    for bad in (OVER, EARLY):
        assert served(place.look(apis=(place.file("api.pem", bad),))) == [VALID.fingerprint]
    assert served(place.look(apis=(place.file("api.pem", issue("a.test", -1, 2)),))) != [VALID.fingerprint]
    assert place.at(NOW + 2 * DAY) == [VALID.fingerprint]  # and comes back when that one has ended


def test_key_types_are_chosen_each_by_itself(place: Place) -> None:
    rsa, rsa_over = issue("a.test", -10, 40, "rsa2048"), issue("a.test", -60, 30, "rsa2048")
    found = place.look(**listed(place, (rsa, OVER, rsa_over, VALID)))
    assert set(served(found)) == {rsa.fingerprint, VALID.fingerprint}
    assert served(place.look(**listed(place, (rsa, OVER)))) == [rsa.fingerprint]


def test_who_hides_whom_is_told_and_for_how_long(place: Place) -> None:
    good, over, early = (place.file(f"certs/{n}.pem", pair) for n, pair in
                         (("good", VALID), ("over", OVER), ("early", EARLY)))  # fmt: skip
    notes = {one.source: one.message for one in place.look().problems if one.severity == "note"}
    begin, end = f"{EARLY.not_before:%Y-%m-%d %H:%M} UTC", f"{OVER.not_after:%Y-%m-%d %H:%M} UTC"
    assert notes == {
        early: f"{good} serves a.test instead, because it is valid: this one begins on {begin}; until {begin}",
        over: f"{good} serves a.test instead, because it is valid: this one expired on {end}; it stays so",
    }


def test_a_file_that_is_renewed_before_its_time_serves_what_it_had_until_then(place: Place) -> None:
    path = place.file("certs/a.pem", VALID)
    place.look()
    place.file("certs/a.pem", EARLY)
    for anew in (True, False, False):  # each reload looks again
        found = place.look(anew=anew)
        assert (found.unresolved, place.at(NOW)) == ((), [VALID.fingerprint])
        assert place.at(EARLY.not_before) == [EARLY.fingerprint]
    assert any("is not valid before" in str(one) and path in str(one) for one in found.problems)
    place.look(EARLY.not_before + DAY)
    assert place.at(NOW) == [EARLY.fingerprint]  # what it had is gone


def test_the_default_is_the_first_that_is_valid(place: Place) -> None:
    over, good = issue("old.test", -60, 30), issue("new.test", -1, 30)
    options = listed(place, (over, good))
    assert place.look(**options).default == "new.test"
    assert place.look(**options, server_name="old.test").default == "old.test"
    assert place.look(**listed(place, (over,))).default == "old.test"


def test_what_was_put_hides_the_configurations_while_it_is_valid(place: Place) -> None:
    path = place.file("certs/a.pem", VALID)
    place.look()
    put = issue("a.test", -1, 3)
    place.store.put("a.test", put, lambda _: None, Deed("tester", "", "put", "a.test"))
    assert place.at(NOW) == [put.fingerprint]
    assert place.at(NOW + 5 * DAY) == [VALID.fingerprint]
    assert f"note: certificates @ {path}: what was put over the admin API serves instead for a.test" in map(
        str, place.look().problems
    )


def test_many_for_one_name_cost_no_more_than_a_few(place: Place) -> None:
    pairs = [issue("a.test", -10 - at, 40) for at in range(60)]
    for at, pair in enumerate(pairs):
        place.file(f"certs/{at:02}.pem", pair)
    found = place.look()
    assert served(found) == [pairs[0].fingerprint]
    assert len(found.later) <= 8
    assert sum(one.severity == "note" for one in found.problems) <= 11
