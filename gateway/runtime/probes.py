"""Tyk's uptime tests, made once on this node by control, which tells the workers which hosts are down."""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import httpx

from gateway.routing.upstream_trust import trust
from gateway.routing.uptime import Check, Uptime, checks
from gateway.runtime.messages import MAX_TEXT, Probed
from gateway.tls.context import peer_chain, upstream_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration
    from gateway.observe.events import EventLog
    from gateway.runtime.roster import Roster
    from gateway.tls.upstream import UpstreamTls

# Tyk's defaults, but for the timeout, where Tyk has none.
_SAMPLES = 3
_WAIT_SECONDS = 10
_AT_ONCE = 50
_TIMEOUT_SECONDS = 5.0

_MOST_CONTEXTS = 64


class Probes:
    """Asks what the configuration that is served says, round after round; a reload begins a new round."""

    def __init__(self, configuration: Callable[[], Configuration], roster: Roster, events: EventLog) -> None:
        self._configuration = configuration
        self._roster = roster
        self._events = events
        self._uptime = Uptime()
        self._rounds = 0
        self._told: frozenset[str] | None = None
        self._contexts: dict[UpstreamTls, ssl.SSLContext] = {}
        self._asked: Configuration | None = None
        self._reloaded = asyncio.Event()

    def summary(self) -> str | None:
        """How many hosts are down, without a word of which: this is told to everybody. None if nothing is checked."""
        checked = self._uptime.checked
        return f"{len(self.down)} of {checked} checked hosts are down" if checked else None

    @property
    def down(self) -> frozenset[str]:
        """The hosts that are down: of which API, host and port."""
        return self._uptime.down

    def follow(self) -> None:
        """Begin a new round if the configuration is another one than that of the last."""
        if self._asked is not self._configuration():
            self._reloaded.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            configuration = self._asked = self._configuration()
            began = time.monotonic()
            try:
                await self._round(configuration)
            except Exception as error:  # noqa: BLE001 - no oddity of a host may end the checks of all others
                self._events.error(
                    "probe.failed", f"hosts are not checked for a while: {type(error).__name__}: {error}"
                )
            wait = configuration.settings.uptime_tests.config.time_wait or _WAIT_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(began + wait - time.monotonic(), 0.1)):
                    await self._reloaded.wait()
            self._reloaded.clear()

    async def _round(self, configuration: Configuration) -> None:
        tests = configuration.settings.uptime_tests
        wanted = [] if tests.disable else [(api, check) for api in configuration.apis for check in checks(api)]
        self._uptime.keep([check for _, check in wanted])
        samples = tests.config.failure_trigger_sample_size or _SAMPLES
        at_once = asyncio.Semaphore(tests.config.checker_pool_size or _AT_ONCE)

        async def ask(api: ApiDefinition, check: Check) -> None:
            async with at_once:
                trouble = await self._trouble(configuration, api, check)
            if self._uptime.note(check, samples, ok=not trouble):
                self._report(check, trouble)
                if self._told is not None:
                    self._tell()

        async with asyncio.TaskGroup() as tasks:
            for api, check in wanted:
                tasks.create_task(ask(api, check), name="probe")
        self._rounds += 1
        # What the control before this one found holds until there are results enough to know better.
        if self._rounds >= samples or not wanted:
            self._tell()

    def _report(self, check: Check, trouble: str) -> None:
        _, host, port = check.host.rsplit(" ", 2)
        if trouble:
            self._events.warning("host.down", f"{host} port {port} is down: {trouble}", api_id=check.api_id)
        else:
            self._events.info("host.up", f"{host} port {port} is up again", api_id=check.api_id)

    def _tell(self) -> None:
        if self._told != self.down:
            named = sorted(self.down)
            lengths = accumulate(map(len, named))
            told = [host for host, length in zip(named, lengths, strict=True) if length <= MAX_TEXT]
            self._roster.publish(Probed(tuple(told)))
        self._told = self.down

    async def _trouble(self, configuration: Configuration, api: ApiDefinition, check: Check) -> str:
        """Ask one host; return what is wrong with it, "" for nothing."""
        try:
            async with asyncio.timeout(check.what.timeout or _TIMEOUT_SECONDS):
                if check.what.protocol == "tcp" or check.what.url.startswith("tcp:"):
                    _, writer = await asyncio.open_connection(check.address, check.port)
                    writer.close()
                    return ""
                return await self._http_trouble(configuration, api, check)
        except TimeoutError:
            return f"no answer within {check.what.timeout or _TIMEOUT_SECONDS:g} s"
        except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return str(error) or type(error).__name__

    async def _http_trouble(self, configuration: Configuration, api: ApiDefinition, check: Check) -> str:
        what = check.what
        tls, trouble = trust(configuration.settings, api, configuration.material, check.address, check.port)
        if trouble and what.url.startswith("https:"):
            return trouble
        limits = httpx.Limits(max_keepalive_connections=0)  # that a connection can be made is part of the question

        async def look(event: str, info: Mapping[str, Any]) -> None:
            """Break off before anything is sent to somebody else."""
            if event == "connection.start_tls.complete" and tls.checks_more:
                stream = info["return_value"]
                chain = peer_chain(stream.get_extra_info("ssl_object"), verified=tls.verify)
                if reason := tls.refusal(chain, check.address):
                    await stream.aclose()
                    raise httpx.ConnectError(reason)

        extensions: dict[str, Any] = {"trace": look}
        if tls.server_name:
            extensions["sni_hostname"] = tls.server_name
        async with (
            httpx.AsyncClient(verify=await self._context(tls), timeout=None, limits=limits, trust_env=False) as client,  # noqa: S113
            client.stream(
                what.method.upper() or "GET", what.url, headers=what.headers, content=what.body, extensions=extensions
            ) as response,
        ):
            return "" if response.is_success else f"it answers {response.status_code}"

    async def _context(self, tls: UpstreamTls) -> ssl.SSLContext:
        context = self._contexts.get(tls)
        if context is None:
            context = await asyncio.to_thread(upstream_context, tls)
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            self._contexts[tls] = context
        return context
