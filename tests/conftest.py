"""What holds for every test.

Hypothesis asks the same questions in each run, so that a green tree stays green;
`HYPOTHESIS_PROFILE=searching make test` looks for new ones. `FORBID_SKIPS=1 make test` fails where a test would be
skipped for want of a program or a package, for machines that are known to have all. What a host or a user may not do
is no such want: those reasons begin with "this host" or "this user".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Generator

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("searching", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their argument: keys made by this process would give each of pytest-xdist's another id."""
    return argname if isinstance(val, str | bytes) and len(val) > 100 else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a skipped test as failed where skips are forbidden."""
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Report a skipped file as failed where skips are forbidden."""
    return _without_skip((yield))


def _without_skip(report: Report) -> Report:
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    allowed = reason.removeprefix("Skipped: ").startswith(("this host", "this user"))
    if report.skipped and os.environ.get("FORBID_SKIPS") and not allowed:
        report.outcome = "failed"
        report.longrepr = f"skips are forbidden here: {reason}"
    return report
