from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.rules import TYK_DEFAULT_SECRET

if TYPE_CHECKING:
    from unit.config.workshop import Workshop

Api = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("options", "leaves_some"),
    [
        ({}, True),
        ({"min_version": 772}, True),
        ({"min_version": 769}, True),
        ({"max_version": 771}, True),
        ({"min_version": 769, "max_version": 769}, True),
        ({"min_version": 0, "max_version": 0}, True),
        ({"max_version": 770}, False),
        ({"min_version": 772, "max_version": 771}, False),
        ({"min_version": "1.3", "max_version": "1.2"}, False),
    ],
)
def test_tls_versions_must_leave_one(workshop: Workshop, api: Api, options: dict[str, Any], leaves_some: bool) -> None:
    towards = {f"ssl_{key}": value for key, value in options.items()}
    for main in (
        {"http_server_options": options},
        {f"proxy_{key}": value for key, value in towards.items()},
        {"apis": [api(proxy={"transport": towards})]},
    ):
        assert ("leaves no TLS version" in workshop.told(main)) is not leaves_some


def test_the_versions_of_an_api_count_together_with_the_global_ones(workshop: Workshop, api: Api) -> None:
    definition = api(proxy={"transport": {"ssl_min_version": 772}})
    told = workshop.told({"proxy_ssl_max_version": 771, "apis": [definition]})
    assert (
        "error: apis[0].proxy.transport.ssl_min_version @ main.json:1: leaves no TLS version: the lowest is 1.3" in told
    )


@pytest.mark.parametrize(
    ("main", "words"),
    [
        ({"listen_port": 9696}, "control_api_port @ main.json:1: the port 9696 is already that of listen_port"),
        ({"gateway": {"http_redirect": {"port": 8080}}}, "gateway.http_redirect.port @ main.json:1: the port 8080"),
        ({"secret": TYK_DEFAULT_SECRET}, "warning: secret @ main.json:1: is the default that Tyk publishes"),
        ({"secret": "vault://a/b"}, "error: secret @ main.json:1: is a reference"),
        (
            {"gateway": {"http_redirect": {"port": 1}}},
            "warning: gateway.http_redirect @ main.json:1: sends clients to HTTPS",
        ),
        (
            {"http_server_options": {"ssl_certificates": ["a"]}},
            "warning: http_server_options.use_ssl @ main.json:1: is false",
        ),
        ({}, "warning: main.json:1: no API is defined"),
        (
            {
                "http_server_options": {
                    "certificates": [{"cert_file": "a", "key_file": "b", "passphrase": "x", "passphrase_file": "y"}]
                }
            },
            "error: http_server_options.certificates[0].passphrase @ main.json:1: stands beside passphrase_file",
        ),
    ],
)
def test_the_main_file_agrees_with_itself(workshop: Workshop, main: dict[str, Any], words: str) -> None:
    assert words in workshop.told(main)
    assert TYK_DEFAULT_SECRET not in workshop.told(main)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listen_port": 9696}, "error: apis[0].listen_port @ main.json:1: the port 9696 is already that of control"),
        ({"listen_port": 70000}, "error: apis[0].listen_port @ main.json:1: 70000 is not a port"),
        (
            {"listen_port": 9000, "enable_proxy_protocol": True},
            "error: apis[0].enable_proxy_protocol @ main.json:1: does not say whose word counts",
        ),
        ({"protocol": "h2c"}, "error: apis[0].protocol @ main.json:1: 'h2c' is not supported"),
        ({"proxy": {"enable_load_balancing": True}}, "error: apis[0].proxy.target_list @ main.json:1: is empty"),
        ({"proxy": {"target_url": None}}, "error: apis[0].proxy.target_url @ main.json:1: is required and missing"),
        ({"proxy": {"target_url": "tcp://a:1"}}, "error: apis[0].proxy.target_url @ main.json:1: is neither http nor"),
        ({"api_id": "a b"}, "error: apis[0].api_id @ main.json:1: is empty, or has a space"),
    ],
)
def test_a_definition_agrees_with_the_gateway(
    workshop: Workshop, api: Api, changes: dict[str, Any], words: str
) -> None:
    told = workshop.told({"apis": [api(**changes)]})
    assert words in told
    assert told.count("error") == 1


def test_the_port_and_the_protocols_of_the_gateway_may_be_named(workshop: Workshop, api: Api) -> None:
    main = {"listen_port": 81, "apis": [api(listen_port=81, protocol="https")]}
    assert "apis[0].protocol @ main.json:1: is not used: the port of the gateway speaks http" in workshop.told(main)
    assert workshop.load(main | {"http_server_options": {"use_ssl": True}}).warnings == ()


