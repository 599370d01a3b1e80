"""The choice among several certificates for one name: the one that serves now, and the time until which it does.

A certificate that is valid now always goes before one that is not. The source counts next: only the highest place that
has a certificate serves, with one certificate of each key type. Of several in one place the one that lasts longest
serves; of those that last equally long, the one named last. A certificate ends at the second of its notAfter, as in
OpenSSL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509

_What = TypeVar("_What")

NEVER = float("inf")


class Validity(NamedTuple):
    """The time in which a certificate is valid, in seconds since 1970; the end is exclusive."""

    begins: float
    ends: float

    @classmethod
    def of(cls, leaf: x509.Certificate) -> Validity:
        """Return that of a certificate."""
        return cls(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())

    def holds(self, now: float) -> bool:
        """Tell whether it is valid now."""
        return self.begins <= now < self.ends

    def changes(self, now: float) -> float:
        """Return the next moment at which that changes."""
        return next((moment for moment in self if now < moment), NEVER) if self.begins < self.ends else NEVER


class Contender(NamedTuple, Generic[_What]):
    """A certificate for a name: ``what`` it is, and what decides about it. The higher ``rank`` wins."""

    what: _What
    key_type: str
    rank: int
    validity: Validity


class Choice(NamedTuple, Generic[_What]):
    """The certificates that serve a name, at most one of each key type. ``current`` is true when they are valid now.

    It may be another choice from the moment ``until`` on (seconds since 1970).
    """

    chosen: tuple[_What, ...]
    current: bool
    until: float


def choose(contenders: Sequence[Contender[_What]], now: float) -> Choice[_What]:
    """Choose among certificates for one name, given in the order in which they were named."""
    valid = [one for one in contenders if one.validity.holds(now)]
    pool = valid or contenders
    rank = max((one.rank for one in pool), default=0)
    best: dict[str, Contender[_What]] = {}
    for one in pool:
        other = best.get(one.key_type)
        if one.rank == rank and (other is None or one.validity.ends >= other.validity.ends):
            best[one.key_type] = one
    until = min((one.validity.changes(now) for one in contenders), default=NEVER)
    return Choice(tuple(best[key_type].what for key_type in sorted(best)), bool(valid), until)


def best(choices: Iterable[Choice[_What]]) -> Choice[_What]:
    """Return the first choice that is valid now, else the first of something; no more are looked at than that takes.

    They are those for the names under which one client may be served, the nearest first.
    """
    fallback, until = Choice[_What]((), current=False, until=NEVER), NEVER
    for one in choices:
        until = min(until, one.until)
        if one.current:
            return one._replace(until=until)
        if not fallback.chosen:
            fallback = one
    return fallback._replace(until=until)


def takes_over(contenders: Sequence[Contender[_What]], what: _What, now: float) -> float:
    """Return the first moment after now at which ``what`` serves if nothing but time changes, or NEVER."""
    moment = now
    while (moment := min(one.validity.changes(moment) for one in contenders)) != NEVER:
        if what in choose(contenders, moment).chosen:
            return moment
    return NEVER
