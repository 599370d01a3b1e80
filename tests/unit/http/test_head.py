"""Heads: what is refused, what is kept, and that h11 never reads something else into what we accept."""

from __future__ import annotations

import contextlib

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageError
from gateway.http.fields import is_host, request_fields, response_fields
from gateway.http.head import (
    CHUNKED,
    UNTIL_CLOSE,
    RequestHead,
    ResponseHead,
    parse_request,
    parse_response,
)

GET = b"GET /x HTTP/1.1\r\n"


def request(head: bytes) -> RequestHead:
    return parse_request(head, request_fields(), 100)


def response(head: bytes, method: bytes = b"GET") -> ResponseHead:
    return parse_response(head, response_fields(), method, 100)


def test_end_to_end_lines_are_kept_as_they_came_and_hop_by_hop_ones_are_dropped() -> None:
    head = request(
        GET
        + b"Host: a.test\r\nAccept:  text/html \r\nTE: trailers\r\nKeep-Alive: 5\r\nConnection: x-hop, keep-alive\r\n"
        b"X-Hop: 1\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\nX-Kept: 1"
    )
    assert head.lines == [b"Accept:  text/html ", b"X-Kept: 1"]
    assert head.host == b"a.test"
    assert head.keep_alive


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Host: a\r\nHost: a", 400),
        (b"Accept: x", 400),
        (b"Host : a", 400),
        (b"Host: a b", 400),
        (b"Host: user@a", 400),
        (b"Host: a\r\n folded: x", 400),
        (b"Host: a\r\nX: a\x00b", 400),
        (b"Host: a\r\nX: a\rb", 400),
        (b"Host: a\r\nX: a\nb", 400),
        (b"Host: a\r\n: x", 400),
        (b"Host: a\r\nno colon", 400),
        (b"Host: a\r\nContent-Length: +1", 400),
        (b"Host: a\r\nContent-Length: -1", 400),
        (b"Host: a\r\nContent-Length: 1, 1", 400),
        (b"Host: a\r\nContent-Length: 0x1", 400),
        (b"Host: a\r\nContent-Length: 1_0", 400),
        (b"Host: a\r\nContent-Length: " + b"9" * 19, 400),
        (b"Host: a\r\nContent-Length:", 400),
        (b"Host: a\r\nContent-Length: 1\r\nContent-Length: 1", 400),
        (b"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: gzip, chunked", 501),
        (b"Host: a\r\nTransfer-Encoding: gzip;q=1 ,\tChunked", 501),
        (b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 1", 400),
        (b"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: gzip, chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\nTransfer-Encoding: chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400),
        (b"Host: a\r\nTransfer-Encoding: gzip", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked, gzip", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked, chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked;a=b, chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked;a=b", 400),
        (b"Host: a\r\nTransfer-Encoding: , chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: gzip,, chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: gz[p, chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: gzip,\r\n chunked", 400),
        (b"Host: a\r\nContent-Length: 01", 400),
        (b"Host: a\r\nContent-Length: 00", 400),
        (b"Host:", 400),
        (b"Host: :", 400),
        (b"Host: a:x", 400),
        (b"Host: a::80", 400),
        (b"Host: a\r\nTransfer-Encoding: xchunked", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked, identity", 400),
        (b"Host: a\r\nTransfer-Encoding : chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: chunked,", 400),
        (b"Host: a\r\nTransfer-Encoding:", 400),
        (b'Host: a\r\nTransfer-Encoding: "chunked"', 400),
        (b"Host: a\r\nTransfer-Encoding: \x0bchunked", 400),
        (b"Host: a\r\nTransfer-Encoding:\r\n chunked", 400),
        (b"Host: a\r\nTransfer-Encoding: identity", 400),
        (b"Host: a\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        (b"Host: a\r\nContent-Length: 1 1", 400),
        (b"Host: a\r\nContent-Length: 1.0", 400),
        (b"Host: a, b", 400),
        (b"Host: a/b", 400),
        (b"Host: [::1", 400),
        (b"Host: :80", 400),
        (b"Host: a%2", 400),
        (b"Host: a\r\nX\x00: a", 400),
        (b"Host: a\r\nX\xe4: a", 400),
        (b"Host: a\r\nX: \x7f", 400),
        (b"Host: a\r\n\tfolded", 400),
        (b"Host: a\r\nExpect: 200-ok", 417),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: bytes, status: int) -> None:
    with pytest.raises(MessageError) as refused:
        request(GET + lines)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  / HTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/1.2", 505),
        (b"G(T / HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET /%00 HTTP/1.1", 400),
        (b"GET /?%00 HTTP/1.1", 400),
        (b"GET /\xc3\xa4%00 HTTP/1.1", 400),
        (b"GET /%2 HTTP/1.1", 400),
        (b"GET /% HTTP/1.1", 400),
        (b"GET /%zz HTTP/1.1", 400),
        (b"GET /%c0%ae%c0%ae/ HTTP/1.1", 400),
        (b"GET /\xc0\xaf HTTP/1.1", 400),
        (b"GET /%e0%80%af HTTP/1.1", 400),
        (b"GET /%F0%80%80%AF HTTP/1.1", 400),
        *((b"GET /a%cb HTTP/1.1" % char, 400) for char in b'"<>\\^`{|}#\x00\x01\x0b\x1f\x7f'),
        *((b"GET /?a%cb HTTP/1.1" % char, 400) for char in b'"<>#\x00\x01\x0b\x1f\x7f'),
        *((b"GET http://a/%cb HTTP/1.1" % char, 400) for char in b'"<>\\^`{|}#\x00\x7f'),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET x HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"OPTIONS ** HTTP/1.1", 400),
        (b"GET  HTTP/1.1", 400),
        (b"GET / HTTP/1.1\x00", 400),
        (b"GET / HTTP/1,1", 400),
        (b"GET / HTTP/+1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /\r HTTP/1.1", 400),
        (b"GET\x00 / HTTP/1.1", 400),
        (b"\xe4 / HTTP/1.1", 400),
        (b"M" * 33 + b" / HTTP/1.1", 400),
        (b"GET https://a:444/ HTTP/1.1", 400),
        (b"GET http:///x HTTP/1.1", 400),
        (b"CONNECT 127.0.0.1:443 HTTP/1.1", 405),
        (b"CONNECT [::1]:443 HTTP/1.1", 405),
        (b"GET ftp://a/ HTTP/1.1", 400),
        (b"GET http://user@a/ HTTP/1.1", 400),
        (b"GET http://other/ HTTP/1.1", 400),
        (b"CONNECT a:443 HTTP/1.1", 405),
    ],
)
def test_request_lines_that_are_refused(line: bytes, status: int) -> None:
    with pytest.raises(MessageError) as refused:
        request(line + b"\r\nHost: a")
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("target", "passed"),
    [
        (b"/caf\xc3\xa9?\xe4=\xff", b"/caf%C3%A9?%E4=%FF"),
        (b"/\xe4", b"/%E4"),
        (b"/\xc3\xa4%2f%2e", b"/%C3%A4%2f%2e"),
        (b"http://a/\xe4?\xe4", b"/%E4?%E4"),
        (b"http://a?\xe4", b"/?%E4"),
        (b"/%25zz/%2500", b"/%25zz/%2500"),
        (b"/a;b=c,d@e:f!$&'()*+~[1]", b"/a;b=c,d@e:f!$&'()*+~[1]"),
        (b"/?a[]=1&b={x|y}^`\\", b"/?a[]=1&b={x|y}^`\\"),
        (b"/?100%&%c0%af", b"/?100%&%c0%af"),
        (b"/%0d%0a?%0D%0A", b"/%0d%0a?%0D%0A"),
    ],
)
def test_a_target_passes_in_ascii(target: bytes, passed: bytes) -> None:
    for _ in range(2):  # the second time from memory
        assert request(b"GET " + target + b" HTTP/1.1\r\nHost: a").target == passed


