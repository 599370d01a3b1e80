from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import tyk_names

if TYPE_CHECKING:
    from unit.config.workshop import Workshop

Api = Callable[..., dict[str, Any]]
PATHS = [row.path for row in tyk_names.REFUSED if "check_list" not in row.path]


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.replace("*", "some").split(".")):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", [True, ["x"], {"a": "b"}, "false"])
def test_a_definition_that_asks_for_what_is_not_there_is_refused(
    workshop: Workshop, api: Api, path: str, value: Any
) -> None:
    errors = [str(problem) for problem in workshop.problems({"apis": [api(**nested(path, value))]})]
    assert any(line.startswith(f"error: apis[0].{path.replace('*', 'some')} @ ") for line in errors)
    assert not any(line.startswith("note") for line in errors)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", [None, False, "", 0, [], {}, {"a": None, "b": ""}])
def test_a_definition_that_names_it_and_asks_for_nothing_is_served(
    workshop: Workshop, api: Api, path: str, value: Any
) -> None:
    assert workshop.load({"apis": [api(**nested(path, value))]}).apis


@pytest.mark.parametrize("written", ["use_oauth2: yes", "USE_OAUTH2: true", "Use_OAuth2: anything"])
def test_neither_case_nor_yaml_hides_what_is_asked_for(workshop: Workshop, written: str) -> None:
    text = f"{{api_id: a, use_keyless: true, {written}, proxy: {{listen_path: /, target_url: 'http://a'}}}}"
    assert "asks for an access control" in workshop.told(f"apis: [{text}]", "main.yaml")


@pytest.mark.parametrize("keyless", [{}, {"use_keyless": False}, {"use_keyless": None}, {"USE_KEYLESS": False}])
def test_a_definition_that_is_not_open_to_everybody_is_refused(workshop: Workshop, api: Api, keyless: Any) -> None:
    definition = api()
    del definition["use_keyless"]
    assert "error: apis[0].use_keyless @ main.json:1: is not true" in workshop.told({"apis": [definition | keyless]})


def test_a_definition_with_other_faults_is_refused_as_well(workshop: Workshop) -> None:
    told = workshop.told({"apis": [{"enable_jwt": True, "proxy": 5}]})
    for words in ["use_keyless", "enable_jwt", "api_id @ main.json:1: is required", "proxy @ main.json:1: must be"]:
        assert words in told


def version(**keys: Any) -> dict[str, Any]:
    return {"version_data": {"not_versioned": True, "versions": {"Default": keys}}}


def extended(*, use: bool = True, **paths: Any) -> dict[str, Any]:
    return version(use_extended_paths=use, extended_paths=paths)


