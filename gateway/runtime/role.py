"""What control and a worker have in common: signals, the lifeline, and the way out.

The supervisor blocks its signals before it forks, so a signal that is sent to a child in its first moments
waits until the child has its handlers. Ctrl-C reaches every process of the terminal; children leave it to the
supervisor, which asks them to end with SIGTERM. The lifeline is a pipe whose other end only the supervisor
holds: it reads as ended when the supervisor is gone, however that happened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.observe.events import EventLog, LoggingBridge
from gateway.proxy.shares import Shares
from gateway.runtime.children import Gate, SharedCount
from gateway.runtime.service_ports import Deposit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from OpenSSL import SSL

    from gateway.config.settings import Settings
    from gateway.runtime.listeners import Listeners


_NOT_FOR_CHILDREN = (
    signal.SIGINT, signal.SIGQUIT, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGIO,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the supervisor has before the first fork, and every child after it.

    ``settings`` are those of the start, which sockets and processes follow. The TLS ``base`` holds the ticket keys.
    A reload that was asked for and has not begun is begun by the next control, should the present one die first.
    ``leaving`` is 1 while the gateway serves its last seconds; ``serving`` is 1 once all workers have confirmed.
    As long as ``confirmed`` is shut, the gateway before may take its place back, and the database as it was.
    """

    config_path: Path
    environ: Mapping[str, str]
    settings: Settings
    listeners: Listeners
    base: SSL.Context
    lifeline: int
    workers_wanted: SharedCount
    reloads_asked: SharedCount = field(default_factory=SharedCount)
    reloads_begun: SharedCount = field(default_factory=SharedCount)
    shares: Shares = field(default_factory=Shares)
    leaving: SharedCount = field(default_factory=SharedCount)
    serving: SharedCount = field(default_factory=SharedCount)
    deposit: Deposit = field(default_factory=Deposit)
    confirmed: Gate = field(default_factory=Gate)
    supervisor: int = field(default_factory=os.getpid)

    @property
    def data_dir(self) -> Path:
        """Where the store is, whatever a reloaded configuration says."""
        return self.settings.gateway.data_dir

    def tell_supervisor(self) -> None:
        """Wake the supervisor, if it is still there, to see what has changed in the shared counts."""
        if os.getppid() == self.supervisor:
            os.kill(self.supervisor, signal.SIGUSR1)


def run(
    main: Callable[[asyncio.Event], Coroutine[None, None, None]],
    *,
    lifeline: int,
    events: EventLog,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    hangup: Callable[[], None] = lambda: None,
    leave: Callable[[], None] = lambda: None,
    orphaned: Callable[[], None] | None = None,
) -> None:
    """Run ``main`` with an event that is set when it shall end.

    ``hangup`` is called at each SIGHUP; ``leave`` at SIGUSR2, before the end that it asks of control; ``orphaned``,
    or else the event is set, when the supervisor is gone.
    """
    logging.getLogger().addHandler(LoggingBridge(events))
    for ignored in _NOT_FOR_CHILDREN:
        signal.signal(ignored, signal.SIG_IGN)

    async def attended() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def cut_off() -> None:
            loop.remove_reader(lifeline)
            events.error("supervisor.gone", "the supervisor is gone; finishing what runs and stopping")
            (orphaned or stop.set)()

        loop.add_reader(lifeline, cut_off)
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGHUP, hangup)
        loop.add_signal_handler(signal.SIGUSR2, leave)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        await main(stop)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(attended())


def delay_seconds(settings: Settings) -> float:
    """How long the gateway serves on, not ready any more, before it closes its ports."""
    return settings.graceful_shutdown_delay_seconds


def drain_seconds(settings: Settings) -> float:
    """How long running requests may take to finish when the gateway stops."""
    return settings.graceful_shutdown_timeout_duration or settings.gateway.limits.drain_timeout
