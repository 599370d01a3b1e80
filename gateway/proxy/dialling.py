"""A connected socket from several addresses: the first that answers wins (Happy Eyeballs, RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.resolver import Address

_NEXT_SECONDS = 0.25
"""RFC 8305 section 5: the Connection Attempt Delay that it recommends."""


async def connect(addresses: Sequence[Address], turn: int = 0) -> socket.socket:
    """Connect to one of ``addresses``, each tried when the one before has failed or kept silent for 0.25 s.

    ``turn`` is how far to rotate among addresses of one family, so that the connections of a pool spread over them.
    Raises the OSError of the first address when none can be reached.
    """
    if len(addresses) == 1:
        return await _attempt(addresses[0])
    loop = asyncio.get_running_loop()
    waiting = ordered(addresses, turn)
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_attempt(waiting.pop(0)), name="connect"))
            done, running = await asyncio.wait(
                running, timeout=_NEXT_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            won = []
            for task in done:
                if error := task.exception():
                    errors.append(error)
                else:
                    won.append(task.result())
            for second in won[1:]:
                second.close()
            if won:
                return won[0]
    finally:
        for task in running:
            task.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()
    raise errors[0]


async def say(sock: socket.socket, data: bytes) -> None:
    """Send what goes before all else on a connection. Closes it, and raises OSError, when that cannot be done."""
    try:
        await asyncio.get_running_loop().sock_sendall(sock, data)
    except BaseException:
        sock.close()
        raise


def ordered(addresses: Sequence[Address], turn: int) -> list[Address]:
    """Let the families alternate, the first one's first (RFC 8305 section 4), each rotated by ``turn``."""
    first = _is_v6(addresses[0])
    families = [[one for one in addresses if _is_v6(one) is family] for family in (first, not first)]
    rotated = [family[turn % len(family) :] + family[: turn % len(family)] for family in families if family]
    return [one for one in chain.from_iterable(zip_longest(*rotated)) if one is not None]


def _is_v6(address: Address) -> bool:
    return ":" in address[0]


async def _attempt(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if _is_v6(address) else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - as it is called
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
