"""What an upstream is told about the client: X-Forwarded-For, -Proto, -Host and -Port, or Forwarded (RFC 7239).

A client can write these fields too, so they are believed only when the peer is one of ``gateway.trusted_proxies``;
from anyone else they are dropped and written anew. (Tyk appends to whatever came; that lets a client choose its own
address.) Of the two families, one that the gateway does not speak is not believed either, and goes no further: a proxy
that writes one of them may well pass on what a client wrote in the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.config.networks import address as parsed
from gateway.config.networks import contain
from gateway.http.forwarded import element, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.networks import Network
    from gateway.http.fields import Field

HOST_HERE = b"\0"
"""Stands for the request's host in the lines of a connection: the one thing in them that differs by request."""

# RFC 7239 section 6, without the nodes that are no addresses; X-Forwarded-For has bare IPv6 addresses, too.
_NODE = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\w+)?|([0-9.]+)(?::\w+)?|([0-9A-Fa-f:.]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How the gateway speaks of clients, and whom it believes.

    ``depth`` is Tyk's ``xff_depth``: the client is that entry from the right; 0: the right-most that no proxy is.
    """

    style: Literal["x-forwarded", "forwarded", "both"]
    proxies: Sequence[Network]
    depth: int = 0

    def client(self, peer: str, fields: Sequence[Field]) -> str:
        """Find who asked: the right-most entry that no trusted proxy wrote about a trusted proxy.

        ``peer`` is a trusted proxy's address. Entries that are no addresses end the search.
        """
        entries = self._entries(fields)
        if self.depth:
            entries = entries[-self.depth :][:1] if len(entries) >= self.depth else []
        address = peer
        for entry in reversed(entries):
            try:
                address = _address(entry.strip().decode("latin-1"))
            except ValueError:
                break
            if not contain(self.proxies, address):
                break
        return address

    def _entries(self, fields: Sequence[Field]) -> list[bytes]:
        if self.style != "forwarded" and (listed := _values(fields, b"x-forwarded-for")):
            return listed.split(b",")
        if self.style == "x-forwarded":
            return []
        return [one.get(b"for", b"") for one in parse(_forwarded(fields))]

    def of_connection(self, peer: str, *, encrypted: bool, port: int) -> bytes:
        """Write the lines, CRLF included, for each request of an untrusted peer, with ``HOST_HERE`` for its host."""
        lines = b""
        if self.style != "forwarded":
            lines = (
                b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\nX-Forwarded-Host: %b\r\n"
                % (
                    peer.encode(),
                    b"https" if encrypted else b"http",
                    port,
                    HOST_HERE,
                )
            )
        if self.style != "x-forwarded":
            lines += b"Forwarded: %b\r\n" % element(peer, HOST_HERE, encrypted=encrypted)
        return lines

    def of_proxy(self, peer: str, host: bytes, fields: Sequence[Field], *, encrypted: bool, port: int) -> bytes:
        """Write the lines for a request of a trusted proxy: its own are kept, its address is appended to the list."""
        lines = b""
        if self.style != "forwarded":
            lines = _x_forwarded(peer, host, fields, encrypted=encrypted, port=port)
        if self.style != "x-forwarded":
            earlier = _forwarded(fields)
            own = element(peer, host, encrypted=encrypted)
            lines += b"Forwarded: %b\r\n" % (b"%b, %b" % (earlier, own) if earlier else own)
        return lines


def _address(text: str) -> str:
    """Write an address the one way it is logged: no brackets, port or zone, IPv4 as itself. Raises ValueError."""
    match = _NODE.fullmatch(text)
    if match is None:
        raise ValueError("not an address")
    return str(parsed(match[match.lastindex or 0]))


def _values(fields: Sequence[Field], name: bytes) -> bytes:
    return b", ".join(field.value for field in fields if field.name == name and field.value)


def _forwarded(fields: Sequence[Field]) -> bytes:
    """What proxies said in Forwarded, "" if it cannot be read: then nothing of it is believed or passed on."""
    value = _values(fields, b"forwarded")
    try:
        parse(value)
    except ValueError:
        return b""
    return value


def _x_forwarded(peer: str, host: bytes, fields: Sequence[Field], *, encrypted: bool, port: int) -> bytes:
    earlier = _values(fields, b"x-forwarded-for")
    hops = b"%b, %b" % (earlier, peer.encode()) if earlier else peer.encode()
    said = {
        b"x-forwarded-for": hops,
        b"x-forwarded-proto": b"https" if encrypted else b"http",
        b"x-forwarded-host": host,
        b"x-forwarded-port": b"%d" % port,
    }
    for field in reversed(fields):  # the first of two lines wins
        if field.name not in (b"x-forwarded-for", b"forwarded"):
            said[field.name] = field.value
    return b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in said.items())
