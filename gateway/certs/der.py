"""The few facts that are read from DER (X.690) itself, because the library does not offer them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRYPT = bytes.fromhex("06092b06010401da47040b")
"""The object identifier 1.3.6.1.4.1.11591.4.11 (RFC 7914 section 7)."""
_CURVE_FIELD = bytes.fromhex("2a8648ce3d01")
"""The prefix of field identifiers, 1.2.840.10045.1 (RFC 3279 section 2.3.5): only curves written out contain one."""

_INTEGER, _SEQUENCE = 0x02, 0x30
_CONSTRUCTED = 0x20
_DEEPEST = 16


def element(data: bytes, at: int = 0) -> tuple[int, int, int]:
    """Return the tag of the element at an offset, and where its content begins and ends. Raises ValueError."""
    if len(data) < at + 2:
        raise ValueError("cut off")
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= 4 or len(data) < start + size:
            raise ValueError("not DER")
        length, start = int.from_bytes(data[start : start + size]), start + size
    if tag & 0x1F == 0x1F or len(data) < start + length:
        raise ValueError("cut off, or not of the kind that is expected")
    return tag, start, start + length


def content(data: bytes) -> bytes:
    """Return what the SEQUENCE that ``data`` begins with holds. Raises ValueError."""
    tag, start, end = element(data)
    if tag != _SEQUENCE:
        raise ValueError("no SEQUENCE")
    return data[start:end]


def first(data: bytes) -> bytes:
    """Return the first element of ``data`` as it stands there. Raises ValueError."""
    _, _, end = element(data)
    return data[:end]


def integers(data: bytes) -> list[int]:
    """Return all INTEGERs in an element and what it holds, in order. Raises ValueError."""
    return list(_integers(data, _DEEPEST))


def has_explicit_curve(data: bytes) -> bool:
    """Tell whether a certificate or key has the parameters of its curve written out instead of the curve's name."""
    return _CURVE_FIELD in data


def _integers(data: bytes, depth: int) -> Iterator[int]:
    at = 0
    while at < len(data):
        tag, start, end = element(data, at)
        if tag == _INTEGER:
            yield int.from_bytes(data[start:end], signed=True)
        elif tag & _CONSTRUCTED:
            if not depth:
                raise ValueError("nested too deeply")
            yield from _integers(data[start:end], depth - 1)
        at = end
