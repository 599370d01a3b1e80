"""The header fields that the gateway itself adds and removes, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.forwarding import HOST_HERE

if TYPE_CHECKING:
    from gateway.http.downstream import Peer
    from gateway.http.forwarding import Forwarding
    from gateway.http.head import RequestHead
    from gateway.routing.snapshot import Api, Snapshot


def to_upstream(head: RequestHead, peer: Peer, api: Api, own: bytes, forwarding: Forwarding) -> bytes:
    """Write a request's field lines as the upstream shall read them, but for Host and the framing.

    ``own`` are lines that are the gateway's alone, each with its CRLF.
    """
    host = head.host
    if peer.trusted:
        forwarded = forwarding.of_proxy(
            peer.address, host, head.forwarded, encrypted=bool(peer.tls_version), port=peer.local_port
        )
    else:
        forwarded = peer.forwarded_lines.replace(HOST_HERE, host)
    lines = head.lines if api.request_rules is None else api.request_rules.apply(head.lines)
    fields = b"\r\n".join(lines) + b"\r\n" if lines else b""
    return b"%b%b%b" % (fields, forwarded, own)


def to_client(lines: list[bytes], peer: Peer, api: Api, snapshot: Snapshot) -> list[bytes]:
    """Return a response's field lines as the client shall read them."""
    lines = lines.copy()  # they may be another response's too
    if snapshot.hsts is not None:
        demand_https(lines, peer, snapshot)
    return lines if api.response_rules is None else api.response_rules.apply(lines)


def demand_https(lines: list[bytes], peer: Peer, snapshot: Snapshot) -> None:
    """Have the client come back over https only; to be said over TLS alone (RFC 6797 section 7.2)."""
    if peer.tls_version and snapshot.hsts is not None:
        lines.append(snapshot.hsts)
