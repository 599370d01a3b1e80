from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.swap_clients import Handshake
from bench.swap_node import STYLES, Swap
from bench.swaps import broken_promises

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HISTORY = [Swap(0, 0, "a"), Swap(10, 11, "b"), Swap(20, 21, "a")]


@pytest.mark.parametrize(
    ("began", "ended", "fingerprint", "kept"),
    [
        (1, 2, "a", True),
        (1, 2, "b", False),
        (9, 9.5, "b", False),
        (9, 10.5, "b", True),
        (10.5, 12, "a", True),
        (11.5, 12, "a", False),
        (11.5, 12, "b", True),
        (20.5, 22, "b", True),
        (22, 23, "b", False),
        (22, 23, "a", True),
        (12, 13, "never seen", False),
    ],
)
def test_a_certificate_may_show_from_the_asking_to_the_answer_for_its_successor(
    began: float, ended: float, fingerprint: str, kept: bool
) -> None:
    broken = list(broken_promises(HISTORY, [Handshake("a.test", began, ended, fingerprint)]))
    assert bool(broken) is not kept


@pytest.mark.parametrize("style", STYLES.values())
def test_each_style_brings_new_content_under_the_same_name(
    tmp_path: Path, style: Callable[[Path, bytes], None]
) -> None:
    for content in (b"first", b"the second", b"3"):
        style(tmp_path, content)
        assert (tmp_path / "tls.pem").read_bytes() == content
