"""Cleaning a request's path, and turning it into what the upstream is asked for."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.balancing import Target
from gateway.routing.paths import clean_path, target_path
from gateway.routing.router import Router


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a",
        "/a/",
        "/a/b?x=//../.",
        "/.well-known/x",
        "/a.b/c..d",
        "/...",
        "/a%20b",
        "/a%2Fb",
        "/%2F%2f/b",
        "/..a/b..",
        "/%2e%2e%2e",
        "/a;..;/b",
        "/a%5Cb%2e/..%5Fc",
    ],
)
def test_a_clean_path_stays(path):
    assert clean_path(path.encode()) is None


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("//", "/"), ("//a", "/a"), ("/a//b///c", "/a/b/c"), ("/a//", "/a/"),
        ("/.", "/"), ("/..", "/"), ("/./a", "/a"), ("/a/.", "/a/"), ("/a/..", "/"), ("/a/b/..", "/a/"),
        ("/a/./b/../c", "/a/c"), ("/../../a", "/a"), ("/a/../../b", "/b"), ("/a//../b", "/b"),
        ("/a/../b?x=1//2", "/b?x=1//2"), ("/a/..?q", "/?q"), ("/a/../b%20c", "/b%20c"),
        ("/a/%2e%2e/b", "/b"), ("/a/.%2E/b", "/b"), ("/%2e/a", "/a"),
        ("/a/..%2fb", "/b"), ("/a%2f..%2Fb", "/b"), ("/a%2F../b", "/b"), ("/a//b%2Fc", "/a/b%2Fc"),
        ("/a\\..\\b", "/b"), ("/a%5c..%5Cb", "/b"), ("/a/..;x=1/b", "/b"),
        ("/a/%2e%2E%3b/b", "/b"), ("/a/.;/b", "/a/b"),
        ("/%2f..//evil.test", "/evil.test"), ("/%2f./evil.test", "/evil.test"), ("/./\\evil.test", "/%5Cevil.test"),
    ],
)  # fmt: skip
def test_double_slashes_and_dot_segments_go_however_they_are_written(path, cleaned):
    assert clean_path(path.encode()) == cleaned.encode()


@given(st.text(alphabet="/.a\\%", max_size=12), st.sampled_from(["", "?", "?//.."]))
def test_a_cleaned_path_is_clean_and_safe_to_redirect_to(text, query):
    escapes = iter(["2e", "2f", "2E", "2F", "41"] * 3)
    path = "/" + re.sub("%", lambda _: "%" + next(escapes), text) + query
    cleaned = clean_path(path.encode())
    if cleaned is None:
        return
    assert clean_path(cleaned) is None
    plain, mark, rest = cleaned.decode().partition("?")
    assert mark + rest == query
    assert re.match(r"/(?![/\\])", plain)
    assert not {".", ".."} & set(re.split("/", unquote(plain.replace("%5C", "_"))))


@pytest.fixture(scope="module")
def ask(define):
    """What an upstream is asked for."""

    def ask(listen_path: str, target: str, path: str, **proxy) -> str:
        router = Router([define("api", listen_path, proxy=proxy)], custom_domains=True, hostname="", strict=False)
        route = router.match(b"any.test", path.encode())
        return target_path(route, Target.parse(target), path.encode()).decode()

    return ask


@pytest.mark.parametrize(
    ("listen_path", "path", "asked"),
    [
        ("/app/", "/app/x?q=1", "/x?q=1"),
        ("/app/", "/app/", "/"),
        ("/app/", "/app/?q", "/?q"),
        ("/app", "/app", "/"),
        ("/app", "/app?q", "/?q"),
        ("/app", "/app/x", "/x"),
        ("/app", "/apple", "/le"),
        ("/", "/x/y", "/x/y"),
        ("/u/{id}", "/u/12/x?q", "/x?q"),
        ("/u/{id}", "/u/12", "/"),
        ("/u/{id:[0-9]+}/", "/u/12/x", "/x"),
        ("/u/{id}/", "/u/%C3%A9%2e/x%20y", "/x%20y"),
        ("/app/", "/%61pp/x%20y?%61", "/x%20y?%61"),
        ("/app/", "/app%2Fx%2Fy", "/x%2Fy"),
        ("/é/", "/%C3%A9/x", "/x"),
        ("/a/", "/%61/%zz%", "/%zz%"),
        ("/app/", "/api/app/x", "/api/app/x"),
    ],
)
def test_a_listen_path_is_stripped_however_it_was_written(ask, listen_path, path, asked):
    assert ask(listen_path, "http://up", path, strip_listen_path=True) == asked


@pytest.mark.parametrize("path", ["/app../x", "/app.%2e/x", "/app%2E%2E%2Fx", "/app./x"])
def test_stripping_makes_no_dot_segment_that_climbs_out_of_the_target(ask, path):
    assert clean_path(path.encode()) is None
    assert ask("/app", "http://up/base/", path, strip_listen_path=True) == "/base/x"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/get/https://x/y?u=//../z", "/base/get/https://x/y?u=//../z"),
        ("/get/https:%2f%2Fx//", "/base/get/https:%2f%2Fx//"),
        ("//x", "/base//x"),
        ("/get//../x", "/base/get/x"),
        *(
            (f"/{dots}/x", "/base/x")
            for dots in ("..", "%2e%2E", "a/../..", "..;", "..;a=b", "%2e.%3Bx", ".", "x/../.././..")
        ),
        *((f"/{dots}x", "/base/x") for dots in ("..%2f", "..%5c", "..\\", "a%2F..%5C..%2F..%2f", "..%5C..;%5c")),
        ("/..", "/base"),
        ("/a/..;", "/base"),
    ],
)
def test_without_cleaning_double_slashes_stay_and_nothing_climbs_out_of_the_target(ask, path, asked):
    """With ``skip_url_cleaning`` a path comes as the client wrote it."""
    assert ask("/strip", "http://up/base/", "/strip" + path, strip_listen_path=True) == asked
    if not path.startswith("//"):
        assert ask("/strip/", "http://up/base/", "/strip" + path, strip_listen_path=True) == asked
    assert ask("/", "http://up/base/", path) == asked


@pytest.mark.parametrize("path", ["/app/x?q=1", "/app/", "/%61pp/%20", "/app/?"])
def test_without_stripping_a_path_goes_as_it_came(ask, path):
    assert ask("/app/", "http://up/", path) == path


@pytest.mark.parametrize(
    ("target", "path", "asked"),
    [
        ("http://up/base", "/x", "/base/x"),
        ("http://up/base/", "/x", "/base/x"),
        ("http://up/base/", "/", "/base"),
        ("http://up/base/", "/?q", "/base?q"),
        ("http://up/base//", "/x", "/base/x"),
        ("http://up/?k=1", "/x", "/x?k=1"),
        ("http://up?k=1", "/", "/?k=1"),
        ("http://up/b?k=1", "/x?q=2", "/b/x?k=1&q=2"),
        ("http://up/b?k=1", "/x?", "/b/x?k=1"),
        ("http://up//", "/", "/"),
    ],
)
def test_the_path_and_query_of_a_target_come_first(ask, target, path, asked):
    assert ask("/", target, path) == asked


@pytest.mark.parametrize(
    ("target", "path", "asked"),
    [
        ("http://up/base/", "/app", "/base/"),
        ("http://up/base/", "/app/?q", "/base/?q"),
        ("http://up/base", "/app/", "/base"),
        ("http://up/base/", "/app/x", "/base/x"),
    ],
)
def test_the_slash_of_a_target_is_kept_for_an_empty_rest_when_told_so(ask, target, path, asked):
    assert ask("/app", target, path, strip_listen_path=True, disable_strip_slash=True) == asked
