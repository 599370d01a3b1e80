from __future__ import annotations

from pathlib import Path

from gateway.config import reference

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == reference.document(), (
        "run: python -m gateway.config.reference > docs/configuration.md"
    )


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in reference.document().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert all(row.split(" | ")[-1].strip(" |") for row in rows)
