"""Scripts of hostile HTTP/1.1 upstreams, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.hostile import BAD, CUT, Case, Flood, Step

if TYPE_CHECKING:
    import asyncio

    from tests.support.hostile import Hostile

NOTICED, CLOSE, RESET = Step.NOTICED, Step.CLOSE, Step.RESET

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
FORGED = OK + b"Content-Length: 6\r\n\r\nforged"
WHOLE = "200 hello"


async def serve(hostile: Hostile, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve a connection as an upstream of HTTP/1.1."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        kind, _, word = head.split(b" ")[1].lstrip(b"/").rpartition(b"/")
        if kind.endswith(b"case"):
            run = hostile.runs[word]
            await hostile.play(run, writer, run.case.script)
        else:
            writer.write(OK + b"Content-Length: %d\r\n\r\n%b" % (len(word), word))


NOT_HTTP = {
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "a TLS hello": b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03",
    "one byte of TLS": b"\x15",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "half an SSH banner": b"SSH-2.0",
    "an SMTP greeting": b"220 mail.test ESMTP\r\n",
    "an FTP greeting": b"220 ready\r\n",
    "a POP greeting": b"+OK ready\r\n",
    "Redis": b"-ERR unknown command 'GET'\r\n",
    "memcached": b"ERROR\r\n",
    "MySQL": b"\x4a\x00\x00\x00\x0a8.0.36\x00",
    "PostgreSQL": b"E\x00\x00\x00\x20SFATAL\x00",
    "HTTP/0.9": b"<html><body>hello</body></html>",
    "JSON": b'{"hello": 1}\n',
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a PROXY header": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    "SHOUTcast": b"ICY 200 OK\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "zeros": b"\0" * 40,
    "a byte order mark": b"\xef\xbb\xbf" + HELLO,
    "an empty line": b"\r\n" + HELLO,
    "a line feed": b"\n" + HELLO,
    "a space": b" " + HELLO,
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/2 without a minor version": b"HTTP/2 200\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/0.9 with a status": b"HTTP/0.9 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "no version": b"HTTP 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a space in the version": b"HTTP /1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}

STATUS_LINES = {
    "no status": b"HTTP/1.1",
    "an empty status": b"HTTP/1.1 ",
    "a reason alone": b"HTTP/1.1 OK",
    "two spaces": b"HTTP/1.1  200 OK",
    "a tab": b"HTTP/1.1\t200 OK",
    "no space": b"HTTP/1.1200 OK",
    "a status without a space behind it": b"HTTP/1.1 200OK",
    "a reason with NUL": b"HTTP/1.1 200 O\0K",
    "a reason with CR": b"HTTP/1.1 200 O\rK",
    "a reason with escape": b"HTTP/1.1 200 \x1b[31mOK",
    **{
        f"status {status}": b"HTTP/1.1 %b OK" % status.encode()
        for status in (
            "0",
            "00",
            "000",
            "20",
            "099",
            "600",
            "700",
            "999",
            "1000",
            "2000",
            "-200",
            "+200",
            "2x0",
            "0x200",
        )
    },
}

FIELDS = {
    "no colon": b"X-A",
    "an empty name": b": 1",
    "a space before the colon": b"X-A : 1",
    "a tab before the colon": b"X-A\t: 1",
    "a folded line": b"X-A: 1\r\n 2",
    "a line that begins with a space": b" X-A: 1",
    "a name with a space": b"X A: 1",
    "a name with a bracket": b"X(A): 1",
    "a name beyond ASCII": b"X-\xc3\xa4: 1",
    "a value with NUL": b"X-A: 1\0",
    "a value with CR": b"X-A: 1\r2",
    "a value with LF": b"X-A: 1\nX-B: 2",
    "a value with DEL": b"X-A: 1\x7f",
    "a length with a space before the colon": b"Content-Length : 5",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6",
    "two equal lengths": b"Content-Length: 5\r\nContent-Length: 5",
    "a list of lengths": b"Content-Length: 5, 5",
    "a negative length": b"Content-Length: -5",
    "a length with a sign": b"Content-Length: +5",
    "a length of hexadecimal digits": b"Content-Length: 0x5",
    "a length with a point": b"Content-Length: 5.0",
    "a length with an exponent": b"Content-Length: 5e0",
    "a length with a space": b"Content-Length: 5 5",
    "an empty length": b"Content-Length:",
    "a length beyond all bounds": b"Content-Length: 99999999999999999999",
    "a length in quotes": b'Content-Length: "5"',
    "a folded length": b"Content-Length:\r\n 5",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunks in chunks": b"Transfer-Encoding: chunked, chunked",
    "gzip": b"Transfer-Encoding: gzip",
    "gzip in chunks": b"Transfer-Encoding: gzip, chunked",
    "chunks in gzip": b"Transfer-Encoding: chunked, gzip",
    "identity": b"Transfer-Encoding: identity",
    "an unknown coding": b"Transfer-Encoding: xchunked",
    "an empty coding": b"Transfer-Encoding:",
    "chunks with a parameter": b"Transfer-Encoding: chunked;q=1",
    "chunks behind a vertical tab": b"Transfer-Encoding: \x0bchunked",
    "chunks and a comma": b"Transfer-Encoding: chunked,",
    "folded chunks": b"Transfer-Encoding:\r\n chunked",
    "too many fields": b"\r\n".join([b"X-A: 1"] * 300),
    "too large a field": b"X-A: " + bytes(1 << 17).replace(b"\0", b"x"),
}

_CHUNKS = {
    "a size that is none": b"hello\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "an empty size": b"\r\nhello\r\n0\r\n\r\n",
    "a size beyond all bounds": b"10000000000000005\r\nhello\r\n",
    "an endless size": b"0" * 400,
    "an endless extension": b"5;" + b"a" * 400,
    "an extension with NUL": b"5;\0\r\nhello\r\n0\r\n\r\n",
    "a size that ends with LF": b"5\nhello\r\n0\r\n\r\n",
    "a longer chunk": b"5\r\nhello!\r\n0\r\n\r\n",
    "a chunk that ends with LF": b"5\r\nhello\n0\r\n\r\n",
    "a response in the place of a chunk": FORGED,
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nX-A\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n",
    "a trailer with NUL": b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n",
    "a trailer without a name": b"5\r\nhello\r\n0\r\n: 1\r\n\r\n",
    "a response in the place of trailers": b"5\r\nhello\r\n0\r\n" + FORGED,
    "endless trailers": b"5\r\nhello\r\n0\r\n" + b"X-A: 1\r\n" * 2000,
}

_LIVELY = {  # what goes wrong, or does not, in time
    "nothing": ((CLOSE,), (BAD,)),
    "a reset": ((RESET,), (BAD,)),
    "half a status line": ((b"HTTP/1.1 2", CLOSE), (BAD,)),
    "half a head": ((OK + b"X-A: 1\r\n", CLOSE), (BAD,)),
    "half a head, and a reset": ((OK + b"X-A: 1\r\n", RESET), (BAD,)),
    "half a body": ((OK + b"Content-Length: 5\r\n\r\nhel", NOTICED, CLOSE), (CUT,)),
    "half a body, and a reset": ((OK + b"Content-Length: 5\r\n\r\nhel", NOTICED, RESET), (CUT,)),
    "half a body, and a response": ((OK + b"Content-Length: 9\r\n\r\nhel", NOTICED, b"lo", CLOSE), (CUT,)),
    "no body": ((OK + b"Content-Length: 5\r\n\r\n", NOTICED, CLOSE), (CUT,)),
    "half a chunk": ((CHUNKED + b"5\r\nhel", NOTICED, CLOSE), (CUT,)),
    "chunks without the last": ((CHUNKED + b"5\r\nhello\r\n", NOTICED, CLOSE), (CUT,)),
    "a last chunk without its end": ((CHUNKED + b"5\r\nhello\r\n0\r\n", NOTICED, CLOSE), (CUT,)),
    "a reset at the end of a body without length": ((OK + b"\r\nhello", NOTICED, RESET), (CUT, WHOLE)),
    "a field that is none, and nothing more": ((OK + b"no field\r\n",), (BAD,)),
    "a bare line feed, and nothing more": ((b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",), (BAD,)),
    "a status that is none, and nothing more": ((b"HTTP/1.1 600",), (BAD,)),
    "a head without end": ((OK, Flood(b"X-A: " + b"a" * 1000 + b"\r\n")), (BAD,)),
    "a field without end": ((OK + b"X-A: ", Flood(b"a" * 1000)), (BAD,)),
    "a status line without end": ((b"HTTP/1.1 200 ", Flood(b"a" * 1000)), (BAD,)),
    "trailers without end": ((CHUNKED + b"0\r\n", NOTICED, Flood(b"X-A: " + b"a" * 100 + b"\r\n")), (CUT,)),
    "interim responses without end": ((Flood(b"HTTP/1.1 103 Early Hints\r\n\r\n"),), (BAD,)),
    "an interim response without end": (
        (b"HTTP/1.1 103 Early Hints\r\n", Flood(b"X-A: " + b"a" * 1000 + b"\r\n")),
        (BAD,),
    ),
    "interim responses, and the end": ((b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3, CLOSE), (BAD,)),
    "an interim response with a length": ((b"HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\nhello" + FORGED,), (BAD,)),
    "an interim response in chunks": (
        (b"HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + FORGED,),
        (BAD,),
    ),
    "a 100 with a length": ((b"HTTP/1.1 100 Continue\r\nContent-Length: 75\r\n\r\n" + FORGED * 2,), (BAD,)),
    "an interim response, and what is none": ((b"HTTP/1.1 103 X\r\n\r\nSSH-2.0-X\r\n",), (BAD,)),
    "an interim response with two lengths": (
        (b"HTTP/1.1 103 X\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",),
        (BAD,),
    ),
    "a 101": ((b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + FORGED,), (BAD,)),
    "a 101 to WebSocket": ((b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + FORGED,), (BAD,)),
    "a 101 to h2c": ((b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\0\0\0\4\0\0\0\0\0",), (BAD,)),
    "a 101 with a length": ((b"HTTP/1.1 101 X\r\nContent-Length: 0\r\n\r\n",), (BAD,)),
    "interim responses": ((b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: </a>\r\n\r\n" + HELLO,), (WHOLE,)),
    "an unknown interim response": ((b"HTTP/1.1 199 X\r\n\r\n" + HELLO,), (WHOLE,)),
    "chunks in HTTP/1.0": ((b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",), (BAD,)),
    "a longer body": ((OK + b"Content-Length: 5\r\n\r\nhello!",), (WHOLE,)),
    "a longer body that comes late": ((OK + b"Content-Length: 5\r\n\r\nhel", NOTICED, b"lo!"), (WHOLE,)),
    "a body behind a length of 0": ((OK + b"Content-Length: 0\r\n\r\nhello",), ("200",)),
    "a response behind a length of 0": ((OK + b"Content-Length: 0\r\n\r\n" + FORGED,), ("200",)),
    "two responses": ((HELLO + FORGED,), (WHOLE,)),
    "ten responses": ((HELLO + FORGED * 10,), (WHOLE,)),
    "half a response behind the first": ((HELLO + FORGED[:20],), (WHOLE,)),
    "an interim response behind the first": ((HELLO + b"HTTP/1.1 103 X\r\n\r\n",), (WHOLE,)),
    "a response behind the last chunk": ((CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + FORGED,), (WHOLE,)),
    "a line end behind the last chunk": ((CHUNKED + b"5\r\nhello\r\n0\r\n\r\n\r\n",), (WHOLE,)),
    "a response behind trailers": ((CHUNKED + b"5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n" + FORGED,), (WHOLE,)),
    "a response behind the last chunk, late": ((CHUNKED + b"5\r\nhello\r\n", NOTICED, b"0\r\n\r\n" + FORGED), (WHOLE,)),
    "lengths in the trailers": ((CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",), (WHOLE,)),
    "a response in a body without length": ((OK + b"\r\nhello", CLOSE), (WHOLE,)),
    "a 204 with a body": ((b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello",), ("204",)),
    "a 204 with a response": ((b"HTTP/1.1 204 X\r\n\r\n" + FORGED,), ("204",)),
    "a 204 in chunks": ((b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",), ("204",)),
    "a 304 with a body": ((b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\nhello",), ("304",)),
    "a 304 with a response": ((b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n" + FORGED,), ("304",)),
    "a 304 in chunks": ((b"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",), ("304",)),
}

_TO_HEAD = {
    "a body": OK + b"Content-Length: 5\r\n\r\nhello",
    "a response": OK + b"Content-Length: 5\r\n\r\n" + FORGED,
    "chunks": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    "a body without length": OK + b"\r\nhello",
    "garbage": OK + b"Content-Length: 5\r\n\r\n\0\0\0",
}

_IDLE = {
    "a response": (FORGED,),
    "half a response": (FORGED[:30],),
    "an interim response": (b"HTTP/1.1 103 X\r\n\r\n",),
    "a 408": (b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", CLOSE),
    "garbage": (b"\0\1\2",),
    "a line end": (b"\r\n",),
    "a response, and the end": (FORGED, CLOSE),
    "the end": (CLOSE,),
    "a reset": (RESET,),
    "responses without end": (Flood(FORGED, 200),),
}

CASES = [
    *(Case(f"not HTTP: {name}", (first,), (BAD,)) for name, first in NOT_HTTP.items()),
    *(Case(f"a status line: {name}", (line + b"\r\n\r\n" + FORGED,), (BAD,)) for name, line in STATUS_LINES.items()),
    *(Case(f"fields: {name}", (OK + line + b"\r\n\r\nhello" + FORGED,), (BAD,)) for name, line in FIELDS.items()),
    *(Case(f"chunks at once: {name}", (CHUNKED + wrong,), (BAD,)) for name, wrong in _CHUNKS.items()),
    *(Case(f"chunks later: {name}", (CHUNKED, NOTICED, wrong), (CUT,)) for name, wrong in _CHUNKS.items()),
    *(Case(name, script, expected) for name, (script, expected) in _LIVELY.items()),
    *(Case(f"to HEAD: {name}", (answer,), ("200",), method=b"HEAD") for name, answer in _TO_HEAD.items()),
    *(Case(f"while idle: {name}", (HELLO, NOTICED, *more), (WHOLE,), pipelined=False) for name, more in _IDLE.items()),
]
