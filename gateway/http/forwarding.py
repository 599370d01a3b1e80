"""What an upstream is told about the client: X-Forwarded-For, -Proto, -Host and -Port.

A client can write these fields too, so they are believed only when the peer is one of ``gateway.trusted_proxies``;
from anyone else they are dropped and written anew. (Tyk appends to whatever came; that lets a client choose its own
address.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.networks import address as parsed
from gateway.config.networks import contain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.networks import Network
    from gateway.http.fields import Field


def client_address(peer: str, forwarded: Sequence[Field], networks: Sequence[Network]) -> str:
    """Find who asked: the right-most X-Forwarded-For entry that no trusted proxy wrote about a trusted proxy.

    ``peer`` is a trusted proxy's address. Entries that are no addresses end the search.
    """
    address = peer
    for entry in reversed(_values(forwarded, b"x-forwarded-for").split(b",")):
        try:
            address = _plain_address(entry.strip().decode("latin-1"))
        except ValueError:
            break
        if not contain(networks, address):
            break
    return address


def _plain_address(text: str) -> str:
    """Write an address the one way it is logged: no brackets, no zone (which may be any text), IPv4 as itself."""
    if "%" in text:
        raise ValueError("an address with a zone")
    return str(parsed(text.removeprefix("[").removesuffix("]")))


def _values(fields: Sequence[Field], name: bytes) -> bytes:
    return b", ".join(field.value for field in fields if field.name == name and field.value)


def connection_lines(peer: str, *, encrypted: bool, port: int) -> bytes:
    """Write the lines that are the same for each request of an untrusted peer's connection, CRLF included."""
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\n" % (
        peer.encode(),
        b"https" if encrypted else b"http",
        port,
    )


def trusted_lines(peer: str, host: bytes, forwarded: Sequence[Field], *, encrypted: bool, port: int) -> bytes:
    """Write the lines for a request of a trusted proxy: its own are kept, its address is appended to the list."""
    earlier = _values(forwarded, b"x-forwarded-for")
    hops = b"%b, %b" % (earlier, peer.encode()) if earlier else peer.encode()
    said = {
        b"x-forwarded-for": hops,
        b"x-forwarded-proto": b"https" if encrypted else b"http",
        b"x-forwarded-host": host,
        b"x-forwarded-port": b"%d" % port,
    }
    for field in reversed(forwarded):  # the first of two lines wins
        if field.name != b"x-forwarded-for":
            said[field.name] = field.value
    return b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in said.items())
