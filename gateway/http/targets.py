r"""Request targets: their grammar (RFC 3986 section 3.3), and the one form in which they are routed and passed on.

A path follows the grammar to the letter, with brackets added. A query may be whatever the URL Standard lets browsers
send: they leave ``{}|\^` ``, brackets and a lonely ``%`` in it as they are. Bytes above 127, which curl sends as they
were typed, are percent-encoded here, so that nothing behind this file meets one.
"""

from __future__ import annotations

import re

from gateway.errors import TargetError

_PATH = rb"[!$&-;=@-Z\[\]_a-z~]*+"
_QUERY = rb"[!$&-;=?-~]*+"
# A program in C would see the end of the path at a %00. Overlong UTF-8 (RFC 3629 section 3) is another spelling of a
# dot or a slash, which only a careless decoder knows.
_OCTET = rb"%(?!00|[cC][01]%[89abAB]|[eE]0%[89]|[fF]0%8)[0-9A-Fa-f][0-9A-Fa-f]"

ORIGIN_FORM = re.compile(rb"/%b(?:%b%b)*+(?:\?%b(?:%%(?!00)%b)*+)?" % (_PATH, _OCTET, _PATH, _QUERY, _QUERY))
"""A path with its query that is passed on as it came."""

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def origin_form(target: bytes) -> bytes:
    """Return a path with its query as it is routed and passed on: in ASCII.

    Raises:
        TargetError: it is none: RFC 9112 section 3.2 forbids repairs, which could lead past somebody's filter.
    """
    if not target.isascii():
        target = _NOT_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), target)
    if ORIGIN_FORM.fullmatch(target) is None:
        raise TargetError("malformed request target")
    return target
