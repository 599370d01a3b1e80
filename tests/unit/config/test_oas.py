"""Tyk's OAS format: what it comes to in the classic one, and what is refused by the names that stand in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import oas

if TYPE_CHECKING:
    from unit.config.workshop import Workshop

EXTENSION = oas.EXTENSION


def document(*, root: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """An OpenAPI document that can be served, with more in some sections of its extension."""
    extension: dict[str, Any] = {
        "info": {"id": "pets", "name": "Pets", "state": {"active": True, "internal": False}},
        "upstream": {"url": "https://pets.test/"},
        "server": {"listenPath": {"value": "/pets/", "strip": True}},
    }
    for name, more in sections.items():
        extension[name] = {**extension.get(name, {}), **more}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Pets", "version": "1"},
        "paths": {},
        **(root or {}),
        EXTENSION: extension,
    }


WHOLE = document(
    upstream={
        "loadBalancing": {
            "enabled": True,
            "skipUnavailableHosts": True,
            "targets": [
                {"url": "https://a.test", "weight": 2},
                {"url": "https://b.test", "weight": 0},
                {"url": "https://c.test", "weight": 1},
            ],
        },
        "preserveHostHeader": {"enabled": True},
        "preserveTrailingSlash": {"enabled": True},
        "tlsTransport": {"minVersion": "1.2", "maxVersion": "1.3", "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"]},
        "mutualTLS": {
            "enabled": True,
            "domainToCertificateMapping": [{"domain": "a.test", "certificate": "/a.pem"}],
        },
        "certificatePinning": {
            "enabled": True,
            "domainToPublicKeysMapping": [{"domain": "*", "publicKeys": ["ab" * 32, "cd" * 32]}],
        },
        "authentication": {
            "enabled": True,
            "basicAuth": {
                "enabled": True,
                "username": "u",
                "password": "p",
                "header": {"enabled": False, "name": ""},
            },
        },
        "uptimeTests": {
            "enabled": True,
            "tests": [{"url": "https://a.test/up", "timeout": "1.5s", "method": "GET"}],
        },
    },
    server={
        "listenPath": {"value": "/pets/", "strip": True},
        "customDomain": {"enabled": True, "name": "pets.example.com", "certificates": ["/c.pem"]},
        "clientCertificates": {"enabled": True, "allowlist": ["/ca.pem"]},
        "ipAccessControl": {"enabled": True, "allow": ["10.0.0.0/8"], "block": ["10.0.0.1"]},
        "authentication": {"enabled": False, "stripAuthorizationData": True},
        "detailedTracing": {"enabled": True},
    },
    middleware={
        "global": {
            "transformRequestHeaders": {"enabled": True, "remove": ["X-A"], "add": [{"name": "X-B", "value": "b"}]},
            "transformResponseHeaders": {"enabled": False, "add": [{"name": "Host", "value": "b"}]},
            "requestSizeLimit": {"enabled": True, "value": 1000},
            "contextVariables": {"enabled": True},
            "cors": {"enabled": False, "allowedOrigins": ["*"]},
        },
        "operations": {"getPets": {"allow": {"enabled": False}, "ignoreAuthentication": {"enabled": True}}},
    },
)


def test_what_has_a_classic_counterpart_is_served(workshop: Workshop) -> None:
    one = workshop.load({"http_server_options": {"use_ssl": True}, "apis": [WHOLE]}).apis[0]
    proxy, version = one.proxy, one.version_data.versions["Default"]
    assert (one.api_id, one.name, one.active, one.use_keyless) == ("pets", "Pets", True, True)
    assert (proxy.listen_path, proxy.strip_listen_path, proxy.target_url) == ("/pets/", True, "https://pets.test/")
    assert (proxy.target_list, one.gateway.balancing.weights) == (("https://a.test", "https://c.test"), (2, 1))
    assert (proxy.enable_load_balancing, proxy.check_host_against_uptime_tests) == (True, True)
    assert (proxy.preserve_host_header, proxy.disable_strip_slash) == (True, True)
    assert (proxy.transport.ssl_min_version, proxy.transport.ssl_max_version) == (771, 772)
    assert (one.upstream_certificates, one.upstream_certificates_disabled) == ({"a.test": "/a.pem"}, False)
    assert one.pinned_public_keys == {"*": ("ab" * 32, "cd" * 32)}
    assert one.upstream_auth.basic_auth.username == "u"
    assert [(check.url, check.timeout) for check in one.uptime_tests.check_list] == [("https://a.test/up", 1.5)]
    assert (one.domain, one.domain_disabled, one.certificates) == ("pets.example.com", False, ("/c.pem",))
    assert (one.use_mutual_tls_auth, one.client_certificates) == (True, ("/ca.pem",))
    assert (one.enable_ip_whitelisting, one.allowed_ips) == (True, ("10.0.0.0/8",))
    assert (one.enable_ip_blacklisting, one.blacklisted_ips) == (True, ("10.0.0.1",))
    assert (version.global_headers, version.global_headers_remove) == ({"X-B": "b"}, ("X-A",))
    assert (version.global_response_headers_disabled, version.global_response_headers) == (True, {})
    assert version.global_size_limit == 1000


def test_the_least_document_is_served(workshop: Workshop) -> None:
    assert workshop.told({"apis": [document()]}) == ""
    least = document()
    del least[EXTENSION]["info"]["name"], least[EXTENSION]["info"]["state"]
    assert workshop.load({"apis": [least]}).apis[0].name == "Pets"


ON = {"enabled": True}


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"info": {"expiration": "2020-01-01 00:00"}}, "info.expiration"),
        ({"info": {"versioning": {"enabled": True, "versions": [{"name": "v2", "id": "b"}]}}}, "info.versioning"),
        ({"upstream": {"rateLimit": {"enabled": True, "rate": 10, "per": "1m"}}}, "upstream.rateLimit"),
        (
            {"upstream": {"serviceDiscovery": {"enabled": True, "queryEndpoint": "http://c"}}},
            "upstream.serviceDiscovery",
        ),
        ({"upstream": {"proxy": {"enabled": True, "url": "http://p"}}}, "upstream.proxy"),
        ({"upstream": {"enforce_timeout": {"enabled": True, "duration": "5s"}}}, "upstream.enforce_timeout"),
        ({"upstream": {"authentication": {"enabled": True, "oauth": ON}}}, "upstream.authentication.oauth"),
        ({"server": {"authentication": ON}}, "server.authentication"),
        ({"server": {"authentication": {"securitySchemes": {"key": ON}}}}, "server.authentication"),
        ({"middleware": {"global": {"cors": {"enabled": True, "allowedOrigins": ["*"]}}}}, "middleware.global.cors"),
        ({"middleware": {"global": {"prePlugins": [{"enabled": True, "path": "a.js"}]}}}, "global.prePlugins"),
        ({"middleware": {"global": {"prePlugin": {"plugins": [{"enabled": True, "path": "a"}]}}}}, "global.prePlugin"),
        (
            {"middleware": {"global": {"pluginConfig": {"bundle": {"enabled": True, "path": "b"}}}}},
            "pluginConfig.bundle",
        ),
        ({"middleware": {"operations": {"get": {"allow": ON}}}}, "operations.get.allow"),
        ({"middleware": {"operations": {"get": {"validateRequest": ON}}}}, "operations.get.validateRequest"),
        ({"middleware": {"operations": {"get": {"rateLimit": {"enabled": True, "rate": 1}}}}}, "get.rateLimit"),
        ({"middleware": {"operations": {"get": {"mockResponse": ON}}}}, "operations.get.mockResponse"),
        (
            {"middleware": {"operations": {"get": {"urlRewrite": {"enabled": True, "rewriteTo": "/"}}}}},
            "get.urlRewrite",
        ),
        ({"middleware": {"operations": {"get": {"somethingNew": ON}}}}, "operations.get.somethingNew"),
        ({"middleware": {"mcpTools": {"tool": {"allow": ON}}}}, "middleware.mcpTools"),
        ({"errorOverrides": {"enabled": True, "value": {"500": [{}]}}}, "errorOverrides"),
        ({"upstream": {"url": "ftp://x"}}, "upstream.url"),
        ({"server": {"listenPath": {"value": "a b"}}}, "server.listenPath.value"),
        ({"server": {"ipAccessControl": {"enabled": True, "allow": ["x"]}}}, "server.ipAccessControl.allow[0]"),
        ({"info": {"id": ""}}, "info.id"),
    ],
)
def test_what_is_not_there_is_refused_by_its_name_in_the_document(
    workshop: Workshop, sections: dict[str, Any], path: str
) -> None:
    errors = [one for one in workshop.problems({"apis": [document(**sections)]}) if one.severity == "error"]
    assert errors
    assert all(one.path.startswith(f"apis[0].{EXTENSION}.") and path in one.path for one in errors), errors


@pytest.mark.parametrize(
    "sections",
    [
        {"upstream": {"rateLimit": {"enabled": False, "rate": 10, "per": "1m"}}},
        {
            "upstream": {"rateLimit": {"enabled": True, "rate": 10, "per": "1m"}},
            "middleware": {"global": {"skipRateLimit": True}},
        },
        {"info": {"versioning": {"enabled": False, "name": "", "default": "", "versions": []}}},
        {"upstream": {"authentication": {"enabled": False, "basicAuth": {"header": {"name": ""}}}}},
        {"upstream": {"uptimeTests": {"enabled": False, "tests": [{"url": "nonsense"}]}}},
        {"server": {"customDomain": {"enabled": False, "name": "a b"}}},
        {"server": {"authentication": {"enabled": False, "securitySchemes": {"key": ON}}}},
        {"middleware": {"operations": {"get": {"allow": {"enabled": False, "ignoreCase": True}}}}},
        {"upstream": {"loadBalancing": {"enabled": True, "targets": []}}},
        {
            "upstream": {
                "mutualTLS": {"enabled": False, "domainToCertificateMapping": [{"domain": "", "certificate": ""}]}
            }
        },
    ],
)
def test_what_is_switched_off_asks_for_nothing(workshop: Workshop, sections: dict[str, Any]) -> None:
    assert [one.api_id for one in workshop.load({"apis": [document(**sections)]}).apis] == ["pets"]


def test_a_document_that_wants_proofs_must_say_that_nobody_has_to_give_one(workshop: Workshop) -> None:
    root = {"security": [{"key": []}]}
    assert "error: apis[0].security @ main.json:1: asks clients for a proof" in workshop.told(
        {"apis": [document(root=root)]}
    )
    off = document(root=root, server={"authentication": {"enabled": False}})
    assert workshop.told({"apis": [off]}) == ""


def test_a_misspelt_key_is_told_with_the_nearest(workshop: Workshop) -> None:
    api = document(upstream={"preserveHostHeaders": ON}, server={"frobnicate": True})
    told = workshop.told({"apis": [api]})
    assert "preserveHostHeaders @ main.json:1: this key is not known (did you mean preserveHostHeader?)" in told
    assert "warning: apis[0].x-tyk-api-gateway.server.frobnicate @ main.json:1: this key is not known, so it is" in told


def test_one_that_is_not_active_is_a_note_whatever_else_it_says(workshop: Workshop) -> None:
    api = document(info={"state": {"active": False}}, server={"authentication": ON})
    note = f"note: apis[0].{EXTENSION}.info.state.active @ main.json:1: is false: this API is not served"
    assert workshop.told({"apis": [api, document()]}) == note


def test_what_tyk_has_no_key_for_stands_in_the_extension(workshop: Workshop) -> None:
    api = document(gateway={"allowed_networks": ["10.0.0.0/8"], "timeouts": {"connect": 2}})
    assert workshop.load({"apis": [api]}).apis[0].gateway.timeouts.connect == 2


def test_yaml_says_the_same(workshop: Workshop) -> None:
    text = """
