from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.reading import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from unit.config.workshop import Workshop


def test_keys_match_in_any_case(workshop: Workshop) -> None:
    settings = workshop.load({"Listen_Port": 1234, "HTTP_SERVER_OPTIONS": {"Server_Name": "a.example"}}).settings
    assert (settings.listen_port, settings.http_server_options.server_name) == (1234, "a.example")


def test_the_same_key_in_two_cases_is_an_error(workshop: Workshop) -> None:
    told = workshop.told('{"listen_port": 1,\n"Listen_Port": 2}')
    assert "error: Listen_Port @ main.json:2: the key stands twice" in told


def test_null_means_not_set(workshop: Workshop) -> None:
    keys = ["listen_port", "secret", "http_server_options", "gateway", "app_path", "apis", "proxy_ssl_ciphers"]
    assert workshop.load(dict.fromkeys(keys)).settings == workshop.load({}).settings


def test_empty_text_means_not_set_where_a_key_may_be_absent(workshop: Workshop) -> None:
    settings = workshop.load({"secret": "", "app_path": ""}).settings
    assert (settings.secret, settings.app_path) == (None, None)


@pytest.mark.parametrize(
    ("main", "line"),
    [
        ({"listen_port": "8443"}, "listen_port @ main.json:1: must be a whole number, not the text '8443' (remove the"),
        ({"listen_port": 1.5}, "listen_port @ main.json:1: must be a whole number, not 1.5"),
        ({"listen_port": True}, "listen_port @ main.json:1: must be a whole number, not true"),
        ({"listen_port": -1}, "listen_port @ main.json:1: must be at least 1, not -1"),
        ({"listen_port": 65536}, "listen_port @ main.json:1: must be at most 65535, not 65536"),
        ({"control_api_port": -1}, "control_api_port @ main.json:1: must be at least 0, not -1"),
        ({"close_connections": "yes"}, "close_connections @ main.json:1: must be true or false, not the text 'yes'"),
        ({"hostname": 5}, "hostname @ main.json:1: must be text, not 5 (put it in double quotes)"),
        ({"app_path": []}, "app_path @ main.json:1: must be the path of a file or directory, as text, not a list"),
        ({"proxy_ssl_ciphers": "A"}, "proxy_ssl_ciphers @ main.json:1: must be a list, not the text 'A' (put it in br"),
        ({"proxy_ssl_ciphers": [None]}, "proxy_ssl_ciphers[0] @ main.json:1: must be text, not null"),
        ({"gateway": []}, "gateway @ main.json:1: must be a section with keys of its own, not a list"),
        (
            {"gateway": {"access_log": "jason"}},
            "gateway.access_log.format @ main.json:1: must be 'json', 'common' or 'off'",
        ),
        (
            {"gateway": {"limits": {"head_bytes": 0}}},
            "gateway.limits.head_bytes @ main.json:1: must be at least 1, not 0",
        ),
        (
            {"gateway": {"limits": {"drain_timeout": 0}}},
            "gateway.limits.drain_timeout @ main.json:1: must be more than 0",
        ),
        (
            {"gateway": {"http_redirect": {}}},
            "gateway.http_redirect.port @ main.json:1: is required and missing (add it)",
        ),
        ({"gateway": {"access_log": {"path": ""}}}, "gateway.access_log.path @ main.json:1: is empty"),
        (
            {"http_server_options": {"certificates": [{"cert_file": "a"}]}},
            "http_server_options.certificates[0].key_file @ main.json:1: is required and missing",
        ),
        ([], "error: main.json:1: must be a section with keys of its own, not a list"),
    ],
)
def test_a_wrong_value_is_told_with_path_line_and_cure(workshop: Workshop, main: Any, line: str) -> None:
    assert line in workshop.told(main)


