"""Report the files and functions that outgrow their budget; exit 1 if one is beyond what is allowed at all.

A file counts its lines; a function counts its lines without its docstring, so that explaining costs nothing.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOTS = ("gateway", "bench", "tools", "tests")


class Budget(NamedTuple):
    """Lines: above ``soft`` think again, above ``hard`` take it apart."""

    soft: int
    hard: int


FILE = Budget(300, 500)
FUNCTION = Budget(30, 50)


@dataclass(frozen=True, slots=True)
class Size:
    """One measured file or function."""

    what: str
    lines: int
    budget: Budget

    def __str__(self) -> str:
        over = f"over {self.budget.hard}" if self.too_large else f"above {self.budget.soft}"
        return f"{self.lines:5d} lines, {over}: {self.what}"

    @property
    def too_large(self) -> bool:
        """Whether the hard budget is broken."""
        return self.lines > self.budget.hard


def measure(path: Path) -> Iterator[Size]:
    """Yield the size of a Python file and of every function in it."""
    text = path.read_text(encoding="utf-8")
    yield Size(str(path), len(text.splitlines()), FILE)
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Size(f"{path}:{node.lineno} {node.name}", function_lines(node), FUNCTION)


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function from ``def`` to its end, its docstring left out."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def main() -> int:
    """Print the largest first; return the exit status."""
    sizes = [size for root in ROOTS for path in Path(root).rglob("*.py") for size in measure(path)]
    over = sorted((size for size in sizes if size.lines > size.budget.soft), key=lambda size: -size.lines)
    broken = sum(size.too_large for size in over)
    for size in over:
        print(size)
    print(f"{len(sizes)} sizes: {len(over) - broken} above the soft budget, {broken} over the hard one")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
