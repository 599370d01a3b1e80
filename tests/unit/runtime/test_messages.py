"""The messages of control and workers: each survives the line, and nothing else is understood."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.messages import (
    MAX_LINE,
    MAX_NAMES,
    Applied,
    Apply,
    Counters,
    Failed,
    Hello,
    Message,
    Ping,
    decode,
    encode,
)

MESSAGES: list[Message] = [
    Hello(worker=2, pid=4711, generation=9),
    Apply(generation=10, names=("a.test", "*.b.test", "")),
    Apply(generation=10, names=None),
    Applied(generation=10),
    Failed(generation=10, reason="line one\nline two"),
    Ping(),
    Counters(values={"requests": 12}),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_is_one_line_and_comes_back_as_it_was(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}",
        b"[]",
        b'{"kind":"obey"}',
        b'{"kind":"applied"}',
        b'{"kind":"applied","generation":"x"}',
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode(line)


@given(st.binary())
def test_no_bytes_do_worse_than_being_refused(line: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(line)


def test_the_longest_order_fits_in_a_line() -> None:
    assert len(encode(Apply(2**63, ("x" * 253,) * MAX_NAMES))) < MAX_LINE
