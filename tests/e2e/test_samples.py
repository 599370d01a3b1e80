"""The configurations in config/ run as they are, on a clone in which nothing was started before."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.cli.check import examine
from gateway.cli.demo import certificates
from gateway.config.problems import Severity

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["gateway.yaml", "tyk.conf"])
@pytest.mark.parametrize("prepared", [False, True])
def test_a_sample_is_valid_before_and_after_the_demo_has_made_its_certificates(
    tmp_path: Path, name: str, prepared: bool
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config", ignore=shutil.ignore_patterns("data"))
    if prepared:
        certificates.prepare(tmp_path / "certs/demo", datetime.now(UTC))
    problems, served = examine(tmp_path / "config" / name, {})
    assert Severity.ERROR not in {problem.severity for problem in problems}, problems
    issuers = {line.split()[0]: "gateway demo CA" in line for line in served.splitlines() if ".localhost" in line}
    assert issuers == {"alpha.localhost": prepared, "*.beta.localhost": prepared}, served
