"""Scripts of hostile HTTP/2 upstreams, by kind. Their frames are for stream 1, and are sent on that of the request."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import hpack
from hyperframe import frame as wire

from tests.support.hostile import BAD, CUT, Case, Flood, Step
from tests.support.hostile_h2_tables import (
    AFTERWARDS,
    BROKEN_CONNECTIONS,
    FLOODS,
    FORGED,
    MALFORMED_STREAMS,
    OK,
    data,
    headers,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.hostile import Hostile, Script

NOTICED, CLOSE, RESET = Step.NOTICED, Step.CLOSE, Step.RESET
WHOLE = "200 hello"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def packed(items: Iterable[wire.Frame | bytes]) -> bytes:
    """Write frames as one piece."""
    return b"".join(item if isinstance(item, bytes) else item.serialize() for item in items)


def on_stream(frames: bytes, number: int) -> bytes:
    """Move the frames of streams 1 and 3 to stream ``number``, and those of streams that nobody opened far away."""
    moved = b""
    while len(frames) >= 9:
        end = 9 + int.from_bytes(frames[:3], "big")
        stream = int.from_bytes(frames[5:9], "big")
        stream = {0: 0, 1: number, 3: number}.get(stream, stream + 10000)
        moved += frames[:5] + struct.pack(">L", stream) + frames[9:end]
        frames = frames[end:]
    return moved + frames


def _script(script: Script, number: int) -> Script:
    return tuple(
        on_stream(step, number)
        if isinstance(step, bytes)
        else Flood(on_stream(step.data, number), step.times)
        if isinstance(step, Flood)
        else step
        for step in script
    )


async def serve(hostile: Hostile, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve a connection as an upstream of HTTP/2."""
    decoder = hpack.Decoder()
    assert await reader.readexactly(len(_PREFACE)) == _PREFACE
    writer.write(settings().serialize())
    plays: list[asyncio.Task[None]] = []
    try:
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] != 1:
                continue
            number = int.from_bytes(head[5:], "big")
            kind, _, word = dict(decoder.decode(payload))[":path"].lstrip("/").rpartition("/")
            if kind.endswith("case"):
                run = hostile.runs[word.encode()]
                plays.append(asyncio.create_task(hostile.play(run, writer, _script(run.case.script, number))))
            else:
                answer = headers(number, OK, ("content-length", str(len(word)))), data(number, word.encode(), end=True)
                writer.write(packed(answer))
    finally:
        for play in plays:
            play.cancel()


HELLO = packed((headers(1, OK, ("content-length", "5")), data(1, b"hello", end=True)))
BEGUN = packed((headers(1, OK, ("content-length", "9")), data(1, b"hel")))
OPEN = packed((headers(1, OK), data(1, b"hel")))
THE_FAULT = packed((headers(1, OK, ("content-length", "5")), data(1, b"hel", end=True)))

