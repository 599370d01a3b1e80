"""Services in the configuration: what makes sense, and what is told of what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.load import Configuration
from tests.unit.config.workshop import Workshop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def service(api_id: str = "one", **changes: Any) -> dict[str, Any]:
    found = {"api_id": api_id, "protocol": "tls", "listen_port": 9000, "proxy": {"target_url": "tcp://127.0.0.1:1"}}
    return found | changes


def test_a_definition_of_tyk_is_a_service(workshop: Workshop) -> None:
    loaded = workshop.load({"apis": [service(domain="a.test", certificates=["a.pem"], use_keyless=False)]})
    (one,) = loaded.apis
    assert (one.is_service, one.terminates_tls, one.listen_port) == (True, True, 9000)
    assert loaded.warnings == ()
    assert Configuration.model_validate_json(loaded.model_dump_json()) == loaded
    assert loaded.of_port(0).apis == ()
    assert loaded.of_port(9000).apis == (one,)


def test_targets_without_scheme_are_of_the_protocol(workshop: Workshop) -> None:
    proxy = {"enable_load_balancing": True, "target_list": ["a:1", "tcp://b:2"]}
    (one,) = workshop.load({"apis": [service(proxy=proxy)]}).apis
    assert (one.proxy.target_list, one.proxy.target_url) == (("tls://a:1", "tcp://b:2"), "tls://a:1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listen_port": 0}, "apis[0].listen_port @ main.json:1: is missing: a tls service needs a port of its own"),
        ({"listen_port": 8080}, "apis[0].listen_port @ main.json:1: the port 8080 is already that of listen_port"),
        ({"listen_port": 9696}, "apis[0].listen_port @ main.json:1: the port 9696 is already that of control_api_port"),
        ({"listen_port": 65536}, "apis[0].listen_port @ main.json:1: 65536 is not a port"),
        ({"proxy": {"target_url": "http://a/"}}, "proxy.target_url @ main.json:1: is an http URL, and a tls service"),
        ({"proxy": {"target_url": "tcp://a"}}, "proxy.target_url @ main.json:1: is not a host and a port"),
        ({"proxy": {"target_url": "tcp://a:1/x"}}, "proxy.target_url @ main.json:1: is not a host and a port"),
        ({"proxy": {}}, "proxy.target_url @ main.json:1: is required and missing (write tcp://host:port)"),
        (
            {"proxy": {"enable_load_balancing": True, "target_list": ["a"]}},
            "proxy.target_list @ main.json:1: is not a host and a port",
        ),
        ({"domain": "{x}.a.test"}, "apis[0].domain @ main.json:1: is a pattern"),
        ({"protocol": "tcp", "gateway": {"passthrough": True}}, "gateway.passthrough @ main.json:1: is for tls"),
        ({"protocol": "tcp", "gateway": {"negotiate": "postgresql"}}, "gateway.negotiate @ main.json:1: is for tls"),
        ({"gateway": {"negotiate": "mysql"}}, "gateway.negotiate @ main.json:1: must be '' or 'postgresql'"),
        ({"gateway": {"allow_plain": True}}, "gateway.allow_plain @ main.json:1: is for services that negotiate"),
        (
            {"gateway": {"passthrough": True}, "proxy": {"target_url": "tls://a:1"}},
            "proxy.target_url @ main.json:1: would be spoken to in TLS within TLS",
        ),
        (
            {"gateway": {"passthrough": True, "tls": {"min_version": "1.3"}}, "domain": "a.test"},
            "gateway.tls @ main.json:1: cannot be kept: TLS does not end at this gateway",
        ),
        ({"gateway": {"balancing": "sticky"}}, "gateway.balancing @ main.json:1: chooses by a field of requests"),
        ({"enable_proxy_protocol": True}, "apis[0].enable_proxy_protocol @ main.json:1: does not say whose word"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_its_place(
    workshop: Workshop, changes: dict[str, Any], words: str
) -> None:
    told = workshop.told({"apis": [service(**changes)]})
    assert words in told
    assert told.count("error: ") == 1


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            {},
            {"protocol": "tcp"},
            "apis[1].protocol @ main.json:1: 'B' and 'A' (main.json:1) share the port 9000",
        ),
        ({"protocol": "tcp"}, {"protocol": "tcp"}, "running multiple services without TLS and SNI is not supported"),
        ({}, {}, "'B' and 'A' (main.json:1) are both without domain on 9000"),
        ({"domain": "A.test"}, {"domain": "a.test."}, "'B' and 'A' (main.json:1) are both a.test on 9000"),
        (
            {"gateway": {"negotiate": "postgresql"}},
            {"domain": "b.test"},
            "apis[1].gateway.negotiate @ main.json:1: 'B' and 'A' (main.json:1) share the port 9000, and differ",
        ),
        ({"domain": "a.test"}, {"domain": "b.test"}, ""),
        ({"domain": "a.test"}, {}, ""),
        ({}, {"listen_port": 9001}, ""),
        ({"gateway": {"passthrough": True}}, {"domain": "b.test"}, ""),
    ],
)
def test_services_that_share_a_port_agree(
    workshop: Workshop, first: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    told = workshop.told({"apis": [service("A", **first), service("B", **second)]})
    assert words in told
    assert ("error: " in told) is bool(words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gateway": {"body_bytes": 1}}, "gateway.body_bytes @ main.json:1: is not used: a service sees no requests"),
        ({"protocol": "tcp", "domain": "a.test"}, "apis[0].domain @ main.json:1: is not used"),
        ({"gateway": {"passthrough": True}, "certificates": ["a.pem"]}, "certificates @ main.json:1: is not used"),
    ],
)
def test_what_means_nothing_is_a_warning(workshop: Workshop, changes: dict[str, Any], words: str) -> None:
    told = workshop.told({"apis": [service(**changes)]})
    assert words in told
    assert "error: " not in told


def test_an_api_has_nothing_of_a_service(workshop: Workshop) -> None:
    api = {"api_id": "a", "use_keyless": True, "proxy": {"listen_path": "/", "target_url": "http://a"}}
    for changes, words in (
        ({"gateway": {"passthrough": True}}, "gateway.passthrough @ main.json:1: is for tls services"),
        ({"proxy": {"target_url": "http://a"}}, "proxy.listen_path @ main.json:1: is required and missing"),
        ({"proxy": {"listen_path": "/", "target_url": "tls://a:1"}}, "is neither http nor https"),
    ):
        assert words in workshop.told({"apis": [api | changes]})


def test_the_ports_of_services_are_few_enough_to_be_handed_over(workshop: Workshop) -> None:
    services = [service(f"s{port}", listen_port=port) for port in range(10000, 10129)]
    assert "is one of 129 ports beside the gateway's (use at most 128)" in workshop.told({"apis": services})
    assert workshop.told({"apis": services[1:]}) == ""
