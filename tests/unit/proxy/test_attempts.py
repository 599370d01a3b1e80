"""Whether a request is sent once more, where to, and when it is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.balanced import balanced

from gateway.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.proxy.workshop import Gate, Wire

    Make = Callable[..., Gate]

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nok"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REFUSED = UpstreamError(502, "cannot connect: Connection refused")


def targets(count: int, **gateway: Any) -> dict[str, Any]:
    options = {"balancing": {"retry_floor": 100}, "health": {"failures": 0}, **gateway}
    return balanced([f"http://10.0.0.{number}/" for number in range(count)], **options)


def kept(gate: Gate, count: int) -> list[Wire]:
    """Have so many connections lie idle, in the order in which they are taken."""
    clients = [gate.client() for _ in range(count)]
    for client in clients:
        client.send(GET)
    wires = [dial.accept() for dial in gate.dials[:]]
    for wire in wires:
        wire.send(OK)
    return wires[::-1]


# at kept connections


async def test_three_attempts_at_connections_that_closed_are_all_that_there_are(make_gate: Make) -> None:
    gate = make_gate()
    idle = kept(gate, 5)
    client = gate.client()
    client.send(GET)
    idle[0].break_off()
    assert gate.pool.idle == 4
    (dial,) = gate.dials  # one kept connection was closed, so the others may be: a new one
    again = dial.accept()
    again.protocol.served = 1  # as if it, too, had been kept
    again.break_off()
    last = gate.accept()
    assert last.read().startswith(b"GET / ")
    last.protocol.served = 1
    last.break_off()
    assert gate.dials == []
    assert client.read().startswith(b"HTTP/1.1 502 ")


async def test_a_kept_connection_that_closed_harms_neither_the_request_nor_the_target(make_gate: Make) -> None:
    gate = make_gate()
    (idle,) = kept(gate, 1)
    client = gate.client()
    client.send(GET)
    idle.break_off()
    gate.accept().send(OK)
    assert client.read().endswith(b"hello")
    assert (gate.pool.failures, gate.said) == (0, [])


async def test_what_is_not_safe_to_repeat_is_not_repeated(make_gate: Make) -> None:
    gate = make_gate()
    (idle,) = kept(gate, 1)
    client = gate.client()
    client.send(POST)
    idle.break_off()
    assert gate.dials == []
    assert client.read().startswith(b"HTTP/1.1 502 ")


async def test_what_has_begun_to_be_answered_is_not_repeated(make_gate: Make) -> None:
    gate = make_gate()
    (idle,) = kept(gate, 1)
    client = gate.client()
    client.send(GET)
    idle.send(b"HTTP/1.1 2")
    idle.break_off()
    assert gate.dials == []
    assert client.read().startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"POST", b"PATCH", b"LOCK"])
async def test_which_methods_are_repeated(make_gate: Make, method: bytes) -> None:
    gate = make_gate(targets(2))
    gate.client().send(b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % method)
    gate.accept().break_off()
    assert len(gate.dials) == (method not in (b"POST", b"PATCH", b"LOCK"))


async def test_a_put_with_a_body_is_not_repeated_for_the_body_is_gone(make_gate: Make) -> None:
    gate = make_gate(targets(2))
    client = gate.client()
    client.send(POST.replace(b"POST", b"PUT"))
    gate.accept().break_off()
    assert gate.dials == []
    assert client.read().startswith(b"HTTP/1.1 502 ")


# at other targets


async def test_nothing_was_sent_so_even_a_post_goes_to_the_next_target_with_its_body(make_gate: Make) -> None:
    gate = make_gate(targets(3))
    client = gate.client()
    client.send(POST)
    hosts = [gate.dials[0].host]
    gate.dials[0].refuse(REFUSED)
    hosts.append(gate.dials[0].host)
    gate.dials[0].refuse(REFUSED)
    hosts.append(gate.dials[0].host)
    upstream = gate.accept()
    assert len(set(hosts)) == 3
    assert upstream.read().endswith(b"\r\n\r\nok")
    upstream.send(OK)
    assert client.read().endswith(b"hello")


async def test_no_more_retries_than_the_api_allows(make_gate: Make) -> None:
    gate = make_gate(targets(9, balancing={"retries": 4, "retry_floor": 100}))
    client = gate.client()
    client.send(GET)
    refused = 0
    while gate.dials:
        gate.dials[0].refuse(REFUSED)
        refused += 1
    assert refused == 5
    assert client.read().startswith(b"HTTP/1.1 502 ")


async def test_the_budget_bounds_the_retries_of_all_requests(make_gate: Make) -> None:
    gate = make_gate(targets(2, balancing={"retries": 1, "retry_floor": 1, "retry_share": 0}))
    attempts = 0
    for _ in range(50):
        client = gate.client()
        client.send(GET)
        while gate.dials:
            gate.dials[0].refuse(REFUSED)
            attempts += 1
        assert client.read().startswith(b"HTTP/1.1 502 ")
    assert attempts == 50 + 10  # ten seconds' worth of the floor


async def test_one_target_is_not_tried_twice(make_gate: Make) -> None:
    gate = make_gate()
    client = gate.client()
    client.send(GET)
    gate.dials[0].refuse(REFUSED)
    assert gate.dials == []
    assert client.read().startswith(b"HTTP/1.1 502 ")


async def test_a_target_that_fails_again_and_again_is_left_out_and_comes_back(make_gate: Make) -> None:
    rules = {"failures": 3, "ejection_time": 10}
    gate = make_gate(targets(2, health=rules, balancing={"retries": 1, "retry_floor": 100}))

    def chosen() -> list[str]:
        hosts = []
        for _ in range(8):
            client = gate.client()
            client.send(GET)
            while gate.dials:
                hosts.append(gate.dials[0].host)
                if hosts[-1] == "10.0.0.0":
                    gate.dials[0].refuse(REFUSED)
                else:
                    wire = gate.dials[0].accept()
                    wire.send(OK)
                    wire.break_off()
            assert client.read().endswith(b"hello")
        return hosts

    assert chosen().count("10.0.0.0") == 3
    gate.wait(9)
    assert "10.0.0.0" not in chosen()
    gate.wait(1.5)
    assert "10.0.0.0" in chosen()


# waiting


async def test_a_request_waits_for_a_connection_and_then_not_for_ever(make_gate: Make) -> None:
    gate = make_gate(targets(1, queue={"max_connections": 1, "timeout": 3}))
    first, second = gate.client(), gate.client()
    first.send(GET)
    upstream = gate.accept()
    second.send(GET)
    assert gate.pool.waiting == 1
    gate.wait(2.5)
    assert second.read() == b""
    gate.wait(0.5)
    assert second.read().startswith(b"HTTP/1.1 503 ")
    assert gate.pool.waiting == 0
    upstream.send(OK)
    assert first.read().endswith(b"hello")
    assert gate.pool.idle == 1
