"""Which site answers a server name: a bounded cache in front of the store.

Building a site costs about a millisecond, so each is built when it is first asked for and kept; a swap evicts the names
that changed and nothing else. A site is built anew as well when time has changed which certificates are valid: the
store says until when its choice holds. Names that nobody serves are remembered as such, in the same bounded cache:
strangers who scan for names must not be able to make the store work for each.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.errors import CertificateError, GatewayError, StoreError
from gateway.routing.front import Front
from gateway.tls.context import Site, build_site
from gateway.tls.names import candidates
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.certs.choice import Choice
    from gateway.certs.pem import CertificatePair
    from gateway.routing.policies import HostPolicies, HostPolicy
    from gateway.routing.snapshot import Snapshot

DEFAULT = ""
"""The store's key of the default site."""

_SECONDS_BETWEEN_TRIES = 5.0


class PortRules(Protocol):
    """What a port asks of TLS: the rules of its hosts, and what is spoken on it (ALPN; nothing: whatever it is)."""

    @property
    def hosts(self) -> HostPolicies | None:
        """None where no TLS is spoken."""

    @property
    def protocols(self) -> tuple[bytes, ...]:
        """The preferred one first."""


class _Built(NamedTuple):
    """A site, or None where a name has none; whether its certificates are valid, and until when it is the one."""

    site: Site | None
    current: bool
    until: float


class Sites:
    """The TLS sites of one worker.

    ``choose_pairs`` is the store's point look-up: the certificates of exactly this name (or wildcard, or ``DEFAULT``).
    ``clock`` tells the seconds since 1970.
    """

    def __init__(
        self, choose_pairs: Callable[[str], Choice[CertificatePair]], clock: Callable[[], float] = time.time
    ) -> None:
        self._choose_pairs = choose_pairs
        self._clock = clock
        self._sites: OrderedDict[tuple[str, HostPolicy, tuple[bytes, ...]], _Built] = OrderedDict()
        self._policies: set[tuple[HostPolicy, tuple[bytes, ...]]] = set()

    def __len__(self) -> int:
        """Count the names that are remembered, served or not."""
        return len(self._sites)

    def find(self, name: str, snapshot: Snapshot, port: PortRules) -> tuple[HostPolicy, Site | None]:
        """Find the rules and the site for a server name or, when the client sent none, for the address it dialled.

        Exact name, then wildcard, the first that is valid; then, unless ``strict_sni``, the default site. No site when
        nothing may answer.

        Raises:
            StoreError: the certificates cannot be read.
            CertificateError: OpenSSL does not accept them.
        """
        assert port.hosts is not None
        policy = port.hosts.of_host(name)
        fallback: Site | None = None
        for key in candidates(name):
            built = self._site(key, policy, port.protocols, snapshot)
            if built.current:
                return policy, built.site
            fallback = fallback or built.site
        if fallback is None and not snapshot.strict_sni:
            fallback = self._site(DEFAULT, policy, port.protocols, snapshot).site
        return policy, fallback

    def front(self, name: str, snapshot: Snapshot, port: PortRules) -> Front:
        """Tell what `find` finds for a name."""
        assert port.hosts is not None
        site, trouble = None, ""
        try:
            policy, site = self.find(name, snapshot, port)
        except (StoreError, CertificateError) as error:
            policy, trouble = port.hosts.of_host(name), str(error)
        tls = policy.tls
        return Front(
            tls=True,
            site=site.name if site else None,
            fingerprints=site.fingerprints if site else (),
            minimum=tls.minimum.label,
            maximum=tls.maximum.label,
            ciphers=tls.ciphers if tls.minimum < TlsVersion.TLS1_3 else (),
            suites=tls.suites if tls.maximum >= TlsVersion.TLS1_3 else (),
            server_preference=tls.server_preference,
            trouble=trouble,
        )

    def _site(self, name: str, policy: HostPolicy, protocols: tuple[bytes, ...], snapshot: Snapshot) -> _Built:
        """Hosts that share certificates have a site for each policy, between which no session resumes."""
        key = name, policy, protocols
        known = self._sites.get(key)
        if known is not None and self._clock() < known.until:
            self._sites.move_to_end(key)
            return known
        try:
            built = self._build(name, policy, protocols)
        except GatewayError:
            if known is None:
                raise
            built = known._replace(until=self._clock() + _SECONDS_BETWEEN_TRIES)  # out of its time, but not nothing
        self._sites[key] = built
        self._sites.move_to_end(key)
        self._policies.add((policy, protocols))
        if len(self._sites) > snapshot.limits.active_sites:
            self._sites.popitem(last=False)
        return built

    def _build(self, name: str, policy: HostPolicy, protocols: tuple[bytes, ...]) -> _Built:
        pairs, current, until = self._choose_pairs(name)
        if not pairs:
            return _Built(None, current, until)
        return _Built(build_site(name, pairs, policy.tls, protocols=protocols, clients=policy.clients), current, until)

    def evict(self, names: Iterable[str] | None) -> None:
        """Forget what changed; ``None`` when anything may have. Connections keep what they have."""
        if names is None:
            self._sites.clear()
            self._policies.clear()
            return
        for name in names:
            for policy in self._policies:
                self._sites.pop((name, *policy), None)
