from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gateway.certs.self_signed import Authority
from gateway.cli.served import describe
from gateway.config.load import load
from gateway.store.default_certificate import stand_in
from gateway.store.file_sources import collect

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
MAIN = """
listen_port: 8443
http_server_options: {use_ssl: true, ssl_certificates: [rsa.pem, ec.pem, wild.pem]}
gateway: {http_redirect: {port: 8080}}
apis:
"""


def api(name: str, domain: str, listen_path: str = "/") -> str:
    proxy = f"{{listen_path: {listen_path}, target_url: 'http://{name}:80'}}"
    return f"  - {{api_id: {name}, use_keyless: true, domain: '{domain}', proxy: {proxy}}}\n"


@pytest.fixture
def shown(tmp_path: Path):
    """A function that describes a configuration text, in a directory with three certificates."""
    authority = Authority.create("Test CA", now=NOW)
    for file, name, key in (("rsa", "a.test", "rsa2048"), ("ec", "a.test", "ec"), ("wild", "*.w.test", "ec")):
        pair = authority.leaf(name, key=key, days=20, now=NOW)
        path = tmp_path / f"{file}.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.key_pem + pair.chain_pem)

    def show(text: str) -> list[str]:
        (tmp_path / "gateway.yaml").write_text(text)
        configuration = load(tmp_path / "gateway.yaml", {})
        return describe(configuration, collect(configuration, NOW), NOW).splitlines()

    return show


def row(lines: list[str], domain: str) -> int:
    return next(index for index, line in enumerate(lines) if line.startswith(f"{domain} "))


def test_two_key_types_for_one_name_stand_below_each_other(shown) -> None:
    lines = shown(MAIN + api("a", "a.test"))
    first = row(lines, "a.test")
    assert {lines[first].split()[1], lines[first + 1].split()[0]} == {"rsa", "ec"}


def test_expiry_is_told_as_a_day_and_as_days_left(shown) -> None:
    lines = shown(MAIN + api("a", "a.test"))
    assert "2030-01-21 (19 days)" in lines[row(lines, "a.test")]


@pytest.mark.parametrize("domain", ["*.w.test", "{tenant}.w.test", "X.W.test"])
def test_a_domain_gets_the_certificate_that_covers_it(domain: str, shown) -> None:
    lines = shown(MAIN + api("w", "*.w.test"))
    certificate = lines[row(lines, "*.w.test")].split()[2]
    (served,) = [line for line in shown(MAIN + api("w", domain)) if line.endswith("http://w:80")]
    assert certificate in served


def test_a_name_without_an_api_of_its_own_gets_the_apis_for_every_name(shown) -> None:
    lines = shown(MAIN + api("a", "a.test") + api("rest-1", "", "/rest/"))
    assert lines[row(lines, "*.w.test")].endswith("/rest/ and /rest-1/ → http://rest-1:80")
    assert lines[row(lines, "(any")].endswith("/rest/ and /rest-1/ → http://rest-1:80")
    assert lines[row(lines, "a.test")].endswith("http://a:80")


def test_a_name_that_no_api_answers_for_is_told(shown) -> None:
    lines = shown(MAIN + api("a", "a.test"))
    assert lines[row(lines, "*.w.test")].endswith("none: 404")


def test_ports_and_policy_are_told(shown) -> None:
    lines = shown(MAIN + api("a", "a.test"))
    assert lines[0] == "HTTPS on *:8443, redirect to it on port 8080, control on 127.0.0.1:9696"
    assert lines[1].startswith("TLS 1.2 to 1.3, cipher suites in the server's order: TLS_AES_128_GCM_SHA256 ")


def test_without_tls_no_certificate_is_shown(shown) -> None:
    text = "\n".join(shown("http_server_options: {ssl_certificates: [ec.pem]}\napis:\n" + api("a", "a.test")))
    assert "plain HTTP" in text
    assert "Test CA" not in text


def test_a_certificate_that_is_yet_to_be_made_is_not_announced_as_if_it_served(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(f"http_server_options: {{use_ssl: true}}\napis:\n{api('a', 'a.test')}")
    configuration = load(tmp_path / "gateway.yaml", {})
    collected = stand_in(collect(configuration, NOW), configuration.settings, "node-7", NOW, None)
    text = describe(configuration, collected, NOW)
    assert text.count("self-signed, made at the start") == 5
    assert collected.made
    assert collected.made.fingerprint[:12] not in text


def test_ports_of_ipv6_addresses_are_shown_with_brackets(shown) -> None:
    text = MAIN.replace("listen_port", "listen_address: '[::1]'\nlisten_port").replace(
        "{http_", "{control_address: '::1', http_"
    )
    assert shown(text + api("a", "a.test"))[0].startswith("HTTPS on [::1]:8443, ")
    assert "control on [::1]:" in shown(text + api("a", "a.test"))[0]
