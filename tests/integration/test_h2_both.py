"""HTTP/2 on both sides: what HTTP/1.1 has no words for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.front import api, configuration, front
from tests.support.h2_client import H2Client, request
from tests.support.h2_upstream import Stream, h2_upstream

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("code", "seen"), [(8, 8), (11, 11), (0, 2), (99, 2)])
async def test_a_reset_within_a_response_reaches_the_client_with_its_code(tmp_path: Path, code: int, seen: int) -> None:
    async def breaks(stream: Stream) -> None:
        stream.respond(200)
        await stream.send(b"some")
        stream.reset(code)

    async with h2_upstream(breaks) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await H2Client.connect(gateway)
        answer = await client.get()
        assert (answer.status, answer.body, answer.ended, answer.reset) == (200, b"some", False, seen)
        assert (await client.get()).status == 200  # the connection goes on
        client.close()


async def test_trailers_pass_both_ways(tmp_path: Path) -> None:
    async def with_trailers(stream: Stream) -> None:
        body = await stream.body()
        stream.respond(200, [("content-length", "3")])
        await stream.send(body)
        stream.end([("x-sum", "2")])

    async with h2_upstream(with_trailers) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await H2Client.connect(gateway)
        number = client.ask(request("/", "POST", ("te", "trailers")), b"abc", ended=False)
        client.h2.send_headers(number, [("x-sum", "1")], end_stream=True)
        client.flush()
        answer = await client.answer(number)
        client.close()
    assert (answer.body, answer.trailers) == (b"abc", [("x-sum", "2")])
    assert up.streams[0].trailers == [(b"x-sum", b"1")]
    assert up.streams[0].field(b"te") == [b"trailers"]
    assert up.streams[0].field(b":scheme") == [b"http"]


async def test_a_response_that_is_a_head_alone_stays_one(tmp_path: Path) -> None:
    async def head_only(stream: Stream) -> None:
        stream.respond(200, [("content-type", "application/grpc"), ("grpc-status", "5")], ended=True)

    async with h2_upstream(head_only) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await H2Client.connect(gateway)
        answer = await client.get()
        client.close()
    assert [name for name, _ in answer.fields] == [":status", "content-type", "grpc-status", "date"]
    assert (answer.body, answer.trailers) == (b"", [])


async def test_a_response_begins_while_its_request_is_open(tmp_path: Path) -> None:
    async def talk(stream: Stream) -> None:
        stream.respond(200)
        while data := await stream.read():
            await stream.send(data.upper())
        stream.end()

    async with h2_upstream(talk) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await H2Client.connect(gateway)
        number = client.ask(request("/", "POST"), ended=False)
        for word in (b"one ", b"two ", b"three"):
            client.h2.send_data(number, word)
            client.flush()
            expected = client.answers[number].body + word.upper()
            await client.until(lambda expected=expected: client.answers[number].body == expected)
        client.h2.end_stream(number)
        client.flush()
        assert (await client.answer(number)).body == b"ONE TWO THREE"
        client.close()


async def test_clients_of_both_kinds_share_an_upstream_connection(tmp_path: Path) -> None:
    arrived = asyncio.Barrier(12)

    async def together(stream: Stream) -> None:
        await arrived.wait()
        stream.respond(204, ended=True)

    async with h2_upstream(together) as up, front(tmp_path, configuration(api(up.url))) as gateway:
        client = await H2Client.connect(gateway)
        numbers = [client.ask(request()) for _ in range(6)]
        others = await asyncio.gather(*(gateway.get("/") for _ in range(6)))
        answers = [await client.answer(number) for number in numbers]
        client.close()
    assert {answer.status for answer in answers} | {other.status for other in others} == {204}
    assert len(up.connections) == 1
