"""RFC 9113, rule by rule: frames that are allowed and frames that are not, over real TLS.

Each case sends frames on a fresh connection and says what must come of it: a reset of one stream with its siblings
unharmed, the end of the connection with an error code, or nothing at all. The cases follow h2spec's, where it has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

from tests.support.front import api, configuration, front
from tests.support.h2_client import PREFACE, RawClient, request
from tests.support.upstream import Connection, ok, upstream

if TYPE_CHECKING:
    from pathlib import Path

(PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, CONNECT, CALM) = range(1, 12)


@dataclass(frozen=True)
class Ends:
    """The connection ends, with a GOAWAY of this code."""

    code: int


@dataclass(frozen=True)
class Resets:
    """This stream is reset with this code; the connection lives on."""

    code: int
    number: int = 1


@dataclass(frozen=True)
class Answered:
    """This stream gets an answer with this status; the connection lives on."""

    status: int
    number: int = 1


NOTHING = Answered(200, 99)
"""Whatever was sent harms nobody: another request is served."""


def fields(*more: tuple[str, str], method: str = "GET", path: str = "/") -> list[tuple[str, str]]:
    return request(path, method, *more)


def block(listed: list[tuple[str, str]]) -> bytes:
    """Compress without touching the dynamic table, so that one block is good for every connection."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in listed], huffman=False)


def headers(
    number: int = 1,
    listed: list[tuple[str, str]] | bytes | None = None,
    *,
    ended: bool = True,
    flags: tuple[str, ...] = (),
) -> HeadersFrame:
    data = listed if isinstance(listed, bytes) else block(listed if listed is not None else fields())
    frame = HeadersFrame(number, data, flags=["END_HEADERS", *flags])
    if ended:
        frame.flags.add("END_STREAM")
    return frame


def post(number: int = 1, *more: tuple[str, str]) -> HeadersFrame:
    """Begin a request whose body is to follow."""
    return headers(number, fields(*more, method="POST", path="/slow"), ended=False)


def slow(number: int = 1) -> HeadersFrame:
    """Make a request that is not answered for now."""
    return headers(number, fields(path="/slow"))


def data(number: int = 1, payload: bytes = b"body", *flags: str) -> DataFrame:
    return DataFrame(number, payload, flags=flags)


