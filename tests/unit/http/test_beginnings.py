"""A part of a request head: refused when nothing can mend it, and never before."""

from __future__ import annotations

import pytest

from gateway.errors import MessageError
from gateway.http.beginnings import check_request
from gateway.http.fields import request_fields


@pytest.mark.parametrize(
    ("beginning", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b" ", 400),
        (b"\n", 400),
        (b"\r\r", 400),
        (b"G(", 400),
        (b"GET\t", 400),
        (b"M" * 33, 400),
        (b"GET  ", 400),
        (b"GET x ", 400),
        (b"GET /\n", 400),
        (b"GET /\rX", 400),
        (b"GET /<", 400),
        (b"GET /%00 ", 400),
        (b"GET /\r\n", 400),
        (b"GET / X", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / HTTP/1.1\rX", 400),
        (b"GET / HTTP/2.0\r", 505),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n", 405),
        (b"GET / HTTP/1.1\r\n ", 400),
        (b"GET / HTTP/1.1\r\nHost ", 400),
        (b"GET / HTTP/1.1\r\nHost\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\rX", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n", 417),
        (b"GET /" + b"a" * 96, 414),
        (b"GET / HTTP/1.1\r\nX:" + b"a" * 96, 431),
    ],
)
def test_what_no_more_bytes_can_mend_is_refused_at_once(beginning: bytes, status: int) -> None:
    with pytest.raises(MessageError) as refused:
        check_request(beginning, 0, request_fields(), 100)
    assert refused.value.status == status


@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_good_head_is_never_refused_before_it_is_whole(step: int) -> None:
    for head in (
        b"GET /caf\xc3\xa9?a=%\\ HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX:\t\xe4 \r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\n\r\n",
        b"M-SEARCH http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        table, start = request_fields(), 0
        for end in range(0, len(head), step):
            start = check_request(head[:end], start, table, 100)
            assert start in (0, head.rfind(b"\r\n", 0, end) + 2)
