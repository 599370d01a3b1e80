"""HTTP/2 connections that are flooded: what moves nothing is paid from a credit, and honest clients are not poor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.unit.http.h2_workshop import GET, POST, Workshop, block, headers

if TYPE_CHECKING:
    from collections.abc import Callable

CANCEL, CALM = 8, 11

FLOODS: dict[str, Callable[[int], list[Frame | bytes]]] = {
    "pings": lambda _: [PingFrame(0, b"12345678")],
    "answers to no ping": lambda _: [PingFrame(0, b"12345678", flags=["ACK"])],
    "settings": lambda _: [SettingsFrame(0, {4: 65535})],
    "settings in large frames": lambda _: [
        b"\x00\x3f\xfc\x04\x00\x00\x00\x00\x00" + b"\x00\x04\x00\x00\xff\xff" * 2730
    ],
    "empty DATA": lambda _: [DataFrame(1)],
    "DATA of padding": lambda _: [DataFrame(1, b"", pad_length=20, flags=["PADDED"])],
    "priorities": lambda _: [PriorityFrame(1, depends_on=3)],
    "unknown frames": lambda _: [b"\x00\x00\x00\xee\x00\x00\x00\x00\x00"],
    "windows opened by a byte": lambda _: [WindowUpdateFrame(0, 1)],
    "a stream's window opened by a byte": lambda _: [WindowUpdateFrame(1, 1)],
    "rapid reset": lambda n: [headers(n), RstStreamFrame(n, CANCEL)],
    "resets of what is closed": lambda n: [headers(n), RstStreamFrame(n, CANCEL), RstStreamFrame(n, CANCEL)],
    "resets made us send: window": lambda n: [headers(n), b"\x00\x00\x04\x08\x00" + n.to_bytes(4, "big") + bytes(4)],
    "resets made us send: DATA": lambda n: [headers(n), DataFrame(n, b"x")],
    "resets made us send: malformed": lambda n: [headers(n, [*GET, ("Upper", "x")])],
    "resets made us send: lengths": lambda n: [headers(n, [*POST, ("content-length", "9")])],
    "heads that are too large": lambda n: [headers(n, [*GET, *((f"x-{k}", "") for k in range(110))])],
    "goaways": lambda _: [GoAwayFrame(0)],
    "answers to no settings": lambda _: [SettingsFrame(flags=["ACK"])],
}
LATE: dict[str, Frame] = {
    "ends": DataFrame(3, flags=["END_STREAM"]),
    "bytes": DataFrame(3, b"x"),
    "trailers": headers(3, [("x", "y")]),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_ends_the_connection(kind: str) -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False))
    shop.exchanges[0].answer(b"x", ended=False)
    shop.read()
    sent = 0
    for number in range(3, 6003, 2):
        shop.send(*FLOODS[kind](number))
        sent += 1
        if shop.floods:
            break
    assert shop.goaway() == CALM
    assert shop.floods == ["too many frames that move nothing"]
    assert 3 <= sent <= 1010
    assert all(exchange.gone for exchange in shop.exchanges)
    assert shop.connection.running == 0
    assert shop.transport.ended


@pytest.mark.parametrize("kind", LATE)
def test_a_flood_of_what_comes_after_our_reset_ends_the_connection(kind: str) -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False), headers(3, [*POST, ("Upper", "x")], ended=False))
    for _ in range(1000):
        shop.send(LATE[kind])
    assert shop.goaway() == CALM


def test_what_is_left_of_an_upload_that_was_reset_is_no_flood() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False), headers(3, [*POST, ("Upper", "x")], ended=False))
    for _ in range(65535 // 300):
        shop.send(DataFrame(3, b"x" * 300))
    shop.send(*[PingFrame(0, b"12345678")] * 1001)  # and it earns no credit either
    assert shop.goaway() == CALM


def test_a_flood_of_requests_after_a_goaway_ends_the_connection() -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False), GoAwayFrame(0))
    for number in range(3, 2203, 2):
        shop.send(headers(number))
    assert shop.floods
    assert shop.exchanges[0].gone


@pytest.mark.parametrize("kind", sorted(FLOODS.keys() - {"settings in large frames", "goaways"}))
def test_what_honest_clients_do_of_it_is_no_flood(kind: str) -> None:
    shop = Workshop()
    shop.send(headers(1, POST, ended=False))
    for second in range(20):
        for number in range(3 + 20 * second, 23 + 20 * second, 2):
            if kind != "heads that are too large" or number % 20 == 3:
                shop.send(*FLOODS[kind](number))
        shop.wait(1)
    assert not shop.floods
    assert shop.goaway() is None


def test_work_gives_credit_for_windows_and_pings() -> None:
    shop = Workshop()
    for number in range(1, 8001, 2):
        shop.send(headers(number), PingFrame(0, b"12345678"), WindowUpdateFrame(0, 100))
        shop.exchanges[-1].answer(b"x" * 100)
        shop.send(WindowUpdateFrame(0, 1))
    assert not shop.floods
    assert shop.connection.running == 0


@pytest.mark.parametrize("opened", [1, 100, 1000])
def test_a_response_fetched_through_tiny_windows_is_given_up(opened: int) -> None:
    shop = Workshop(settings={4: 0})
    shop.send(headers(1))
    shop.exchanges[0].answer(b"x" * 200_000)
    for _ in range(3000):
        shop.send(WindowUpdateFrame(1, opened), WindowUpdateFrame(0, opened))
        if shop.floods or not shop.connection.running:
            break
    sent = sum(len(frame.data) for frame in shop.got(DataFrame))
    if opened < 256:
        assert shop.floods
        assert sent < 200_000
    else:
        assert sent == 200_000


@pytest.mark.parametrize("frames", [1, 70])
def test_a_flood_of_continuations_ends_the_connection(frames: int) -> None:
    shop = Workshop()
    shop.send(HeadersFrame(1, block(GET), flags=["END_STREAM"]))
    piece = b"\x00\x01x\x01y" * (3000 if frames == 1 else 0)
    for _ in range(70):
        shop.send(ContinuationFrame(1, piece))
        if shop.floods:
            break
    assert shop.goaway() == CALM
    assert shop.exchanges == []


def test_a_block_that_unpacks_to_megabytes_is_refused_and_no_more() -> None:
    shop = Workshop()
    encoder = hpack.Encoder()
    shop.send(headers(1, encoder.encode([*GET, ("x", "y" * 3900)])))
    shop.send(headers(3, encoder.encode(GET) + b"\xbe" * 16000))  # 16,000 times the field before
    assert shop.refusals == [431]
    shop.send(headers(5, encoder.encode([*GET, ("x", "y" * 3900)])))  # the table is still in step
    assert [exchange.head.lines for exchange in shop.exchanges] == [[b"x: " + b"y" * 3900]] * 2
    assert shop.goaway() is None
