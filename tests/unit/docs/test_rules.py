"""The tables of rules in the documentation name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TESTS = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("page", ["http1-rules.md"])
def test_every_rule_names_tests_that_exist(page: str) -> None:
    rows = re.findall(r"^\| (?!Rule|---)(.*)\|$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert rows
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"no test shows: {row}"
        assert set(named) <= TESTS, f"no such test: {set(named) - TESTS}"
