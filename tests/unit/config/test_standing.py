"""What becomes of definitions that are wrong: each harms itself alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.load import Configuration, load_what_can_be_served
from gateway.config.standing import Standing
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

JWT = {"enable_jwt": True, "use_keyless": False}
ASKS_IN_VAIN: list[dict[str, Any]] = [
    JWT,
    {"use_keyless": False},
    {"enable_ip_whitelisting": True, "allowed_ips": []},
    {"client_certificates": ["-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"]},
    {"enable_jwt": True, "use_keyless": "nonsense", "proxy": {"listen_path": "/one/", "target_url": "nonsense"}},
]


class Apps:
    """A main file, definitions beside it, and what is served of them from one reload to the next."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "apps"
        self.main = directory / "gateway.json"
        self.main.write_text('{"http_server_options": {"use_ssl": true}}')
        self.directory.mkdir()
        self.served: Configuration | None = None
        for name in ("one", "two"):
            self.write(name)

    def write(self, name: str, **changes: Any) -> None:
        proxy = {"listen_path": f"/{name}/", "target_url": "http://127.0.0.1:9000/"}
        definition = {"api_id": name, "use_keyless": True, "proxy": proxy} | changes
        (self.directory / f"{name}.json").write_text(json.dumps(definition))

    def text(self, name: str, text: str) -> None:
        (self.directory / f"{name}.json").write_text(text)

    def reload(self) -> dict[str, Standing]:
        """Read everything again, with what was served before as a store keeps it; tell of all that is refused."""
        last = self.served and Configuration.model_validate_json(self.served.model_dump_json())
        self.served = load_what_can_be_served(self.main, {}, lambda _: last)
        return {one.source.rpartition("/")[2]: one.standing for one in self.served.refused}

    def paths(self) -> list[str]:
        assert self.served
        return [api.proxy.listen_path for api in self.served.apis]

    def closed(self) -> list[tuple[str, str]]:
        assert self.served
        return [(api.domain, api.proxy.listen_path) for api in self.served.closed]


@pytest.fixture
def apps(tmp_path: Path) -> Apps:
    return Apps(tmp_path)


