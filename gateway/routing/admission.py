"""Who may ask an API, and on which connections: looked at only where it makes a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.networks import contain, networks

if TYPE_CHECKING:
    from gateway.config.definitions import ApiDefinition
    from gateway.config.networks import Network
    from gateway.routing.policies import HostPolicy


@dataclass(frozen=True, slots=True)
class Admission:
    """The networks that may use an API (empty: all), and those that may not, which counts more.

    ``policy`` is that of ``host``, for which the request is; None where all hosts have the same.
    """

    allowed: tuple[Network, ...] = ()
    blocked: tuple[Network, ...] = ()
    host: str = ""
    policy: HostPolicy | None = None

    def refusal(self, server_name: str, began_under: object, address: str) -> tuple[int, str] | None:
        """Return the status and message for a request that must not pass, None if it may.

        The connection was made for ``server_name`` and ``began_under`` a policy. One made for the very same host
        goes on when the host's policy has changed since: connections keep what they began with.
        """
        if self.policy is not None and self.host != server_name and self.policy != began_under:
            return 421, f"this connection was made for {server_name or 'no name'}, whose TLS differs: open another"
        if not self.admits(address):
            return 403, "access from this IP has been disallowed"
        return None

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
