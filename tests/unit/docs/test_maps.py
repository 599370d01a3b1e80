"""The maps of the code and of the documentation name what is there: all of it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = sorted(path.parent for path in (ROOT / "gateway").glob("*/__init__.py"))
PAGES = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in (".", "config", "certs")),
        ROOT / "CHANGELOG.md",
    ]
)


def inside(package: Path) -> set[str]:
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    return modules | {path.parent.name for path in package.glob("*/__init__.py")}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_the_docstring_of_a_package_names_every_module_in_it(package: Path) -> None:
    text = (package / "__init__.py").read_text()
    assert inside(package) - set(re.findall(r"``(\w+)``", text)) == set()
    listed = set(re.findall(r"^\* ``(\w+)``", text, re.MULTILINE))
    assert listed - inside(package) == set()


def test_the_docstring_of_the_gateway_names_every_package() -> None:
    text = (ROOT / "gateway" / "__init__.py").read_text()
    assert set(re.findall(r"^\* ``(\w+)``", text, re.MULTILINE)) == {package.name for package in PACKAGES}


def test_every_place_that_the_architecture_names_exists() -> None:
    """A file without a folder is in that of the file before it, a{b,c} is ab and ac."""
    _, _, section = (ROOT / "docs" / "architecture.md").read_text().partition("## Where does X live?")
    rows = re.findall(r"^\| .+ \| (.*`.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    assert len(rows) > 30
    for row in rows:
        folder = Path()
        for name in re.findall(r"`([^`]+)`", row):
            before, _, rest = name.partition("{")
            choices, _, after = rest.partition("}")
            for choice in choices.split(","):
                relative = Path(before + choice + after)
                place = ROOT / relative if relative.parts[0] == "gateway" else folder / relative
                assert place.exists(), f"{name} in: {row}"
                folder = place if name.endswith("/") else place.parent


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        place = page.parent / target if target else page
        assert place.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\(docs/([\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} == linked
