"""HTTP/2 clients without the gateway's code: one that behaves (the h2 package), one that sends what a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import hpack
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.support.front import client_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.front import Front

Headers = list[tuple[str, str]]


@dataclass
class Answer:
    """What came on a stream."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(dict(self.fields).get(":status", 0))

    def value(self, name: str) -> str | None:
        return dict(self.fields).get(name)


def request(path: str = "/", method: str = "GET", *more: tuple[str, str], host: str = "localhost") -> Headers:
    """Write the fields of a request."""
    return [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more]


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def _connect(front: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = client_context()
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port, ssl=context, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    return reader, writer


class H2Client:
    """A connection; ``h2`` says what is sent, ``answers`` what came, by stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        # h2 takes GOAWAY for the end; RFC 9113 section 6.8 lets streams that run finish.
        goaway, machine = h2.connection.ConnectionInputs.RECV_GOAWAY, self.h2.state_machine
        states = (h2.connection.ConnectionState.IDLE, h2.connection.ConnectionState.CLIENT_OPEN)
        machine._transitions = machine._transitions | {(state, goaway): (None, state) for state in states}
        self.answers: defaultdict[int, Answer] = defaultdict(Answer)
        self.events: list[h2.events.Event] = []
        self.goaway: tuple[int, int] | None = None
        """Error code and last stream."""
        self.closed = self.stalled = False
        self.reading = True
        """Whether windows are opened again as data comes."""

    @classmethod
    async def connect(
        cls, front: Front, *, prior: bytes | None = None, name: str = "localhost", context: ssl.SSLContext | None = None
    ) -> H2Client:
        """Connect with TLS and ALPN; ``prior`` is sent in the place of preface and settings."""
        context = context or client_context()
        context.set_alpn_protocols(["h2"])
        client = cls(*await asyncio.open_connection("127.0.0.1", front.port, ssl=context, server_hostname=name))
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        if prior is None:
            client.h2.initiate_connection()
            client.flush()
        else:
            client.writer.write(prior)
        return client

    def flush(self) -> None:
        """Send what ``h2`` has to say."""
        self.writer.write(self.h2.data_to_send())

    def ask(self, fields: Headers, body: bytes | None = None, *, ended: bool = True) -> int:
        """Begin a request; the body must fit into the windows."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=ended and body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=ended)
        self.flush()
        return stream

    async def upload(self, stream: int, body: bytes) -> None:
        """Send a body as the windows allow it, and the end of the stream."""
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            self.stalled = not room
            if room:
                self.h2.send_data(stream, body[:room])
                body = body[room:]
                self.flush()
            else:
                await self._read()
        self.stalled = False
        self.h2.end_stream(stream)
        self.flush()

    async def answer(self, stream: int) -> Answer:
        """Wait until a stream has ended, one way or the other."""
        await self.until(lambda: self.answers[stream].ended or self.answers[stream].reset is not None)
        return self.answers[stream]

    async def get(self, path: str = "/", *more: tuple[str, str]) -> Answer:
        """Make a request and wait for its answer."""
        return await self.answer(self.ask(request(path, "GET", *more)))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until ``condition`` holds or the connection has ended."""
        async with asyncio.timeout(20):
            while not condition() and not self.closed:
                await self._read()

    async def end(self) -> tuple[int, int] | None:
        """Read until the connection has ended; return its GOAWAY, if any."""
        await self.until(lambda: False)
        self.close()
        return self.goaway

    async def settled(self) -> None:
        """Wait until the gateway has dealt with all that was sent: it answers a ping."""
        self.h2.ping(b"settled?")
        self.flush()
        seen = len(self.events)
        await self.until(lambda: any(isinstance(e, h2.events.PingAckReceived) for e in self.events[seen:]))

    async def _read(self) -> None:
        try:
            data = await self.reader.read(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            self.events.append(event)
            self._note(event)
        self.flush()

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.answers[event.stream_id].fields = event.headers
            case h2.events.InformationalResponseReceived():
                self.answers[event.stream_id].interim.append(event.headers)
            case h2.events.DataReceived():
                self.answers[event.stream_id].body += event.data
                if self.reading and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.answers[event.stream_id].trailers = event.headers
            case h2.events.StreamEnded():
                self.answers[event.stream_id].ended = True
            case h2.events.StreamReset():
                self.answers[event.stream_id].reset = event.error_code
            case h2.events.ConnectionTerminated():
                self.goaway = (int(event.error_code), event.last_stream_id)

    def close(self) -> None:
        """Close without ceremony."""
        self.writer.transport.abort()


class RawClient:
    """A client that sends what it is told, and reads frames with hyperframe."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.frames: list[Frame] = []
        """All that came."""
        self._buffer = b""
        self._decoder = hpack.Decoder()

    @classmethod
    async def connect(cls, front: Front, first: bytes) -> RawClient:
        """Connect with TLS and ALPN, and send ``first``."""
        client = cls(*await _connect(front))
        client.send(first)
        return client

    def send(self, *items: Frame | bytes) -> None:
        self.writer.write(b"".join(item if isinstance(item, bytes) else item.serialize() for item in items))

    async def next(self) -> Frame | None:
        """Read one frame; None at the end of the connection."""
        async with asyncio.timeout(20):
            while True:
                if len(self._buffer) >= 9:
                    frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
                    if len(self._buffer) >= 9 + length:
                        frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
                        self._buffer = self._buffer[9 + length :]
                        self.frames.append(frame)
                        return frame
                try:
                    received = await self.reader.read(65536)
                except (ConnectionError, ssl.SSLError):
                    received = b""
                if not received:
                    return None
                self._buffer += received

    async def find(self, kind: type[Frame], number: int) -> Frame:
        """Wait for a frame of a type on a stream."""
        while (frame := await self.next()) is not None:
            assert not isinstance(frame, GoAwayFrame), f"the connection ends: {frame.additional_data!r}"
            if isinstance(frame, kind) and frame.stream_id == number:
                return frame
        raise AssertionError(f"the connection ended; before that: {self.frames}")

    async def goaway(self) -> int | None:
        """Wait for the end of the connection, and return its reason if it was told."""
        code = None
        while (frame := await self.next()) is not None:
            if isinstance(frame, GoAwayFrame):
                code = frame.error_code
        self.close()
        return code

    async def reset(self, number: int) -> int:
        """Wait for the reset of a stream, and return its reason."""
        frame = await self.find(RstStreamFrame, number)
        assert isinstance(frame, RstStreamFrame)
        return frame.error_code

    async def status(self, number: int) -> int:
        """Wait for the head of a response, and return its status."""
        frame = await self.find(HeadersFrame, number)
        assert isinstance(frame, HeadersFrame)
        return int(dict(self._decoder.decode(frame.data))[":status"])

    async def ended(self, number: int) -> None:
        """Wait for the end of a stream."""
        while "END_STREAM" not in (await self.find(Frame, number)).flags:
            pass

    def close(self) -> None:
        """Close without ceremony."""
        self.writer.transport.abort()
