from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.config import kinds


def check(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value)


def refusal(kind: Any, value: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        check(kind, value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("written", "read"),
    [(769, 769), (770, 770), (771, 771), (772, 772), ("1.0", 769), ("1.1", 770), (1.2, 771), ("1.3", 772)],
)
def test_tls_versions_are_numbers_or_dotted(written: object, read: int) -> None:
    assert check(kinds.LowestVersion, written) == read
    assert check(kinds.OptionalVersion, written) == read


def test_the_version_zero_is_not_set() -> None:
    assert (check(kinds.LowestVersion, 0), check(kinds.HighestVersion, 0)) == (771, 772)
    assert check(kinds.OptionalVersion, 0) is None


@pytest.mark.parametrize("value", [768, 773, "TLS1.2", "", True, False, [771], "771"])
def test_other_versions_are_refused_with_all_that_there_are(value: object) -> None:
    assert "is not a TLS version" in refusal(kinds.OptionalVersion, value)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "www.example.com",
        "www.example.com.",
        "*.example.com",
        "b\u00fccher.example",
        "xn--bcher-kva.example",
        "a_b.example",
        "10.0.0.1",
        "2001:db8::1",
        "{sub}.example.com",
        "{x:[a-z]{2,3}}.example.com",
        "{x:www\\.a\\.com|www\\.b\\.com}",
        "{?:host1|host2}",
    ],
)
def test_hosts_wildcards_and_templates_are_host_patterns(host: str) -> None:
    assert check(kinds.HostPattern, host) == host


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("https://www.example.com", "is a URL"),
        ("www.example.com/a", "has a path"),
        ("www.example.com:8443", "has a port"),
        ("www example.com", "is not a host name"),
        ("www..example.com", "is not a host name"),
        ("a.*.example.com", "is not a host name"),
        ("*", "is not a host name"),
        (f"{'a' * 64}.example.com", "is not a host name"),
        (".".join(["a" * 60] * 5), "is not a host name"),
        ("{sub.example.com", "a brace without its partner"),
        ("sub}.example.com", "a brace without its partner"),
        ("{}.example.com", "an incomplete {}"),
        ("{x:}.example.com", "an incomplete {}"),
        ("{x:[a-z}.example.com", "does not compile"),
    ],
)
def test_what_is_no_host_is_refused_with_the_reason(host: str, words: str) -> None:
    assert words in refusal(kinds.HostPattern, host)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("a/", "/a/"),
        ("/a/../b/./c", "/b/c"),
        ("/../..", "/"),
        ("//a//b", "/a/b"),
        ("/{id}/x", "/{id}/x"),
        ("/{id:[0-9]{3}}/", "/{id:[0-9]{3}}/"),
    ],
)
def test_listen_paths_are_cleaned_as_tyk_does(written: str, read: str) -> None:
    assert check(kinds.ListenPath, written) == read


@pytest.mark.parametrize(
    ("path", "words"),
    [("", "is empty"), (" ", "is empty"), ("/a b", "white space"), ("/a?b", "not a path alone"), ("/{a", "brace")],
)
def test_what_is_no_listen_path_is_refused(path: str, words: str) -> None:
    assert words in refusal(kinds.ListenPath, path)


@settings(deadline=None)
@given(st.text())
def test_a_cleaned_listen_path_stays_as_it_is(text: str) -> None:
    try:
        clean = check(kinds.ListenPath, text)
    except ValidationError:
        return
    assert clean.startswith("/")
    assert check(kinds.ListenPath, clean) == clean


@pytest.mark.parametrize("url", ["http://a", "HTTPS://a.example:8443/x/?y=z", "http://[::1]:80/", "h2c://10.0.0.1"])
def test_absolute_http_urls_are_targets(url: str) -> None:
    assert check(kinds.Target, url) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "not an absolute URL"),
        ("127.0.0.1:9000", "not an absolute URL"),
        ("/path", "not an absolute URL"),
        ("ftp://a:1", "neither http nor https"),
        ("tyk://self", "neither http nor https"),
        ("http://", "no usable host"),
        ("http://:80", "no usable host"),
        ("http://a:0", "no usable host"),
        ("http://a:65536", "no usable host"),
        ("http://a:b", "no usable host"),
        ("http://[::1", "no usable host"),
        ("http://a..b/", "no usable host"),
        ("http://$(id)/", "no usable host"),
        ("http://a b/", "white space"),
        ("http://a/#b", "a fragment"),
    ],
)
def test_what_is_no_target_is_refused(url: str, words: str) -> None:
    assert words in refusal(kinds.Target, url)


def test_a_target_with_a_password_is_refused_without_repeating_it() -> None:
    assert "user information" in refusal(kinds.Target, "http://user:hunter2@a/")


def test_a_listed_target_needs_no_scheme() -> None:
    assert check(kinds.ListedTarget, "10.0.0.1:9000") == "10.0.0.1:9000"
    assert check(kinds.ListedTarget, "https://a/") == "https://a/"


@pytest.mark.parametrize(
    ("text", "cure"), [("10.0.0.1/8", "write 10.0.0.0/8"), ("10.0.0", "10.0.0.0/8"), ("::1/200", "10.0.0.0/8")]
)
def test_what_is_no_network_is_refused_with_what_was_meant(text: str, cure: str) -> None:
    with pytest.raises(ValidationError) as raised:
        check(kinds.Network, text)
    assert cure in raised.value.errors()[0]["ctx"]["cure"]


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.1", "2001:db8::/32"])
def test_addresses_and_networks_are_networks(text: str) -> None:
    assert check(kinds.Network, text) == text


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:80", "[127.0.0.1]", "[a]", "http://a", "a b"])
def test_an_address_to_listen_on_has_no_port(text: str) -> None:
    assert "is not an address to listen on" in refusal(kinds.BindAddress, text)


@pytest.mark.parametrize(("text", "means"), [("[::1]", "::1"), ("::1", "::1"), ("", ""), ("localhost", "localhost")])
def test_an_address_to_listen_on_may_have_the_brackets_of_a_url(text: str, means: str) -> None:
    assert TypeAdapter(kinds.BindAddress).validate_python(text) == means
