"""Targets: URLs as they are written to addresses as they are dialled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.routing.balancing import Target, weighted_targets


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://up", Target("http", "up", 80, b"/", b"", b"up")),
        ("https://up/", Target("https", "up", 443, b"/", b"", b"up")),
        ("up:8080/base", Target("http", "up", 8080, b"/base", b"", b"up:8080")),
        (
            "HTTPS://My_Service.Example.com.:443",
            Target("https", "my_service.example.com", 443, b"/", b"", b"my_service.example.com"),
        ),
        ("http://10.0.0.1:80/?k=1", Target("http", "10.0.0.1", 80, b"/", b"k=1", b"10.0.0.1")),
        ("http://[2001:DB8::1]:8080/", Target("http", "2001:db8::1", 8080, b"/", b"", b"[2001:db8::1]:8080")),
        ("https://[::1]", Target("https", "::1", 443, b"/", b"", b"[::1]")),
        (
            "http://bücher.example/é%20?ü=1",
            Target("http", "xn--bcher-kva.example", 80, b"/%C3%A9%20", b"%C3%BC=1", b"xn--bcher-kva.example"),
        ),
    ],
)
def test_a_url_is_a_target(url, target):
    assert Target.parse(url) == target


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "names a host"),
        ("http://", "names a host"),
        ("http:///path", "names a host"),
        ("http://a b/", "white space"),
        ("http://a/\r\nX: y", "white space"),
        ("http://a:99999/", "names a host and a port"),
        ("http://a:x/", "names a host and a port"),
        ("http://[::1/", "names a host"),
        ("http://256.1.1.1/", "names a host"),
        ("ftp://a/", "starts with http://, https://, h2c://"),
        ("tyk://self/", "starts with http://, https://, h2c://"),
        ("http://a:0/", "no port 0"),
        ("http://a/#x", "no fragment"),
    ],
)
def test_what_is_no_target_is_refused_with_the_rule(url, reason):
    with pytest.raises(ValueError, match=reason):
        Target.parse(url)


def test_credentials_are_refused_and_not_repeated():
    with pytest.raises(ValueError, match="no user information") as caught:
        Target.parse("http://user:hunter2@a/")
    assert "hunter2" not in str(caught.value)


def test_an_api_has_one_target_or_a_list(define):
    several = {"target_url": "http://one", "target_list": ("two:1", "https://three")}
    balanced = define("api", "/", proxy=several | {"enable_load_balancing": True})
    assert [target.host for target in weighted_targets(balanced)] == ["two", "three"]
    assert [target.host for target in weighted_targets(define("api", "/", proxy=several))] == ["one"]
    empty = define("api", "/", proxy={"target_url": "http://one", "enable_load_balancing": True})
    assert [target.host for target in weighted_targets(empty)] == ["one"]


@given(st.text(max_size=40))
def test_any_text_is_a_target_or_a_value_error(text):
    for url in (text, "http://" + text, "http://a/" + text):
        try:
            target = Target.parse(url)
        except ValueError:
            continue
        written = target.base_path + target.query + target.authority
        assert not any(byte <= 0x20 or byte >= 0x7F for byte in written)
        assert target.base_path.startswith(b"/")


@pytest.mark.parametrize("host", ["1.2.3", "-a", "a" * 64])
def test_a_host_that_only_looks_like_one_is_a_problem_with_a_place(define, host):
    with pytest.raises(ConfigurationError, match=r"apis\[api\]\.proxy\.target_url"):
        weighted_targets(define("api", "/", proxy={"target_url": f"http://{host}/"}))
    several = {"enable_load_balancing": True, "target_list": ("http://a", f"http://{host}:1"), "target_url": "http://a"}
    with pytest.raises(ConfigurationError, match=r"proxy\.target_list\[1\]"):
        weighted_targets(define("api", "/", proxy=several))
