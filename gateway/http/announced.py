"""The length of a response: what its head announced to the client, and what is sent.

This is the last barrier before the client. It compares bytes with the head and trusts no other part: after a byte too
many or too few, an HTTP/1.1 client would misread the next response. Bytes that do not fit are never written; the
connection or stream ends (RFC 9112 section 6.3, RFC 9113 section 8.1.1).
"""

from __future__ import annotations

from gateway.errors import MessageError

OPEN = -1
"""The remaining length of a body that marks its own end, or of a tunnel: it is not known."""

_BODILESS = (b"204", b"304")


def begun(method: bytes, status_line: bytes, length: int, size: int, *, ended: bool) -> int:
    """Return what is still to come behind a head and ``size`` bytes of the body, or ``OPEN``.

    Raises:
        MessageError: 502, the body is not as long as the head announces.
    """
    if length and (method == b"HEAD" or status_line[9:12] in _BODILESS):
        raise MessageError(502, "a body where none may be")
    if size == length:  # the usual case, without a call of ours
        return 0
    return left(max(length, OPEN), size, ended=ended)


def left(owed: int, size: int, *, ended: bool) -> int:
    """Return what is still to come of ``owed`` bytes after ``size`` more of them.

    Raises:
        MessageError: 502, there are more, or they end too early.
    """
    if owed == OPEN:
        return OPEN
    owed -= size
    if owed < 0 or (ended and owed):
        raise MessageError(502, "a body that is not as long as the Content-Length that was announced")
    return owed