@pytest.mark.parametrize("host", [b"a.test:", b"[::1]:", b"A.test:0"])
def test_a_port_may_be_empty(host: bytes) -> None:
    assert request(GET + b"Host: " + host).host == host
    assert request(b"GET / HTTP/1.0\r\nHost: " + host).host == host


def test_a_host_is_a_name_or_an_address() -> None:
    names = (b"a", b"A-b.c_d.test.", b"xn--a.test", b"a" * 253, b"1.2.3.4", b"[::]", b"[::1]", b"[::ffff:1.2.3.4]")
    assert all(is_host(name + port) for name in names for port in (b"", b":", b":0", b":80", b":65535"))
    others = (
        *(
            b"",
            b".",
            b".a",
            b"a..b",
            b"a..",
            b"a" * 255,
            b"a,b",
            b"a;b",
            b"a%2eb",
            b"*.a",
            b"~",
            b"(a)",
            b"a b",
            b"a\n",
        ),
        *(b"::1", b"[::1", b"[a]", b"[:]", b"[1.2.3.4]", b"[::1%25eth0]", b"[v1.a]", b"u@a", b"a/b", b"\xc3\xa9"),
    )
    assert not any(is_host(name + port) for name in others for port in (b"", b":80"))
    assert not any(is_host(b"a:" + port) for port in (b"65536", b"99999", b"000080", b"-1", b"x", b" 80", b"80:80"))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (b"http://a.test:", b"A.test"),
        (b"http://a.test", b"a.test:80"),
        (b"http://a.test:80", b"a.test:"),
        (b"HTTPS://a.test:", b"a.test:443"),
        (b"http://[::1]:80", b"[::1]"),
    ],
)
def test_a_default_port_and_an_empty_one_are_none(url: bytes, host: bytes) -> None:
    assert request(b"GET " + url + b"/x HTTP/1.1\r\nHost: " + host).target == b"/x"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (b"http://a.test:443", b"a.test"),
        (b"http://a.test:8", b"a.test:80"),
        (b"http://[::1]", b"[::1:80]"),
        (b"http://a.test", b""),
        (b"http://a.test", b"a.test."),
        (b"http://:80", b"a"),
        (b"http://a@b", b"b"),
        (b"http://a\\b", b"a"),
    ],
)
def test_a_url_names_the_host_that_the_host_field_names(url: bytes, host: bytes) -> None:
    with pytest.raises(MessageError) as refused:
        request(b"GET " + url + b"/x HTTP/1.1\r\nHost: " + host)
    assert refused.value.status == 400


