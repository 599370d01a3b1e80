"""What a request is known by, where a policy sends the same client to the same target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.cookies import cookie_value, field_value, session_cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.routing.balancer import Balancer
    from gateway.routing.snapshot import Upstream


def request_key(key_from: str, lines: Sequence[bytes], client: Callable[[], str]) -> bytes | None:
    """Return what ``key_from`` (see `Balancer`) says of a request with these field lines, None if nothing."""
    kind, _, name = key_from.partition(":")
    match kind:
        case "address":
            return client().encode()
        case "header":
            return field_value(lines, name.lower().encode())
        case "cookie":
            return cookie_value(lines, name.encode())
    return None


def sticky_line(balancer: Balancer, upstream: Upstream, key: bytes | None) -> bytes | None:
    """Write the field that brings a client back to ``upstream``; None where none does, or ``key`` does already."""
    value = balancer.cookie_value(upstream)
    return session_cookie(balancer.cookie.encode(), value) if value is not None and value != key else None
