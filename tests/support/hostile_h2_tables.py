"""Frames of hostile HTTP/2 upstreams, by kind. Stream 1 stands for that of the request, 3 for one that is over."""

from __future__ import annotations

from hpack import Encoder
from hyperframe import frame as wire


def headers(number: int, *pairs: tuple[str, str], end: bool = False, encoder: Encoder | None = None) -> wire.Frame:
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return wire.HeadersFrame(number, (encoder or Encoder()).encode(pairs), flags=flags)


def data(number: int, payload: bytes, *, end: bool = False, padding: int | None = None) -> wire.Frame:
    flags = (["END_STREAM"] if end else []) + (["PADDED"] if padding is not None else [])
    return wire.DataFrame(number, payload, pad_length=padding or 0, flags=flags)


def settings(**values: int) -> wire.Frame:
    return wire.SettingsFrame(0, {getattr(wire.SettingsFrame, name): value for name, value in values.items()})


OK = (":status", "200")

MALFORMED_STREAMS: dict[str, list[wire.Frame]] = {
    "no status": [headers(1, ("x", "1"))],
    "a status that is no number": [headers(1, (":status", "2x0"))],
    "a status that is too small": [headers(1, (":status", "099"))],
    "a status that is too large": [headers(1, (":status", "600"))],
    "a status of four digits": [headers(1, (":status", "2000"))],
    "a status with a space": [headers(1, (":status", "200 "))],
    "an empty status": [headers(1, (":status", ""))],
    "two statuses": [headers(1, OK, OK)],
    "another pseudo-header field": [headers(1, OK, (":path", "/"))],
    "a pseudo-header field behind others": [headers(1, ("x", "1"), OK)],
    "a name in upper case": [headers(1, OK, ("X-A", "1"))],
    "a connection-specific field": [headers(1, OK, ("connection", "close"))],
    "a transfer coding": [headers(1, OK, ("transfer-encoding", "chunked"))],
    "a value with a line break": [headers(1, OK, ("x", "1\r\ny: 2"))],
    "a value with a NUL": [headers(1, OK, ("x", "1\0"))],
    "a value with space around it": [headers(1, OK, ("x", " 1"))],
    "a name with a space": [headers(1, OK, ("x y", "1"))],
    "a name with a colon": [headers(1, OK, ("x:", "1"))],
    "an empty name": [headers(1, OK, ("", "1"))],
    "two lengths": [headers(1, OK, ("content-length", "1"), ("content-length", "1"))],
    "two equal lengths in one": [headers(1, OK, ("content-length", "1, 1"))],
    "a length that is none": [headers(1, OK, ("content-length", "-1"))],
    "a length with a sign": [headers(1, OK, ("content-length", "+5"))],
    "a length without digits": [headers(1, OK, ("content-length", ""))],
    "a length beyond all bounds": [headers(1, OK, ("content-length", "9" * 19))],
    "a shorter body": [headers(1, OK, ("content-length", "3")), data(1, b"ab", end=True)],
    "a longer body": [headers(1, OK, ("content-length", "1")), data(1, b"ab")],
    "no body where one is promised": [headers(1, OK, ("content-length", "3"), end=True)],
    "a body to a 204": [headers(1, (":status", "204")), data(1, b"ab", end=True)],
    "a body to a 304": [headers(1, (":status", "304"), ("content-length", "2")), data(1, b"ab", end=True)],
    "a shorter body before trailers": [
        headers(1, OK, ("content-length", "3")),
        data(1, b"ab"),
        headers(1, ("x-a", "1"), end=True),
    ],
    "a body before its head": [data(1, b"ab")],
    "an end before its head": [data(1, b"", end=True)],
    "a body behind an interim response": [headers(1, (":status", "100")), data(1, b"ab", end=True)],
    "an interim response with a length": [headers(1, (":status", "100"), ("content-length", "5"))],
    "an interim response that ends": [headers(1, (":status", "103"), end=True)],
    "switching protocols": [headers(1, (":status", "101"))],
    "interim responses without end": [headers(1, (":status", "103"))] * 17,
    "a second head": [headers(1, OK), headers(1, OK)],
    "trailers that do not end": [headers(1, OK), headers(1, ("x-a", "1"))],
    "trailers of a connection": [headers(1, OK), headers(1, ("transfer-encoding", "chunked"), end=True)],
    "trailers with a status": [headers(1, OK), headers(1, OK, end=True)],
    "trailers in upper case": [headers(1, OK), headers(1, ("X-A", "1"), end=True)],
    "more than the stream's window": [headers(1, OK), *[data(1, bytes(16384))] * 17],
    "too many fields": [headers(1, OK, *((f"x-{number}", "1") for number in range(101)))],
    "too large a list": [headers(1, OK, ("x", "1" * 9000), ("y", "1" * 9000))],
    "a window widened by nothing": [wire.WindowUpdateFrame(1, 0)],
    "a window widened too far": [wire.WindowUpdateFrame(1, 2**31 - 1)],
}