def raw(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload


def setting(identifier: int, value: int) -> bytes:
    return raw(4, 0, 0, identifier.to_bytes(2, "big") + value.to_bytes(4, "big"))


def without(name: str) -> list[tuple[str, str]]:
    return [pair for pair in fields() if pair[0] != name]


def window(number: int, increment: int) -> bytes:
    return raw(8, 0, number, increment.to_bytes(4, "big"))


ENDED = object()
"""In a case: wait until stream 1 has had its whole answer."""

CASES = {
    # 3.4, 4: preface, frames
    "3.4 an empty SETTINGS is a preface": ((), NOTHING),
    "4.1 an unknown frame type is ignored": ((raw(0xFB, 0xFF, 0, b"x" * 8),), NOTHING),
    "4.1 an unknown frame type on a stream is ignored": (
        (post(), raw(0x16, 0, 1, b"x"), data(1, b"", "END_STREAM")),
        NOTHING,
    ),
    "4.1 unknown flags are ignored": ((raw(6, 0xFE, 0, b"12345678"),), NOTHING),
    "4.1 the reserved bit is ignored": ((raw(6, 0, 0x80000000, b"12345678"),), NOTHING),
    "4.2 a DATA of the largest size is taken": ((post(), data(1, b"x" * 16384, "END_STREAM")), NOTHING),
    "4.2 a larger DATA is not": ((post(), raw(0, 0, 1, b"x" * 16385)), Ends(SIZE)),
    "4.2 a larger HEADERS is not": ((raw(1, 5, 1, b"x" * 16385),), Ends(SIZE)),
    "4.3 a block that cannot be decompressed": ((headers(1, b"\x40"),), Ends(COMPRESSION)),
    "4.3 an index beyond the table": ((headers(1, b"\xff\xff\x7f"),), Ends(COMPRESSION)),
    "4.3 trailers that cannot be decompressed": ((post(), headers(1, b"\x80")), Ends(COMPRESSION)),
    "4.3 PRIORITY inside a header block": (
        (HeadersFrame(1, block(fields()), flags=["END_STREAM"]), PriorityFrame(1, depends_on=3)),
        Ends(PROTOCOL),
    ),
    "4.3 an unknown frame inside a header block": (
        (HeadersFrame(1, block(fields()), flags=["END_STREAM"]), raw(0x16, 0, 0, b"")),
        Ends(PROTOCOL),
    ),
    "4.3 another stream's HEADERS inside a header block": (
        (HeadersFrame(1, block(fields()), flags=["END_STREAM"]), headers(3)),
        Ends(PROTOCOL),
    ),
    # 5.1: states. Idle ...
    "5.1 idle: DATA": ((data(),), Ends(PROTOCOL)),
    "5.1 idle: RST_STREAM": ((RstStreamFrame(1, CANCEL),), Ends(PROTOCOL)),
    "5.1 idle: WINDOW_UPDATE": ((window(1, 100),), Ends(PROTOCOL)),
    "5.1 idle: CONTINUATION": ((ContinuationFrame(1, b"", flags=["END_HEADERS"]),), Ends(PROTOCOL)),
    "5.1 idle: PRIORITY": ((PriorityFrame(1, depends_on=3),), NOTHING),
    # ... half-closed (remote) ...
    "5.1 half-closed: DATA": ((slow(), data()), Resets(CLOSED)),
    "5.1 half-closed: HEADERS": ((slow(), headers()), Resets(CLOSED)),
    "5.1 half-closed: CONTINUATION": (
        (slow(), ContinuationFrame(1, b"", flags=["END_HEADERS"])),
        Ends(PROTOCOL),
    ),
    "5.1 half-closed: WINDOW_UPDATE, PRIORITY": ((slow(), window(1, 1), PriorityFrame(1, depends_on=3)), NOTHING),
    "5.1 half-closed: RST_STREAM": ((slow(), RstStreamFrame(1, CANCEL)), NOTHING),
    # ... closed
    "5.1 reset by the client: DATA": ((post(), RstStreamFrame(1, CANCEL), data()), Resets(CLOSED)),
    "5.1 reset by the client: HEADERS": ((post(), RstStreamFrame(1, CANCEL), headers()), Resets(CLOSED)),
    "5.1 reset by the client: others": (
        (post(), RstStreamFrame(1, CANCEL), window(1, 1), RstStreamFrame(1, CANCEL), PriorityFrame(1, depends_on=3)),
        NOTHING,
    ),
    "5.1 ended: DATA": ((headers(), ENDED, data()), Ends(CLOSED)),
    "5.1 ended: HEADERS": ((headers(), ENDED, headers()), Ends(CLOSED)),
    "5.1 ended: CONTINUATION": (
        (headers(), ENDED, ContinuationFrame(1, b"", flags=["END_HEADERS"])),
        Ends(PROTOCOL),
    ),
    "5.1 ended: WINDOW_UPDATE, RST_STREAM, PRIORITY": (
        (headers(), ENDED, window(1, 1), RstStreamFrame(1, CANCEL), PriorityFrame(1, depends_on=3)),
        NOTHING,
    ),
    "5.1 reset by us: what was under way is ignored": (
        (post(1, ("te", "gzip")), data(), headers(1, [("x", "y")]), window(1, 1), RstStreamFrame(1, CANCEL)),
        Resets(PROTOCOL),
    ),
    # 5.1.1, 5.1.2, 5.3
    "5.1.1 an even stream": ((headers(2),), Ends(PROTOCOL)),
    "5.1.1 a lower stream, never used": ((headers(5), headers(3)), Ends(PROTOCOL)),
    "5.1.1 DATA on a stream that was passed over": ((headers(5), data(3)), Ends(CLOSED)),
    "5.1.2 a stream too many": (
        (*(slow(number) for number in range(1, 22, 2)), RstStreamFrame(1, CANCEL)),
        Resets(REFUSED, 21),
    ),
    "5.3 a stream that depends on itself": (
        (HeadersFrame(1, block(fields()), flags=["END_HEADERS", "END_STREAM", "PRIORITY"], depends_on=1),),
        Resets(PROTOCOL),
    ),
    "5.3 PRIORITY of a stream that depends on itself": ((slow(), PriorityFrame(1, depends_on=1)), Resets(PROTOCOL)),
    "5.3 HEADERS with a priority": (
        (HeadersFrame(1, block(fields()), flags=["END_HEADERS", "END_STREAM", "PRIORITY"], depends_on=7),),
        Answered(200),
    ),
    # 6.1 to 6.4: DATA, HEADERS, PRIORITY, RST_STREAM
    "6.1 DATA on stream 0": ((raw(0, 0, 0, b"x"),), Ends(PROTOCOL)),
    "6.1 more padding than DATA": ((post(), raw(0, 8, 1, b"\x05body")), Ends(PROTOCOL)),
    "6.1 padded DATA": ((post(), DataFrame(1, b"x", pad_length=200, flags=["PADDED", "END_STREAM"])), NOTHING),
    "6.2 HEADERS on stream 0": ((raw(1, 5, 0, block(fields())),), Ends(PROTOCOL)),
    "6.2 more padding than HEADERS": ((raw(1, 0xD, 1, b"\xff" + block(fields())),), Ends(PROTOCOL)),
    "6.2 padded HEADERS": (
        (HeadersFrame(1, block(fields()), pad_length=9, flags=["END_HEADERS", "END_STREAM", "PADDED"]),),
        Answered(200),
    ),
    "6.2 HEADERS and two CONTINUATIONs": (
        (
            HeadersFrame(1, block(fields())[:5], flags=["END_STREAM"]),
            ContinuationFrame(1, block(fields())[5:9]),
            ContinuationFrame(1, block(fields())[9:], flags=["END_HEADERS"]),
        ),
        Answered(200),
    ),
    "6.3 PRIORITY on stream 0": ((raw(2, 0, 0, b"12345"),), Ends(PROTOCOL)),
    "6.3 PRIORITY of another size": ((slow(), raw(2, 0, 1, b"1234")), Resets(SIZE)),
    "6.4 RST_STREAM on stream 0": ((raw(3, 0, 0, b"1234"),), Ends(PROTOCOL)),
    "6.4 RST_STREAM of another size": ((slow(), raw(3, 0, 1, b"123")), Ends(SIZE)),
    # 6.5: SETTINGS
    "6.5 an acknowledgement with a payload": ((raw(4, 1, 0, b"\x00\x03\x00\x00\x00\x01"),), Ends(SIZE)),
    "6.5 SETTINGS on a stream": ((raw(4, 0, 1, b""),), Ends(PROTOCOL)),
    "6.5 SETTINGS of another size": ((raw(4, 0, 0, b"123"),), Ends(SIZE)),
    "6.5.2 ENABLE_PUSH of 2": ((setting(2, 2),), Ends(PROTOCOL)),
    "6.5.2 INITIAL_WINDOW_SIZE of 2^31": ((setting(4, 1 << 31),), Ends(FLOW)),
    "6.5.2 MAX_FRAME_SIZE below 2^14": ((setting(5, 16383),), Ends(PROTOCOL)),
    "6.5.2 MAX_FRAME_SIZE of 2^24": ((setting(5, 1 << 24),), Ends(PROTOCOL)),
    "6.5.2 an unknown setting": ((setting(0xFF, 1),), NOTHING),
    "6.5.2 good values": ((setting(1, 0), setting(2, 1), setting(3, 0), setting(4, 100), setting(5, 65535)), NOTHING),
    # 6.6 to 6.8: PUSH_PROMISE, PING, GOAWAY
    "6.6 PUSH_PROMISE": (
        (slow(), PushPromiseFrame(1, 2, block(fields()), flags=["END_HEADERS"])),
        Ends(PROTOCOL),
    ),
    "6.7 PING on a stream": ((raw(6, 0, 1, b"12345678"),), Ends(PROTOCOL)),
    "6.7 PING of another size": ((raw(6, 0, 0, b"1234567"),), Ends(SIZE)),
    "6.7 an answer to no PING": ((PingFrame(0, b"12345678", flags=["ACK"]),), NOTHING),
    "6.8 GOAWAY on a stream": ((raw(7, 0, 1, b"12345678"),), Ends(PROTOCOL)),
    # 6.9: flow control
    "6.9 WINDOW_UPDATE of 0": ((window(0, 0),), Ends(PROTOCOL)),
    "6.9 WINDOW_UPDATE of 0 on a stream": ((slow(), window(1, 0)), Resets(PROTOCOL)),
    "6.9 WINDOW_UPDATE of another size": ((raw(8, 0, 0, b"123"),), Ends(SIZE)),
    "6.9.1 the connection's window overflows": ((window(0, (1 << 31) - 1),), Ends(FLOW)),
    "6.9.1 a stream's window overflows": ((slow(), window(1, (1 << 31) - 1)), Resets(FLOW)),
    "6.9.2 settings overflow a stream's window": (
        (slow(), window(1, 1), setting(4, (1 << 31) - 1)),
        Ends(FLOW),
    ),
    # 6.10: CONTINUATION
    "6.10 CONTINUATION on stream 0": ((raw(9, 4, 0, b""),), Ends(PROTOCOL)),
    "6.10 CONTINUATION after END_HEADERS": (
        (post(), ContinuationFrame(1, block(fields()), flags=["END_HEADERS"])),
        Ends(PROTOCOL),
    ),
    "6.10 CONTINUATION after DATA": (
        (post(), data(), ContinuationFrame(1, b"", flags=["END_HEADERS"])),
        Ends(PROTOCOL),
    ),
    # 8.1: messages
    "8.1 HEADERS in the middle of a request": ((post(), headers(1, [("x", "y")], ended=False)), Resets(PROTOCOL)),
    "8.1 trailers": ((post(), data(), headers(1, [("x-sum", "y")])), NOTHING),
    "8.1 pseudo-header fields in trailers": ((post(), headers(1, [(":method", "GET")])), Resets(PROTOCOL)),
    "8.1 upper case in trailers": ((post(), headers(1, [("X-Sum", "y")])), Resets(PROTOCOL)),
    "8.1.1 less DATA than Content-Length": (
        (post(1, ("content-length", "5")), data(1, b"four", "END_STREAM")),
        Resets(PROTOCOL),
    ),
    "8.1.1 more DATA than Content-Length": ((post(1, ("content-length", "3")), data(1, b"four")), Resets(PROTOCOL)),
    "8.1.1 more DATA than Content-Length in two frames": (
        (post(1, ("content-length", "4")), data(1, b"fo"), data(1, b"urs", "END_STREAM")),
        Resets(PROTOCOL),
    ),
    "8.1.1 no DATA at all": ((headers(1, fields(("content-length", "5"), method="POST")),), Resets(PROTOCOL)),
    "8.1.1 trailers before Content-Length is reached": (
        (post(1, ("content-length", "5")), data(1, b"four"), headers(1, [("x", "y")])),
        Resets(PROTOCOL),
    ),
    "8.1.1 two lengths": (
        (post(1, ("content-length", "4"), ("content-length", "4")), data(1, b"four", "END_STREAM")),
        Resets(PROTOCOL),
    ),
    "8.1.1 a signed length": ((post(1, ("content-length", "+4")), data(1, b"four", "END_STREAM")), Resets(PROTOCOL)),
    # 8.2: fields
    "8.2.1 an upper-case name": ((headers(1, fields(("X-Test", "a"))),), Resets(PROTOCOL)),
    "8.2.1 a space in a name": ((headers(1, fields(("x test", "a"))),), Resets(PROTOCOL)),
    "8.2.1 a colon in a name": ((headers(1, fields(("x:test", "a"))),), Resets(PROTOCOL)),
    "8.2.1 an empty name": ((headers(1, fields(("", "a"))),), Resets(PROTOCOL)),
    "8.2.1 a name beyond ASCII": ((headers(1, fields(("x-é", "a"))),), Resets(PROTOCOL)),
    "8.2.1 a line feed in a value": ((headers(1, fields(("x", "a\nb"))),), Resets(PROTOCOL)),
    "8.2.1 a carriage return in a value": ((headers(1, fields(("x", "a\rb"))),), Resets(PROTOCOL)),
    "8.2.1 NUL in a value": ((headers(1, fields(("x", "a\0b"))),), Resets(PROTOCOL)),
    "8.2.1 white space before a value": ((headers(1, fields(("x", " a"))),), Resets(PROTOCOL)),
    "8.2.1 white space after a value": ((headers(1, fields(("x", "a\t"))),), Resets(PROTOCOL)),
    "8.2.1 a new line in a cookie": ((headers(1, fields(("cookie", "a\r\nb: c"))),), Resets(PROTOCOL)),
    "8.2.2 Connection": ((headers(1, fields(("connection", "keep-alive"))),), Resets(PROTOCOL)),
    "8.2.2 Keep-Alive": ((headers(1, fields(("keep-alive", "1"))),), Resets(PROTOCOL)),
    "8.2.2 Proxy-Connection": ((headers(1, fields(("proxy-connection", "close"))),), Resets(PROTOCOL)),
    "8.2.2 Transfer-Encoding": ((headers(1, fields(("transfer-encoding", "chunked"))),), Resets(PROTOCOL)),
    "8.2.2 Transfer-Encoding of something else": (
        (headers(1, fields(("transfer-encoding", "identity"))),),
        Resets(PROTOCOL),
    ),
    "8.2.2 Transfer-Encoding in trailers": ((post(), headers(1, [("transfer-encoding", "chunked")])), Resets(PROTOCOL)),
    "8.2.2 Connection in trailers": ((post(), headers(1, [("connection", "close")])), Resets(PROTOCOL)),
    "8.2.1 white space around a trailer": ((post(), headers(1, [("x", " y")])), Resets(PROTOCOL)),
    "8.3.1 a port alone as :authority": (
        (headers(1, [(name, ":443" if name == ":authority" else value) for name, value in fields()]),),
        Resets(PROTOCOL),
    ),
    "8.2.2 Upgrade": ((headers(1, fields(("upgrade", "websocket"))),), Resets(PROTOCOL)),
    "8.2.2 TE of trailers": ((headers(1, fields(("te", "trailers"))),), Answered(200)),
    "8.2.2 TE of more": ((headers(1, fields(("te", "trailers, deflate"))),), Resets(PROTOCOL)),
    # 8.3: pseudo-header fields
    "8.3 an unknown one": ((headers(1, fields((":test", "ok"))),), Resets(PROTOCOL)),
    "8.3 an unknown one first": ((headers(1, [(":test", "ok"), *fields()]),), Resets(PROTOCOL)),
    "8.3 one of responses": ((headers(1, [*fields(), (":status", "200")]),), Resets(PROTOCOL)),
    "8.3 one after another field": (
        (headers(1, [("x", "y"), *fields()]),),
        Resets(PROTOCOL),
    ),
    "8.3 one after a field that does not pass": ((headers(1, [("te", "trailers"), *fields()]),), Resets(PROTOCOL)),
    "8.3.1 no :method": ((headers(1, without(":method")),), Resets(PROTOCOL)),
    "8.3.1 no :scheme": ((headers(1, without(":scheme")),), Resets(PROTOCOL)),
    "8.3.1 no :path": ((headers(1, without(":path")),), Resets(PROTOCOL)),
    "8.3.1 neither :authority nor Host": ((headers(1, without(":authority")),), Resets(PROTOCOL)),
    "8.3.1 Host instead of :authority": ((headers(1, [*without(":authority"), ("host", "localhost")]),), Answered(200)),
    "8.3.1 Host like :authority": ((headers(1, fields(("host", "LocalHost"))),), Answered(200)),
    "8.3.1 Host unlike :authority": ((headers(1, fields(("host", "other.test"))),), Resets(PROTOCOL)),
    "8.3.1 an empty :authority": ((headers(1, [*without(":authority"), (":authority", "")][::-1]),), Resets(PROTOCOL)),
    "8.3.1 user information in :authority": (
        (headers(1, [*without(":authority"), (":authority", "me@localhost")]),),
        Resets(PROTOCOL),
    ),
    "8.3.1 an empty :path": ((headers(1, fields(path="")),), Resets(PROTOCOL)),
    "8.3.1 a :path without a slash": ((headers(1, fields(path="index.html")),), Resets(PROTOCOL)),
    "8.3.1 a :path with a space": ((headers(1, fields(path="/ HTTP/1.1")),), Resets(PROTOCOL)),
    "8.3.1 a :path with a fragment": ((headers(1, fields(path="/a#b")),), Resets(PROTOCOL)),
    "8.3.1 a :path with braces, as people type it": ((headers(1, fields(path="/{a}")),), Answered(400)),
    "8.3.1 a :path with half an encoding": ((headers(1, fields(path="/100%")),), Answered(400)),
    "8.3.1 a :path of * for another method": ((headers(1, fields(path="*")),), Resets(PROTOCOL)),
    "8.3.1 a :path of *": ((headers(1, fields(method="OPTIONS", path="*")),), Answered(200)),
    "8.3.1 a malformed :method": ((headers(1, fields(method="GET /")),), Resets(PROTOCOL)),
    "8.3.1 another :scheme": (
        (headers(1, [*without(":scheme"), (":scheme", "ftp")]),),
        Resets(PROTOCOL),
    ),
    "8.3.1 two :method": ((headers(1, [(":method", "GET"), *fields()]),), Resets(PROTOCOL)),
    "8.3.1 two :scheme": ((headers(1, [(":scheme", "https"), *fields()]),), Resets(PROTOCOL)),
    "8.3.1 two :path": ((headers(1, [(":path", "/"), *fields()]),), Resets(PROTOCOL)),
    "8.3.1 two :authority": ((headers(1, [(":authority", "localhost"), *fields()]),), Resets(PROTOCOL)),
    "8.5 CONNECT": ((headers(1, [(":method", "CONNECT"), (":authority", "localhost:1")]),), Answered(405)),
    "8.5 CONNECT with a path": ((headers(1, fields(method="CONNECT")),), Resets(PROTOCOL)),
    # limits
    "10.5.1 more fields than are taken": ((headers(1, fields(*((f"x-{n}", "") for n in range(120)))),), Answered(431)),
    "10.5.1 larger fields than are taken": ((headers(1, fields(("x", "y" * 16000), ("z", "y" * 300))),), Answered(431)),
}


async def script(connection: Connection) -> None:
    """Answer at once, but for /slow, which is not answered at all while its connection lives."""
    while True:
        head, _ = await connection.request()
        if b"/slow" in head:
            await connection.reader.read()
            return
        await connection.send(ok(b"fine"))


async def is_well(client: RawClient) -> None:
    """Make another request: siblings are not harmed."""
    client.send(headers(101))
    assert await client.status(101) == 200


@pytest.mark.parametrize("case", CASES)
async def test_rule(case: str, tmp_path: Path) -> None:
    sent, expected = CASES[case]
    config = {"limits": {"http2_streams": 10}}
    async with upstream(script) as behind, front(tmp_path, configuration(api(behind.url), **config)) as gateway:
        client = await RawClient.connect(gateway, PREFACE + SettingsFrame(0).serialize())
        for item in sent:
            if item is ENDED:
                await client.ended(1)
            else:
                client.send(item)
        match expected:
            case Ends(code):
                assert await client.goaway() == code
            case Resets(code, number):
                assert await client.reset(number) == code
                await is_well(client)
            case Answered(status, number):
                if number == 99:
                    client.send(headers(99))
                assert await client.status(number) == status
                await is_well(client)
        client.close()
