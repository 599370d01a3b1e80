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


SSL = {"use_ssl": True}


@pytest.mark.parametrize(
    ("apis", "line"),
    [
        (
            [("a.test", {"min_version": 772}), ("A.test.", {"min_version": 771})],
            "error: apis[1].gateway.tls @ main.json:1: 'api-1' and 'api-0' (main.json:1) want different TLS for a.test",
        ),
        (
            [("*.a.test", {"ciphers": ["A"]}), ("{any}.a.test", {"ciphers": ["B"]})],
            "error: apis[1].gateway.tls @ main.json:1: 'api-1' and 'api-0' (main.json:1) want different TLS for *.a",
        ),
        ([("", {"min_version": 772})], "error: apis[0].gateway.tls @ main.json:1: needs a domain of its own"),
        ([("{x:a|b}.test", {"min_version": 772})], "error: apis[0].gateway.tls @ main.json:1: needs a domain of its"),
        (
            [("a.test", {"min_version": 772, "max_version": 771})],
            "error: apis[0].gateway.tls.min_version @ main.json:1: leaves no TLS version",
        ),
        (
            [("a.test", {"max_version": 770})],
            "error: apis[0].gateway.tls.max_version @ main.json:1: leaves no TLS version",
        ),
    ],
)
def test_tls_belongs_to_a_domain_and_its_apis_agree_on_it(
    workshop: Workshop, api: Api, apis: list[tuple[str, dict[str, Any]]], line: str
) -> None:
    definitions = [
        api({"listen_path": f"/{number}/"}, api_id=f"api-{number}", domain=domain, gateway={"tls": tls})
        for number, (domain, tls) in enumerate(apis)
    ]
    assert line in workshop.told({"http_server_options": SSL, "apis": definitions})


def test_apis_of_a_domain_may_leave_tls_to_one_of_them(workshop: Workshop, api: Api) -> None:
    one = api(domain="a.test", gateway={"tls": {"min_version": 772}})
    two = api({"listen_path": "/two/"}, api_id="two", domain="a.test")
    three = api({"listen_path": "/3/"}, api_id="3", domain="A.test", gateway={"tls": {"min_version": "1.3"}})
    assert workshop.load({"http_server_options": SSL, "apis": [one, two, three]}).apis


def test_tls_of_an_api_without_tls_on_the_port_is_told(workshop: Workshop, api: Api) -> None:
    told = workshop.told({"apis": [api(domain="a.test", gateway={"tls": {"min_version": 772}})]})
    assert "warning: apis[0].gateway.tls @ main.json:1: is not used" in told


def test_a_connection_that_clients_share_cannot_say_whose_it_is(workshop: Workshop, api: Api) -> None:
    proxy = {"listen_path": "/", "target_url": "h2c://a:1/"}
    told = workshop.told({"apis": [api(proxy=proxy, gateway={"proxy_protocol": "v2"})]})
    assert "error: apis[0].gateway.proxy_protocol @ main.json:1: tells an upstream whose" in told


def test_what_each_definition_of_tyk_says_of_versions_is_no_news(workshop: Workshop, api: Api) -> None:
    version = {"name": "Default", "expires": "", "use_extended_paths": False, "paths": {"ignored": []}}
    data = {"not_versioned": True, "default_version": "", "versions": {"Default": version}}
    assert workshop.told({"apis": [api(version_data=data)]}) == ""


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (
            {"gateway": {"proxy_protocol": {"proxies": []}}},
            "error: gateway.proxy_protocol.proxies @ main.json:1: is empty",
        ),
        ({"gateway": {"proxy_protocol": {}}}, "error: gateway.proxy_protocol.proxies @ main.json:1: is required"),
        (
            {"http_server_options": {"xff_depth": 1}},
            "warning: http_server_options.xff_depth @ main.json:1: has no effect",
        ),
    ],
)
def test_whom_to_believe_must_be_said(workshop: Workshop, main: dict[str, Any], line: str) -> None:
    assert line in workshop.told(main)


LISTED = {"use_mutual_tls_auth": True, "client_certificates": ["clients.pem"]}


@pytest.mark.parametrize(
    ("keys", "options", "line"),
    [
        (
            {"client_certificates": ["c.pem"]},
            SSL,
            "error: apis[0].client_certificates @ main.json:1: names who may use",
        ),
        (
            {"use_mutual_tls_auth": True},
            SSL,
            "warning: apis[0].use_mutual_tls_auth @ main.json:1: is true, and no cert",
        ),
        (
            LISTED,
            {"use_ssl": False},
            "warning: apis[0].use_mutual_tls_auth @ main.json:1: is true, and no TLS is spoken",
        ),
        ({**LISTED, "auth": {"use_certificate": True}}, SSL, "error: apis[0].auth.use_certificate @ main.json:1: asks"),
    ],
)
def test_nothing_that_is_asked_of_clients_certificates_is_left_undone(
    workshop: Workshop, api: Api, keys: dict[str, Any], options: dict[str, Any], line: str
) -> None:
    assert line in workshop.told({"http_server_options": options, "apis": [api(domain="a.test", **keys)]})


def test_a_list_for_the_whole_gateway_is_one_and_paths_start_from_the_file(workshop: Workshop, api: Api) -> None:
    text = {
        "http_server_options": SSL, "security": {"certificates": {"apis": ["ca.pem"]}},
        "gateway": {"client_crls": ["a.crl"]}, "apis": [api(domain="a.test", use_mutual_tls_auth=True)],
    }  # fmt: skip
    assert workshop.told(text) == ""
    settings = workshop.load(text).settings
    assert settings.security.certificates.apis == (str(workshop.directory / "ca.pem"),)
    assert settings.gateway.client_crls == (workshop.directory / "a.crl",)


@pytest.mark.parametrize("name", ["Client-Cert", "client_cert_chain"])
def test_no_rule_says_who_the_client_is(workshop: Workshop, api: Api, name: str) -> None:
    assert "no rule can touch it" in workshop.told({"apis": [api(gateway={"request_headers": {"set": {name: "x"}}})]})


def test_where_tls_does_not_end_no_client_could_be_asked(workshop: Workshop) -> None:
    service = {"api_id": "one", "listen_port": 9000, "proxy": {"target_url": "tcp://a:1"}, **LISTED}
    for more in ({"protocol": "tcp"}, {"protocol": "tls", "gateway": {"passthrough": True}}):
        assert "error: apis[0].use_mutual_tls_auth @ main.json:1: is true, and TLS" in workshop.told(
            {"apis": [{**service, **more}]}
        )
    told = workshop.told({"apis": [{**service, "protocol": "tls"}]})
    assert "use_mutual_tls_auth" not in told
