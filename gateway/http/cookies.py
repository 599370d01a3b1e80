"""Cookies, as far as the gateway reads and writes any: the one that keeps a client at its target (RFC 6265)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def field_value(lines: Sequence[bytes], name: bytes) -> bytes | None:
    """Return the value of the first field of that name (lower case), None when there is none."""
    for line in lines:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip(b" \t")
    return None


def cookie_value(lines: Sequence[bytes], name: bytes) -> bytes | None:
    """Return the value of the first cookie of that name (RFC 6265 section 4.2.1), None when there is none."""
    for line in lines:
        found, _, value = line.partition(b":")
        if found.lower() != b"cookie":
            continue
        for pair in value.split(b";"):
            key, equals, text = pair.strip(b" \t").partition(b"=")
            if equals and key == name:
                return text
    return None


def session_cookie(name: bytes, value: bytes) -> bytes:
    """Write the line that sets a cookie which ends with the browser, and which no script and no plain HTTP sees."""
    return b"Set-Cookie: %b=%b; Path=/; Secure; HttpOnly; SameSite=Lax" % (name, value)