BROKEN_CONNECTIONS: dict[str, list[wire.Frame | bytes]] = {
    "HTTP/1.1": [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "a frame before SETTINGS": [wire.PingFrame(0, b"12345678")],
    "DATA of no stream": [settings(), b"\0\0\1\0\0\0\0\0\0x"],
    "DATA of a stream that was never opened": [settings(), data(5, b"x")],
    "a response on a stream of the server's": [settings(), headers(2, OK)],
    "a stream that is pushed": [settings(), wire.PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"])],
    "a server that wants to be pushed to": [settings(ENABLE_PUSH=1)],
    "a window larger than there is": [settings(INITIAL_WINDOW_SIZE=2**31)],
    "a frame size smaller than there is": [settings(MAX_FRAME_SIZE=100)],
    "a connection window widened by nothing": [settings(), wire.WindowUpdateFrame(0, 0)],
    "a connection window widened too far": [settings(), wire.WindowUpdateFrame(0, 2**31 - 1)],
    "settings that widen a stream too far": [
        settings(),
        wire.WindowUpdateFrame(1, 2**31 - 70000),
        settings(INITIAL_WINDOW_SIZE=2**31 - 1),
    ],
    "a frame that is too long": [settings(), data(1, bytes(16385))],
    "a block that cannot be read": [settings(), wire.HeadersFrame(1, b"\x80", flags=["END_HEADERS"])],
    "a block that is interrupted": [settings(), wire.HeadersFrame(1, b"\x88"), wire.PingFrame(0, b"12345678")],
    "a block that never ends": [settings(), wire.HeadersFrame(1, b"")] + [wire.ContinuationFrame(1, b"")] * 1000,
    "more padding than payload": [settings(), headers(1, OK), b"\0\0\1\0\x08\0\0\0\1\x05"],
    "an acknowledgement with a payload": [settings(), b"\0\0\6\4\1\0\0\0\0\0\1\0\0\0\0"],
}

FORGED = headers(1, OK, ("content-length", "6")), data(1, b"forged", end=True)

AFTERWARDS: dict[str, list[wire.Frame]] = {
    "a whole response": [*FORGED],
    "the rest of a body": [data(1, b"lo", end=True)],
    "an end without a body": [data(1, b"", end=True)],
    "trailers": [headers(1, ("x-a", "1"), end=True)],
    "interim responses": [headers(1, (":status", "103"))] * 40,
    "a 100 with a length": [headers(1, (":status", "100"), ("content-length", "9")), *FORGED],
    "a reset and a response": [wire.RstStreamFrame(1, 8), *FORGED],
    "a refusal and a response": [wire.RstStreamFrame(1, 7), *FORGED],
    "a window widened by nothing": [wire.WindowUpdateFrame(1, 0), *FORGED],
    "a window widened too far": [wire.WindowUpdateFrame(1, 2**31 - 1), *FORGED],
    "settings that widen windows": [settings(INITIAL_WINDOW_SIZE=2**31 - 1), *FORGED],
    "values that are none": [headers(1, OK, ("x", "1\r\n")), headers(1, OK, ("x", "\0")), *FORGED],
    "the same fault and a response": [headers(1, OK, ("content-length", "5")), data(1, b"hel", end=True), *FORGED],
    "that all goes away": [wire.GoAwayFrame(0, last_stream_id=0), *FORGED],
}

FLOODS: dict[str, wire.Frame | bytes] = {
    "PING": wire.PingFrame(0, b"12345678"),
    "answers to PING": wire.PingFrame(0, b"12345678", flags=["ACK"]),
    "SETTINGS": settings(),
    "SETTINGS of many values": b"\0\x17\x70\4\0\0\0\0\0" + b"\xf0\0\0\0\0\1" * 1000,
    "acknowledgements": wire.SettingsFrame(0, flags=["ACK"]),
    "empty DATA": data(1, b""),
    "empty DATA with padding": data(1, b"", padding=0),
    "empty DATA of a stream that is over": data(3, b""),
    "DATA of a stream that is over": data(3, bytes(8000)),
    "heads of a stream that is over": headers(3, OK),
    "PRIORITY": wire.PriorityFrame(1, depends_on=3),
    "PRIORITY of no stream": wire.PriorityFrame(9, depends_on=3),
    "RST_STREAM": wire.RstStreamFrame(3, 8),
    "WINDOW_UPDATE": wire.WindowUpdateFrame(1, 1),
    "WINDOW_UPDATE of the connection": wire.WindowUpdateFrame(0, 1),
    "GOAWAY": wire.GoAwayFrame(0, last_stream_id=100),
    "unknown frames": b"\0\0\1\xee\0\0\0\0\1x",
    "empty CONTINUATION": b"\0\0\0\1\0\0\0\0\3" + b"\0\0\0\t\0\0\0\0\3" * 60 + b"\0\0\1\t\4\0\0\0\3\x88",
}

NOT_HTTP_2 = [
    b"H",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"\x16\x03\x01",
    b"220 mail ESMTP\r\n",
    b"\0\0\0\0",
    b"\0\0\0\4\1",
    b"\0\0\0\4\0\0\0\0\1",
    b"\0\0\4\x03\0\0\0\0\1",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\x08\x06\0\0\0\0\0",
    b"\xff",
]
"""What an upstream may begin with that does not begin with SETTINGS."""
