"""What stands for a private key in a definition, and comes back as that key and as no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.concealment import concealed, revealed
from gateway.errors import ConfigurationError

KEYS = ["-----BEGIN PRIVATE KEY-----\nONE", "-----BEGIN EC PRIVATE KEY-----\nTWO"]
TEXTS = st.sampled_from([*KEYS, "id", "", "(inline PEM", "\ud800 PRIVATE KEY"])
LEAVES = st.none() | st.booleans() | st.integers() | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@given(VALUES)
def test_what_is_concealed_shows_no_key_and_is_revealed_as_it_was(value: object) -> None:
    shown = concealed(value)
    assert revealed(shown, value) == value
    if not isinstance(value, dict):
        assert not isinstance(shown, str) or "PRIVATE KEY" not in shown


def test_it_stands_for_nothing_in_another_definition() -> None:
    with pytest.raises(ConfigurationError, match="stands for nothing"):
        revealed({"certificates": [concealed(KEYS[0])]}, {"certificates": [KEYS[1]]})
    with pytest.raises(ConfigurationError, match="stands for nothing"):
        revealed(concealed(KEYS[0]), None)


def test_it_may_move_and_be_used_twice() -> None:
    original = {"certificates": [KEYS[0]]}
    assert revealed({"elsewhere": [concealed(KEYS[0])] * 2}, original) == {"elsewhere": [KEYS[0]] * 2}


def test_a_password_is_not_shown_and_comes_back_to_its_own_place_only() -> None:
    original = {"upstream_auth": {"basic_auth": {"username": "u", "Password": "hunter2", "password": ""}}}
    shown = concealed(original)
    assert shown == {
        "upstream_auth": {"basic_auth": {"username": "u", "Password": "(password, not shown)", "password": ""}}
    }
    assert revealed(shown, original) == original
    assert revealed({"upstream_auth": {"basic_auth": {"password": "new"}}}, original) == {
        "upstream_auth": {"basic_auth": {"password": "new"}}
    }
    with pytest.raises(ConfigurationError, match="stands for nothing"):
        revealed(shown, {})
