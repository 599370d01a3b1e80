from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.config.environment import overlay, variables
from gateway.config.node import Node
from gateway.config.problems import Findings

if TYPE_CHECKING:
    from unit.config.workshop import Workshop


def test_names_follow_tyks_rule_with_its_exceptions() -> None:
    names = {".".join(keys): name for name, keys in variables().items()}
    assert names["listen_port"] == "TYK_GW_LISTENPORT"
    assert names["http_server_options.ssl_certificates"] == "TYK_GW_HTTPSERVEROPTIONS_SSLCERTIFICATES"
    assert names["http_server_options.ssl_ciphers"] == "TYK_GW_HTTPSERVEROPTIONS_CIPHERS"
    assert names["proxy_ssl_ciphers"] == "TYK_GW_PROXYSSLCIPHERSUITES"
    assert names["max_idle_connections_per_host"] == "TYK_GW_MAXIDLECONNSPERHOST"
    assert names["gateway.limits.tls_handshake_timeout"] == "TYK_GW_GATEWAY_LIMITS_TLSHANDSHAKETIMEOUT"
    assert names["gateway.http_redirect.port"] == "TYK_GW_GATEWAY_HTTPREDIRECT_PORT"


def test_a_variable_wins_over_the_file_whatever_the_case_of_its_key(workshop: Workshop) -> None:
    main = {"Listen_Port": 1, "HTTP_server_options": {"Use_SSL": False, "server_name": "kept.example"}}
    settings = workshop.load(main, TYK_GW_LISTENPORT="8443", TYK_GW_HTTPSERVEROPTIONS_USESSL="true").settings
    assert (settings.listen_port, settings.http_server_options.use_ssl) == (8443, True)
    assert settings.http_server_options.server_name == "kept.example"


def test_values_have_the_types_of_their_keys(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop.directory)
    pem = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----"
    settings = workshop.load(
        "",
        "main.yaml",
        TYK_GW_HTTPSERVEROPTIONS_SSLCERTIFICATES=f"a.pem, /b.pem,{pem}",
        TYK_GW_HTTPSERVEROPTIONS_MINVERSION="1.1",
        TYK_GW_HTTPSERVEROPTIONS_CIPHERS="EECDH+AESGCM:EDH+AESGCM",
        TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES=json.dumps(
            [{"domain_name": "a.example", "cert_file": "c", "key_file": "/k"}]
        ),
        TYK_GW_PROXYDEFAULTTIMEOUT="1.5",
        TYK_GW_CLOSECONNECTIONS="1",
        TYK_GW_GATEWAY_TRUSTEDPROXIES="10.0.0.0/8,::1",
        TYK_GW_GATEWAY_PROXYPROTOCOL_PROXIES="10.0.0.1",
        TYK_GW_HTTPSERVEROPTIONS_XFFDEPTH="2",
        TYK_GW_GATEWAY_HTTPREDIRECT_PORT="80",
        TYK_GW_GATEWAY_ACCESSLOG="common",
        TYK_GW_SECRET="0123",
    ).settings
    options = settings.http_server_options
    assert options.ssl_certificates == (str(Path.cwd() / "a.pem"), "/b.pem", pem)
    assert (options.min_version, options.ssl_ciphers) == (770, ("EECDH+AESGCM:EDH+AESGCM",))
    assert (options.certificates[0].cert_file, options.certificates[0].key_file) == (Path.cwd() / "c", Path("/k"))
    assert (settings.proxy_default_timeout, settings.close_connections) == (1.5, True)
    assert settings.gateway.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.gateway.proxy_protocol is not None
    assert settings.gateway.proxy_protocol.proxies == ("10.0.0.1",)
    assert settings.http_server_options.xff_depth == 2
    assert settings.gateway.http_redirect is not None
    assert settings.gateway.http_redirect.port == 80
    assert settings.gateway.access_log.format == "common"
    assert settings.secret is not None
    assert settings.secret.get_secret_value() == "0123"


def test_a_variable_inside_a_section_that_the_file_writes_as_one_word_keeps_the_word(workshop: Workshop) -> None:
    log = workshop.load(
        {"gateway": {"access_log": "common"}}, TYK_GW_GATEWAY_ACCESSLOG_PATH="/l"
    ).settings.gateway.access_log
    assert (log.format, log.path) == ("common", "/l")


def test_an_empty_variable_is_not_set(workshop: Workshop) -> None:
    assert workshop.load({"listen_port": 5}, TYK_GW_LISTENPORT="").settings.listen_port == 5


def test_nodes_that_yaml_aliases_may_share_stay_as_they_are() -> None:
    shared = Node({"server_name": Node("a.example", "f:1", Path())}, "f:1", Path())
    root = Node({"http_server_options": shared}, "f:1", Path())
    changed = overlay(root, {"TYK_GW_HTTPSERVEROPTIONS_SERVERNAME": "b.example"}, Findings())
    assert isinstance(changed.value, dict)
    assert changed.value["http_server_options"] != shared
    assert shared == Node({"server_name": Node("a.example", "f:1", Path())}, "f:1", Path())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "TYK_GW_LISTENPORT",
            "abc",
            "error: listen_port @ TYK_GW_LISTENPORT: must be a whole number, not the text 'abc'",
        ),
        (
            "TYK_GW_GATEWAY_LIMITS_HEADBYTES",
            "0",
            "error: gateway.limits.head_bytes @ TYK_GW_GATEWAY_LIMITS_HEADBYTES: ",
        ),
        (
            "TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES",
            "[{]",
            "error: http_server_options.certificates @ TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES: this is not JSON",
        ),
        (
            "TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES",
            '{"passphrase": "hunter2"}',
            "TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES: must be a list, not text",
        ),
        (
            "TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES",
            '[{"cert_file": "a"}]',
            "certificates[0].key_file @ TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES: is required",
        ),
        ("TYK_GW_HOSTNAME", "a\udcff", "error: hostname @ TYK_GW_HOSTNAME: the value holds a control character"),
        (
            "TYK_GW_LISTEN_PORT",
            "1",
            "warning: TYK_GW_LISTEN_PORT: this variable is not known, so it is ignored (did you",
        ),
        (
            "TYK_GW_FROBNICATE",
            "1",
            "warning: TYK_GW_FROBNICATE: this variable is not known, so it is ignored (remove it",
        ),
        ("TYK_GW_STORAGE_HOST", "redis", "note: TYK_GW_STORAGE_HOST: exists in Tyk"),
        ("TYK_GW_HTTPSERVEROPTIONS_FLUSHINTERVAL", "1", "note: TYK_GW_HTTPSERVEROPTIONS_FLUSHINTERVAL: exists in Tyk"),
        ("TYK_GW_TRACER_NAME", "x", "note: TYK_GW_TRACER_NAME: exists in Tyk"),
        ("TYK_GW_LISTENPORT_X", "x", "warning: TYK_GW_LISTENPORT_X: this variable is not known"),
        (
            "TYK_GW_SECURITY_CONTROLAPIUSEMUTUALTLS",
            "true",
            "error: security.control_api_use_mutual_tls @ TYK_GW_SECURITY_CONTROLAPIUSEMUTUALTLS: is true",
        ),
    ],
)
def test_problems_name_the_variable(workshop: Workshop, name: str, value: str, words: str) -> None:
    told = workshop.told({}, **{name: value})
    assert words in told
    assert "hunter2" not in told


def test_other_variables_are_none_of_our_business(workshop: Workshop) -> None:
    assert "PATH" not in workshop.told({}, PATH="/bin", TYK_DB_X="1", TYK_GWX="1")
