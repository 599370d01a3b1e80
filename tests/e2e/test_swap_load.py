"""The load under which swaps are judged, made small: `bench.swaps` is the same, as long as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_swaps_of_every_kind_break_nothing_under_load() -> None:
    load = "--rate 40 --requests 100 --streams 40 --download 60000000 --download-seconds 6 --quiet-seconds 1"
    finished = subprocess.run(
        [sys.executable, "-m", "bench.swaps", "--swaps", "50", "--file-swaps", "10", *load.split()],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    assert "| swaps through the API | 50 |" in finished.stdout
    assert "| swaps by file, four styles at a time | 10 |" in finished.stdout
    assert "| rollbacks | 50 |" in finished.stdout
