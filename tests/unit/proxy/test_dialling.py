"""Which of several addresses is connected to: Happy Eyeballs, with attempts that the test ends."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from gateway.proxy import dialling

if TYPE_CHECKING:
    from gateway.proxy.resolver import Address

V4 = [(f"10.0.0.{number}", 80) for number in range(3)]
V6 = [(f"2001:db8::{number}", 80, 0, 0) for number in range(2)]


def test_families_alternate_beginning_with_the_first() -> None:
    assert dialling.ordered([*V6, *V4], 0) == [V6[0], V4[0], V6[1], V4[1], V4[2]]
    assert dialling.ordered([*V4, *V6], 0) == [V4[0], V6[0], V4[1], V6[1], V4[2]]


def test_connections_spread_over_the_addresses_of_a_family() -> None:
    assert [dialling.ordered(V4, turn)[0] for turn in range(4)] == [V4[0], V4[1], V4[2], V4[0]]
    assert {address for turn in range(6) for address in dialling.ordered([*V6, *V4], turn)[:1]} == set(V6)


class Attempts:
    """Stands in for the network: what each address does, and which sockets came of it."""

    def __init__(self, **outcomes: str) -> None:
        self.outcomes = outcomes
        self.begun: list[str] = []
        self.given_up: list[str] = []
        self.sockets: list[socket.socket] = []

    async def attempt(self, address: Address) -> socket.socket:
        host = str(address[0])
        self.begun.append(host)
        match self.outcomes[host]:
            case "refuses":
                raise ConnectionRefusedError(host)
            case "silent":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.given_up.append(host)
                    raise
        self.sockets.append(socket.socket())
        return self.sockets[-1]


async def race(monkeypatch: pytest.MonkeyPatch, *outcomes: str) -> tuple[Attempts, Any]:
    attempts = Attempts(**{f"h{number}": outcome for number, outcome in enumerate(outcomes)})
    monkeypatch.setattr(dialling, "_attempt", attempts.attempt)
    monkeypatch.setattr(dialling, "_NEXT_SECONDS", 0.01)
    addresses: list[Address] = [(host, 80) for host in attempts.outcomes]
    try:
        return attempts, await dialling.connect(addresses)
    except OSError as error:
        return attempts, error


async def test_the_next_address_is_tried_at_once_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts, sock = await race(monkeypatch, "refuses", "refuses", "accepts", "accepts")
    assert attempts.begun == ["h0", "h1", "h2"]
    assert attempts.sockets == [sock]
    sock.close()


async def test_a_silent_address_is_not_waited_for_and_given_up_when_another_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts, sock = await race(monkeypatch, "silent", "silent", "accepts")
    assert set(attempts.given_up) == {"h0", "h1"}
    sock.close()


async def test_when_none_can_be_reached_the_first_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, error = await race(monkeypatch, "refuses", "refuses")
    assert str(error) == "h0"


async def test_who_stops_waiting_leaves_no_attempt_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    racing = asyncio.create_task(race(monkeypatch, "silent", "silent"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(racing, 0.05)
    assert len(asyncio.all_tasks()) == 1
