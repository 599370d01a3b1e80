"""The types of services that `gateway upstream` puts behind the gateway, with Tableau's names for TabPy and Rserve."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A connection type: the scheme of its target, whether it is HTTP, and what is meant when it is not said."""

    scheme: str
    is_http: bool
    name: str
    port: int | None

    @property
    def is_secure(self) -> bool:
        """True when the gateway speaks TLS to the upstream."""
        return self.scheme in {"https", "tls"}


KINDS = {
    "tabpy": Kind("http", is_http=True, name="tabpy", port=9004),
    "tabpy-secure": Kind("https", is_http=True, name="tabpy", port=9004),
    "rserve": Kind("tcp", is_http=False, name="rserve", port=6311),
    "rserve-secure": Kind("tls", is_http=False, name="rserve", port=4912),
    "http": Kind("http", is_http=True, name="", port=80),
    "https": Kind("https", is_http=True, name="", port=443),
    "tcp": Kind("tcp", is_http=False, name="", port=None),
    "tls": Kind("tls", is_http=False, name="", port=None),
}