PAST = "2020-01-02 15:04"
ENDPOINT = {"path": "/x", "method": "GET"}
REPLY = {"GET": {"action": "reply", "code": 200, "data": "", "headers": None}}
CHECK = {"url": "tcp://127.0.0.1:1", "commands": [{"name": "send", "message": "hi"}]}
DISCOVERY = {"use_discovery_service": True, "query_endpoint": "http://consul"}


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"global_rate_limit": {"rate": 5, "per": 1}}, "global_rate_limit"),
        ({"global_rate_limit": {"disabled": False, "rate": 0.5, "per": 60.0}}, "global_rate_limit"),
        ({"expiration": PAST}, "expiration"),
        ({"expiration": "soon"}, "expiration"),
        ({"version_data": {"not_versioned": False, "versions": {"v1": {"expires": PAST}}}}, "versions.v1.expires"),
        ({"custom_middleware": {"pre": [{"name": "check", "path": "a.js"}]}}, "custom_middleware.pre"),
        ({"custom_middleware": {"response": [{"disabled": False, "name": "hide"}]}}, "custom_middleware.response"),
        ({"custom_middleware_bundle": "b.zip"}, "custom_middleware_bundle"),
        ({"custom_middleware": {"auth_check": {"name": "a"}}}, "custom_middleware.auth_check"),
        (extended(size_limits=[{**ENDPOINT, "size_limit": 10}]), "extended_paths.size_limits"),
        (extended(validate_json=[{**ENDPOINT, "schema": {"type": "object"}}]), "extended_paths.validate_json"),
        (extended(validate_request=[{**ENDPOINT, "enabled": True}]), "extended_paths.validate_request"),
        (extended(rate_limit=[{**ENDPOINT, "rate": 1, "per": 1}]), "extended_paths.rate_limit"),
        (extended(hard_timeouts=[{**ENDPOINT, "timeout": 3}]), "extended_paths.hard_timeouts"),
        (extended(circuit_breakers=[{**ENDPOINT, "samples": 5}]), "extended_paths.circuit_breakers"),
        (extended(url_rewrites=[{**ENDPOINT, "rewrite_to": "/y"}]), "extended_paths.url_rewrites"),
        (extended(internal=[{**ENDPOINT, "disabled": False}]), "extended_paths.internal"),
        (extended(go_plugin=[ENDPOINT]), "extended_paths.go_plugin"),
        (extended(mock_response=[{**ENDPOINT, "code": 200}]), "extended_paths.mock_response"),
        (extended(ignored=[{"path": "/x", "method_actions": REPLY}]), "extended_paths.ignored"),
        (extended(white_list=[{"path": "/x", "method_actions": {}}]), "extended_paths.white_list"),
        (version(extended_paths={"size_limits": [ENDPOINT]}), "extended_paths.size_limits"),
        (version(paths={"black_list": ["/admin"]}), "paths.black_list"),
        (version(use_extended_paths=False, paths={"white_list": ["/"]}), "paths.white_list"),
        (version(override_target="http://other"), "override_target"),
        ({"proxy": {"service_discovery": DISCOVERY}}, "proxy.service_discovery.use_discovery_service"),
        ({"proxy": {"transport": {"proxy_url": "http://p"}}}, "proxy.transport.proxy_url"),
        ({"uptime_tests": {"check_list": [CHECK]}}, "uptime_tests.check_list[0].commands"),
        ({"definition": {"location": "header", "key": "x"}}, "definition.location"),
        ({"definition": {"enabled": True, "versions": {"v2": "b"}}}, "definition.enabled"),
        ({"CORS": {"enable": True, "allowed_origins": ["https://a"]}}, "CORS"),
        ({"graphql": {"enabled": True}}, "graphql.enabled"),
        ({"request_signing": {"is_enabled": True}}, "request_signing.is_enabled"),
        ({"response_processors": [{"name": "header_injector", "options": {"remove_headers": ["x"]}}]}, "response_proc"),
        ({"response_processors": [{"name": "custom_mw_res_hook"}]}, "response_processors"),
        ({"error_overrides": {"500": [{"response": {"code": 503}}]}}, "error_overrides"),
        ({"global_enforce_timeout": "5s"}, "global_enforce_timeout"),
        ({"application_protocol": "mcp"}, "application_protocol"),
        # No word of another kind switches a protection off, nor does a switch that Tyk does not have there.
        ({"global_rate_limit": {"rate": 5, "per": 1, "disabled": "false"}}, "global_rate_limit"),
        ({"global_rate_limit": {"rate": 5, "per": 1, "disabled": "true"}}, "global_rate_limit"),
        ({"global_rate_limit": {"rate": 5, "per": 1, "enabled": False}}, "global_rate_limit"),
        ({"global_rate_limit": {"rate": 5, "per": 1}, "disable_rate_limit": "false"}, "global_rate_limit"),
        ({"CORS": {"enable": 0, "allowed_origins": ["https://a"]}}, "CORS"),
        (extended(white_list=[{**ENDPOINT, "enabled": False}]), "extended_paths.white_list"),
        (extended(size_limits=[{**ENDPOINT, "disabled": 1}]), "extended_paths.size_limits"),
        ({"custom_middleware": {"pre": [{"name": "check", "enabled": False}]}}, "custom_middleware.pre"),
        # A list where a section belongs is looked into.
        ({"auth": [{"use_certificate": True}]}, "auth[0].use_certificate"),
        (version(extended_paths=[{"black_list": [ENDPOINT]}]), "extended_paths[0]"),
        # What a later Tyk may keep among the endpoints.
        (extended(deny_all=[ENDPOINT]), "extended_paths.deny_all"),
    ],
)
def test_what_restricts_or_redirects_is_refused_by_its_name(
    workshop: Workshop, api: Api, keys: dict[str, Any], path: str
) -> None:
    errors = [one for one in workshop.problems({"apis": [api(**keys)]}) if one.severity == "error"]
    assert errors, keys
    assert all(path in one.path for one in errors)
    assert all(one.cure for one in errors)