def test_an_upstream_may_pad_its_content_length() -> None:
    assert response(b"HTTP/1.1 200 OK\r\nContent-Length: 005").length == 5


def test_a_target_in_absolute_form_becomes_a_path_and_its_host() -> None:
    head = request(b"GET http://a.test:81?x=1 HTTP/1.1\r\nHost: A.test:81")
    assert (head.host, head.target) == (b"a.test:81", b"/?x=1")


def test_options_may_ask_about_the_gateway_itself() -> None:
    """RFC 9112 section 3.2.4: a URL without a path is how a client says so through a proxy."""
    for target in (b"*", b"http://a"):
        head = request(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a")
        assert (head.host, head.target) == (b"a", b"*")
    assert request(b"OPTIONS http://a/ HTTP/1.1\r\nHost: a").target == b"/"
    assert request(b"GET http://a HTTP/1.1\r\nHost: a").target == b"/"


def test_close_wins_wherever_it_stands() -> None:
    lines = b"Host: a\r\nConnection: close\r\nConnection: keep-alive"
    assert not request(GET + lines).keep_alive
    assert not response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + lines).keep_alive


def test_a_default_port_in_the_target_is_the_same_host() -> None:
    assert request(b"GET http://a.test:80/ HTTP/1.1\r\nHost: a.test").target == b"/"


def test_an_absolute_target_does_not_excuse_a_missing_host() -> None:
    with pytest.raises(MessageError):
        request(b"GET http://a.test/ HTTP/1.1\r\nAccept: x")


def test_a_transfer_coding_in_http_1_0_is_refused() -> None:
    with pytest.raises(MessageError):
        request(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked")


def test_http_1_0_needs_no_host_and_does_not_keep_alive() -> None:
    head = request(b"GET / HTTP/1.0")
    assert (head.host, head.keep_alive, head.minor_version) == (b"", False, 0)


def test_a_second_identical_line_is_classified_as_the_first() -> None:
    table = request_fields()
    lines = GET + b"Host: a\r\nContent-Length: 3"
    assert parse_request(lines, table, 100) == parse_request(lines, table, 100)
    assert parse_request(lines, table, 100).length == 3


def test_lines_with_credentials_are_never_kept() -> None:
    table = request_fields()
    parse_request(GET + b"Host: a\r\nCookie: s=1\r\nAuthorization: Bearer x\r\nX-Tyk-Authorization: y", table, 100)
    assert list(table.known) == [b"Host: a"]


def test_the_table_of_known_lines_is_bounded() -> None:
    table = request_fields()
    for number in range(10_000):
        table.learn(b"X-Number: %d" % number)
    assert len(table.known) <= 4096


def test_what_connection_names_ends_here_whatever_it_is() -> None:
    lines = b"Host: a\r\nCookie: c\r\nX-Forwarded-For: 1\r\nX-Request-Id: r\r\nConnection: Cookie, x-forwarded-for"
    head = request(GET + lines)
    assert head.lines == []
    assert [field.name for field in head.forwarded] == [b"x-forwarded-for"]  # replaced, whoever names it


@pytest.mark.parametrize("length", [b"5", b"0"])
def test_a_204_that_speaks_of_a_body_ends_its_connection(length: bytes) -> None:
    assert response(b"HTTP/1.1 204 No Content\r\nContent-Length: " + length).keep_alive is (length == b"0")
    assert not response(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked").keep_alive


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"X.Forwarded.For", b"Content_Length", b"transfer_encoding"])
def test_aliases_of_fields_that_the_gateway_vouches_for_are_dropped(name: bytes) -> None:
    assert request(GET + b"Host: a\r\n" + name + b": 1").lines == []


