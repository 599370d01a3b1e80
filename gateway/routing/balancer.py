"""The balancer of one API: its targets, their health, the policy that chooses, and what retries it can afford."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.routing.choice import HashRing, LeastRequests, RoundRobin, Sticky
from gateway.routing.health import Health
from gateway.routing.retries import RetryBudget
from gateway.routing.uptime import host_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from gateway.config.definitions import ApiDefinition
    from gateway.routing.choice import Policy
    from gateway.routing.snapshot import Upstream


class Balancer:
    """Chooses among ``upstreams``. It is made with a snapshot, and serves after ``begin``.

    ``key_from`` is what a request is known by: empty for nothing, ``address``, ``header:Name`` or ``cookie:name``.
    """

    def __init__(self, api: ApiDefinition, upstreams: Sequence[Upstream], weights: Sequence[int]) -> None:
        options = api.gateway.balancing
        self.api_id = api.api_id
        self.upstreams = tuple(upstreams)
        self.retries = options.retries
        self.requests = 0
        self.cookie = options.cookie or f"gateway_{sha256(api.api_id.encode()).hexdigest()[:8]}"
        self.key_from = {"hash": options.hash_on, "sticky": f"cookie:{self.cookie}"}.get(options.policy, "")
        self._options = options
        targets = [upstream.target for upstream in upstreams]
        self._names = tuple(f"{one.scheme} {one.host} {one.port} {one.base_path!r} {one.query!r}" for one in targets)
        self._weighted = tuple(weights)
        self.places = (self._names, self._weighted)
        self.health = Health(api.gateway.health, self._names, self._weighted)
        self._probed = api.proxy.check_host_against_uptime_tests
        self._weights: tuple[int, ...] = ()
        self.turns: Iterator[Upstream] | None = None
        """What `choose` comes to where neither the request nor earlier attempts count; but ``requests`` must."""
        self.policy: Policy = RoundRobin()
        self._budget = RetryBudget(0, 0, 0.0)

    def begin(self, now: float, key: bytes, before: Balancer | None) -> None:
        """Serve from now on, with what ``before``, the API's balancer until now, knew of the same targets."""
        if before is not None:
            self.health.inherit(before.health)
        self.policy = self._make_policy(key, before)
        self._budget = RetryBudget(self._options.retry_share, self._options.retry_floor, now)
        self.refresh(now)

    def _make_policy(self, key: bytes, before: Balancer | None) -> Policy:
        match self._options.policy:
            case "round_robin":
                return RoundRobin()
            case "least_requests":
                return LeastRequests()
            case "hash":
                # A ring takes a millisecond: a reload of a thousand APIs must not stop traffic for a second.
                if before is not None and isinstance(before.policy, HashRing) and before.places == self.places:
                    return before.policy
                return HashRing(self._names, self._weighted)
            case "sticky":
                return Sticky(key, self.api_id, self._names)

    def rekey(self, key: bytes, now: float) -> None:
        """Know clients by cookies of another key from now on."""
        if isinstance(self.policy, Sticky):
            self.policy, self._weights = self._make_policy(key, self), ()
            self.refresh(now)

    def choose(self, key: bytes | None, load: Callable[[Upstream], int], tried: Collection[int]) -> Upstream | None:
        """Return where the next request, or the next attempt after those at ``tried``, shall go; None: all are down."""
        if not tried:
            self.requests += 1
        else:
            fresh = [index for index, weight in enumerate(self._weights) if weight and index not in tried]
            if fresh:
                return min((self.upstreams[index] for index in fresh), key=load)
        if self.turns is not None:
            return next(self.turns)
        if not any(self._weights):
            return None
        return self.upstreams[self.policy.choose(key, lambda index: load(self.upstreams[index]))]

    def cookie_value(self, upstream: Upstream) -> bytes | None:
        """What the cookie of a client must say to lead to ``upstream``; None where no cookie leads anywhere."""
        return self.policy.tokens[upstream.index] if isinstance(self.policy, Sticky) else None

    def failed(self, upstream: Upstream, now: float) -> float:
        """Note a failure of ``upstream``; return the seconds for which it is out now, 0 if it is not."""
        seconds = self.health.failed(upstream.index, now)
        if seconds:
            self.refresh(now)
        return seconds

    def may_retry(self, attempts: int, now: float) -> bool:
        """Whether a request that was tried so often may be tried once more."""
        several = len(self.upstreams) > 1
        return several and attempts <= self.retries and self._budget.allows(self.requests, now)

    def probed(self, down: Collection[str], now: float) -> None:
        """Note which hosts are down, as `uptime.host_key` names them."""
        hosts = (host_key(self.api_id, one.target.host, one.target.port) for one in self.upstreams)
        self.health.probed(down if self._probed else (), hosts, now)
        self.refresh(now)

    def pending(self, now: float) -> bool:
        """Whether time alone will change the weights."""
        return self.health.pending(now)

    def refresh(self, now: float) -> None:
        """Let the policy know what time, failures and probes have changed."""
        weights = self.health.weights(now)
        if weights == self._weights:
            return
        self._weights = weights
        self.turns = None
        if any(weights):
            self.policy.weigh(weights)
            if isinstance(self.policy, RoundRobin):
                self.turns = map(self.upstreams.__getitem__, self.policy.turns)
