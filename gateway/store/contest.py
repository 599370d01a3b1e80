"""The contest of a configuration's certificates for each name: those that serve, those that may later, those hidden."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.certs.choice import NEVER, Contender, choose, takes_over
from gateway.config.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.certs.choice import Validity
    from gateway.certs.pem import CertificatePair
    from gateway.store.materials import Kept
    from gateway.store.sites import SiteEntry

TOLD = 10
"""The most hidden sources to report."""
_NAMES = 3
_MOST = 32
"""The most certificates to consider for one name: the first and the last that were named."""
_LATER = 8


class Contest:
    """``entries`` are those that serve now, ``later`` those that may at another time."""

    def __init__(self, now: datetime, validity: Callable[[CertificatePair | Kept], Validity]) -> None:
        self._now = now.timestamp()
        self._validity = validity
        self._hidden: dict[tuple[str, str, str], list[str]] = {}
        self.entries: list[SiteEntry] = []
        self.later: list[SiteEntry] = []

    def add(self, name: str, entries: Sequence[SiteEntry]) -> None:
        """Decide for a name. A name with a single certificate, as nearly all have, costs nothing."""
        if len(entries) == 1:
            self.entries += entries
            return
        entries = entries if len(entries) <= _MOST else [entries[0], *entries[1 - _MOST :]]
        contenders = [Contender(one, one.pair.key_type, one.rank, self._validity(one.pair)) for one in entries]
        chosen = choose(contenders, self._now).chosen
        self.entries += chosen
        later = []
        for one in contenders:
            if one.what not in chosen:
                moment = takes_over(contenders, one.what, self._now)
                if moment != NEVER:
                    later.append((moment, one.what))
                winner = next(other for other in contenders if other.what == _rival(one.what, chosen))
                self._note(name, one, winner, moment)
        self.later += [entry for _, entry in sorted(later, key=lambda pair: pair[0])[:_LATER]]

    def problems(self) -> Iterator[Problem]:
        """Tell who hides whom, and for how long."""
        for (source, winner, reason), names in list(self._hidden.items())[:TOLD]:
            message = f"{winner} serves {listed(names)} instead, {reason}"
            yield Problem(Severity.NOTE, "certificates", source, message)
        if len(self._hidden) > TOLD:
            yield Problem(Severity.NOTE, "certificates", "", f"{len(self._hidden) - TOLD} more are hidden by others")

    def _note(self, name: str, loser: Contender[SiteEntry], winner: Contender[SiteEntry], moment: float) -> None:
        if loser.what.pair == winner.what.pair:
            return
        if winner.validity.holds(self._now) and self._now < loser.validity.begins:
            reason = f"because it is valid: this one begins on {_day(loser.validity.begins)}"
        elif winner.validity.holds(self._now) and not loser.validity.holds(self._now):
            reason = f"because it is valid: this one expired on {_day(loser.validity.ends)}"
        elif loser.what.rank != winner.what.rank:
            reason = "because its place in the order comes first"
        else:
            reason = f"because it lasts as long or longer, until {_day(winner.validity.ends)}"
        when = "it stays so" if moment == NEVER else f"until {_day(moment)}"
        self._hidden.setdefault((loser.what.source, winner.what.source, f"{reason}; {when}"), []).append(name)


def listed(names: Sequence[str]) -> str:
    """Name the first few."""
    shown = ", ".join(name or "the default" for name in names[:_NAMES])
    return f"{shown} and {len(names) - _NAMES} more" if len(names) > _NAMES else shown


def _rival(loser: SiteEntry, chosen: Sequence[SiteEntry]) -> SiteEntry:
    """Return the one that serves in the place of another: of its key type, if there is one."""
    return next((one for one in chosen if one.pair.key_type == loser.pair.key_type), chosen[0])


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
