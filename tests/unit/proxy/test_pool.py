"""Connections to one upstream: kept, bounded, queued for, and told of when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.front import api

from gateway.errors import UpstreamError
from gateway.proxy import upstream_tls
from gateway.proxy.upstream_tls import Contexts
from gateway.tls.policy import TlsPolicy
from gateway.tls.upstream import UpstreamTls
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.proxy.workshop import Gate, Wire

    Make = Callable[..., Gate]

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REFUSED = UpstreamError(502, "cannot connect: Connection refused")


def busy(gate: Gate, count: int) -> tuple[list[Wire], list[Wire]]:
    """Let so many clients ask at once, each over a new connection."""
    clients = [gate.client() for _ in range(count)]
    for client in clients:
        client.send(GET)
    return clients, [dial.accept() for dial in gate.dials[:]]


async def test_the_connection_used_last_is_used_next(make_gate: Make) -> None:
    gate = make_gate()
    _, wires = busy(gate, 3)
    for wire in wires:
        wire.read()
        wire.send(OK)
    assert (gate.pool.idle, gate.pool.in_flight) == (3, 0)
    gate.client().send(GET)
    assert [bool(wire.read()) for wire in wires] == [False, False, True]


async def test_no_more_than_allowed_are_kept(make_gate: Make) -> None:
    gate = make_gate(max_idle_connections_per_host=2)
    _, wires = busy(gate, 4)
    for wire in wires:
        wire.send(OK)
    assert gate.pool.idle == 2
    assert [wire.lost for wire in wires] == [False, False, True, True]


async def test_what_was_idle_for_its_time_is_closed(make_gate: Make) -> None:
    gate = make_gate(api(gateway={"timeouts": {"idle": 5}}))
    _, (first, second) = busy(gate, 2)
    first.send(OK)
    gate.wait(2)
    second.send(OK)
    gate.wait(2.5)
    assert (first.lost, second.lost) == (False, False)
    gate.wait(0.5)
    assert (first.lost, second.lost, gate.pool.idle) == (True, False, 1)
    gate.wait(2)
    assert second.lost


@pytest.mark.parametrize("says", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_what_an_idle_upstream_says_is_nobodys_response(make_gate: Make, says: bytes) -> None:
    gate = make_gate()
    _, (wire,) = busy(gate, 1)
    wire.send(OK)
    wire.send(says)
    assert (wire.lost, gate.pool.idle) == (True, 0)
    assert len(gate.said) == (b"408" not in says)  # which is how some servers close


async def test_a_connection_that_has_something_unread_is_not_used(make_gate: Make) -> None:
    gate = make_gate()
    _, (wire,) = busy(gate, 1)
    wire.read()
    wire.send(OK)
    gate.other_end.send(b"x")
    gate.client().send(GET)
    assert (wire.read(), wire.lost, len(gate.dials)) == (b"", True, 1)


@pytest.mark.parametrize("ending", [b"Connection: close\r\n", b""])
async def test_a_connection_is_kept_unless_the_upstream_will_close_it(make_gate: Make, ending: bytes) -> None:
    gate = make_gate()
    _, (wire,) = busy(gate, 1)
    wire.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % ending)
    assert (wire.lost, gate.pool.idle) == (bool(ending), int(not ending))


# who waits in line


def one_at_a_time(**queue: Any) -> dict[str, Any]:
    return api(gateway={"queue": {"max_connections": 1, **queue}})


async def test_first_come_first_served(make_gate: Make) -> None:
    gate = make_gate(one_at_a_time())
    clients, (wire,) = busy(gate, 3)
    assert gate.pool.waiting == 2
    for number, client in enumerate(clients):
        assert wire.read().count(b"GET ") == 1
        assert client.read() == b""
        wire.send(OK.replace(b"hello", b"no. %d" % number))
        assert client.read().endswith(b"no. %d" % number)
    assert (gate.pool.waiting, gate.pool.idle) == (0, 1)


async def test_a_line_has_an_end(make_gate: Make) -> None:
    gate = make_gate(one_at_a_time(length=2))
    clients, _ = busy(gate, 4)
    assert gate.pool.waiting == 2
    assert [client.read()[:12] for client in clients] == [b"", b"", b"", b"HTTP/1.1 503"]


async def test_who_leaves_the_line_is_not_served(make_gate: Make) -> None:
    gate = make_gate(one_at_a_time())
    (_, second, third), (wire,) = busy(gate, 3)
    second.break_off()
    wire.send(OK)
    wire.send(OK)
    assert third.read().endswith(b"hello")
    assert sorted(gate.statuses) == [200, 200, 499]


@pytest.mark.parametrize("how", ["it closes", "it cannot be made"])
async def test_the_place_of_a_connection_that_ended_goes_to_the_first_in_line(make_gate: Make, how: str) -> None:
    gate = make_gate(one_at_a_time())
    clients = [gate.client() for _ in range(2)]
    for client in clients:
        client.send(GET)
    (dial,) = gate.dials
    if how == "it closes":
        dial.accept().send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    else:
        dial.refuse(REFUSED)
    gate.accept().send(OK)
    assert clients[1].read().endswith(b"hello")


# changes


async def test_a_target_that_no_route_leads_to_any_more_keeps_no_connection(make_gate: Make) -> None:
    gate = make_gate()
    clients, (idle, running) = busy(gate, 2)
    idle.send(OK)
    gate.pool.retire()
    gate.turn()
    assert (idle.lost, running.lost) == (True, False)
    running.send(OK)
    assert clients[1].read().endswith(b"hello")
    assert running.lost


async def test_addresses_that_a_name_no_longer_has_are_left_once_nothing_runs_there(make_gate: Make) -> None:
    gate = make_gate()
    clients, (idle, running) = busy(gate, 2)
    idle.send(OK)
    gate.pool.move({"192.0.2.9"})
    assert not idle.lost
    gate.pool.move({"192.0.2.10"})
    gate.turn()
    assert (idle.lost, running.lost) == (True, False)
    running.send(OK)
    assert clients[1].read().endswith(b"hello")
    assert (running.lost, gate.pool.idle) == (True, 0)


# what is told


async def test_a_pool_that_fails_says_so_once_a_second_and_how_often_it_did_not(make_gate: Make) -> None:
    gate = make_gate()

    def fail(times: int) -> list[str]:
        gate.said.clear()
        for _ in range(times):
            gate.client().send(GET)
            gate.dials[0].refuse(REFUSED)
        return gate.said

    (line,) = fail(20)
    assert "'left_out': 0" in line
    gate.wait(0.5)
    assert fail(5) == []
    gate.wait(0.5)
    (line,) = fail(1)
    assert "'left_out': 24" in line
    assert gate.pool.failures == 26


# TLS contexts


async def test_contexts_are_shared_and_those_used_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(tls: UpstreamTls, _: object) -> object:
        made.append(tls.server_name)
        return object()

    monkeypatch.setattr(upstream_tls, "upstream_context", make)
    policy = TlsPolicy(TlsVersion.TLS1_2, TlsVersion.TLS1_3, (), (), server_preference=True)
    of = [UpstreamTls(policy, server_name=f"{number}.test") for number in range(1001)]
    contexts = Contexts()
    first = contexts.get(of[0], ())
    for tls in of[1:1000]:
        contexts.get(tls, ())
    assert contexts.get(of[0], ()) is first
    assert contexts.get(of[0], ("h2",)) is not first  # another one, and one too many
    assert len(contexts._known) == 1000
    assert contexts.get(of[0], ()) is first
    made.clear()
    contexts.get(of[1], ())
    assert made == ["1.test"]
    for tls in of * 2:
        contexts.get(tls, ())
    assert len(contexts._known) == 1000
