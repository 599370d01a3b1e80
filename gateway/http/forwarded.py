"""The Forwarded field (RFC 7239): read without guessing, written so that it cannot be misread."""

from __future__ import annotations

import re

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rb'[ \t]*(%b)=(%b|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*")[ \t]*' % (_TOKEN, _TOKEN))
_SPACE = re.compile(rb"[ \t]*")
_ESCAPE = re.compile(rb"\\(.)")


def parse(value: bytes) -> list[dict[bytes, bytes]]:
    """Read elements, the client's first, each as its parameters by lower-case name.

    Raises ValueError for anything malformed: what is appended to an open quotation would become part of it.
    """
    elements: list[dict[bytes, bytes]] = [{}]
    at = 0
    while at < len(value):
        match = _PAIR.match(value, at)
        if match is not None:
            name = match[1].lower()
            if name in elements[-1]:
                raise ValueError("a parameter stands twice in a Forwarded element")
            elements[-1][name] = _plain(match[2])
            at = match.end()
        else:  # RFC 9110 section 5.6.1: empty members of a list mean nothing
            at = _SPACE.match(value, at).end()  # type: ignore[union-attr]  # matches anywhere
        if at < len(value):
            if value[at] == 0x2C:
                elements.append({})
            elif value[at] != 0x3B:
                raise ValueError("a malformed Forwarded field")
            at += 1
    return [element for element in elements if element]


def _plain(value: bytes) -> bytes:
    return _ESCAPE.sub(rb"\1", value[1:-1]) if value.startswith(b'"') else value


def element(address: str, host: bytes, *, encrypted: bool) -> bytes:
    """Write the element about a connection from ``address``; ``host`` is a Host field's value, and gets quoted."""
    node = address.partition("%")[0].encode()
    if b":" in node:  # section 6: an IPv6 address has brackets, and those must be quoted
        node = b'"[%b]"' % node
    return b'for=%b;host="%b";proto=%b' % (node, host, b"https" if encrypted else b"http")