_LATER: dict[str, list[wire.Frame | bytes]] = {
    "a longer body": [data(1, b"lo world", end=True)],
    "a longer body without end": [data(1, b"lo world")],
    "a shorter body": [data(1, b"lo", end=True)],
    "an end without more": [data(1, b"", end=True)],
    "a second head": [headers(1, OK)],
    "an interim head": [headers(1, (":status", "103"))],
    "trailers that come too early": [headers(1, ("x-a", "1"), end=True)],
    "trailers that do not end": [headers(1, ("x-a", "1"))],
    "trailers with a status": [headers(1, OK, end=True)],
    "trailers in upper case": [headers(1, ("X-A", "1"), end=True)],
    "a window widened by nothing": [wire.WindowUpdateFrame(1, 0)],
    "a window widened too far": [wire.WindowUpdateFrame(1, 2**31 - 1)],
    "a frame of a stream that nobody opened": [data(5, b"x")],
    "a push": [wire.PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"])],
    "a block that cannot be read": [wire.HeadersFrame(1, b"\x80", flags=["END_HEADERS", "END_STREAM"])],
    "an unknown error": [wire.RstStreamFrame(1, 0xFFFF)],
    **{f"a reset, code {code}": [wire.RstStreamFrame(1, code)] for code in (0, 1, 2, 7, 8, 11, 13)},
    "all goes away": [wire.GoAwayFrame(0, last_stream_id=0)],
    "a padding that is none": [b"\0\0\1\0\x08\0\0\0\1\x05"],
    "a frame that is too long": [data(1, bytes(16385))],
}

_BEFORE = {
    "nothing": ((CLOSE,), (BAD,)),
    "a reset of the connection": ((RESET,), (BAD,)),
    "half a frame": ((HELLO[:12], CLOSE), (BAD,)),
    "half a body": ((BEGUN, NOTICED, CLOSE), (CUT,)),
    "half a body, and a reset of the connection": ((BEGUN, NOTICED, RESET), (CUT,)),
    "half a body of no length": ((OPEN, NOTICED, CLOSE), (CUT,)),
    **{
        f"a reset, code {code}": ((packed((wire.RstStreamFrame(1, code), *FORGED)),), (BAD,))
        for code in (0, 1, 2, 5, 7, 8, 11, 0xFFFFFFFF)
    },
    "that all goes away": ((packed((wire.GoAwayFrame(0, last_stream_id=0), *FORGED)),), (BAD,)),
    "that all goes away, and the end": ((wire.GoAwayFrame(0, last_stream_id=0).serialize(), CLOSE), (BAD,)),
    "interim responses, and a reset": (
        (packed((*[headers(1, (":status", "103"))] * 3, wire.RstStreamFrame(1, 7), *FORGED)),),
        (BAD,),
    ),
    "a body of no length that is too long for a 204": (
        (packed((headers(1, (":status", "204")), data(1, b"hello", end=True))),),
        (BAD,),
    ),
}

_SOUND = {
    "a response": (HELLO,),
    "padding": (packed((headers(1, OK), data(1, b"hello", end=True, padding=100))),),
    "trailers": (packed((headers(1, OK), data(1, b"hello"), headers(1, ("x-a", "1"), end=True))),),
    "interim responses": (packed((headers(1, (":status", "103"), ("link", "</a>")),)) + HELLO,),
    "a head in several frames": (
        packed((wire.HeadersFrame(1, b""), wire.ContinuationFrame(1, b"\x88", flags=["END_HEADERS"]))),
        packed((data(1, b"hello", end=True),)),
    ),
    "a reset without error behind the end": (HELLO + wire.RstStreamFrame(1, 0).serialize(),),
    "unknown frames and settings": (b"\0\0\1\xee\0\0\0\0\1x" + settings(MAX_CONCURRENT_STREAMS=3).serialize() + HELLO,),
    "a priority": (wire.PriorityFrame(1, depends_on=0).serialize() + HELLO,),
    "that all goes away after this one": (wire.GoAwayFrame(0, last_stream_id=9999).serialize() + HELLO,),
}

_TO_HEAD = {
    "a head": ((packed((headers(1, OK, ("content-length", "5"), end=True),)),), ("200",)),
    "a body": ((HELLO,), (BAD,)),
    "a body without length": ((packed((headers(1, OK), data(1, b"hello", end=True))),), (BAD,)),
    "a body, late": ((packed((headers(1, OK),)), NOTICED, packed((data(1, b"hello", end=True),))), ("200", CUT)),
}

CASES = [
    *(
        Case(f"malformed: {name}", (packed(frames) + packed(FORGED),), (BAD,))
        for name, frames in MALFORMED_STREAMS.items()
        if "stream's window" not in name
    ),
    *(Case(f"behind a fault: {name}", (THE_FAULT + packed(frames),), (BAD,)) for name, frames in AFTERWARDS.items()),
    *(
        Case(f"behind a fault, late: {name}", (THE_FAULT, NOTICED, packed(frames)), (BAD,))
        for name, frames in AFTERWARDS.items()
    ),
    *(Case(f"behind the end: {name}", (HELLO + packed(frames),), (WHOLE,)) for name, frames in AFTERWARDS.items()),
    *(
        Case(f"behind the end, late: {name}", (HELLO, NOTICED, packed(frames)), (WHOLE,))
        for name, frames in AFTERWARDS.items()
    ),
    *(
        Case(f"in a body: {name}", (BEGUN, NOTICED, packed(frames) + packed(FORGED)), (CUT,))
        for name, frames in _LATER.items()
    ),
    *(Case(f"instead of a head: {name}", script, expected) for name, (script, expected) in _BEFORE.items()),
    *(
        Case(f"of the connection: {name}", (packed(frames) + packed(FORGED),), (BAD,))
        for name, frames in BROKEN_CONNECTIONS.items()
        if frames[0] == settings() or not isinstance(frames[0], bytes | wire.PingFrame)
    ),
    *(
        Case(f"flood behind the end: {name}", (HELLO, NOTICED, Flood(packed([one]))), (WHOLE,))
        for name, one in FLOODS.items()
    ),
    *(
        Case(f"flood in a body: {name}", (OPEN, NOTICED, Flood(packed([one])), CLOSE), (CUT,))
        for name, one in FLOODS.items()
    ),
    Case("a body beyond the window", (packed(MALFORMED_STREAMS["more than the stream's window"]), CLOSE), (CUT,)),
    *(Case(f"sound: {name}", script, (WHOLE,)) for name, script in _SOUND.items()),
    *(Case(f"to HEAD: {name}", script, expected, b"HEAD") for name, (script, expected) in _TO_HEAD.items()),
]
