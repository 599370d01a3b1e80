"""What there is to say about a chain's dates, and for how long there is nothing to say."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.config.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509


def check_dates(chain: Sequence[x509.Certificate], now: datetime) -> tuple[Problem, ...]:
    """What is wrong with the dates at ``now``: an expired leaf is an error, one too early or nearly over a warning.

    Nearly over is 30 days, or a quarter of a lifetime that is shorter than 120 days. So is an expired issuer a
    warning: clients may know another way to a root. Whoever asks decides what an error stops, and adds the source.
    """
    leaf, *issuers = chain
    problems = [
        Problem(
            Severity.WARNING, "", "", f"{issuer.subject.rfc4514_string()} in the chain has expired",
            "append the CA's current one",
        )
        for issuer in issuers
        if now > issuer.not_valid_after_utc
    ]  # fmt: skip
    if now < leaf.not_valid_before_utc:
        severity, verb, moment = Severity.WARNING, "is not valid before", leaf.not_valid_before_utc
    elif now > leaf.not_valid_after_utc:
        severity, verb, moment = Severity.ERROR, "expired on", leaf.not_valid_after_utc
    elif leaf.not_valid_after_utc - now < _soon(leaf):
        severity, verb, moment = Severity.WARNING, "expires on", leaf.not_valid_after_utc
    else:
        return tuple(problems)
    message = f"the certificate {verb} {moment:%Y-%m-%d %H:%M} UTC"
    return (Problem(severity, "", "", message, "renew it, or check the clock"), *problems)


def quiet_period(chain: Sequence[x509.Certificate]) -> tuple[datetime, datetime]:
    """The first and the last moment at which `check_dates` finds nothing; no moment at all if they are reversed."""
    leaf, *issuers = chain
    ends = [leaf.not_valid_after_utc - _soon(leaf), *(issuer.not_valid_after_utc for issuer in issuers)]
    return leaf.not_valid_before_utc, min(ends)


def _soon(leaf: x509.Certificate) -> timedelta:
    return min(timedelta(days=30), (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 4)
