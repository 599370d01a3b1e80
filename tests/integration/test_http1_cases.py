"""Requests as scanners of HTTP/1.1 send them: what is served, what is refused, and that nothing else is read.

Each is sent as it stands on a connection of its own, in one piece; the refused ones cut into single bytes, too. A
refused request is answered at once, the connection closes, and no byte behind it reaches the upstream.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from support.front import api, configuration, front
from support.upstream import Connection, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from support.front import Front
    from support.upstream import Upstream

HOST = b"Host: a.test\r\n"
NEXT = b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def request(start: bytes = b"GET / HTTP/1.1", *lines: bytes, host: bytes = HOST, body: bytes = b"") -> bytes:
    return start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def get(*lines: bytes) -> bytes:
    return request(b"GET / HTTP/1.1", *lines)


def post(*lines: bytes, body: bytes = b"hello") -> bytes:
    return request(b"POST / HTTP/1.1", *lines, body=body)


def asked(target: bytes) -> bytes:
    return request(b"GET %b HTTP/1.1" % target)


TE, CL = b"Transfer-Encoding: chunked", b"Content-Length: 5"
SMUGGLED = b"5\r\nhello\r\n0\r\n\r\n" + NEXT

REFUSED: dict[str, tuple[bytes, int]] = {
    # RFC 9112 section 2.2: lines
    "2.2 bare LF behind the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "2.2 bare LF behind a field": (b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n", 400),
    "2.2 bare LF throughout": (b"GET / HTTP/1.1\nHost: a.test\n\n", 400),
    "2.2 bare CR behind the request line": (b"GET / HTTP/1.1\rHost: a.test\r\n\r\n", 400),
    "2.2 bare CR in a value": (post(CL, b"X: a\rb"), 400),
    "2.2 white space before the first field": (b"GET / HTTP/1.1\r\n \r\n" + HOST + b"\r\n", 400),
    "2.2 white space alone": (b"   \r\n\r\n", 400),
    "2.2 garbage": (bytes(range(128, 256)) * 2, 400),
    "2.2 a ClientHello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "2.2 two empty lines": (b"\r\n\r\n" + get(), 400),
    "RFC 9113 3.4 the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    # section 2.3: the version
    "2.3 none (HTTP/0.9)": (b"GET /\r\n", 400),
    "2.3 another": (request(b"GET / HTTP/9.9"), 505),
    "2.3 HTTP/1.2": (request(b"GET / HTTP/1.2"), 505),
    "2.3 no minor": (request(b"GET / HTTP/1"), 400),
    "2.3 leading zeros": (request(b"GET / HTTP/01.01"), 400),
    "2.3 space in it": (request(b"GET / HTTP/ 1.1"), 400),
    "2.3 lower case": (request(b"GET / http/1.1"), 400),
    # section 3: the request line
    "3 two spaces": (request(b"GET  / HTTP/1.1"), 400),
    "3 a tab": (request(b"GET\t/\tHTTP/1.1"), 400),
    "3 no target": (request(b"GET HTTP/1.1"), 400),
    "3 no target, two spaces": (request(b"GET  HTTP/1.1"), 400),
    "3 space in the target": (request(b"GET /a b HTTP/1.1"), 400),
    "3 space behind it": (request(b"GET / HTTP/1.1 "), 400),
    "3 a method too long": (request(b"A" * 100_000 + b" / HTTP/1.1"), 400),
    "3 a target too long": (asked(b"/" + b"a" * 100_000), 414),
    "3.2 a fragment": (asked(b"/path#frag"), 400),
    "3.2 a NUL": (asked(b"/\0test"), 400),
    "3.2 an encoded NUL": (asked(b"/path%00.html"), 400),
    "3.2 an encoded NUL in the query": (asked(b"/?a=%00"), 400),
    "3.2 half an encoding": (asked(b"/a%2"), 400),
    "3.2 no encoding": (asked(b"/a%zz"), 400),
    "3.2 a backslash": (asked(b"/a\\b"), 400),
    "3.2 overlong UTF-8": (asked(b"/\xc0\xaf"), 400),
    "3.2 overlong UTF-8, encoded": (asked(b"/%c0%ae%c0%ae/"), 400),
    "3.2.1 angle brackets": (asked(b"/<script>"), 400),
    "3.2.1 braces": (asked(b"/{a}"), 400),
    "3.2.1 quotation marks": (asked(b'/"a"'), 400),
    "3.2.1 quotation marks in the query": (asked(b'/?a="b"'), 400),
    "3.2.2 a URL of another host": (asked(b"http://other.test/"), 400),
    "3.2.2 a URL with a user": (asked(b"http://u@a.test/"), 400),
    "3.2.2 a URL without a host": (asked(b"http:///"), 400),
    "3.2.2 a URL and an empty Host": (request(b"GET http://a.test/ HTTP/1.1", host=b"Host:\r\n"), 400),
    "3.2.2 a URL and no Host": (request(b"GET http://a.test/ HTTP/1.1", host=b""), 400),
    "3.2.2 another scheme": (asked(b"ftp://a.test/"), 400),
    "3.2.3 CONNECT": (request(b"CONNECT a.test:443 HTTP/1.1"), 405),
    "3.2.4 an asterisk with GET": (asked(b"*"), 400),
    # section 3.2: Host
    "3.2 no Host": (request(host=b""), 400),
    "3.2 an empty Host": (request(host=b"Host: \r\n"), 400),
    "3.2 an empty Host in HTTP/1.0": (request(b"GET / HTTP/1.0", host=b"Host:\r\n"), 400),
    "3.2 two Hosts": (get(b"Host: other.test"), 400),
    "3.2 the same Host twice": (get(b"Host: a.test"), 400),
    "3.2 two hosts in one": (request(host=b"Host: a.test, other.test\r\n"), 400),
    "3.2 a user in Host": (request(host=b"Host: user@a.test\r\n"), 400),
    "3.2 a path in Host": (request(host=b"Host: a.test/path\r\n"), 400),
    "3.2 a port alone": (request(host=b"Host: :80\r\n"), 400),
    "3.2 a port that is none": (request(host=b"Host: a.test:http\r\n"), 400),
    **{
        f"3.2 host {host!r}": (request(host=b"Host: %b\r\n" % host), 400)
        for host in (b"a.test,b.test", b"a..test", b".a.test", b"a%2etest", b"*.test", b"a.test:65536", b"[a.test]")
    },
    "3.2.2 a URL with a list of hosts": (request(b"GET http://a.test,b.test/ HTTP/1.1"), 400),
    # section 5: fields
    "5 no name": (get(b": empty"), 400),
    "5 a name with a bracket": (get(b"Bad[Name: value"), 400),
    "5 a name with a tab": (post(CL, b"Content\tLength: 99"), 400),
    "5 a name that is not ASCII": (get(b"X-T\xc3\xabst: value"), 400),
    "5 no colon": (get(b"NoColonHere"), 400),
    "5 a space before the colon": (get(b"X-Test : value"), 400),
    "5 a space before the colon of a length": (post(CL, b"Content-Length : 5"), 400),
    "5 a space before the colon of a coding": (post(b"Transfer-Encoding : chunked", CL), 400),
    "5.2 a folded line": (get(b"X-Test: value", b" continued"), 400),
    "RFC 9110 5.5 a NUL in a value": (get(b"X-Test: a\0b"), 400),
    "RFC 9110 5.5 control characters": (get(b"X-Test: a\x07\x08\x0bb"), 400),
    "RFC 9110 5.5 a NUL in a cookie": (get(b"Cookie: a=\0b"), 400),
    "RFC 9110 5.4 a value too large": (get(b"X: " + b"b" * 100_000), 431),
    "RFC 9110 5.4 a name too large": (get(b"A" * 100_000 + b": v"), 431),
    "RFC 9110 5.4 cookies too large": (get(b"Cookie: a=" + b"b" * 65_536), 431),
    "RFC 6585 5 too many fields": (get(*(b"X-%d: v" % number for number in range(10_000))), 431),
    # RFC 9110 section 8.6: Content-Length
    **{
        f"RFC 9110 8.6 length {value!r}": (post(b"Content-Length: " + value), 400)
        for value in (
            *(b"abc", b"+5", b"-1", b"-0", b"0x5", b"0o5", b"1_0", b"1 0", b"5.0", b"5, 5", b"5, 10", b"5,5,5", b"5;"),
            *(b"005", b"00", b"0200", b"99999999999999999999", b"", b'"5"', b"5\x0b", b"\xd9\xa5"),
        )
    },
    "RFC 9110 8.6 two lengths": (post(CL, b"Content-Length: 10", body=b"helloworld"), 400),
    "RFC 9110 8.6 the same length twice": (post(CL, CL), 400),
    "RFC 9110 8.6 two lengths and a request": (post(CL, b"Content-Length: 99", body=b"hello" + NEXT), 400),
    # section 6: Transfer-Encoding
    "6.1 a length and chunks": (post(b"Content-Length: 6", TE, body=b"0\r\n\r\nX"), 400),
    "6.1 chunks and a length": (post(TE, b"Content-Length: 30", body=b"0\r\n\r\n" + NEXT), 400),
    "6.1 a length that covers the size": (post(TE, b"Content-Length: 4", body=b"25\r\n" + NEXT), 400),
    "6.1 a bad length and chunks": (post(b"Content-Length: +5", TE, body=SMUGGLED), 400),
    "6.1 no number and chunks": (post(TE, b"Content-Length: 5x", body=SMUGGLED), 400),
    "6.1 chunks in HTTP/1.0": (request(b"POST / HTTP/1.0", TE, body=b"0\r\n\r\n"), 400),
    "6.1 chunks and a length in HTTP/1.0": (request(b"POST / HTTP/1.0", TE, CL, body=b"hello"), 400),
    "6.1 two codings in two fields": (post(b"Transfer-Encoding: gzip", TE, body=SMUGGLED), 400),
    "6.1 chunked, then identity": (post(TE, b"Transfer-Encoding: identity", body=SMUGGLED), 400),
    "6.1 chunked in two fields": (post(TE, TE, body=SMUGGLED), 400),
    "6.1 folded": (post(b"Transfer-Encoding:", b" chunked", body=SMUGGLED), 400),
    "6.1 folded behind a comma": (post(b"Transfer-Encoding: gzip,", b"\tchunked", body=SMUGGLED), 400),
    "6.1 a coding that is not served": (post(b"Transfer-Encoding: gzip, chunked", body=SMUGGLED), 501),
    "6.1 no such coding": (post(b"Transfer-Encoding: x-y; q=1, CHUNKED", body=SMUGGLED), 501),
    **{
        f"6.3 coding {value!r}": (post(b"Transfer-Encoding: " + value, *length, body=SMUGGLED), 400)
        for length in ((), (b"Content-Length: 5",))
        for value in (
            *(b"", b"gzip", b"identity", b"xchunked", b"chunked, gzip", b"chunked, chunked", b"chunked,", b",chunked"),
            *(
                b", chunked",
                b"gzip,, chunked",
                b"chunked;a=b",
                b"chunked chunked",
                b'"chunked"',
                b"chunked\0",
                b"ch unked",
            ),
            *(b"\x0bchunked", b"\x0cchunked", b"chunked\x0b", b"\xa0chunked", b"chunked;", b"gzip, chunked, identity"),
        )
    },
    # section 7.1: chunks
    **{
        f"7.1 size {size!r}": (CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n" + NEXT, 400)
        for size in (
            *(
                b"",
                b" 5",
                b"5 ",
                b"5\t",
                b"+5",
                b"-1",
                b"-5",
                b"0x5",
                b"5h",
                b"1_0",
                b"5.0",
                b"FFFFFFFFFFFFFFFFF",
                b"g",
            ),
            *(
                b"5;",
                b"5;;a",
                b"5; ",
                b"5;=a",
                b"5;bad[=x",
                b"5;a=",
                b"5;a=b c",
                b'5;a="',
                b'5;a="b"c',
                b"5;\0ext",
                b"5 ;a",
            ),
            *(b"5;a\rX", b"5;" + b"a" * 65_536, b"5;a=\x7f", b"5\r", b"\xef\xbc\x95"),
        )
    },
    "7.1 a size with a bare LF": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400),
    "7.1 a size with a bare CR": (CHUNKED + b"5\rhello\r\n0\r\n\r\n", 400),
    "7.1 an extension with a bare LF": (CHUNKED + b"5;\nhello\r\n0\r\n\r\n", 400),
    "7.1 a chunk with a bare LF": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", 400),
    "7.1 a chunk without an end": (CHUNKED + b"5\r\nhello0\r\n\r\n", 400),
    "7.1 a chunk that is longer": (CHUNKED + b"5\r\nhello!!\r\n0\r\n\r\n", 400),
    "7.1 a last chunk with a sign": (CHUNKED + b"+0\r\n\r\n" + NEXT, 400),
    "7.1.2 the end with a bare LF": (CHUNKED + b"5\r\nhello\r\n0\r\n\n", 400),
    "7.1.2 the last size with a bare LF": (CHUNKED + b"5\r\nhello\r\n0\n\r\n", 400),
    "7.1.2 a trailer with a bare LF": (CHUNKED + b"0\r\nX: y\n\r\n", 400),
    "7.1.2 a trailer with a bare CR": (CHUNKED + b"0\r\nX: y\rz\r\n\r\n", 400),
    "7.1.2 a trailer that is none": (CHUNKED + b"0\r\nGET / HTTP/1.1\r\n\r\n", 400),
    "7.1.2 a folded trailer": (CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n", 400),
    # RFC 9110
    "RFC 9110 10.1.1 another expectation": (get(b"Expect: 200-ok"), 417),
}

SERVED: dict[str, tuple[bytes, bytes]] = {
    "a plain one": (get(), b"GET / "),
    "2.2 an empty line before it": (b"\r\n" + get(), b"GET / "),
    "3 8,000 bytes": (asked(b"/" + b"a" * 7_900), b"GET /aaa"),
    "3.2 UTF-8": (asked(b"/caf\xc3\xa9?q=\xc3\xa9"), b"GET /caf%C3%A9?q=%C3%A9 "),
    "3.2 Latin-1": (asked(b"/caf\xe9"), b"GET /caf%E9 "),
    "3.2 encoded": (asked(b"/caf%c3%a9%20%2f?%0d%0a"), b"GET /caf%c3%a9%20%2f?%0d%0a "),
    "3.2 encoded twice": (asked(b"/%2500"), b"GET /%2500 "),
    "3.2 what browsers leave in a query": (asked(b"/?a[]=1&b={x|y}^`&c=100%"), b"GET /?a[]=1&b={x|y}^`&c=100% "),
    "3.2.2 a URL": (asked(b"http://a.test/x"), b"GET /x "),
    "3.2.2 a URL with a port": (asked(b"http://A.test:80/x"), b"GET /x "),
    "3.2 an empty port": (request(host=b"Host: a.test:\r\n"), b"GET / "),
    "3.2 HTTP/1.0 without Host": (request(b"GET / HTTP/1.0", host=b""), b"GET / "),
    "3.2 HTTP/1.0 with an empty port": (request(b"GET / HTTP/1.0", host=b"Host: a.test:\r\n"), b"GET / "),
    "5 empty value": (get(b"X:"), b"GET / "),
    "RFC 9110 5.5 space around a length": (post(b"Content-Length: \t 5 \t"), b"POST / "),
    "RFC 9110 9.1 another method": (request(b"FOOBAR / HTTP/1.1"), b"FOOBAR / "),
    "RFC 9110 9.1 lower case": (request(b"get / HTTP/1.1"), b"get / "),
    "RFC 9110 9.3.1 GET with a body": (request(b"GET / HTTP/1.1", CL, body=b"hello"), b"GET / "),
    "RFC 9110 9.3.7 OPTIONS with a body": (request(b"OPTIONS / HTTP/1.1", CL, body=b"hello"), b"OPTIONS / "),
    "RFC 9110 10.1.1 100-continue": (post(CL, b"Expect: 100-continue"), b"POST / "),
    "6.3 a body": (post(CL), b"POST / "),
    "6.3 a body of nothing": (post(b"Content-Length: 0", body=b""), b"POST / "),
    "6.3 no body": (post(body=b""), b"POST / "),
    "7 chunked in capitals": (post(b"Transfer-Encoding: CHUNKED \t", body=b"0\r\n\r\n"), b"POST / "),
    "7.1 chunks": (CHUNKED + b"5\r\nhello\r\n0A\r\n0123456789\r\n0\r\n\r\n", b"POST / "),
    "7.1 no chunk": (CHUNKED + b"000\r\n\r\n", b"POST / "),
    "7.1.1 an extension": (CHUNKED + b'5;a=b;c="d;\\"" ; e\r\nhello\r\n0;f\r\n\r\n', b"POST / "),
    "7.1.2 a trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"POST / "),
    "7.1.2 a forbidden trailer": (CHUNKED + b"0\r\nContent-Length: 9\r\nHost: b\r\n\r\n", b"POST / "),
    "RFC 6265 many cookies": (get(b"Cookie: " + b"; ".join(b"k%d=v" % n for n in range(1000))), b"GET / "),
    "RFC 6265 odd cookies": (get(b"Cookie: ===;;;", b"Cookie:", b"Cookie: a=1"), b"GET / "),
    "no such field": (post(CL, b"Content_Length: 99", b"Transfer_Encoding: chunked"), b"POST / "),
}


async def echo(connection: Connection) -> None:
    """Answer each request with its head."""
    while True:
        head, _ = await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


@asynccontextmanager
async def plain_front(directory: Path) -> AsyncIterator[tuple[Front, Upstream]]:
    async with upstream(echo) as up:
        async with front(directory, configuration(api(up.url), options={"use_ssl": False})) as gate:
            yield gate, up


async def all_of(gate: Front, pieces: Iterable[bytes]) -> bytes:
    """Send ``pieces``, and return all that comes until the gateway closes."""
    client = await gate.connect(None)
    for piece in pieces:
        client.writer.write(piece)
        await asyncio.sleep(0)
        if client.reader.at_eof():
            break
    answer = await client.ended()
    client.close()
    return answer


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
async def test_what_is_no_request_is_refused_at_once_and_nothing_behind_it_is_read(tmp_path: Path, cut: bool) -> None:
    async with plain_front(tmp_path) as (gate, up):
        for name, (raw, status) in REFUSED.items():
            if cut and len(raw) > 2_000:
                continue
            sent = raw + NEXT
            answer = await all_of(gate, (sent[at : at + 1] for at in range(len(sent))) if cut else [sent])
            early = (b"HTTP/1.1 400 ",) if cut else ()  # of two faults the first is told
            assert answer.startswith((b"HTTP/1.1 %d " % status, *early)), (name, answer[:60])
            assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1, name
        assert not any(b"/next" in head for head in up.requests)
    assert gate.server.counters().get("slow_heads", 0) == 0


async def test_what_can_become_no_request_is_refused_without_waiting_for_the_rest(tmp_path: Path) -> None:
    """Each ends where it became hopeless: nothing follows, and no deadline passes."""
    async with plain_front(tmp_path) as (gate, _):
        for name, (raw, status) in REFUSED.items():
            if name.startswith(("6", "RFC 9110 8.6", "3.2")) or len(raw) > 2_000:
                continue  # what is wrong with these is known at the end of their heads
            async with asyncio.timeout(2):
                assert (await all_of(gate, [raw])).startswith(b"HTTP/1.1 %d " % status), name


async def test_what_is_a_request_is_served(tmp_path: Path) -> None:
    async with plain_front(tmp_path) as (gate, up):
        for name, (raw, start) in SERVED.items():
            client = await gate.connect(None)
            client.writer.write(raw)
            response = await client.response(raw.split(b" ")[0])
            assert response.status == 200, (name, response)
            assert response.body.startswith(start), (name, response.body[:80])
            assert response.field(b"Date"), name
            if b"HTTP/1.0" not in raw:  # the connection is still in step
                client.writer.write(NEXT)
                assert (await client.response()).body.startswith(b"GET /next "), name
            client.close()
        assert len(up.requests) == sum(1 + (b"HTTP/1.0" not in raw) for raw, _ in SERVED.values())


async def test_what_the_gateway_answers_for_a_server(tmp_path: Path) -> None:
    async with plain_front(tmp_path) as (gate, up):
        client = await gate.connect(None)
        assert (await client.ask(b"OPTIONS * HTTP/1.1", HOST.strip())).status == 200
        for length, body in ((b"Content-Length: 0", b""), (CL, b"hello")):
            other = await gate.connect(None)
            refused = await other.ask(b"TRACE / HTTP/1.1", HOST.strip(), length, b"X-Secret: 1", body=body)
            other.close()
            assert (refused.status, bool(refused.field(b"Allow"))) == (405, True)
            assert b"Secret" not in refused.head + refused.body
        head = await client.ask(b"HEAD / HTTP/1.1", HOST.strip())
        assert (head.status, head.body) == (200, b"")
        last = await client.ask(b"GET / HTTP/1.1", HOST.strip(), b"Connection: close")
        assert (last.status, await client.ended()) == (200, b"")
        client.close()
        old = await gate.connect(None)
        first = await old.ask(b"POST / HTTP/1.0", b"Expect: 100-continue", CL, body=b"hello")
        assert (first.status, await old.ended()) == (200, b"")
        old.close()
    assert len(up.requests) == 3
