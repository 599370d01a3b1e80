"""Finding a cookie among what a client sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.cookies import cookie_value, field_value, session_cookie


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([b"Cookie: a=1"], b"1"),
        ([b"Host: x", b"cookie:b=2; a=1"], b"1"),
        ([b"Cookie: b=2", b"Cookie: a=1"], b"1"),
        ([b"Cookie: a=1; a=2"], b"1"),
        ([b"Cookie: a="], b""),
        ([b"Cookie: a=b=c"], b"b=c"),
        ([b"Cookie: xa=1; A=2; a"], None),
        ([b"X-Cookie: a=1"], None),
        ([b"Cookie"], None),
        ([], None),
    ],
)
def test_the_first_cookie_of_the_name_counts(lines: list[bytes], value: bytes | None) -> None:
    assert cookie_value(lines, b"a") == value


TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=8).map(str.encode)


@given(st.lists(st.tuples(TOKENS, TOKENS), max_size=8), TOKENS)
def test_what_was_written_is_found(pairs: list[tuple[bytes, bytes]], name: bytes) -> None:
    line = b"Cookie: " + b"; ".join(b"%b=%b" % pair for pair in pairs)
    wanted = next((value for key, value in pairs if key == name), None)
    assert cookie_value([line], name) == wanted


@given(st.lists(st.binary(max_size=40)), st.binary(max_size=3))
def test_nothing_that_is_sent_makes_it_fail(lines: list[bytes], name: bytes) -> None:
    for found in (cookie_value(lines, name), field_value(lines, name)):
        assert found is None or isinstance(found, bytes)


def test_a_field_is_found_in_any_case() -> None:
    assert field_value([b"X-Tenant:  a ", b"x-tenant: b"], b"x-tenant") == b"a"


def test_the_cookie_that_is_set_is_out_of_reach_for_scripts_and_plain_http() -> None:
    assert session_cookie(b"n", b"v") == b"Set-Cookie: n=v; Path=/; Secure; HttpOnly; SameSite=Lax"
