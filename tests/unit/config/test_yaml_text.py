from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import yaml_text
from gateway.config.node import MalformedError, Node, Word
from gateway.config.problems import Findings

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=20)
TREES = st.recursive(TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def parse(text: str, found: Findings | None = None) -> Node:
    return yaml_text.parse(text, lambda line: str(line + 1), Path(), found or Findings())


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


@settings(deadline=None)
@given(TREES)
def test_it_reads_the_text_that_the_library_writes(tree: Any) -> None:
    assert plain(parse(yaml.safe_dump(tree, allow_unicode=True, default_style='"'))) == tree


@settings(deadline=None)
@given(st.text())
def test_any_text_is_yaml_or_told_not_to_be(text: str) -> None:
    try:
        parse(text)
    except MalformedError as error:
        assert error.message  # noqa: PT017 - the only other outcome is a node


def test_unquoted_scalars_stay_undecided_and_quoted_ones_are_text() -> None:
    read = parse("a: off\nb: 'off'\nc: 1:30\nd: !!str 5\ne: |\n  off\nf: ~\ng:\n").value
    assert isinstance(read, dict)
    assert {key: (type(node.value), node.value) for key, node in read.items()} == {
        "a": (Word, "off"),
        "b": (str, "off"),
        "c": (Word, "1:30"),
        "d": (str, "5"),
        "e": (str, "off\n"),
        "f": (type(None), None),
        "g": (type(None), None),
    }


def test_a_value_has_the_line_of_its_key_and_an_item_its_own() -> None:
    read = parse("a:\n  b: 1\nc:\n  - x\n  - y\n").value
    assert isinstance(read, dict)
    assert [node.source for node in read.values()] == ["1", "3"]
    items = read["c"].value
    assert isinstance(items, list)
    assert [node.source for node in items] == ["4", "5"]


def test_anchors_aliases_and_merges_work_and_own_keys_win() -> None:
    read = parse("base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nmine:\n  y: 5\n  <<: [*b, *o]\nsame: *b\n")
    assert plain(read)["mine"] == {"y": "5", "x": "1", "z": "4"}
    assert plain(read)["same"] == {"x": "1", "y": "2"}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert plain(parse('"<<": {a: b}')) == {"<<": {"a": "b"}}


def test_a_key_that_stands_twice_is_an_error_and_reading_goes_on() -> None:
    found = Findings()
    parse("a: 1\na: 2\nb: 3\nb: 4\n", found)
    assert [(problem.path, problem.source) for problem in found.problems] == [("a", "2"), ("b", "4")]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: b\n\tc: d\n", "2", "tab"),
        ("a: [1\nb: 2\n", "2", "did not find expected"),
        ("a: 1\n---\nb: 2\n", "2", "second YAML document"),
        ("? [a, b]\n: c\n", "1", "a key must be plain text"),
        ("a: !!python/object/apply:os.system [ls]\n", "1", "tags are not supported"),
        ("a: *nowhere\n", "1", "no anchor"),
        ("a: &a [*a]\n", "1", "no anchor"),
        ("<<: 5\n", "1", "merges mappings only"),
        ('a: "\\u0000"\n', "1", "control character"),
        ("[" * 100_000, "1", "nested more than 64 deep"),
        ("[" * 66, "1", "nested more than 64 deep"),
        ("a: [" + "[]," * 100, "2", "did not find expected"),
        ("{a: " * 2_000, "1", "nested more than 64 deep"),
        ("a: b\nc: " + "[{a: " * 600, "2", "nested more than 64 deep"),
        ("a: b\nc: " + "\n".join("[" * 100 for _ in range(100)), "2", "nested more than 64 deep"),
        ("- " * 100_000, "1", "nested more than 64 deep"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: str, words: str) -> None:
    with pytest.raises(MalformedError, match=words) as raised:
        parse(text)
    assert raised.value.source == line


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(MalformedError, match="aliases stand for more than"):
        parse("\n".join(lines))


def test_aliases_that_nest_are_stopped_as_deep_values_are() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    with pytest.raises(MalformedError, match="nested more than 64 deep"):
        parse("\n".join(lines))


def test_an_error_repeats_no_text_of_the_file() -> None:
    with pytest.raises(MalformedError) as raised:
        parse("secret: %hunter2\n")
    assert "hunter2" not in str(raised.value)
