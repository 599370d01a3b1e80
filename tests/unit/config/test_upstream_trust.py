"""What is written about upstreams: hosts and their order, lists in one word, and what would mislead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.upstream_trust import best_match

if TYPE_CHECKING:
    from collections.abc import Callable

    from unit.config.workshop import Workshop

    Api = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("host", "order"),
    [
        ("api.example.com", ["api.example.com:8443", "api.example.com", "*.example.com:8443", "*.example.com", "*"]),
        ("localhost", ["localhost:8443", "localhost", "*"]),
        ("10.0.0.1", ["10.0.0.1:8443", "10.0.0.1", "*"]),
        ("::1", ["[::1]:8443", "::1", "*"]),
    ],
)
def test_of_the_patterns_that_fit_a_host_the_closest_counts(host: str, order: list[str]) -> None:
    """Tyk's case 43."""
    others = ["other.test", f"{host}:1", "*.com", "*.*.com"]
    while order:
        named = dict.fromkeys([*others, *reversed(order)], "x")
        assert best_match(named, host, 8443) == order.pop(0)
    assert best_match(dict.fromkeys(others, "x"), host, 8443) is None


def test_patterns_fit_in_any_case() -> None:
    assert best_match({"API.Example.com": "x"}, "api.example.com", 443) == "API.Example.com"


def test_keys_of_both_files_and_of_variables_are_read(workshop: Workshop, api: Api) -> None:
    (workshop.directory / "key.pem").touch()
    digest = "ab" * 32
    main = {
        "security": {
            "certificates": {"upstream": {"*.example.com": "client.pem"}},
            "pinned_public_keys": {"*": f"key.pem,{digest}"},
        },
        "gateway": {"ca_certificates": {"custom": "ca.crt"}},
        "apis": [
            api(pinned_public_keys={"a.test": [digest]}, upstream_certificates={"a.test:443": digest}),
        ],
    }
    variable = {"TYK_GW_SECURITY_CERTIFICATES_UPSTREAM": f"*:/p.pem,example.com:{digest}"}
    configuration = workshop.load(main, **variable)
    settings, (definition,) = configuration.settings, configuration.apis
    assert settings.security.certificates.upstream == {"*": "/p.pem", "example.com": digest}
    assert settings.security.pinned_public_keys == {"*": (str(workshop.directory / "key.pem"), digest)}
    assert settings.gateway.ca_certificates == {"custom": str(workshop.directory / "ca.crt")}
    assert definition.pinned_public_keys == {"a.test": (digest,)}
    assert definition.upstream_certificates == {"a.test:443": digest}


def test_pins_in_one_word_of_yaml_are_a_list_too(workshop: Workshop) -> None:
    text = "security:\n  pinned_public_keys:\n    a.test: one.pem, two.pem\n"
    pinned = workshop.load(text, "main.yaml").settings.security.pinned_public_keys["a.test"]
    assert [one.rpartition("/")[2] for one in pinned] == ["one.pem", "two.pem"]


@pytest.mark.parametrize("pattern", ["api.*.example.com", "*example.com", "https://a.test", "", "{x}.test", "a b"])
@pytest.mark.parametrize("key", ["upstream_certificates", "pinned_public_keys"])
def test_a_pattern_that_nothing_would_match_is_an_error(workshop: Workshop, api: Api, key: str, pattern: str) -> None:
    said = workshop.told({"apis": [api(**{key: {pattern: "/x.pem"}})]})
    assert "error" in said
    assert "is not a host that this is for" in said


def basic(**more: Any) -> dict[str, Any]:
    return {"upstream_auth": {"enabled": True, "basic_auth": {"enabled": True, "username": "u", **more}}}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (basic(), "has to have either password or password_file"),
        (basic(password="x", password_file="y"), "has to have either password or password_file"),
        (basic(password="x") | {"upstream_auth": {"oauth": {"enabled": True}}}, "does not have"),
        ({"gateway": {"upstream_tls": {"server_name": "*.internal"}}}, "is a pattern"),
        ({"gateway": {"upstream_tls": {"server_name": "https://a"}}}, "is a URL"),
        ({"proxy": {"transport": {"ssl_insecure_skip_verify": True}}}, "can read and change everything"),
    ],
)
def test_what_would_mislead_about_upstreams_is_told(
    workshop: Workshop, api: Api, more: dict[str, Any], said: str
) -> None:
    definition = api()
    proxy = definition["proxy"] | more.get("proxy", {})
    assert said in workshop.told({"apis": [definition | more | {"proxy": proxy}]})


def test_a_service_has_nothing_to_send_credentials_with(workshop: Workshop) -> None:
    proxy = {"target_url": "tcp://127.0.0.1:6311"}
    service = {"api_id": "r", "protocol": "tcp", "listen_port": 6311, "proxy": proxy, "use_keyless": True}
    assert "sees no requests" in workshop.told({"apis": [service | basic(password="x")]})


def test_a_password_that_would_travel_in_clear_is_warned_of(workshop: Workshop, api: Api) -> None:
    definition = api() | basic(password="hunter2")
    definition["proxy"]["target_url"] = "http://tabpy.example.com:9004/"
    said = workshop.told({"apis": [definition]})
    assert "without encryption" in said
    assert "hunter2" not in said
    definition["proxy"]["target_url"] = "http://127.0.0.1:9004/"
    assert "without encryption" not in workshop.told({"apis": [definition]})


@pytest.mark.parametrize(
    "more",
    [
        {"pinned_public_keys": {"*": ["ab" * 32]}},
        {"upstream_certificates": {"*": "/x.pem"}},
        {"gateway": {"upstream_tls": {"server_name": "a.test"}}},
    ],
)
def test_a_protection_of_tls_where_none_is_spoken_is_warned_of(
    workshop: Workshop, api: Api, more: dict[str, Any]
) -> None:
    assert "protects nothing on the way to http://127.0.0.1:9000/" in workshop.told({"apis": [api(**more)]})
    secure = api(**more, proxy={"target_url": "https://127.0.0.1:9000/"})
    assert "protects nothing" not in workshop.told({"apis": [secure]})


def test_a_password_is_in_no_copy(workshop: Workshop, api: Api) -> None:
    configuration = workshop.load({"apis": [api() | basic(password="hunter2")]})
    assert "hunter2" not in configuration.model_dump_json() + repr(configuration)
