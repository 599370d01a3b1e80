from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import json_text
from gateway.config.node import MalformedError, Node
from gateway.config.problems import Findings

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def parse(text: str, found: Findings | None = None) -> Node:
    return json_text.parse(text, lambda at: str(text.count("\n", 0, at) + 1), Path(), found or Findings())


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 0, 2]))
def test_it_reads_what_the_standard_library_writes(value: Any, indent: int | None) -> None:
    assert plain(parse(json.dumps(value, indent=indent))) == value


@settings(deadline=None)
@given(st.text(alphabet='{}[]:,"\\/ \n\ttruefalsn0123456789.-+eE\u00e9'))
def test_it_agrees_with_the_standard_library_on_what_is_json(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(MalformedError):
            parse(text)
    else:
        assert plain(parse(text)) == expected or expected != expected


def test_every_value_knows_its_line_that_of_its_key() -> None:
    root = parse('{\n"a": 1,\n"b":\n[2,\n3]}').value
    assert isinstance(root, dict)
    assert [node.source for node in root.values()] == ["2", "3"]
    items = root["b"].value
    assert isinstance(items, list)
    assert [node.source for node in items] == ["4", "5"]


def test_a_key_that_stands_twice_is_an_error_and_reading_goes_on() -> None:
    found = Findings()
    assert plain(parse('{"a": 1,\n"a": 2, "b": 3}', found)) == {"a": 2, "b": 3}
    assert [(problem.path, problem.source) for problem in found.problems] == [("a", "2")]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"a": 1,\n}', "1", "a comma stands before the closing }"),
        ("[1,]", "1", "a comma stands before the closing ]"),
        ('{"a": 1\n"b": 2}', "2", "a comma or } is missing"),
        ('{"a" 1}', "1", "a colon is missing"),
        ("{a: 1}", "1", "a key in double quotes"),
        ("{'a': 1}", "1", "JSON wants double quotes"),
        ('{"a": 1 // one\n}', "1", "JSON has no comments"),
        ('# one\n{"a": 1}', "1", "JSON has no comments"),
        ('{"a": {"b": 1}', "1", "ends too early"),
        ('{"a": "', "1", "Unterminated string"),
        ("", "1", "ends too early"),
        ("{}\n{}", "2", "text follows the end"),
        ('{"a": NaN}', "1", "NaN is not JSON"),
        ('{"a": -Infinity}', "1", "-Infinity is not JSON"),
        ('{"a": "\\u0000"}', "1", "control character"),
        ('{"a": "\\ud800"}', "1", "surrogate"),
        ("1" * 5000, "1", "digits"),
        ("[" * 100_000, "1", "nested more than 64 deep"),
    ],
)
def test_what_is_not_json_is_told_with_its_line(text: str, line: str, words: str) -> None:
    with pytest.raises(MalformedError, match=words) as raised:
        parse(text)
    assert raised.value.source == line
