"""A sender that the gateway has stopped, because nobody takes what it sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.front import Client, Front


def _reads_on(gate: Front) -> bool:
    """Return whether the gateway reads all its connections, clients' and upstreams'."""
    upstreams = [one for pool in gate.server.upstreams._pools.values() for one in pool._addresses]
    return not any(getattr(one, "_paused", False) for one in (*gate.server._connections, *upstreams))


async def held_back(gate: Front, moved: Callable[[], int]) -> int:
    """Wait until the gateway has stopped reading a sender, and the buffers before it are full; return what was sent.

    Fails when that does not come: nothing was sent at all, or all of it went into the gateway's memory.
    """
    before = -1
    async with asyncio.timeout(20):
        while _reads_on(gate) or not moved() or moved() != before:
            before = moved()
            await asyncio.sleep(0.05)
    return before


async def upload(client: Client, size: int, sent: list[int]) -> None:
    """Send so many bytes as fast as they are taken, and count them in ``sent``."""
    while sent[0] < size:
        client.writer.write(bytes(1 << 16))
        await client.writer.drain()
        sent[0] += 1 << 16
