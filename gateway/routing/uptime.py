"""Which hosts are down, from the results of checks: so many equal ones in a row turn a host down, or up again."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.tls.names import canonical

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gateway.config.definitions import ApiDefinition
    from gateway.config.uptime import UptimeCheck

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to ask now and then. ``host`` is whose health it tells: API, host and port, as balancers write it."""

    api_id: str
    host: str
    address: str
    port: int
    what: UptimeCheck

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is remembered by."""
        return self.host, self.what.method, self.what.url


def checks(api: ApiDefinition) -> Iterator[Check]:
    """The checks of one API."""
    for what in () if api.uptime_tests.disabled else api.uptime_tests.check_list:
        parts = urlsplit(what.url)
        address = parts.hostname or ""
        with suppress(ValueError):  # what is no name is asked as it is written, and will be down
            address = canonical(address)
        port = parts.port or _PORTS[parts.scheme]
        yield Check(api.api_id, host_key(api.api_id, address, port), address, port, what)


def host_key(api_id: str, host: str, port: int) -> str:
    """Name a host as an API has it: what is down for one may be well enough for another."""
    return f"{api_id} {host} {port}"


class Uptime:
    """Remembers the last results of each check. Hosts begin up."""

    def __init__(self) -> None:
        self._runs: Counter[tuple[str, str, str]] = Counter()  # below zero: failures in a row
        self._down: set[tuple[str, str, str]] = set()

    def note(self, check: Check, samples: int, *, ok: bool) -> bool:
        """Note a result; return whether it turned the check."""
        key = check.key
        run = self._runs[key]
        self._runs[key] = (max(run, 0) + 1) if ok else (min(run, 0) - 1)
        if ok and key in self._down and self._runs[key] >= samples:
            self._down.discard(key)
            return True
        if not ok and key not in self._down and -self._runs[key] >= samples:
            self._down.add(key)
            return True
        return False

    def keep(self, current: Collection[Check]) -> None:
        """Forget the checks that are made no more."""
        keys = {check.key for check in current}
        self._down &= keys
        for key in self._runs.keys() - keys:
            del self._runs[key]

    @property
    def checked(self) -> int:
        """How many hosts there are results of."""
        return len({host for host, _, _ in self._runs})

    @property
    def down(self) -> frozenset[str]:
        """The hosts of which a check fails."""
        return frozenset(host for host, _, _ in self._down)
