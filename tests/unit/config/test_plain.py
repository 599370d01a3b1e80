"""Files as plain values: nothing that means nothing here is lost, and YAML's words are what their keys want."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.config import json_text, yaml_text
from gateway.config.definitions import ApiDefinition
from gateway.config.plain import plain
from gateway.config.problems import Findings

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e6, 1e6) | TEXTS
DEFINITIONS = st.dictionaries(
    TEXTS, st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=10)
)


def from_yaml(text: str) -> Any:
    return plain(yaml_text.parse(text, str, Path("/"), Findings()), ApiDefinition)


@given(DEFINITIONS)
def test_json_comes_back_as_it_is(definition: dict[str, Any]) -> None:
    node = json_text.parse(json.dumps(definition), lambda _: "", Path("/"), Findings())
    assert plain(node, ApiDefinition) == definition


def test_words_are_what_their_keys_want_and_else_what_json_takes_them_for() -> None:
    text = """
        api_id: 007
        Name: off
        listen_port: 8443
        use_keyless: yes
        certificates: [certs/a.pem, 5]
        proxy: {listen_path: /, target_list: [10.0.0.1:80], tyks: {own: true}}
        version_data: {not_versioned: true, versions: {Default: {name: 1, rank: 1, weight: 0.5, at: 1:30, none: ~}}}
        tags: [on, "1", -3]
    """
    assert from_yaml(text) == {
        "api_id": "007",
        "Name": "off",
        "listen_port": 8443,
        "use_keyless": True,
        "certificates": ["certs/a.pem", "5"],
        "proxy": {"listen_path": "/", "target_list": ["10.0.0.1:80"], "tyks": {"own": True}},
        "version_data": {
            "not_versioned": True,
            "versions": {"Default": {"name": "1", "rank": 1, "weight": 0.5, "at": "1:30", "none": None}},
        },
        "tags": ["on", "1", -3],
    }
