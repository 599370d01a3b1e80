"""The answers that the gateway gives itself: JSON errors, redirects, interim responses."""

from __future__ import annotations

import json
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

UPSTREAM_MESSAGES = {
    502: "The upstream cannot be reached, or gave no valid response",
    503: "No upstream is available",
    504: "The upstream took too long to answer",
}
"""What a client is told about an upstream's failure: no address and no detail. The event log has those."""


ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def reason_phrase(status: int) -> str:
    """Name a status code; 499 is what nginx and Tyk log for a client that left."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Unknown"


def status_line(status: int) -> bytes:
    """Write the status line of ``status``."""
    return f"HTTP/1.1 {status} {reason_phrase(status)}".encode()


def error_body(message: str) -> bytes:
    """Write the body of an error, in Tyk's shape: ``{"error": "..."}``."""
    return json.dumps({"error": message}).encode() + b"\n"


def date_line() -> bytes:
    """Write the Date field of this moment."""
    return _date_line(int(time()))


@lru_cache(2)
def _date_line(second: int) -> bytes:
    return b"Date: " + formatdate(second, usegmt=True).encode()


def error_lines(status: int) -> list[bytes]:
    """Write the field lines of an error, but for its length and what is particular to it."""
    lines = [b"Content-Type: application/json", b"Cache-Control: no-store", date_line()]
    if status == 503:  # RFC 9110 section 10.2.3; connections become free, and hosts come up, within such times
        lines.append(b"Retry-After: 5")
    if status == 405:  # RFC 9110 section 15.5.6 requires it
        lines.append(ALLOW)
    return lines


def last_error(status: int, message: str) -> bytes:
    """Write an error after which an HTTP/1.1 connection is closed."""
    body = error_body(message)
    lines = [*error_lines(status), b"Content-Length: %d" % len(body), b"Connection: close", b"\r\n"]
    return b"\r\n".join((status_line(status), *lines)) + body


def redirect_location(host: bytes, target: bytes, https_port: int) -> bytes:
    """Write the https URL of what was asked for over http (RFC 9110 section 15.4.9)."""
    name, _, port = host.rpartition(b":")
    if not name or (port and not port.isdigit()):
        name = host
    authority = name if https_port == 443 else b"%b:%d" % (name, https_port)
    return b"https://%b%b" % (authority, target)
