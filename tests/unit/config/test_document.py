from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.config import document
from gateway.config.node import Node, Word
from gateway.config.problems import Findings

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> tuple[Node | None, str]:
    found = Findings()
    node = document.read(path, path.name, found)
    return node, "\n".join(map(str, found.problems))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.json", '{"a": "b"}', str),
        ("a.conf", ' \n{"a": "b"}', str),
        ("a.conf", "a: b", Word),
        ("a.yaml", '{"a": b}', Word),
        ("a.YML", "a: b", Word),
        ("a", '\ufeff{"a": "b"}', str),
    ],
)
def test_the_name_and_then_the_first_character_decide_between_json_and_yaml(
    tmp_path: Path, name: str, content: str, kind: type
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    node, told = read(path)
    assert (told, isinstance(node, Node)) == ("", True)
    assert node is not None
    assert isinstance(node.value, dict)
    assert type(node.value["a"].value) is kind
    assert node.base == tmp_path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b'{"a":\n\xff}', "a.json:2: the file is not UTF-8"),
        ("a.yaml", b"a: b\nc: \x1b[31m", "a.yaml:2: the file holds a control character"),
        ("a.json", b'{\n"a" 1}', "a.json:2: this is not JSON"),
        ("a.json", b"yaml: yes", "a.json:1: this is not JSON"),
        ("a.conf", b"// hello\n{}", "a.conf:1: this is not JSON: JSON has no comments"),
        ("a.yaml", b" " * (document.MAX_BYTES + 1), "a.yaml: the file is larger than"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    node, told = read(path)
    assert node is None
    assert words in told


def test_a_missing_file_and_a_directory_are_errors(tmp_path: Path) -> None:
    assert "No such file" in read(tmp_path / "none.json")[1]
    assert "Is a directory" in read(tmp_path)[1]