def test_more_fields_than_allowed_are_431() -> None:
    with pytest.raises(MessageError) as refused:
        parse_request(GET + b"\r\n".join([b"Host: a"] + [b"X: 1"] * 100), request_fields(), 100)
    assert refused.value.status == 431


def test_nominating_framing_or_host_in_connection_removes_neither() -> None:
    head = request(GET + b"Host: a\r\nContent-Length: 2\r\nConnection: host, content-length, close")
    assert (head.host, head.length, head.keep_alive) == (b"a", 2, False)


@pytest.mark.parametrize(
    ("head", "method", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"GET", 5),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"GET", CHUNKED),
        (b"HTTP/1.1 200 OK", b"GET", UNTIL_CLOSE),
        (b"HTTP/1.1 200", b"HEAD", 0),
        (b"HTTP/1.1 204 No Content", b"GET", 0),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7", b"GET", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: y", b"HEAD", 0),
    ],
)
def test_how_long_a_response_body_is(head: bytes, method: bytes, length: int) -> None:
    assert response(head, method).length == length


def test_a_response_knows_whether_it_has_a_date() -> None:
    table = response_fields()
    assert parse_response(b"HTTP/1.1 200 OK\r\nX: date:\r\ndAte: x", table, b"GET", 100).dated
    assert not parse_response(b"HTTP/1.1 200 OK\r\nUpdate: x", table, b"GET", 100).dated


def test_a_head_response_says_what_a_get_would_have_got() -> None:
    assert b"Content-Length: 9" in response(b"HTTP/1.1 200 OK\r\nContent-Length: 9", b"HEAD").lines
    assert response(b"HTTP/1.1 204 No Content\r\nContent-Length: 0").lines == []
    assert response(b"HTTP/1.1 200 OK\r\nContent-Length: 0").lines == [b"Content-Length: 0"]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nbad line",
        b"ICY 200 OK",
    ],
)
def test_broken_responses_are_the_upstreams_fault(head: bytes) -> None:
    with pytest.raises(MessageError) as refused:
        response(head)
    assert refused.value.status == 502


NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"X-A",
        b"Accept",
        b"Cookie",
        b"X_Forwarded_For",
        b" X",
        b"X ",
    ]
)
VALUES = st.one_of(
    st.sampled_from([b"a.test", b"5", b"0", b"5, 5", b"chunked", b"Chunked", b"close", b"x-a", b"", b" ", b"a\tb"]),
    st.binary(max_size=12),
)
LINES = st.lists(
    st.builds(lambda n, c, v: n + c + v, NAMES, st.sampled_from([b":", b": ", b" :", b":\t"]), VALUES),
    max_size=6,
)
TARGETS = st.sampled_from([b"/", b"/a?b=c", b"http://a.test/x", b"*", b"a", b"/a b", b"/%00", b"//x"])


@given(st.sampled_from([b"GET", b"POST", b"HEAD", b"B@D"]), TARGETS, LINES)
def test_h11_reads_the_same_request(method: bytes, target: bytes, lines: list[bytes]) -> None:
    raw = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines])
    try:
        ours = request(raw)
    except MessageError:
        return
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(raw + b"\r\n\r\n")
    event = theirs.next_event()
    assert isinstance(event, h11.Request)
    assert event.method == ours.method
    fields = dict(event.headers)
    assert (fields.get(b"transfer-encoding") == b"chunked") == (ours.length == CHUNKED)
    if ours.length > 0:
        assert int(fields[b"content-length"]) == ours.length
    assert fields[b"host"].lower() in (ours.host.lower(), b"")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_message_error(raw: bytes) -> None:
    with contextlib.suppress(MessageError):
        assert request(raw).host is not None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_response_or_a_message_error(raw: bytes) -> None:
    with contextlib.suppress(MessageError):
        assert response(b"HTTP/1.1 200 OK\r\n" + raw).status == 200


def test_a_head_that_came_before_is_read_as_it_was_and_one_with_credentials_is_not_kept() -> None:
    table = request_fields()
    plain = GET + b"Host: a\r\nConnection: x-a\r\nX-A: 1\r\nAccept: y"
    secret = plain + b"\r\nCookie: s=1"
    assert parse_request(plain, table, 100) == parse_request(plain, table, 100)
    parse_request(secret, table, 100)
    assert list(table.heads) == [plain]


def test_what_is_remembered_of_a_get_says_nothing_about_a_head_request() -> None:
    table = response_fields()
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5"
    assert parse_response(raw, table, b"GET", 100).length == 5
    assert parse_response(raw, table, b"HEAD", 100).length == 0
    assert parse_response(raw, table, b"GET", 100).length == 5


def test_remembered_heads_are_bounded() -> None:
    table = request_fields()
    for number in range(3000):
        parse_request(b"GET /%d HTTP/1.1\r\nHost: a" % number, table, 100)
    assert len(table.heads) <= 1024
