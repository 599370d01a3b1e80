"""Changes to a configuration's text: exactly what was asked for, and every comment stays."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.edit import Change, Verb, append, edited, put
from gateway.errors import EditError


def remove(path: str, *place: int) -> Change:
    return Change(Verb.REMOVE, (*path.split("."), *place))


YAML = """\
# the front door
listen_port: 8443   # high

http_server_options:
  use_ssl: true
  ssl_ciphers: [A, 'B']   # two
  certificates:
  - cert_file: a.crt # first
    key_file: "a.key"
  # between
  min_version: '1.2'
gateway:
apis:
  - name: x
    proxy: {listen_path: /, target_url: "http://127.0.0.1:1"}
"""


@pytest.mark.parametrize(
    ("change", "gone", "come"),
    [
        (put("listen_port", 443), ["listen_port: 8443   # high"], ["listen_port: 443   # high"]),
        (put("http_server_options.min_version", "1.3"), ["  min_version: '1.2'"], ["  min_version: '1.3'"]),
        (put("HTTP_Server_Options.Min_Version", "1.3"), ["  min_version: '1.2'"], ["  min_version: '1.3'"]),
        (put("http_server_options.max_version", 772), [], ["  max_version: 772"]),
        (
            put("http_server_options.ssl_ciphers", ["X:Y"]),
            ["  ssl_ciphers: [A, 'B']   # two"],
            ['  ssl_ciphers: ["X:Y"]   # two'],
        ),
        (
            append("http_server_options.ssl_ciphers", "C"),
            ["  ssl_ciphers: [A, 'B']   # two"],
            ["  ssl_ciphers: [A, 'B', C]   # two"],
        ),
        (
            append("http_server_options.certificates", {"cert_file": "b.crt", "key_file": "b.key"}),
            [],
            ["  - cert_file: b.crt", "    key_file: b.key"],
        ),
        (append("http_server_options.ssl_certificates", "/b.pem"), [], ["  ssl_certificates:", "    - /b.pem"]),
        (put("gateway.tls.strict_sni", True), [], ["  tls:", "    strict_sni: true"]),
        (remove("listen_port"), ["listen_port: 8443   # high"], []),
        (
            remove("http_server_options.certificates", 0),
            ["  certificates:", "  - cert_file: a.crt # first", '    key_file: "a.key"'],
            [],
        ),
        (remove("no.such.key"), [], []),
    ],
)
def test_a_change_touches_the_lines_that_it_must_and_no_other(change: Change, gone: list[str], come: list[str]) -> None:
    lines = edited(YAML, [change], is_json=False).splitlines()

    before = YAML.splitlines()
    assert [line for line in before if line not in lines] == gone
    assert [line for line in lines if line not in before] == come


def test_json_keeps_its_layout() -> None:
    text = '{\n  "listen_port": 1,\n  "http_server_options": {"use_ssl": true},\n  "apis": []\n}\n'

    changes = [put("listen_port", 2), put("http_server_options.min_version", 771), put("gateway.tls.strict_sni", True)]
    assert edited(text, changes, is_json=True) == (
        '{\n  "listen_port": 2,\n  "http_server_options": {"use_ssl": true, "min_version": 771},\n  "apis": [],\n'
        '  "gateway": {\n    "tls": {\n      "strict_sni": true\n    }\n  }\n}\n'
    )


@pytest.mark.parametrize("is_json", [False, True])
def test_lines_that_come_end_as_the_others_do(is_json: bool) -> None:
    text = '{\r\n  "a": {\r\n    "b": 1\r\n  }\r\n}\r\n' if is_json else "a:\r\n  b: 1\r\nz: 1 # last\r\n"
    changes = [put("a.c", 2), append("d.e", "f"), remove("a.b")]
    after = edited(text, changes, is_json=is_json)
    assert "\n" not in after.replace("\r\n", "")
    assert after == edited(text.replace("\r\n", "\n"), changes, is_json=is_json).replace("\n", "\r\n")


def test_json_that_is_indented_by_tabs_stays_so() -> None:
    text = '{\n\t"a": {\n\t\t"b": [\n\t\t\t1\n\t\t]\n\t}\n}'
    assert edited(text, [append("a.b", 2), put("c.d", 3)], is_json=True) == (
        '{\n\t"a": {\n\t\t"b": [\n\t\t\t1,\n\t\t\t2\n\t\t]\n\t},\n\t"c": {\n\t\t"d": 3\n\t}\n}'
    )


def test_taking_away_what_is_not_there_changes_nothing() -> None:
    assert edited("a: 1", [remove("b.c")], is_json=False) == "a: 1"


def test_a_file_without_anything_gets_its_first_section() -> None:
    assert edited("# nothing yet\n", [put("a.b", 1)], is_json=False) == "# nothing yet\na:\n  b: 1\n"


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("a: &x {b: 1}\nc: *x\n", put("c.b", 2)),
        ("a: &x {b: 1}\nc: *x\n", put("a.b", 2)),
        ("a: 1\n", put("a.b", 2)),
        ("a: {b: 1}\n", append("a", 2)),
        ("a: [1]\n", put("a", 2)),
        ("a: [1\n", put("a", 2)),
    ],
)
def test_what_cannot_be_changed_safely_is_left_to_a_person(text: str, change: Change) -> None:
    with pytest.raises(EditError):
        edited(text, [change], is_json=False)


WORDS = st.text("abcxyz", min_size=1, max_size=4)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-9, 99999),
    st.none(),
    st.sampled_from(["", "on", "1.2", "a b", "k: v", "# x", "é\n", "'"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda deeper: st.one_of(st.lists(deeper, max_size=3), st.dictionaries(WORDS, deeper, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(WORDS, VALUES, min_size=1, max_size=4)
PATHS = st.lists(WORDS, min_size=1, max_size=3).map(tuple)
CHANGES = st.builds(Change, st.sampled_from(Verb), PATHS, VALUES)


@given(DOCUMENTS, CHANGES, st.sampled_from([None, True, False]), st.sampled_from([2, 4]))
def test_any_yaml_says_what_it_said_but_for_the_change(
    document: dict[str, object], change: Change, flow: bool | None, indent: int
) -> None:
    text = yaml.safe_dump(document, default_flow_style=flow, indent=indent, allow_unicode=True)
    text = re.sub(r"(?m)^(\w+:)", r"# about \1\n\1", text)
    comments = text.count("# about")
    try:
        after = edited(text, [change], is_json=False)  # proves itself that nothing else has changed
    except EditError:
        assert blocked(document, change)
    else:
        assert after.count("# about") >= comments - (change.verb is Verb.REMOVE)


@given(DOCUMENTS, CHANGES, st.sampled_from([None, 2, 4]))
def test_any_json_says_what_it_said_but_for_the_change(
    document: dict[str, object], change: Change, indent: int | None
) -> None:
    try:
        edited(json.dumps(document, indent=indent), [change], is_json=True)
    except EditError:
        assert blocked(document, change)


def blocked(document: object, change: Change) -> bool:
    """Whether a value of another kind stands where the change needs a section, a list or a single value."""
    for step in change.path:
        if document is None:
            return False
        if not isinstance(document, dict):
            return True
        if step not in document:
            return False
        document = document[step]
    if change.verb is Verb.APPEND:
        return not isinstance(document, list)
    return isinstance(document, list | dict) != isinstance(change.value, list | dict)