@pytest.mark.parametrize(
    "keys",
    [
        {"global_rate_limit": {"rate": 5, "per": 0}},
        {"global_rate_limit": {"disabled": True, "rate": 5, "per": 1}},
        {"global_rate_limit": {"rate": 5, "per": 1}, "disable_rate_limit": True},
        {**extended(rate_limit=[{**ENDPOINT, "rate": 1, "per": 1}]), "disable_rate_limit": True},
        {"expiration": "-1"},
        version(expires=PAST),
        {"version_data": {"versions": {"Default": {"expires": "3000-01-02 15:04"}}}},
        {"custom_middleware": {"pre": [{"disabled": True, "name": "check"}], "auth_check": {"disabled": True}}},
        {"custom_middleware_bundle": "b.zip", "custom_middleware_bundle_disabled": True},
        extended(use=False, size_limits=[{**ENDPOINT, "size_limit": 10}]),
        extended(size_limits=[{**ENDPOINT, "size_limit": 10, "disabled": True}]),
        extended(validate_request=[{**ENDPOINT, "enabled": False}]),
        extended(ignored=[{"path": "/x", "method_actions": {"GET": {"action": "no_action", "code": 200}}}]),
        extended(track_endpoints=[ENDPOINT], cache=["/x"]),
        version(use_extended_paths=True, paths={"white_list": ["/old"]}),
        {"proxy": {"service_discovery": {**DISCOVERY, "use_discovery_service": False}}},
        {"uptime_tests": {"disabled": True, "check_list": [{"url": "no url", "commands": ["x"]}]}},
        {"definition": {"location": "header", "key": "x"}, **version()},
        {"CORS": {"enable": False, "allowed_origins": ["*"], "max_age": 24}},
        {"graphql": {"enabled": False, "version": "2", "schema": "type Query"}},
        {"response_processors": [{"name": "header_injector", "options": {}}, {"name": "response_body_transform"}]},
        {"error_overrides": {"500": [{}]}, "error_overrides_disabled": True},
        {"global_enforce_timeout": "5s", "global_enforce_timeout_disabled": True},
        {"external_oauth": {"enabled": False, "providers": [{"jwt": {"enabled": True}}]}},
        {"upstream_auth": {"enabled": False, "oauth": {"enabled": True}, "basic_auth": {"header": {"name": ""}}}},
        {"upstream_auth": {"enabled": True, "basic_auth": {"enabled": False, "header": {"name": ""}}}},
        {"upstream_auth": {"basic_auth": {"header": {"enabled": False, "name": ""}}}},
        {"ip_access_control_disabled": True, "enable_ip_whitelisting": True, "allowed_ips": ["nonsense"]},
        {"enable_ip_blacklisting": False, "blacklisted_ips": [""]},
        {"domain_disabled": True, "domain": "http://x/y", "certificates": [""]},
        {"upstream_certificates_disabled": True, "upstream_certificates": {"a.*.b": ""}},
        {"certificate_pinning_disabled": True, "pinned_public_keys": {"": "x"}},
        {"use_mutual_tls_auth": False, "client_certificates": ["a.pem"]},
        version(global_headers_disabled=True, global_headers={"Host": "$tyk_context.x"}),
        version(global_size_limit_disabled=True, global_size_limit=-5),
        {"proxy": {"enable_load_balancing": False, "target_list": ["", "::"]}},
        {"check_host_against_uptime_tests": True},
        {"strip_auth_data": True, "enable_batch_request_support": True, "auth": {"auth_header_name": "authorization"}},
    ],
)
def test_what_is_switched_off_asks_for_nothing(workshop: Workshop, api: Api, keys: dict[str, Any]) -> None:
    assert [one.api_id for one in workshop.load({"apis": [api(**keys)]}).apis] == ["one"]


@pytest.mark.parametrize(
    ("main", "words"),
    [
        ({"enforce_org_quotas": True}, "warning: enforce_org_quotas @ main.json:1: limits what an organisation"),
        ({"use_db_app_configs": True}, "warning: use_db_app_configs @ main.json:1: has Tyk fetch"),
        ({"slave_options": {"use_rpc": True}}, "warning: slave_options.use_rpc @ main.json:1: has Tyk fetch"),
        ({"control_api_port": 0}, "note: control_api_port @ main.json:1: is 0, by which Tyk's control API shares"),
    ],
)
def test_a_main_file_is_told_what_tyk_would_do_and_this_gateway_does_not(
    workshop: Workshop, api: Api, main: dict[str, Any], words: str
) -> None:
    assert words in workshop.told({**main, "apis": [api()]})


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ({"tls": {"ports": [6000]}}, False),
        ({"tls": {"ranges": [{"from": 5000, "to": 6000}], "ports": None}}, False),
        ({"tls": {"ports": [1]}}, True),
        ({"tls": {"ranges": [{"from": 6001, "to": 6002}]}}, True),
        ({"https": {"ports": [6000]}}, True),
        ({}, False),
    ],
)
def test_services_open_only_ports_that_are_allowed(
    workshop: Workshop, api: Api, allowed: dict[str, Any], *, refused: bool
) -> None:
    service = api(protocol="tls", listen_port=6000, proxy={"target_url": "tcp://127.0.0.1:1"})
    told = workshop.told({"ports_whitelist": allowed, "apis": [service]})
    assert ("error: apis[0].listen_port @ main.json:1: ports_whitelist does not allow the port 6000" in told) == refused
    assert "error" not in workshop.told(
        {"ports_whitelist": allowed, "disable_ports_whitelist": True, "apis": [service]}
    )
    variable = {"TYK_GW_PORTWHITELIST": '{"tls": {"ports": [6000]}}'}
    assert "error" not in workshop.told({"ports_whitelist": allowed, "apis": [service]}, **variable)
