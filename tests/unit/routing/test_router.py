"""Which API gets a request: Tyk's order, its exceptions, and an index that never disagrees with a plain scan."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.routing.router import Router


def route(apis, *, custom_domains=True, hostname="", strict=False) -> Router:
    return Router(apis, custom_domains=custom_domains, hostname=hostname, strict=strict)


def found(router, host, path):
    match = router.match(host.encode(), path.encode())
    return match and match.api_id


# Paths


@pytest.mark.parametrize(
    ("path", "api_id"),
    [
        ("/", "root"),
        ("/x", "root"),
        ("/app", "short"),
        ("/app/", "long"),
        ("/app/v2/x", "longest"),
        ("/app/v1", "long"),
    ],
)
def test_the_longest_listen_path_wins_in_any_order_of_definition(define, path, api_id):
    apis = [define("short", "/app"), define("longest", "/app/v2/"), define("root", "/"), define("long", "/app/")]
    assert found(route(apis), "any.test", path) == api_id
    assert found(route(apis[::-1]), "any.test", path) == api_id


def test_a_path_that_no_api_has_is_not_found(define):
    assert found(route([define("app", "/app/")]), "any.test", "/app") is None
    assert found(route([]), "any.test", "/") is None


def test_a_listen_path_is_a_prefix_of_text_unless_strict(define):
    apis = [define("app", "/app"), define("root", "/")]
    assert found(route(apis), "any.test", "/apple") == "app"


@pytest.mark.parametrize("path", ["/app", "/app/", "/app/x", "/app?q", "/%61pp/x"])
def test_strict_routes_match_whole_segments(define, path):
    assert found(route([define("app", "/app"), define("root", "/")], strict=True), "any.test", path) == "app"


@pytest.mark.parametrize("path", ["/apple", "/app.js", "/app%3Fq", "/appl/x"])
def test_a_strict_miss_of_the_longest_prefix_does_not_fall_through(define, path):
    assert found(route([define("app", "/app"), define("root", "/")], strict=True), "any.test", path) is None


def test_strictness_is_for_literal_paths_without_a_final_slash_alone(define):
    apis = [define("slash", "/a/"), define("template", "/b/{id}")]
    router = route(apis, strict=True)
    assert found(router, "any.test", "/a/x") == "slash"
    assert found(router, "any.test", "/b/x.y/z") == "template"


@pytest.mark.parametrize(
    ("listen_path", "matches", "fails"),
    [
        ("/u/{id}", ["/u/1", "/u/1/x", "/u/a?q"], ["/u", "/u/", "/u//x", "/u?/x"]),
        ("/u/{id}/x", ["/u/1/x", "/u/1/xyz"], ["/u/1", "/u/1/2/x", "/u/1?/x"]),
        ("/u/{id:[0-9]{2}}/", ["/u/12/", "/u/12/x"], ["/u/1/", "/u/123/", "/u/ab/"]),
        ("/{a}-{b:x|y}.json", ["/1-x.json", "/1-2-y.json"], ["/1-z.json", "/-x.json", "/1-xxjson"]),
        ("/{all:.*}", ["/", "/x/y"], []),
        ("/{x:(?i)ab}/{y:c}", ["/AB/c", "/ab/c"], ["/AB/C"]),
        ("/é/{id}", ["/%C3%A9/1"], ["/e/1"]),
    ],
)
def test_templates_match_segments_or_expressions(define, listen_path, matches, fails):
    router = route([define("api", listen_path)])
    assert [path for path in matches + fails if found(router, "any.test", path)] == matches


def test_a_segment_that_is_all_variable_counts_nothing_for_length(define):
    apis = [define("variable", "/{a_very_long_name}/x"), define("literal", "/abcd")]
    assert found(route(apis), "any.test", "/abcd/x") == "literal"
    partly = [define("partly", "/a{a_very_long_name}"), define("literal", "/abcd")]
    assert found(route(partly), "any.test", "/abcd") == "partly"


def test_of_equals_the_one_that_is_defined_first_wins(define):
    first, second = define("first", "/a/{x}"), define("second", "/a/")
    assert found(route([first, second]), "any.test", "/a/b") == "first"
    assert found(route([second, first]), "any.test", "/a/b") == "second"
    assert found(route([define("one", "/a/"), define("two", "/a/")]), "any.test", "/a/b") == "one"


def test_an_api_is_reached_by_its_id_too_and_nothing_is_stripped_then(define):
    router = route([define("orders", "/o/", proxy={"strip_listen_path": True})])
    by_id, by_path = router.match(b"any.test", b"/orders/x"), router.match(b"any.test", b"/o/x")
    assert by_id.definition is by_path.definition
    assert (by_id.strips, by_path.strips) == (False, True)
    assert found(router, "any.test", "/orders") is None


def test_an_id_that_is_the_listen_path_too_does_not_keep_it_from_being_stripped(define):
    router = route([define("orders", "/orders/", proxy={"strip_listen_path": True})])
    assert router.match(b"any.test", b"/orders/x").strips


def test_an_id_ranks_with_the_listen_path_of_its_api(define):
    apis = [define("b", "/longer/path/"), define("a", "/b/x/")]
    assert found(route(apis), "any.test", "/b/x/") == "b"
    apis = [define("b", "/l/"), define("a", "/b/x/")]
    assert found(route(apis), "any.test", "/b/x/") == "a"


def test_paths_are_compared_decoded_so_that_no_spelling_leads_past_an_api(define):
    router = route([define("admin", "/admin/"), define("root", "/")])
    for path in ("/%61dmin/", "/admin%2Fx", "/%61%64%6D%69%6e%2f"):
        assert found(router, "any.test", path) == "admin"
    for path in ("/%2561dmin/", "/%6", "/%zz", "/x?/admin/", "/?%61"):
        assert found(router, "any.test", path) == "root"


# Hosts


@pytest.mark.parametrize(
    "host", ["www.example.com", "WWW.Example.COM", "www.example.com:8443", "www.example.com.", "www.example.com.:1"]
)
def test_a_domain_matches_in_any_case_with_any_port_and_a_final_dot(define, host):
    assert found(route([define("api", "/", "www.Example.com")]), host, "/") == "api"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "x.www.example.com",
        "www.example.com.evil.test",
        "www.example.com:x",
        "www.example.com\xff",
        "a b",
        "[::1",
        "x" * 300,
    ],
)
def test_another_or_an_impossible_host_does_not_match(define, host):
    router = route([define("api", "/", "www.example.com"), define("any", "/any/")])
    assert router.match(host.encode("latin-1"), b"/") is None
    assert router.match(host.encode("latin-1"), b"/any/").api_id == "any"


def test_addresses_and_internationalised_names_are_domains_too(define):
    router = route(
        [define("v4", "/", "10.0.0.1"), define("v6", "/", "2001:db8::1"), define("idn", "/", "bücher.example")]
    )
    assert found(router, "10.0.0.1:8443", "/") == "v4"
    assert found(router, "[2001:DB8:0::1]:8443", "/") == "v6"
    assert found(router, "[2001:db8::1]", "/") == "v6"
    assert found(router, "xn--bcher-kva.example", "/") == "idn"


@pytest.mark.parametrize(
    ("domain", "matches", "fails"),
    [
        ("*.example.com", ["a.example.com", "A.EXAMPLE.COM:1"], ["example.com", "a.b.example.com"]),
        ("{sub}.example.com", ["a.example.com", "A-b.Example.com"], ["example.com", "a.b.example.com"]),
        ("{x:[a-z]+}.Example.com", ["a.example.com", "ABC.example.com"], ["a1.example.com"]),
        ("{?:one.test|two.test}", ["one.test", "two.test:8443"], ["three.test", "one.test.x"]),
        ("*.{x}.test", ["a.b.test"], ["b.test", "a.b.c.test"]),
        ("{x:.*}", ["a", "a.b.c"], []),
        ("{x:(?i)www|api}.{y:(?s)b+}.test", ["www.b.test", "API.bb.test"], ["w.b.test", "www.test"]),
    ],
)
def test_wildcards_and_templates_match_whole_hosts(define, domain, matches, fails):
    router = route([define("api", "/", domain)])
    assert [host for host in matches + fails if found(router, host, "/")] == matches


def test_any_domain_wins_over_none_and_the_longest_path_among_the_domains_that_match(define):
    router = route(
        [
            define("none", "/a/very/long/path/"),
            define("exact", "/", "www.example.com"),
            define("exact-too", "/the/longest/of/all/paths/", "www.example.com"),
            define("wildcard", "/a/", "*.example.com"),
            define("template", "/a/b/", "{x}.example.com"),
        ]
    )
    paths = {"/a/very/long/path/": "wildcard", "/a/b/": "template", "/x": "exact"}
    assert {path: found(router, "www.example.com", path) for path in paths} == paths
    assert found(router, "other.test", "/a/very/long/path/") == "none"


def test_an_api_without_a_domain_serves_what_the_domains_leave(define):
    router = route([define("domain", "/a/", "www.example.com"), define("none", "/")])
    assert found(router, "www.example.com", "/b") == "none"


def test_a_strict_miss_on_a_domain_does_not_fall_to_apis_without_one(define):
    router = route([define("domain", "/app", "www.example.com"), define("none", "/")], strict=True)
    assert found(router, "www.example.com", "/apple") is None
    assert found(router, "other.test", "/apple") == "none"


def test_domains_count_for_nothing_without_custom_domains(define):
    apis = [define("domain", "/", "www.example.com"), define("path", "/path/")]
    router = route(apis, custom_domains=False)
    assert found(router, "other.test", "/") == "domain"
    assert found(router, "www.example.com", "/path/") == "path"


def test_a_disabled_domain_is_no_domain(define):
    router = route([define("api", "/", "www.example.com", domain_disabled=True)])
    assert found(router, "other.test", "/") == "api"


@pytest.mark.parametrize("hostname", ["gw.test", "GW.test", "{x:gw}.test"])
def test_the_hostname_is_the_domain_of_apis_that_have_none(define, hostname):
    router = route([define("domain", "/", "www.example.com"), define("none", "/x/")], hostname=hostname)
    assert found(router, "gw.test", "/x/") == "none"
    assert found(router, "other.test", "/x/") is None
    assert found(router, "www.example.com", "/x/") == "domain"


def test_a_domain_wins_over_an_equal_hostname(define):
    router = route([define("none", "/long/"), define("domain", "/", "gw.test")], hostname="gw.test")
    assert found(router, "gw.test", "/long/") == "domain"


@pytest.mark.parametrize("fields", [{"active": False}, {"internal": True}])
def test_an_api_that_is_not_active_or_internal_is_not_served(define, fields):
    assert found(route([define("off", "/a/", **fields), define("on", "/")]), "any.test", "/a/") == "on"


# The index


def test_clients_cannot_make_it_remember_without_end(define, monkeypatch):
    monkeypatch.setattr("gateway.routing.router._REMEMBERED_HOSTS", 5)
    router = route([define("api", "/", "*.example.com")])
    for number in range(50):
        assert found(router, f"h{number}.example.com", "/") == "api"
        assert found(router, "x" * 300 + f"{number}.example.com", "/") is None
    assert len(router._remembered) == 6


def test_patterns_that_cannot_be_read_are_all_reported_with_their_api(define):
    def at_path(name, path):
        one = define(name, "/")
        return one.model_copy(update={"proxy": one.proxy.model_copy(update={"listen_path": path})})

    apis = [
        define("fine", "/"),
        define("brace", "/").model_copy(update={"domain": "{x.test"}),
        at_path("expression", "/{x:(}"),
        define("order", "/").model_copy(update={"domain": "}{x}.test"}),
        define("name", "/").model_copy(update={"domain": "a b"}),
        at_path("escape", "/{x:\\N{BULLET}}"),
    ]
    with pytest.raises(ConfigurationError) as caught:
        route(apis)
    assert [problem.path for problem in caught.value.problems] == [
        "apis[name]", "apis[brace]", "apis[order]", "apis[expression]", "apis[escape]"
    ]  # fmt: skip
    assert all(problem.cure for problem in caught.value.problems)


LABELS = st.sampled_from(["a", "b", "ab", "{x}", "{x:[ab]+}", "a{x}"])
LISTEN_PATHS = st.builds(
    lambda segments, slash: "/" + "/".join(segments) + ("/" if slash and segments else ""),
    st.lists(LABELS, max_size=3),
    st.booleans(),
)
DOMAINS = st.sampled_from(["", "", "a.t", "b.a.t", "*.a.t", "*.t", "{x}.a.t", "{x:[ab]+}.t", "{x:.*}"])
HOSTS = st.sampled_from(["", "a.t", "b.a.t", "A.t:1", "b.t", "c.a.t", "a.b.a.t", "t", "%"])
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "abc", "%61", "%2f", "/", "/"]), max_size=6).map(
    lambda p: "/" + "".join(p)
)


def vagueness(domain):
    return 2 if "{" in domain else int(domain.startswith("*."))


def scan(apis, host, path, *, hostname, strict):
    """Tyk's way, as its documentation tells it: one after the other."""

    def expression(template, default):
        parts = re.split(r"\{\w+(?::(.*?))?\}", template)
        return "".join(part or default if i % 2 else re.escape(part) for i, part in enumerate(parts))

    def length(listen_path):
        return len(re.sub(r"(?<=/)\{[^/]*\}(?=/|$)", "", listen_path))

    name, decoded = host.lower().removesuffix(":1"), unquote_to_bytes(path).decode()
    for api in sorted(apis, key=lambda api: (not api.domain, -length(api.proxy.listen_path), vagueness(api.domain))):
        domain = api.domain or hostname
        pattern = expression(domain.replace("*.", "{w}."), "[^.]+")
        if domain and (name in ("", "%") or not re.fullmatch(pattern, name)):
            continue
        for by_id, prefix in enumerate((api.proxy.listen_path, f"/{api.api_id}/")):
            if re.match(expression(prefix, "[^/]+"), decoded):
                bounded = strict and not prefix.endswith("/") and "{" not in prefix
                refused = bounded and decoded != prefix and not decoded.startswith(prefix + "/")
                return None if refused else (api.api_id, by_id)
    return None


@given(
    st.lists(st.tuples(LISTEN_PATHS, DOMAINS), max_size=8),
    st.permutations(["a", "b", "ab", "c", "d", "e", "f", "g"]),
    st.lists(st.tuples(HOSTS, PATHS), min_size=1, max_size=8),
    st.sampled_from(["", "a.t", "*.a.t"]),
    st.booleans(),
)
def test_the_index_finds_what_a_plain_scan_finds(define, places, ids, requests, hostname, strict):
    apis = [define(api_id, listen_path, domain) for api_id, (listen_path, domain) in zip(ids, places, strict=False)]
    router = route(apis, hostname=hostname, strict=strict)
    for host, path in requests:
        match = router.match(host.encode(), path.encode())
        result = match and (match.api_id, match.rank % 2)
        assert result == scan(apis, host, path, hostname=hostname, strict=strict), (host, path)
