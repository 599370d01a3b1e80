"""Header rules and address lists of an API, ready for the request path."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.definitions import ApiDefinition
from gateway.routing.admission import admission
from gateway.routing.field_rules import FieldRules, of_requests, of_responses


def definition(**more: Any) -> ApiDefinition:
    keys = {"api_id": "a", "use_keyless": True, "proxy": {"listen_path": "/", "target_url": "http://a"}, **more}
    return ApiDefinition.model_validate(keys, strict=False)


def applied(rules: FieldRules | None, *lines: bytes) -> list[bytes]:
    assert rules is not None
    return rules.apply(lines)


def test_an_api_without_rules_has_none() -> None:
    api = definition(version_data={"versions": {"Default": {}}})
    assert (of_requests(api), of_responses(api), admission(api)) == (None, None, None)


def test_fields_are_removed_then_set_then_added() -> None:
    rules = {"remove": ["X-Gone"], "set": {"X-Set": "new"}, "add": {"X-More": "2", "X-Gone": "back"}}
    api = definition(gateway={"request_headers": rules})
    assert applied(of_requests(api), b"x-gone: 1", b"X-SET:old", b"X-More: 1", b"Accept: */*") == [
        b"X-More: 1",
        b"Accept: */*",
        b"X-Set: new",
        b"X-More: 2",
        b"X-Gone: back",
    ]
    assert of_responses(api) is None


def test_the_gateways_rules_come_after_those_of_tyk() -> None:
    version = {"global_headers": {"X-A": "tyk", "X-B": "tyk"}, "global_headers_remove": ["X-C"]}
    api = definition(
        version_data={"versions": {"Default": version}}, gateway={"request_headers": {"set": {"x-a": "own"}}}
    )
    assert applied(of_requests(api), b"X-A: client", b"X-C: client") == [b"X-B: tyk", b"x-a: own"]


@pytest.mark.parametrize("side", ["headers", "response_headers"])
def test_a_version_may_switch_its_headers_off(side: str) -> None:
    version = {f"global_{side}": {"X-A": "1"}, f"global_{side}_disabled": True}
    api = definition(version_data={"versions": {"Default": version}})
    assert (of_requests(api), of_responses(api)) == (None, None)


@pytest.mark.parametrize(
    ("versions", "value"),
    [
        ({"v1": {"global_headers": {"X-A": "1"}}}, b"X-A: 1"),
        ({"v1": {}, "DEFAULT": {"global_headers": {"X-A": "2"}}}, b"X-A: 2"),
    ],
)
def test_the_version_that_counts_is_default_or_the_only_one(versions: dict[str, Any], value: bytes) -> None:
    assert applied(of_requests(definition(version_data={"versions": versions}))) == [value]


@pytest.mark.parametrize(
    ("keys", "admitted", "refused"),
    [
        ({"enable_ip_whitelisting": True, "allowed_ips": ["10.0.0.0/8", "::1"]}, ["10.1.1.1", "::1"], ["11.0.0.1"]),
        ({"enable_ip_blacklisting": True, "blacklisted_ips": ["10.0.0.1"]}, ["10.0.0.2", "::1"], ["10.0.0.1"]),
        (
            {"gateway": {"allowed_networks": ["10.0.0.0/8"], "blocked_networks": ["10.0.0.1"]}},
            ["10.0.0.2"],
            ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"],
        ),
    ],
)
def test_addresses_are_admitted_or_not(keys: dict[str, Any], admitted: list[str], refused: list[str]) -> None:
    rules = admission(definition(**keys))
    assert rules is not None
    assert all(map(rules.admits, admitted))
    assert not any(map(rules.admits, refused))