openapi: 3.0.3
info: {title: Pets}
x-tyk-api-gateway:
  info: {id: pets, name: Pets, state: {active: yes}}
  upstream: {url: http://127.0.0.1:9000/}
  server:
    listenPath: {value: /pets/, strip: on}
    customDomain: {enabled: off, name: pets.test}
"""
    workshop.write(text, "apps/pets-oas.yaml")
    (one,) = workshop.load({}).apis
    assert (one.proxy.strip_listen_path, one.domain_disabled) == (True, True)


def test_a_definition_and_the_document_beside_it_are_one_api(workshop: Workshop) -> None:
    classic = {
        "api_id": "pets", "use_keyless": True, "is_oas": True,
        "proxy": {"listen_path": "/other/", "target_url": "http://127.0.0.1:1/"},
    }  # fmt: skip
    workshop.write(classic, "apps/pets.json")
    workshop.write(document(), "apps/pets-oas.json")
    configuration = workshop.load({})
    assert [one.proxy.listen_path for one in configuration.apis] == ["/pets/"]
    assert [file.name for file in configuration.files] == ["main.json", "pets.json", "pets-oas.json"]
    workshop.write({**classic, "is_oas": False}, "apps/pets.json")
    assert [one.proxy.listen_path for one in workshop.load({}).apis] == ["/other/"]
    assert "warning: apps/pets-oas.json: is not read, as pets.json does not say is_oas" in workshop.told({})


def test_half_of_an_api_is_not_served(workshop: Workshop) -> None:
    workshop.write({**document()[EXTENSION], "is_oas": True}, "apps/pets.json")
    assert "error: is_oas @ apps/pets.json:1: says that the whole of this API is in an OAS document" in workshop.told(
        {}
    )


def test_a_document_alone_is_an_api_and_an_mcp_companion_is_none(workshop: Workshop) -> None:
    workshop.write(document(), "apps/pets-oas.json")
    workshop.write("not even JSON", "apps/pets-mcp.json")
    assert [one.api_id for one in workshop.load({}).apis] == ["pets"]


def test_an_export_of_the_dashboard_is_read_for_the_definition_in_it(workshop: Workshop) -> None:
    inner = {"api_id": "x", "use_keyless": True, "proxy": {"listen_path": "/", "target_url": "ftp://a"}}
    export = {"created_at": "2022-06-03", "api_model": {}, "hook_references": [], "api_definition": inner}
    assert "error: api_definition.proxy.target_url @ apps/x.json:1: is neither" in (
        workshop.write(export, "apps/x.json") and workshop.told({})
    )
    inner["proxy"]["target_url"] = "http://a"  # type: ignore[index]
    workshop.write(export, "apps/x.json")
    assert [one.api_id for one in workshop.load({}).apis] == ["x"]


def test_each_row_and_counterpart_is_reached() -> None:
    paths = [*oas.NAMES.values(), *(row.path for row in oas.ROWS)]
    assert len(paths) == len(set(paths))
