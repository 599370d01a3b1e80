"""Whatever comes, in whatever order, and whatever the exchanges do: nothing is raised, and the books are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.http.h2_workshop import POST, Workshop, headers

if TYPE_CHECKING:
    from collections.abc import Callable

noise = st.builds(
    lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    ),
    st.integers(0, 11),
    st.integers(0, 255),
    st.integers(0, 9),
    st.binary(max_size=60),
)


@given(st.lists(noise, max_size=20), st.integers(0, 400))
def test_noise_is_answered_and_never_raised(frames: list[bytes], cut: int) -> None:
    shop = Workshop()
    wire = b"".join(frames)
    shop.send(wire[:cut])
    shop.send(wire[cut:])
    shop.wait(1)
    shop.read()


def steps() -> dict[str, Callable[[Workshop, int, int], None]]:
    """What a client, an upstream and the socket may do; ``which`` chooses a stream, ``size`` how much."""

    def running(act: Callable[..., None]) -> Callable[[Workshop, int, int], None]:
        def step(shop: Workshop, which: int, size: int) -> None:
            alive = [exchange for exchange in shop.exchanges if not (exchange.gone or exchange.done)]
            if alive:
                act(alive[which % len(alive)], size)

        return step

    def number(shop: Workshop, which: int) -> int:
        return 1 + 2 * (which % max(len(shop.exchanges), 1))

    def fresh(shop: Workshop) -> int:
        return 2 * len(shop.exchanges) + 1

    def block_socket(shop: Workshop, _: int, __: int) -> None:
        shop.turn()
        if not shop.connection.blocked:
            shop.connection.pause_writing()

    def free_socket(shop: Workshop, _: int, __: int) -> None:
        if shop.connection.blocked:
            shop.connection.resume_writing()

    return {
        "get": lambda shop, _, __: shop.send(headers(fresh(shop))),
        "post": lambda shop, _, __: shop.send(headers(fresh(shop), POST, ended=False)),
        "data": lambda shop, which, size: shop.send(DataFrame(number(shop, which), b"x" * (size % 16000 + 1))),
        "reset": lambda shop, which, _: shop.send(RstStreamFrame(number(shop, which), 8)),
        "window": lambda shop, which, size: shop.send(WindowUpdateFrame(number(shop, which), size + 300)),
        "windows": lambda shop, _, size: shop.send(WindowUpdateFrame(0, size + 300)),
        "settings": lambda shop, _, size: shop.send(SettingsFrame(0, {4: size})),
        "answer": running(lambda exchange, size: exchange.respond(b"y" * size, ended=True)),
        "begin": running(lambda exchange, size: exchange.respond(b"y" * size, ended=False)),
        "abort": running(lambda exchange, _: exchange.abort()),
        "pause": running(lambda exchange, _: exchange.downstream.pause_body()),
        "resume": running(lambda exchange, _: exchange.downstream.resume_body()),
        "block": block_socket,
        "free": free_socket,
        "drain": lambda shop, which, __: shop.connection.drain() if which == 7 else None,
        "wait": lambda shop, _, __: shop.wait(1),
    }


STEPS = steps()
acts = st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 8), st.sampled_from([0, 1, 300, 20_000, 200_000]))


@given(st.lists(acts, max_size=40))
def test_the_books_are_right_at_every_step(drawn: list[tuple[str, int, int]]) -> None:
    shop = Workshop(write_idle_timeout=4, body_idle_timeout=4)
    connection = shop.connection
    for name, which, size in drawn:
        STEPS[name](shop, which, size)
        streams = connection._streams.values()
        assert connection.pending == sum(len(piece) for stream in streams for piece in stream._pending or ())
        assert connection.spare_window == (1 << 20) - sum(stream._window_size - 65535 for stream in streams)
        assert set(connection._waiting) <= set(streams)
        assert all(stream.waits for stream in connection._waiting)
    shop.read()
    connection.connection_lost(None)
    assert connection.pending == 0
    assert all(exchange.gone or exchange.done for exchange in shop.exchanges)
