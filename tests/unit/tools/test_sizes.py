from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "tools" / "sizes.py"


def report(tmp_path: Path, source: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "module.py").write_text(source)
    return subprocess.run([sys.executable, SCRIPT], cwd=tmp_path, check=False, capture_output=True, text=True)


def function(lines: int, docstring: int = 0) -> str:
    body = ["    pass"] * (lines - 1)
    text = ['    """Explain.', *["    More."] * (docstring - 2), '    """'] if docstring else []
    return "\n".join(["def long():", *text, *body]) + "\n"


def test_a_function_at_its_hard_budget_passes_and_is_named(tmp_path: Path) -> None:
    finished = report(tmp_path, function(50))
    assert finished.returncode == 0
    assert "module.py:1 long" in finished.stdout


def test_a_function_over_its_hard_budget_fails(tmp_path: Path) -> None:
    assert report(tmp_path, function(51)).returncode == 1


def test_a_docstring_costs_a_function_nothing(tmp_path: Path) -> None:
    assert "long" not in report(tmp_path, function(30, docstring=40)).stdout


def test_a_file_over_its_hard_budget_fails(tmp_path: Path) -> None:
    finished = report(tmp_path, "pass\n" * 501)
    assert finished.returncode == 1
    assert "501 lines, over 500" in finished.stdout
