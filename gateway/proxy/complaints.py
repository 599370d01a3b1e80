"""What strangers can cause is told once per kind, client and minute; what is left out is counted and told with it.

Within a kind a few different messages are told: who mends a client tries again at once, and learns the next reason.
A flood from one client is one line a minute, and hides nobody else's. A flood from everywhere is bounded too: so many
new clients are named in each tick, and so many are remembered; the rest of a kind is told together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.networks import one_client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.observe.events import EventLog

_SECONDS = 60.0
_REMEMBERED = 1024
_NEW_PER_TICK = 20
_DIFFERENT = 4


@dataclass(slots=True)
class _Matter:
    """What is known of one kind and client: since when, what was told of it, and what was not."""

    since: float
    told: tuple[str, ...] = ()
    left_out: int = 0
    last: str = ""


class Complaints:
    """``left_out`` counts what no line of its own was written for."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._matters: dict[tuple[str, str], _Matter] = {}
        self._new_left = _NEW_PER_TICK
        self.left_out = 0

    def note(self, now: float, event: str, address: str, message: str, details: Mapping[str, object]) -> None:
        """Tell it, or keep count. ``address`` is the client's, "" where it is nobody's in particular."""
        client = one_client(address) if address else ""
        matter = self._matters.get((event, client))
        if matter is None:
            if self._new_left and (len(self._matters) < _REMEMBERED or not client):
                self._new_left -= 1
                self._matters[event, client] = _Matter(now, (message,))
                self._events.warning(event, message, **details)
                return
            # All others of this kind are told of together, when the minute is over.
            matter = self._matters.setdefault((event, ""), _Matter(now, ("",) * _DIFFERENT))
        if self._new_left and len(matter.told) < _DIFFERENT and message not in matter.told:
            self._new_left -= 1
            matter.told += (message,)
            self._events.warning(event, message, **details)
            return
        matter.left_out += 1
        matter.last = message
        self.left_out += 1

    def tick(self, now: float) -> None:
        """Tell what was left out of the minutes that are over, and be ready for new ones."""
        self._new_left = _NEW_PER_TICK
        over = []
        for key, matter in self._matters.items():  # in the order of their beginnings
            if now - matter.since < _SECONDS:
                break
            over.append(key)
        for key in over:
            self._tell(key, self._matters.pop(key))

    def close(self) -> None:
        """Tell what was left out and never will be told otherwise."""
        for key, matter in self._matters.items():
            self._tell(key, matter)
        self._matters.clear()

    def _tell(self, key: tuple[str, str], matter: _Matter) -> None:
        if matter.left_out:
            event, client = key
            of = f" of {client}" if client else ""
            self._events.warning(event, f"{matter.left_out} more{of}, the last: {matter.last}", more=matter.left_out)
