"""Whom an API lets in, by address: decided once per request, and only for APIs that ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.networks import contain, networks

if TYPE_CHECKING:
    from gateway.config.definitions import ApiDefinition
    from gateway.config.networks import Network


@dataclass(frozen=True, slots=True)
class Admission:
    """The networks that may use an API (empty: all), and those that may not, which counts more."""

    allowed: tuple[Network, ...]
    blocked: tuple[Network, ...]

    def admits(self, address: str) -> bool:
        """Tell whether a client with this address may use the API."""
        return not contain(self.blocked, address) and (not self.allowed or contain(self.allowed, address))


def admission(api: ApiDefinition) -> Admission | None:
    """Return whom ``api`` lets in, None for everybody. Tyk's lists count only where they are switched on."""
    lists = not api.ip_access_control_disabled
    allowed = api.allowed_ips if lists and api.enable_ip_whitelisting else ()
    blocked = api.blacklisted_ips if lists and api.enable_ip_blacklisting else ()
    own = api.gateway
    if not (allowed or blocked or own.allowed_networks or own.blocked_networks):
        return None
    return Admission(networks(allowed or own.allowed_networks), networks((*blocked, *own.blocked_networks)))