BROKEN = [
    "",
    "{",
    "[]",
    "null",
    "\x00",
    '{"api_id": "one", "use_keyless": true}',
    '{"use_keyless": true, "api_id": 1, "proxy": {"listen_path": "/x/"}}',
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_cannot_be_read_keeps_its_last_good_state_from_reload_to_reload(apps: Apps, text: str) -> None:
    assert apps.reload() == {}
    apps.text("one", text)
    apps.write("two", proxy={"listen_path": "/other/", "target_url": "http://127.0.0.1:9000/"})
    for _ in range(2):
        assert apps.reload() == {"one.json": Standing.LAST_GOOD}
        assert apps.paths() == ["/one/", "/other/"]
    apps.write("one")
    assert apps.reload() == {}
    assert apps.paths() == ["/one/", "/other/"]


@pytest.mark.parametrize("changes", ASKS_IN_VAIN)
def test_what_asks_for_a_protection_is_out_of_service_until_it_is_mended(apps: Apps, changes: dict[str, Any]) -> None:
    apps.reload()
    apps.write("one", **changes)
    for _ in range(2):
        assert apps.reload() == {"one.json": Standing.OUT_OF_SERVICE}
        assert (apps.paths(), apps.closed()) == (["/two/"], [("", "/one/")])
    apps.text("one", "{broken")
    assert apps.reload() == {"one.json": Standing.OUT_OF_SERVICE}, "nothing good is known from before"
    assert apps.closed() == [("", "/one/")]
    apps.write("one")
    assert apps.reload() == {}
    assert (apps.paths(), apps.closed()) == (["/one/", "/two/"], [])


def test_at_a_first_start_the_others_serve_and_a_place_is_held_where_it_is_known(apps: Apps) -> None:
    apps.write("one", domain="a.test", version_data="nonsense")
    apps.text("three", '{"proxy": {"listen_path": "/three/"}}')
    apps.text("four", "{")
    apps.write("five", domain="*.*", proxy={"listen_path": "/five/", "target_url": "http://127.0.0.1:1/"})
    apps.write("six", proxy={"target_url": "http://127.0.0.1:1/"})
    unknown, out = Standing.UNKNOWN, Standing.OUT_OF_SERVICE
    assert apps.reload() == {
        "one.json": out, "three.json": out, "four.json": unknown, "five.json": out, "six.json": unknown,
    }  # fmt: skip
    assert apps.paths() == ["/two/"]
    assert apps.closed() == [("", "/five/"), ("a.test", "/one/"), ("", "/three/")]


@pytest.mark.parametrize(
    ("domain", "path", "held"),
    [
        ("{x:(}.a.test", "/", ("{any:.*}.a.test", "/")),
        ("{x:www|(?i)api}.a.test", "/x/", ("{any:.*}.a.test", "/x/")),
        ("{x:[[:alpha:]]+}.{y}.test", "/", ("{any:.*}.{y}.test", "/")),
        ("a.test{x", "/", ("a.test{any:.*}", "/")),
        ("{x:(www|api}", "/x/", ("", "/x/")),
        ("http://a.test:80/x", "/", ("a.test", "/")),
        ("a.test", "/x/{id:(}/y", ("a.test", "/x/{any:.*}/y")),
        ("a.test", "/x/{id", ("a.test", "/x/{any:.*}")),
        ("a.test", "{id:(}", ("a.test", "/")),
        ("a.test", "/{id:\\N{BULLET}}/", ("a.test", "/")),
        ("{x:(www|api}", "/", None),
        ("", "/{id:(}", None),
    ],
)
def test_a_place_that_cannot_be_read_is_held_with_what_is_around_it(
    apps: Apps, domain: str, path: str, held: tuple[str, str] | None
) -> None:
    apps.write("one", domain=domain, proxy={"listen_path": path, "target_url": "http://127.0.0.1:1/"})
    assert apps.reload() == {"one.json": Standing.OUT_OF_SERVICE if held else Standing.UNKNOWN}
    assert apps.closed() == ([held] if held else [])


def test_of_two_that_claim_one_place_the_one_that_was_there_keeps_it(apps: Apps) -> None:
    apps.reload()
    apps.write("a-newcomer", api_id="new", proxy={"listen_path": "/two/", "target_url": "http://127.0.0.1:1/"})
    apps.write("copy", api_id="one")
    assert apps.reload() == {"a-newcomer.json": Standing.OUT_OF_SERVICE, "copy.json": Standing.OUT_OF_SERVICE}
    assert apps.served
    assert [api.api_id for api in apps.served.apis] == ["one", "two"]
    (apps.directory / "copy.json").unlink()
    apps.write("one", proxy={"listen_path": "/two/", "target_url": "http://127.0.0.1:1/"})
    found = apps.reload()
    assert found["one.json"] is Standing.LAST_GOOD, "the one that changed is wrong"
    assert apps.paths() == ["/one/", "/two/"]


def test_who_does_not_fit_only_to_what_is_out_itself_is_served(apps: Apps) -> None:
    apps.write("x", proxy={"listen_path": "/one/", "target_url": "http://127.0.0.1:1/"})
    apps.write("y", api_id="x", proxy={"listen_path": "/y/", "target_url": "http://127.0.0.1:1/"})
    assert apps.reload() == {"x.json": Standing.OUT_OF_SERVICE}
    assert apps.paths() == ["/one/", "/two/", "/y/"]


def test_a_change_of_tls_that_the_others_of_the_domain_do_not_share_is_what_is_wrong(apps: Apps) -> None:
    tls = {"domain": "a.test", "gateway": {"tls": {"min_version": "1.2"}}}
    apps.write("one", **tls)
    apps.write("two", **tls)
    apps.reload()
    apps.write("one", domain="a.test", gateway={"tls": {"min_version": "1.3"}})
    assert apps.reload() == {"one.json": Standing.LAST_GOOD}
    assert apps.served
    assert {api.gateway.tls.min_version for api in apps.served.apis} == {771}


def test_what_holds_a_place_keeps_what_its_neighbours_rely_on(apps: Apps) -> None:
    apps.write("one", domain="a.test", certificates=["a.pem"], gateway={"tls": {"min_version": "1.3"}}, **JWT)
    apps.write("two", domain="a.test")
    apps.reload()
    assert apps.served
    (closed,) = apps.served.closed
    assert (len(closed.certificates), closed.gateway.tls.min_version) == (1, 772)
    apps.write("two", domain="a.test", certificates=["b.pem"], gateway={"tls": {"min_version": "1.2"}})
    apps.reload()
    (closed,) = apps.served.closed
    assert (closed.certificates, closed.gateway.tls.min_version) == ((), None)


def test_strictness_stops_at_any_error_and_the_main_file_always_does(apps: Apps) -> None:
    apps.write("one", **JWT)
    for variables in ({"TYK_GW_GATEWAY_STRICT": "true"}, {"TYK_GW_LISTENPORT": "many"}):
        with pytest.raises(ConfigurationError) as raised:
            load_what_can_be_served(apps.main, variables)
        assert ("use_keyless" in str(raised.value)) is (len(variables) == 1)


def test_an_inline_definition_is_found_by_its_id_or_its_place(apps: Apps) -> None:
    def inline(**changes: Any) -> None:
        proxy = {"listen_path": "/in/", "target_url": "http://127.0.0.1:1/"}
        api = {"api_id": "in", "use_keyless": True, "proxy": proxy} | changes
        apps.main.write_text(
            json.dumps({"apis": [api, {**api, "api_id": "x", "proxy": {**proxy, "listen_path": "/x/"}}]})
        )

    inline()
    apps.reload()
    for changes in ({"active": "maybe"}, {"api_id": ""}, {"api_id": "a b", "domain": ""}):
        inline(**changes)
        assert list(apps.reload().values()) == [Standing.LAST_GOOD], changes
        assert apps.paths() == ["/in/", "/x/"]
    inline(domain="*.*.test")
    assert list(apps.reload().values()) == [Standing.LAST_GOOD]
