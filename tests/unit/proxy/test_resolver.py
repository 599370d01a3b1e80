"""What is remembered of names, by a clock and look-ups that the test holds."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.proxy.resolver import Resolver

INTERVAL = 30.0


class Names:
    """A resolver whose look-ups wait until the test lets them go."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0
        self.answer: list[str] | None = ["10.0.0.1"]
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.changes: list[tuple[str, frozenset[str]]] = []
        self.resolver = Resolver(lambda: self.now, lambda *change: self.changes.append(change), lookup=self._lookup)

    async def _lookup(self, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        self.asked += 1
        await self.go_on.wait()
        if self.answer is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answer]

    async def ask(self) -> list[str]:
        return [address[0] for address in await self.resolver.addresses("a.test", 80, INTERVAL)]

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)


async def test_an_address_is_no_name() -> None:
    names = Names()
    assert await names.resolver.addresses("10.0.0.9", 80, INTERVAL) == [("10.0.0.9", 80)]
    assert await names.resolver.addresses("::1", 80, INTERVAL) == [("::1", 80)]
    assert names.asked == 0


async def test_all_who_wait_share_one_look_up() -> None:
    names = Names()
    names.go_on.clear()
    waiting = [asyncio.create_task(names.ask()) for _ in range(10)]
    await names.settle()
    names.go_on.set()
    assert await asyncio.gather(*waiting) == [["10.0.0.1"]] * 10
    assert names.asked == 1
    assert names.changes == [("a.test", frozenset({"10.0.0.1"}))]


async def test_within_the_interval_nothing_is_asked_and_after_it_nobody_waits() -> None:
    names = Names()
    await names.ask()
    names.now += INTERVAL - 1
    await names.ask()
    assert names.asked == 1
    names.now += 2
    names.answer = ["10.0.0.2"]
    names.go_on.clear()
    assert await names.ask() == ["10.0.0.1"]
    names.go_on.set()
    await names.settle()
    assert await names.ask() == ["10.0.0.2"]
    assert names.changes[-1] == ("a.test", frozenset({"10.0.0.2"}))


async def test_what_nobody_asked_for_is_looked_up_before_it_is_used() -> None:
    names = Names()
    await names.ask()
    names.now += 3 * INTERVAL
    names.answer = ["10.0.0.2"]
    assert await names.ask() == ["10.0.0.2"]


async def test_the_last_good_addresses_stay_when_a_look_up_fails_and_it_is_soon_tried_again() -> None:
    names = Names()
    await names.ask()
    names.now += 3 * INTERVAL
    names.answer = None
    assert await names.ask() == ["10.0.0.1"]
    names.now += 2.1
    names.answer = ["10.0.0.2"]
    await names.ask()
    await names.settle()
    assert await names.ask() == ["10.0.0.2"]


async def test_a_name_that_does_not_exist_is_told_and_asked_again() -> None:
    names = Names()
    names.answer = None
    with pytest.raises(UpstreamError, match="cannot be resolved: Name or service not known"):
        await names.ask()
    names.answer = ["10.0.0.1"]
    names.now += 2.1
    assert await names.ask() == ["10.0.0.1"]


async def test_doubt_brings_the_next_look_up_forward() -> None:
    names = Names()
    await names.ask()
    names.resolver.doubt("a.test")
    names.now += 2.1
    await names.ask()
    await names.settle()
    assert names.asked == 2


async def test_names_that_no_route_leads_to_are_forgotten() -> None:
    names = Names()
    await names.ask()
    names.resolver.keep({"b.test"})
    await names.ask()
    assert names.asked == 2


async def test_a_name_with_very_many_addresses_is_cut_short() -> None:
    names = Names()
    names.answer = [f"10.0.{number // 256}.{number % 256}" for number in range(5000)]
    assert len(await names.ask()) == 64
