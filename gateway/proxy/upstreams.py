"""What one worker knows of the upstreams: a pool for each, the addresses of their names, and the balancers' health.

It outlives snapshots: a reload that does not change a target keeps its connections and what is known of its health.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.proxy.introduced_pool import IntroducedPool
from gateway.proxy.multiplexed_pool import MultiplexedPool
from gateway.proxy.pool import Pool, Surroundings
from gateway.proxy.resolver import Resolver
from gateway.proxy.service_pool import ServicePool
from gateway.routing.health import TargetState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from gateway.errors import UpstreamError
    from gateway.http.fields import FieldTable
    from gateway.observe.events import EventLog
    from gateway.routing.balancer import Balancer
    from gateway.routing.snapshot import Api, Snapshot, Upstream


class Upstreams:
    """The pools and balancers of a worker. Make it in the loop that will run it."""

    def __init__(
        self,
        table: FieldTable,
        events: EventLog,
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[None, None, None]], None],
        cookie_key: bytes,
    ) -> None:
        self.resolver = Resolver(clock, self._moved)
        self._surroundings = Surroundings(table, events, clock, self.resolver, spawn)
        self._events = events
        self._clock = clock
        self._cookie_key = cookie_key
        self._pools: dict[str, Pool] = {}
        self._apis: dict[str, Api] = {}
        self._unsettled: set[str] = set()  # APIs of which time will change the weights
        self._down: frozenset[str] = frozenset()

    def pool(self, upstream: Upstream) -> Pool:
        """Find the connections to ``upstream``."""
        pool = self._pools.get(upstream.key)
        if pool is None:
            pool = self._pools[upstream.key] = _kind(upstream)(upstream, self._surroundings)
        return pool

    def load(self, upstream: Upstream) -> int:
        """How many requests ``upstream`` is answering for this worker, and how many wait to be sent."""
        pool = self._pools.get(upstream.key)
        return pool.in_flight + pool.waiting if pool is not None else 0

    def failed(self, balancer: Balancer | None, upstream: Upstream, error: UpstreamError) -> None:
        """Note that a request to ``upstream`` failed; leave it out for a while if it was one too many."""
        self.pool(upstream).failures += 1
        seconds = balancer.failed(upstream, self._clock()) if balancer is not None else 0.0
        if balancer is not None and seconds:
            self._unsettled.add(balancer.api_id)
            self._events.warning(
                "upstream.ejected",
                f"upstream {upstream.name} is left out for {seconds:g} s: {error}",
                api_id=balancer.api_id,
            )

    # change and time

    def adopt(self, snapshot: Snapshot) -> None:
        """Serve what ``snapshot`` leads to from now on, and nothing else."""
        now = self._clock()
        before = self._apis
        for api_id, api in snapshot.apis.items():
            earlier = before.get(api_id)
            if api.balancer is not None and earlier is not api:
                api.balancer.begin(now, self._cookie_key, earlier.balancer if earlier is not None else None)
                api.balancer.probed(self._down, now)
        self._apis = snapshot.apis
        for key in self._pools.keys() - snapshot.upstream_keys:
            self._pools.pop(key).retire()
        self.resolver.keep({pool.upstream.target.host for pool in self._pools.values()})

    def sign_cookies_with(self, key: bytes) -> None:
        """Know clients by cookies of this key from now on, and no longer by those that they may have."""
        if key != self._cookie_key:
            self._cookie_key = key
            for api in self._apis.values():
                if api.balancer is not None:
                    api.balancer.rekey(key, self._clock())

    def probed(self, down: frozenset[str]) -> None:
        """Take what control's probes found: the hosts that are down, as `Balancer.probed` has them."""
        self._down = down
        for api_id, api in self._apis.items():
            if api.balancer is not None:
                api.balancer.probed(down, self._clock())
                self._unsettled.add(api_id)

    def tick(self, now: float) -> None:
        """Close what was idle for long, look up names again, and let targets back in."""
        for pool in self._pools.values():
            pool.expire(now)
            if pool.idle or pool.in_flight:
                self.resolver.refresh(pool.upstream.target.host, pool.upstream.dns_interval)
        for api_id in tuple(self._unsettled):
            api = self._apis.get(api_id)
            if api is None or api.balancer is None or not api.balancer.pending(now):
                self._unsettled.discard(api_id)
            if api is not None and api.balancer is not None:
                api.balancer.refresh(now)

    def _moved(self, host: str, addresses: frozenset[str]) -> None:
        for pool in self._pools.values():
            if pool.upstream.target.host == host:
                pool.move(addresses)

    def close(self) -> None:
        """Close what is idle, and look nothing up any more."""
        self.resolver.close()
        for pool in self._pools.values():
            pool.retire()

    # telling

    def states(self, api_ids: Sequence[str]) -> Iterator[TargetState]:
        """Tell how the targets of some APIs are."""
        for position, api_id in enumerate(api_ids):
            api = self._apis.get(api_id)
            for upstream in api.upstreams if api is not None else ():
                yield self._state(position, upstream, api.balancer if api is not None else None)

    def _state(self, position: int, upstream: Upstream, balancer: Balancer | None) -> TargetState:
        pool = self._pools.get(upstream.key)
        condition = balancer.health.conditions[upstream.index] if balancer is not None else None
        return TargetState(
            api=position,
            index=upstream.index,
            in_flight=pool.in_flight if pool is not None else 0,
            idle=pool.idle if pool is not None else 0,
            waiting=pool.waiting if pool is not None else 0,
            failures=pool.failures if pool is not None else 0,
            retries=pool.retries if pool is not None else 0,
            ejected=max(condition.ejected_until - self._clock(), 0.0) if condition is not None else 0.0,
            down=condition is not None and condition.down,
        )


def _kind(upstream: Upstream) -> type[Pool]:
    if not upstream.protocols:
        return ServicePool
    if upstream.proxy_protocol is not None:
        return IntroducedPool
    return MultiplexedPool if "h2" in upstream.protocols else Pool
