"""Upstreams that speak HTTP/2 as another implementation (h2) does, and do what a test says with each stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import Settings
from hyperframe.frame import GoAwayFrame

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from h2.settings import SettingCodes

Handler = Callable[["Stream"], Awaitable[None]]
Headers = list[tuple[str, str]]


class Stream:
    """A request, as the upstream has it."""

    def __init__(self, connection: Connection, number: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.connection = connection
        self.number = number
        self.headers = headers
        self.trailers: list[tuple[bytes, bytes]] = []
        self.reset_code: int | None = None
        self.ended = False
        self._data: asyncio.Queue[bytes] = asyncio.Queue()
        self.cancelled = asyncio.Event()

    def field(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return [value for key, value in self.headers if key == name]

    @property
    def waiting(self) -> int:
        """Return how many pieces of the body have not been read."""
        return self._data.qsize()

    async def read(self) -> bytes:
        """Read a piece of the body; empty at its end. Reading gives credit."""
        if self.ended and self._data.empty():
            return b""
        data = await self._data.get()
        if data:
            self.connection.h2.acknowledge_received_data(len(data), self.number)
            self.connection.flush()
        return data

    async def body(self) -> bytes:
        """Read the whole body."""
        whole = b""
        while data := await self.read():
            whole += data
        return whole

    def respond(self, status: int = 200, headers: Headers | None = None, *, ended: bool = False) -> None:
        """Send a head."""
        self.connection.h2.send_headers(self.number, [(":status", str(status)), *(headers or [])], end_stream=ended)
        self.connection.flush()

    async def send(self, data: bytes, *, ended: bool = False) -> None:
        """Send a piece of the body as the windows allow."""
        machine = self.connection.h2
        while data:
            window = machine.local_flow_control_window(self.number)
            if window <= 0:
                self.connection.widened.clear()
                await self.connection.widened.wait()
                continue
            piece = data[: min(window, machine.max_outbound_frame_size)]
            data = data[len(piece) :]
            machine.send_data(self.number, piece)
            self.connection.flush()
            await self.connection.writer.drain()
        if ended:
            machine.end_stream(self.number)
            self.connection.flush()

    def end(self, trailers: Headers | None = None) -> None:
        """End the response."""
        if trailers:
            self.connection.h2.send_headers(self.number, trailers, end_stream=True)
        else:
            self.connection.h2.end_stream(self.number)
        self.connection.flush()

    def reset(self, code: int) -> None:
        """Reset the stream."""
        self.connection.h2.reset_stream(self.number, code)
        self.connection.flush()

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            if event.data:
                self._data.put_nowait(event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            self.reset_code = event.error_code
            self.cancelled.set()
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True
            self._data.put_nowait(b"")


class Connection:
    """A connection that the gateway made."""

    def __init__(self, writer: asyncio.StreamWriter, settings: dict[SettingCodes, int]) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = Settings(client=False, initial_values=settings)
        self.writer = writer
        self.widened = asyncio.Event()
        self.streams: dict[int, Stream] = {}

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.writer.write(data)

    def take(self, event: h2.events.Event, begin: Callable[[Stream], None]) -> None:
        number = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            stream = self.streams[event.stream_id] = Stream(self, event.stream_id, list(event.headers))
            begin(stream)
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self.widened.set()
        elif number in self.streams:
            self.streams[number].take(event)

    def go_away(self, last: int, code: int = 0) -> None:
        """Say that no stream above ``last`` is wanted; h2 itself would say no more after that."""
        self.writer.write(GoAwayFrame(0, last_stream_id=last, error_code=code).serialize())


@dataclass
class H2Upstream:
    """A listening upstream, and what it has seen."""

    port: int = 0
    connections: list[Connection] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"h2c://127.0.0.1:{self.port}/"


async def echo(stream: Stream) -> None:
    """Answer with the request's pseudo-header fields and its body."""
    body = await stream.body()
    said = b" ".join(value for name, value in stream.headers if name.startswith(b":"))
    stream.respond(200, [("content-type", "text/plain")])
    await stream.send(said + b"|" + body, ended=True)


@asynccontextmanager
async def h2_upstream(
    handler: Handler = echo,
    *,
    tls: ssl.SSLContext | None = None,
    settings: dict[SettingCodes, int] | None = None,
) -> AsyncIterator[H2Upstream]:
    """Run an upstream; ``handler`` runs once for each stream."""
    state = H2Upstream()
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(stream: Stream) -> None:
        try:
            await handler(stream)
        except (ConnectionError, asyncio.CancelledError, h2.exceptions.StreamClosedError):
            pass
        except BaseException as error:
            state.failures.append(error)
            raise

    def begin(stream: Stream) -> None:
        state.streams.append(stream)
        tasks.add(asyncio.create_task(guarded(stream)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connection = Connection(writer, settings or {})
        state.connections.append(connection)
        connection.h2.initiate_connection()
        connection.flush()
        with suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(65536):
                for event in connection.h2.receive_data(data):
                    connection.take(event, begin)
                connection.flush()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # transports close in the loop's next turn
        if state.failures:
            raise state.failures[0]
