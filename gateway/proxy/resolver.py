"""The addresses of upstreams' names: looked up again now and then, and kept while no better ones can be had.

A name's time to live is not known from the system's resolver, so an interval decides. Nobody waits for a look-up but
who comes first: while a new one runs, and when it fails, the last good addresses serve.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.config.networks import is_address
from gateway.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    Lookup = Callable[..., Awaitable[list[tuple[Any, ...]]]]

Address = tuple[Any, ...]
"""What a socket is connected to: (address, port) and for IPv6 flow and scope."""

_RETRY_SECONDS = 2.0
_PATIENCE_SECONDS = 1.0
_MOST_ADDRESSES = 64


@dataclass(slots=True)
class _Name:
    addresses: tuple[Address, ...] = ()
    due: float = 0.0
    lookup: asyncio.Task[None] | None = None
    trouble: str = ""


class Resolver:
    """Remembers what names resolve to. ``changed`` is called with a name, and its addresses when they are others."""

    def __init__(
        self,
        clock: Callable[[], float],
        changed: Callable[[str, frozenset[str]], None],
        *,
        lookup: Lookup | None = None,
    ) -> None:
        self.lookup = lookup or asyncio.get_running_loop().getaddrinfo
        self._clock = clock
        self._changed = changed
        self._names: dict[str, _Name] = {}

    async def addresses(self, host: str, port: int, interval: float) -> list[Address]:
        """Return the addresses of ``host``, best first (RFC 6724). Raises UpstreamError when there are none."""
        if is_address(host.partition("%")[0]):
            return [(host, port)]
        name = self._names.setdefault(host, _Name())
        self.refresh(host, interval)
        forgotten = name.due + interval <= self._clock()  # nobody asked for long: what is known is old
        if name.lookup is not None and (forgotten or not name.addresses):
            await asyncio.wait([name.lookup], timeout=_PATIENCE_SECONDS if name.addresses else None)
        if not name.addresses:
            raise UpstreamError(502, f"the name cannot be resolved: {name.trouble}")
        return [(address, port, *rest) for address, _, *rest in name.addresses]

    def refresh(self, host: str, interval: float) -> None:
        """Begin a look-up of a name that is used, if one is due and none runs."""
        name = self._names.get(host)
        if name is not None and name.lookup is None and name.due <= self._clock():
            name.lookup = asyncio.get_running_loop().create_task(self._look_up(host, name, interval), name="lookup")

    def doubt(self, host: str) -> None:
        """Have the name looked up before its time: none of its addresses could be connected to."""
        name = self._names.get(host)
        if name is not None:
            name.due = min(name.due, self._clock() + _RETRY_SECONDS)

    async def _look_up(self, host: str, name: _Name, interval: float) -> None:
        try:
            found = await self.lookup(host, 0, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            name.trouble = getattr(error, "strerror", None) or str(error)
            name.due = self._clock() + min(interval, _RETRY_SECONDS)
        else:
            addresses = tuple(dict.fromkeys(entry[4] for entry in found))[:_MOST_ADDRESSES]
            name.due = self._clock() + interval
            if addresses and set(addresses) != set(name.addresses):
                name.addresses = addresses
                self._changed(host, frozenset(address[0] for address in addresses))
        finally:
            name.lookup = None

    def keep(self, hosts: Collection[str]) -> None:
        """Forget the names that no route leads to any more."""
        for host in self._names.keys() - set(hosts):
            del self._names[host]

    def close(self) -> None:
        """Look up nothing more."""
        for name in self._names.values():
            if name.lookup is not None:
                name.lookup.cancel()