def test_numbers_too_large_for_a_clock_are_refused(workshop: Workshop) -> None:
    assert "must be a finite number" in workshop.told('{"proxy_default_timeout": 1e400}')
    assert "must be at most 31536000" in workshop.told({"proxy_default_timeout": 10**12})


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("listn_port", "error: listn_port @ main.json:1: this key is not known (did you mean listen_port?)"),
        ("listenPort", "did you mean listen_port?"),
        ("enable_analytic", "did you mean enable_analytics?"),
        (
            "min_version",
            "error: min_version @ main.json:1: this key is not known here (it belongs in http_server_options)",
        ),
        ("strict_sni", "it belongs in gateway.tls"),
        ("frobnicate", "warning: frobnicate @ main.json:1: this key is not known, so it is ignored"),
        ("storage", "note: storage @ main.json:1: exists in Tyk and means nothing here, so it is ignored"),
    ],
)
def test_a_key_that_is_not_known_is_told_with_the_nearest(workshop: Workshop, key: str, words: str) -> None:
    assert words in workshop.told({key: {"a": 1}})


def test_the_nearest_key_is_the_one_with_the_same_beginning() -> None:
    assert nearest("ssl_certs", ["ssl_ciphers", "ssl_certificates"]) == "ssl_certificates"
    assert nearest("log_path", ["app_path", "template_path"]) is None


def test_definitions_are_noted_only_where_they_ask_for_something(
    workshop: Workshop, api: Callable[..., dict[str, Any]]
) -> None:
    empty = {"tags": None, "cors": {"enable": False, "max_age": 0}, "slug": "", "use_oauth2": False, "jwt_source": []}
    assert workshop.told({"apis": [api(**empty)]}) == ""
    told = workshop.told({"apis": [api(cache_options={"enable_cache": True}, tags=["edge"])]})
    assert told.count("note: ") == 2
    assert "apis[0].cache_options" in told


def test_yaml_words_become_what_their_keys_want(workshop: Workshop) -> None:
    text = """
listen_port: 8443
proxy_default_timeout: 2.5
hostname: 10.0.0.1
http_server_options:
  use_ssl: yes
  enable_strict_routes: off
  min_version: 1.0
  ssl_ciphers: A, B
gateway:
  access_log: off
apis:
  - {api_id: 007, org_id: no, use_keyless: On, proxy: {listen_path: /, target_url: "http://a"}}
"""
    configuration = workshop.load(text, "main.yaml")
    settings, options = configuration.settings, configuration.settings.http_server_options
    assert (settings.listen_port, settings.proxy_default_timeout, settings.hostname) == (8443, 2.5, "10.0.0.1")
    assert (options.use_ssl, options.enable_strict_routes, options.min_version) == (True, False, 769)
    assert (options.ssl_ciphers, settings.gateway.access_log.format) == (("A", "B"), "off")
    assert (configuration.apis[0].api_id, configuration.apis[0].org_id) == ("007", "no")


def test_yaml_words_that_are_not_what_their_keys_want_are_errors(workshop: Workshop) -> None:
    told = workshop.told("listen_port: 8_443\nclose_connections: maybe\nproxy_default_timeout: nan\n", "main.yaml")
    assert "main.yaml:1: must be a whole number" in told
    assert "main.yaml:2: must be true or false" in told
    assert "main.yaml:3: must be a number" in told


def test_paths_start_from_the_file_that_they_stand_in(workshop: Workshop, api: Callable[..., dict[str, Any]]) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
    workshop.write(api(certificates=["../c.pem", "/abs/d.pem", pem]), "apps/one.json")
    options = {
        "ssl_certificates": ["a.pem", pem],
        "certificates": [{"cert_file": "a", "key_file": "/b"}],
        "use_ssl": True,
    }
    configuration = workshop.load({"http_server_options": options, "gateway": {"access_log": {"path": "log"}}})
    base = workshop.directory
    assert configuration.settings.http_server_options.ssl_certificates == (f"{base}/a.pem", pem)
    assert configuration.settings.http_server_options.certificates[0].cert_file == base / "a"
    assert configuration.settings.http_server_options.certificates[0].key_file == Path("/b")
    assert configuration.settings.gateway.data_dir == base / "data"
    assert configuration.settings.gateway.access_log.path == f"{base}/log"
    assert configuration.apis[0].certificates == (f"{base}/apps/../c.pem", "/abs/d.pem", pem)


def test_no_problem_repeats_a_secret(workshop: Workshop) -> None:
    told = workshop.told(
        {
            "secret": 424242,
            "secrett": "hunter2",
            "http_server_options": {"certificates": [{"passphrase": ["hunter2"], "passphrase_file": "hunter2"}]},
        }
    )
    assert told.count("error") == 5
    assert "hunter2" not in told
    assert "424242" not in told
