"""Which directory entries decide what a path means, against what the system itself says."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.links import Ways

NAMES = st.sampled_from(["a", "b", "c", ".."])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TREES = st.dictionaries(st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a"]), st.one_of(st.none(), st.just(""), PATHS))


def build(root: Path, tree: dict[str, str | None]) -> None:
    """Make directories (None), files ("") and links (where to), those that can be made."""
    for name, what in sorted(tree.items()):
        path = root / name
        if not path.parent.is_dir() or path.is_symlink() or path.exists():
            continue
        if what is None:
            path.mkdir()
        elif what:
            path.symlink_to(what)
        else:
            path.touch()


@given(TREES, PATHS)
def test_a_path_leads_where_the_system_says(tree: dict[str, str | None], path: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "x", "y")
        root.mkdir(parents=True)
        build(root, tree)
        asked = f"{root}/{path}"
        real, steps = Ways().find(asked)
        if Path(asked).exists():
            assert real == os.path.realpath(asked)
            assert os.path.join(*steps[-1]) == real  # noqa: PTH118 - the paths are text
        for parent, _ in steps:
            assert parent == os.path.realpath(parent)


def test_every_link_on_the_way_is_a_step(tmp_path: Path) -> None:
    (tmp_path / "version").mkdir()
    (tmp_path / "version/tls.key").touch()
    (tmp_path / "..data").symlink_to("version")
    (tmp_path / "tls.key").symlink_to("..data/tls.key")
    root = os.path.realpath(tmp_path)
    assert Ways().find(str(tmp_path / "tls.key")) == (
        f"{root}/version/tls.key",
        ((root, "tls.key"), (root, "..data"), (f"{root}/version", "tls.key")),
    )


def test_what_is_missing_is_the_last_step(tmp_path: Path) -> None:
    root = os.path.realpath(tmp_path)
    assert Ways().find(f"{root}/missing/further/file") == (None, ((root, "missing"),))


def test_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    real, steps = Ways().find(f"{os.path.realpath(tmp_path)}/a")
    assert real is None
    assert len(steps) <= 41
