"""Fields of HTTP/2 as lines and back."""

from __future__ import annotations

import hpack as oracle
import pytest

from gateway.errors import MessageError
from gateway.http.fields import Kind, request_fields, response_fields
from gateway.http.h2_fields import field_block, sorted_fields
from gateway.http.head import parse_request


def test_lines_become_a_block_with_lower_case_names() -> None:
    block = field_block([b"Content-Type: text/plain", b"X-A:1", b"Authorization:\tBearer x "])
    fields = oracle.Decoder().decode(block, raw=True)
    assert list(fields) == [(b"content-type", b"text/plain"), (b"x-a", b"1"), (b"authorization", b"Bearer x")]
    assert [field.indexable for field in fields] == [True, True, False]


def test_a_line_that_came_before_means_the_same_and_the_memory_of_them_is_bounded() -> None:
    first = field_block([b"X-Number: 1"])
    for number in range(10_000):
        field_block([b"X-Number: %d" % number])
    assert field_block([b"X-Number: 1"]) == first


def test_regular_fields_become_lines_and_the_gateways_own_are_kept_apart() -> None:
    fields = [(b"accept", b"*/*"), (b"x-forwarded-for", b"1.2.3.4"), (b"te", b"trailers"), (b"proxy", b"x")]
    lines, ours = sorted_fields(fields, request_fields())
    assert lines == [b"accept: */*"]
    assert [(field.kind, field.value) for field in ours] == [(Kind.FORWARDED, b"1.2.3.4"), (Kind.TE, b"trailers")]


@pytest.mark.parametrize(
    "field",
    [
        (b"Accept", b"*/*"),
        (b"a b", b"1"),
        (b"a:b", b"1"),
        (b"", b"1"),
        (b":status", b"200"),
        (b"a", b"1\r\nb: 2"),
        (b"a", b"1\x00"),
        (b"a", b" 1"),
        (b"a", b"1\t"),
        (b"connection", b"close"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"content-length", b"1, 1"),
    ],
)
def test_malformed_fields_are_refused(field: tuple[bytes, bytes]) -> None:
    for table in (request_fields(), response_fields()):
        for _ in range(2):  # what was learned the first time must not pass the second time
            with pytest.raises(MessageError):
                sorted_fields([field], table)


@pytest.mark.parametrize("value", [b"gzip", b"trailers, deflate"])
def test_te_says_nothing_but_trailers(value: bytes) -> None:
    with pytest.raises(MessageError):
        sorted_fields([(b"te", value)], request_fields())


@pytest.mark.parametrize(
    ("lines", "takes"),
    [
        (b"TE: trailers, deflate;q=0.5", True),
        (b"TE: gzip\r\nte: Trailers", True),
        (b"TE: gzip", False),
        (b"A: 1", False),
    ],
)
def test_a_client_of_http_1_says_that_it_takes_trailers(lines: bytes, takes: bool) -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\n" + lines, request_fields(), 10)
    assert head.takes_trailers is takes
    assert not any(line.lower().startswith(b"te") for line in head.lines)