def test_apis_may_share_a_port_of_their_own_if_they_agree_about_it(workshop: Workshop, api: Api) -> None:
    def own(name: str, **changes: Any) -> Any:
        proxy = {"listen_path": changes.pop("path", f"/{name}"), "target_url": "http://127.0.0.1:1/"}
        return api(api_id=name, listen_port=9000, proxy=proxy) | changes

    assert (
        workshop.told({"apis": [own("a"), own("b"), own("c", protocol="http"), api(proxy={"listen_path": "/a"})]}) == ""
    )
    assert "'b' and 'a' (main.json:1) share the port 9000, which has one protocol" in workshop.told(
        {"apis": [own("a"), own("b", protocol="https")]}
    )
    assert "are both /a on any host" in workshop.told({"apis": [own("a"), own("b", path="/a")]})
    tls = {"protocol": "https", "gateway": {"tls": {"min_version": "1.3"}}, "domain": "a.test"}
    other = tls | {"gateway": {"tls": {"min_version": "1.2"}}, "listen_port": 9001}
    assert workshop.told({"apis": [own("a", **tls), own("b", **other)]}) == "", "each port has its own TLS"


def test_the_whitelist_of_ports_counts_for_apis_as_well(workshop: Workshop, api: Api) -> None:
    main = {"ports_whitelist": {"https": {"ports": [9000]}}, "apis": [api(listen_port=9000)]}
    assert "ports_whitelist does not allow the port 9000 to the protocol http" in workshop.told(main)
    assert workshop.told(main | {"disable_ports_whitelist": True}) == ""
    assert workshop.told(main | {"apis": [api(listen_port=9000, protocol="https")]}) == ""


def test_a_balanced_api_needs_no_target_url(workshop: Workshop, api: Api) -> None:
    proxy = {"enable_load_balancing": True, "target_list": ["a:1", "https://b"], "target_url": None}
    served = workshop.load({"apis": [api(proxy=proxy)]}).apis[0].proxy
    assert (served.target_list, served.target_url) == (("http://a:1", "https://b"), "http://a:1")


def test_two_apis_with_one_id_are_an_error_that_names_both_places(workshop: Workshop, api: Api) -> None:
    workshop.write(api(), "apps/one.json")
    workshop.write(api(proxy={"listen_path": "/b"}), "apps/two.json")
    assert "error: api_id @ apps/two.json:1: the api_id 'one' is already taken (apps/one.json:1)" in workshop.told({})


@pytest.mark.parametrize(
    ("main", "first", "second", "collide"),
    [
        ({}, {}, {}, True),
        ({}, {"domain": "A.example."}, {"domain": "a.example"}, True),
        ({}, {"domain": "a.example"}, {"domain": "b.example"}, False),
        ({}, {"domain": "a.example"}, {}, False),
        ({"hostname": "a.example"}, {"domain": "a.example"}, {}, True),
        ({}, {"domain": "a.example", "domain_disabled": True}, {}, True),
        ({"enable_custom_domains": False}, {"domain": "a.example"}, {"domain": "b.example"}, True),
    ],
)
def test_two_apis_in_one_place_are_an_error_that_names_both(
    workshop: Workshop, api: Api, main: dict[str, Any], first: dict[str, Any], second: dict[str, Any], collide: bool
) -> None:
    told = workshop.told({**main, "apis": [api(api_id="A", **first), api(api_id="B", **second)]})
    assert (
        "error: apis[1].proxy.listen_path @ main.json:1: 'B' and 'A' (main.json:1) are both / on " in told
    ) is collide


def test_a_domain_that_is_not_routed_is_a_warning(workshop: Workshop, api: Api) -> None:
    told = workshop.told({"enable_custom_domains": False, "apis": [api(domain="a.example")]})
    assert "warning: apis[0].domain @ main.json:1: is not used" in told


@pytest.mark.parametrize(
    ("control_tls", "said"),
    [
        ("admin.pem", ""),
        ({"domain": "admin.test"}, ""),
        ({}, "has to name either certificate or domain"),
        ({"certificate": "admin.pem", "domain": "admin.test"}, "has to name either certificate or domain"),
        ({"domain": "{any}.test"}, "is a pattern"),
        ({"domain": "https://admin.test"}, "is a URL"),
    ],
)
def test_the_control_port_takes_its_certificate_from_one_place(
    workshop: Workshop, api: Api, control_tls: object, said: str
) -> None:
    told = workshop.told({"gateway": {"control_tls": control_tls}, "apis": [api()]})
    assert said in told
    assert told.count("control_tls") == bool(said)


def test_the_file_of_the_control_port_lies_beside_the_configuration(workshop: Workshop, api: Api) -> None:
    gateway = workshop.load({"gateway": {"control_tls": "admin.pem"}, "apis": [api()]}).settings.gateway
    assert gateway.control_tls
    assert gateway.control_tls.certificate == str(workshop.directory / "admin.pem")
