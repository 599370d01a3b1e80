"""What an API definition may ask for: header fields, addresses, versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import header_kinds
from gateway.http import fields
from gateway.http.fields import Kind

if TYPE_CHECKING:
    from unit.config.workshop import Workshop

Api = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"set": {"Transfer-Encoding": "chunked"}}, "Transfer-Encoding belongs to a single connection"),
        ({"add": {"content_length": "5"}}, "content_length belongs to a single connection"),
        ({"remove": ["Host"]}, "Host is what the gateway itself says"),
        ({"set": {"X-Forwarded-For": "1.2.3.4"}}, "X-Forwarded-For is what the gateway itself says"),
        ({"set": {"X.Forwarded.For": "1.2.3.4"}}, "X.Forwarded.For is what the gateway itself says"),
        ({"set": {"X Y": "1"}}, "'X Y' is not the name of a header field"),
        ({"set": {"X-A": "1", "x-a": "2"}}, "x-a and X-A are the same field"),
        ({"set": {"X-A": "1\r\nX-B: 2"}}, "the value of X-A cannot be sent"),
        ({"set": {"X-A": "Grüße"}}, "the value of X-A cannot be sent"),
        ({"set": {"X-A": " 1"}}, "the value of X-A begins or ends with white space"),
        ({"set": {"X-A": "id $tyk_context.jwt"}}, "the value of X-A has a variable of Tyk in it"),
        ({"set": {"X-A": 5}}, "must be text, not 5 (put it in double quotes)"),
        ({"set": ["X-A"]}, "must be a section of names and values, not a list"),
    ],
)
def test_a_rule_that_would_mislead_is_refused(workshop: Workshop, api: Api, rules: dict[str, Any], said: str) -> None:
    for side in ("request_headers", "response_headers"):
        told = workshop.told({"apis": [api(gateway={side: rules})]})
        assert told.startswith(f"error: apis[0].gateway.{side}.{next(iter(rules))}")
        assert said in told


def test_tyks_own_header_keys_are_held_to_the_same(workshop: Workshop, api: Api) -> None:
    versions = {"Default": {"global_headers": {"Host": "a"}, "global_response_headers_remove": ["Connection"]}}
    told = workshop.told({"apis": [api(version_data={"not_versioned": True, "versions": versions})]})
    assert "error: apis[0].version_data.versions.Default.global_headers @ main.json:1: Host is what" in told
    assert "global_response_headers_remove[0] @ main.json:1: Connection belongs" in told


def test_rules_and_the_data_plane_agree_on_what_belongs_to_the_gateway() -> None:
    table = fields.request_fields()
    for name in header_kinds.FRAMING | header_kinds.FORWARDING - {"trailer"}:
        assert name == "trailer" or table._kind(name.encode()) is not Kind.END_TO_END
    assert {name.decode() for name in table._kinds} <= header_kinds.FRAMING | header_kinds.FORWARDING


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"enable_ip_whitelisting": True},
            "error: apis[0].enable_ip_whitelisting @ main.json:1: is true, but allowed_ips",
        ),
        (
            {"allowed_ips": ["10.0.0.1"]},
            "warning: apis[0].allowed_ips @ main.json:1: is not enforced, as enable_ip_white",
        ),
        (
            {"blacklisted_ips": ["10.0.0.1"], "enable_ip_blacklisting": True, "ip_access_control_disabled": True},
            "warning: apis[0].blacklisted_ips @ main.json:1: is not enforced, as ip_access_control_disabled is true",
        ),
        (
            {"allowed_ips": ["10.0.0.0/33"], "enable_ip_whitelisting": True},
            "error: apis[0].allowed_ips[0] @ main.json:1: is not an address or a network",
        ),
        (
            {
                "allowed_ips": ["10.0.0.1"],
                "enable_ip_whitelisting": True,
                "gateway": {"allowed_networks": ["10.0.0.2"]},
            },
            "error: apis[0].gateway.allowed_networks @ main.json:1: stands beside allowed_ips",
        ),
        (
            {"version_data": {"versions": {"v1": {}, "v2": {}}}},
            "warning: apis[0].version_data.versions @ main.json:1: holds 2 versions, and an API has one here: none",
        ),
    ],
)
def test_lists_that_say_less_than_they_seem_to_are_told(
    workshop: Workshop, api: Api, keys: dict[str, Any], line: str
) -> None:
    assert line in workshop.told({"apis": [api(**keys)]})


def test_names_and_values_are_read_as_they_are_written(workshop: Workshop) -> None:
    text = """
        apis:
          - api_id: one
            use_keyless: true
            proxy: {listen_path: /, target_url: "http://a"}
            gateway: {request_headers: {set: {X-Count: 5, X-On: on, X-Nothing: null}}}
    """
    (api,) = workshop.load(text, "main.yaml").apis
    assert api.gateway.request_headers.set == {"X-Count": "5", "X-On": "on"}
