"""Addresses and networks, the one way in which all of the gateway compares them: IPv4 is itself, however it came."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Network = IPv4Network | IPv6Network


def address(text: str) -> IPv4Address | IPv6Address:
    """Read an IP literal; an IPv4 address within IPv6 (RFC 4291 section 2.5.5.2) is the IPv4 address.

    Raises ValueError for anything else.
    """
    parsed = ip_address(text)
    return getattr(parsed, "ipv4_mapped", None) or parsed


def is_address(text: str) -> bool:
    """Whether ``text`` is an IP literal and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """Write a host as URLs have it: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def unbracketed(host: str) -> str:
    """Take the brackets from an IPv6 address that is written as in a URL."""
    inside = host[1:-1] if host.startswith("[") and host.endswith("]") else ""
    return inside if ":" in inside and is_address(inside) else host


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks that the configuration has checked."""
    return tuple(map(ip_network, texts))


def one_client(text: str) -> str:
    """Name whom limits take for one client: an IPv4 address, or an IPv6 network of 64 bits, which is a household's.

    Of those addresses each has 2**64 to choose from (RFC 6177; RFC 4291 section 2.5.4).
    """
    if ":" not in text:
        return text
    return str(ip_network((int(IPv6Address(text.partition("%")[0])) >> 64 << 64, 64)))


def contain(known: Sequence[Network], text: str) -> bool:
    """Tell whether an IP literal, which may have a zone, is in one of the ``known`` networks."""
    if not known:
        return False
    wanted = address(text.partition("%")[0])
    return any(wanted in network for network in known)
