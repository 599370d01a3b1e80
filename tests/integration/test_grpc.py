"""gRPC end to end: grpcio's client over TLS to a real front, grpcio's server as its h2c upstream."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from support.front import AUTHORITY, api, configuration, front, until

grpc = pytest.importorskip("grpc")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.proxy.server import ProxyServer

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Service:
    """A server whose methods take and give bytes as they are."""

    def __init__(self) -> None:
        self.front: ProxyServer
        self.cancelled = 0
        self.connections: set[str] = set()
        self.waiting = 0
        self.metadata: dict[str, str | bytes] = {}

    def _note(self, context) -> None:
        self.connections.add(context.peer())
        self.metadata = dict(context.invocation_metadata())

    async def echo(self, request: bytes, context) -> bytes:
        self._note(context)
        context.set_trailing_metadata((("x-trailer", "t"), ("x-raw-bin", b"\x00\xff")))
        await context.send_initial_metadata((("x-initial", "i"),))
        return request

    async def fail(self, request: bytes, context) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: é", (("x-why", "because"),))
        return b""

    async def wait(self, request: bytes, context) -> bytes:
        self._note(context)
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b""

    async def size(self, requests: AsyncIterator[bytes], context) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])

    async def count(self, request: bytes, context) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def talk(self, requests: AsyncIterator[bytes], context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()

    def handler(self):
        return grpc.method_handlers_generic_handler(
            "test.Service",
            {
                "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
                "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
                "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
                "Size": grpc.stream_unary_rpc_method_handler(self.size),
                "Count": grpc.unary_stream_rpc_method_handler(self.count),
                "Talk": grpc.stream_stream_rpc_method_handler(self.talk),
            },
        )


@asynccontextmanager
async def served(directory: Path, limits=None, **definition) -> AsyncIterator[tuple[Service, grpc.aio.Channel]]:
    """Run the service behind a front, and a channel to that."""
    service = Service()
    server = grpc.aio.server(options=LARGE)
    server.add_generic_rpc_handlers((service.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        config = configuration(api(f"h2c://127.0.0.1:{port}/", **definition), limits=limits or {})
        async with front(directory, config) as gateway:
            service.front = gateway.server
            trust = grpc.ssl_channel_credentials(AUTHORITY.pair.chain_pem)
            async with grpc.aio.secure_channel(f"localhost:{gateway.port}", trust, options=LARGE) as channel:
                yield service, channel
    finally:
        await server.stop(None)


async def test_a_unary_call_with_its_metadata_both_ways(tmp_path):
    async with served(tmp_path) as (service, channel):
        call = channel.unary_unary("/test.Service/Echo")(b"hello", metadata=(("x-a", "1"), ("x-b-bin", b"\x00\xfe")))
        assert await call == b"hello"
        assert ("x-initial", "i") in tuple(await call.initial_metadata())
        assert {("x-trailer", "t"), ("x-raw-bin", b"\x00\xff")} <= set(await call.trailing_metadata())
        assert await call.code() is grpc.StatusCode.OK
    assert service.metadata["x-a"] == "1"
    assert service.metadata["x-b-bin"] == b"\x00\xfe"


@pytest.mark.parametrize("size", [0, 5_000_000])
async def test_messages_of_any_size(tmp_path, size):
    async with served(tmp_path) as (_, channel):
        assert len(await channel.unary_unary("/test.Service/Echo")(bytes(size))) == size


async def test_an_error_arrives_with_its_code_its_words_and_its_metadata(tmp_path):
    async with served(tmp_path) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Service/Fail")(b"")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "no such thing: é"
        assert ("x-why", "because") in tuple(caught.value.trailing_metadata())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Service/Nothing")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_streams_more_than_the_limit_of_bodies_where_the_api_has_none(tmp_path):
    async def messages() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(1 << 20)

    async with served(tmp_path, gateway={"body_bytes": 0}) as (_, channel):
        assert await channel.stream_unary("/test.Service/Size")(messages()) == b"%d" % (12 << 20)


async def test_a_server_streams(tmp_path):
    async with served(tmp_path) as (_, channel):
        replies = [int(reply) async for reply in channel.unary_stream("/test.Service/Count")(b"2000")]
    assert replies == list(range(2000))


async def test_both_sides_talk_in_turn_on_one_stream(tmp_path):
    async with served(tmp_path) as (_, channel):
        call = channel.stream_stream("/test.Service/Talk")()
        for word in (b"one", b"two", b"three"):  # each only after the answer to the one before
            await call.write(word)
            assert await call.read() == word.upper()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_a_quiet_dialogue_outlives_the_patience_with_slow_bodies(tmp_path):
    async with served(tmp_path, limits={"body_idle_timeout": 0.1, "upstream_response_timeout": 0.1}) as (it, channel):
        call = channel.stream_stream("/test.Service/Talk")()
        await call.write(b"one")
        assert await call.read() == b"ONE"
        began = it.front.now
        await until(lambda: it.front.now > began + 1)
        await call.write(b"two")
        assert await call.read() == b"TWO"
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def test_a_deadline_ends_the_call_on_both_sides(tmp_path):
    async with served(tmp_path) as (service, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Service/Wait")(b"", timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: service.cancelled == 1)


async def test_a_cancelled_call_is_cancelled_upstream_and_its_neighbours_go_on(tmp_path):
    async with served(tmp_path) as (service, channel):
        neighbour = channel.stream_stream("/test.Service/Talk")()
        await neighbour.write(b"a")
        assert await neighbour.read() == b"A"
        call = channel.unary_unary("/test.Service/Wait")(b"")
        await until(lambda: service.waiting == 1)
        call.cancel()
        await until(lambda: service.cancelled == 1)
        await neighbour.write(b"b")
        assert await neighbour.read() == b"B"
        await neighbour.done_writing()
        assert await neighbour.code() is grpc.StatusCode.OK
        assert await channel.unary_unary("/test.Service/Echo")(b"") == b""
    assert len(service.connections) == 1


async def test_many_calls_share_a_connection(tmp_path):
    async with served(tmp_path) as (service, channel):
        echo = channel.unary_unary("/test.Service/Echo")
        replies = await asyncio.gather(*(echo(b"%d" % number) for number in range(60)))
    assert replies == [b"%d" % number for number in range(60)]
    assert len(service.connections) == 1


async def test_an_upstream_that_is_gone_is_unavailable(tmp_path):
    async with front(tmp_path, configuration(api("h2c://127.0.0.1:1/"))) as gateway:
        trust = grpc.ssl_channel_credentials(AUTHORITY.pair.chain_pem)
        async with grpc.aio.secure_channel(f"localhost:{gateway.port}", trust) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/test.Service/Echo")(b"")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
