"""Where the requests of an API can be sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from gateway.config.networks import bracketed
from gateway.config.problems import Problem, Severity
from gateway.errors import ConfigurationError
from gateway.tls.names import canonical

if TYPE_CHECKING:
    from gateway.config.definitions import ApiDefinition

Scheme = Literal["http", "https", "h2c", "tcp", "tls"]
_SCHEMES: dict[str, tuple[Scheme, int]] = {
    "http": ("http", 80), "https": ("https", 443), "h2c": ("h2c", 80), "tcp": ("tcp", 0), "tls": ("tls", 0),
}  # fmt: skip
# What may stand in a path as it is (RFC 3986 section 3.3), and the percent sign of what is encoded.
_SAFE = "/%:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Target:
    """One address that requests are forwarded to.

    ``scheme`` h2c is HTTP/2 without TLS, known beforehand (RFC 9113 section 3.3); tcp and tls are those of services.
    ``host`` is a canonical name, or an address without brackets; ``authority`` is what its Host field says, with the
    port where that is not the scheme's own. ``base_path`` is at least ``/``; ``query`` comes before the client's. Both
    are as they are written on the wire.
    """

    scheme: Scheme
    host: str
    port: int
    base_path: bytes
    query: bytes
    authority: bytes

    @classmethod
    def parse(cls, url: str) -> Target:
        """Read a URL with one of the schemes; one without a scheme is http.

        Raises ValueError, which never repeats the URL: it might hold a password.
        """
        if re.search(r"[\s\x00-\x1f\x7f]", url):
            raise ValueError("a target URL has no white space; write %20 where a space is meant")
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = canonical(parts.hostname or ""), parts.port
        except ValueError as error:
            raise ValueError("a target URL names a host and a port, as in http://10.0.0.1:8080/") from error
        if parts.scheme not in _SCHEMES:
            raise ValueError("a target URL starts with http://, https://, h2c://, tcp:// or tls://")
        scheme, usual_port = _SCHEMES[parts.scheme]
        if parts.username is not None or parts.fragment or not (port or (usual_port and port is None)):
            raise ValueError("a target URL has no user information, no fragment and no port 0; tcp and tls have a port")
        port = port or usual_port
        authority = bracketed(host)
        if port != usual_port:
            authority += f":{port}"
        base_path = quote(parts.path or "/", safe=_SAFE).encode()
        query = quote(parts.query, safe=_SAFE + "?").encode()
        return cls(scheme, host, port, base_path, query, authority.encode())


def weighted_targets(api: ApiDefinition) -> dict[Target, int]:
    """Where an API leads, and with which weights: its target list when it balances over one, else its one target.

    A target that is listed twice has twice the weight: so weights are written in Tyk. Raises ConfigurationError.
    """
    proxy = api.proxy
    if not (proxy.enable_load_balancing and proxy.target_list):
        return {_target(proxy.target_url, api, "target_url"): 1}
    found: dict[Target, int] = {}
    listed = zip(proxy.target_list, api.gateway.balancing.weights or repeat(1), strict=False)
    for place, (url, weight) in enumerate(listed):
        target = _target(url, api, f"target_list[{place}]")
        found[target] = found.get(target, 0) + weight
    return found


def _target(url: str, api: ApiDefinition, key: str) -> Target:
    try:
        return Target.parse(url)
    except ValueError as error:  # a host that only looks like one
        place = f"apis[{api.api_id}].proxy.{key}"
        cure = "write the host as letters, digits, hyphens and dots, or as an IP address"
        raise ConfigurationError([Problem(Severity.ERROR, place, "", str(error), cure)]) from error
