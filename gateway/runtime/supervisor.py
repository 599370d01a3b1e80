"""The supervisor: opens what must be shared, forks control and the workers, and keeps them there.

It has no event loop and no thread, because a process with either cannot be forked safely, and it holds no
connection to the database while it forks. Its signals are blocked for good and taken one at a time by
``sigtimedwait``: no handler can interrupt anything, and nothing is lost between a fork and the child's
own handlers.

    SIGTERM, SIGINT, SIGQUIT   drain and stop, after the configured delay; the second one ends the delay, and SIGINT
                               while draining stops at once
    SIGHUP                     passed on to control, which reloads
    SIGUSR2                    another supervisor is started, which takes over (``succession``)
    SIGTTIN, SIGTTOU           one worker more, one less
    SIGCHLD                    a dead child is replaced
    SIGUSR1, SIGIO             control, and the other supervisor, have news
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway import files
from gateway.certs.held import held
from gateway.config.load import load_what_can_be_served
from gateway.config.networks import bracketed
from gateway.config.problems import Severity
from gateway.errors import ConfigurationError, GatewayError, StoreError
from gateway.observe.events import EventLog
from gateway.runtime import listeners, renewal, role, worker
from gateway.runtime.children import Role, SharedCount, Slot, how_it_ended
from gateway.runtime.inspection import inspect
from gateway.runtime.service import Service
from gateway.runtime.succession import Succession
from gateway.runtime.unwrapping import StoppedError, unwrap, wait
from gateway.runtime.upgrade import Predecessor
from gateway.store import admin_secret, spare
from gateway.store.audit import Deed
from gateway.store.database import UnwritableError
from gateway.store.sqlite import Store
from gateway.tls.context import base_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket
    from types import ModuleType

    from gateway.config.settings import Settings
    from gateway.runtime.upgrade import Command, Successor

_T = TypeVar("_T")

_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
_SIGNALS = _STOP | {
    signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO,
}  # fmt: skip
_DRAIN_MARGIN_SECONDS = 3.0
# Of certificate files that changed while no gateway ran. The rest is read while the store's serve.
_FILES_AT_START = 2000
_BAD_CONFIGURATION = 2
# The children of a killed gateway end within one second; a machine under load may take longer.
_ORPHANS_SECONDS = 15.0
_LOOK_SECONDS = 0.02


def run(config_path: Path, environ: Mapping[str, str], command: Command | None = None) -> int:
    """Run the gateway until it is told to stop. Return the exit status: 0, or 2 with problems on stderr.

    ``command`` starts its successor when one is asked for; with None there is none.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return _prepare(config_path, environ, command, EventLog(role="supervisor")).supervise()
    except ConfigurationError as error:
        sys.stderr.writelines(f"{one}\n" for one in error.problems if one.severity is not Severity.NOTE)
        return _BAD_CONFIGURATION
    except StoppedError:
        return 0
    except GatewayError as error:
        sys.stderr.write(f"error: {error}\n")
        return _BAD_CONFIGURATION
    finally:
        while signal.sigtimedwait(_SIGNALS, 0):
            pass  # what was sent to a gateway that has already stopped
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _prepare(config_path: Path, environ: Mapping[str, str], command: Command | None, events: EventLog) -> _Supervisor:
    """Everything that can go wrong for a reason that a person must mend goes wrong here."""
    before = Predecessor.of(environ)
    candidate, sockets, lock = _read(config_path, environ, before, events)
    settings = candidate.configuration.settings
    data_dir = settings.gateway.data_dir
    deed = Deed("gateway", "", "start" if before is None else "upgrade", str(config_path))
    number, written = _publish(data_dir, candidate, deed, events)
    if not candidate.store:  # nothing else could serve the names of what was postponed
        while candidate.collected.postponed:
            candidate = renewal.read(config_path, environ, data_dir, anew=False, most=renewal.FILES_AT_ONCE)
            number = renewal.publish(data_dir, candidate, deed)[0].number
    renewal.log_problems(events, candidate.warnings)
    renewal.log_refused(events, candidate.configuration)
    if settings.secret is None:
        path = admin_secret.ensure(data_dir)
        events.info("admin.secret", "no secret is configured; the one to use is in a file", path=path)
    _raise_open_files(settings.gateway.limits.connections_per_worker, events)
    wanted = SharedCount(settings.gateway.workers or len(os.sched_getaffinity(0)))
    events.info(
        "gateway.started", "listening", generation=number, workers=wanted.get(), pid=os.getpid(),
        address=_address(sockets.main), redirect=sockets.redirect and _address(sockets.redirect),
        control=_address(sockets.control), services=",".join(map(str, sockets.services)) or None,
    )  # fmt: skip
    lifeline, end = os.pipe()
    inherited = role.Inherited(config_path, environ, settings, sockets, base_context(), lifeline, wanted)
    if before is None:
        inherited.confirmed.open()
    if candidate.collected.postponed or not written:
        inherited.reloads_asked.set(1)
    control = Slot(Role.CONTROL, 0)
    succession = Succession(control, lock, command, inherited, events)
    service = Service(environ, settings.pid_file_location, events)
    return _Supervisor(inherited, end, control, before, succession, service, events)


def _control() -> ModuleType:
    """Import control and what it alone needs, a third of all that is imported.

    The supervisor does it, and not the child: the next control must fit the workers, whatever lies on the disk by then.
    """
    from gateway.runtime import control  # noqa: PLC0415 - see above

    gc.freeze()
    return control


def _publish(data_dir: Path, candidate: renewal.Candidate, deed: Deed, events: EventLog) -> tuple[int, bool]:
    """Return the generation that is served, and whether it is of the files as they are.

    Where nothing can be written it is the one that is stored; control tries again. Raises StoreError.
    """
    try:
        return renewal.publish(data_dir, candidate, deed)[0].number, True
    except UnwritableError as error:
        try:
            with contextlib.closing(Store.open(data_dir, writable=False)) as store:
                number = store.newest().number
        except StoreError:
            raise error from None
        events.error(
            "store.unwritable", f"what is stored is served, and changes are refused until they can be written: {error}",
            generation=number,
        )  # fmt: skip
        return number, False


def _read(
    config_path: Path, environ: Mapping[str, str], before: Predecessor | None, events: EventLog
) -> tuple[renewal.Candidate, listeners.Listeners, int]:
    """Return what shall be served, the sockets, and the lock on the data."""
    held()  # every process that is forked from now on shares it
    if before is None:
        settings = load_what_can_be_served(config_path, environ).settings
        data_dir = settings.gateway.data_dir
        # What is read refers to the database, if there is one, so nobody else may change that meanwhile.
        patience = _Patience(data_dir, events)
        early = patience.have(lambda: listeners.lock(data_dir)) if data_dir.is_dir() else None
        unwrap(data_dir, settings.gateway.limits.key_service_timeout, _STOP, events)
        _tidy(config_path, data_dir, settings.app_path)
        inspect(data_dir, _STOP)
        if reason := spare.settle(data_dir):  # an upgrade that was interrupted has acknowledged nothing
            events.error("upgrade.database", f"the database stays as a new gateway left it: {reason}")
        candidate = renewal.read(config_path, environ, anew=False, most=_FILES_AT_START)
        lock = listeners.lock(data_dir) if early is None else early
        wanted, services = candidate.configuration.settings, listeners.own_ports(candidate.configuration)
        sockets = patience.have(lambda: listeners.open_all(wanted, services=services))
    else:
        candidate = renewal.read(config_path, environ, anew=False)
        data_dir = candidate.configuration.settings.gateway.data_dir
        services = listeners.own_ports(candidate.configuration)
        sockets = listeners.open_all(candidate.configuration.settings, before.sockets, services)
        before.take_over(data_dir)
        lock = listeners.lock(data_dir)
        inspect(data_dir, _STOP)
        spare.make(data_dir)
        Store.open(data_dir, writable=True).close()  # the tables of this version
        candidate = renewal.read(config_path, environ, data_dir, anew=False, most=_FILES_AT_START)
    return candidate, sockets, lock


def _tidy(config_path: Path, data_dir: Path, app_path: Path | None) -> None:
    """Remove what writers who were killed have left."""
    spare.sweep(data_dir)
    for directory in {data_dir, config_path.parent, *([app_path] if app_path else [])}:
        files.sweep(directory)


class _Patience:
    """The wait for what a killed gateway still holds: its children release it, but not at once."""

    def __init__(self, data_dir: Path, events: EventLog) -> None:
        """Make it before the lock is taken: afterwards the lock no longer says who had it before."""
        self._until = time.monotonic() + _ORPHANS_SECONDS if listeners.was_killed(data_dir) else 0.0
        self._events = events
        self._told = False

    def have(self, take: Callable[[], _T]) -> _T:
        """Return what ``take`` returns, as soon as nobody else has it. Raises what it raises, and StoppedError."""
        while True:
            try:
                return take()
            except (listeners.DataInUseError, listeners.PortsInUseError) as error:
                if time.monotonic() >= self._until:
                    raise
                if not self._told:
                    self._told = True
                    self._events.warning(
                        "start.waiting", f"the gateway before was killed, and its processes end: {error}"
                    )
                wait(_LOOK_SECONDS, _STOP)


class _Supervisor:
    def __init__(
        self, inherited: role.Inherited, alive: int, control: Slot, before: Predecessor | None,
        succession: Succession, service: Service, events: EventLog,
    ) -> None:  # fmt: skip
        """``alive`` is the descriptor that no child may keep: it says that the supervisor lives."""
        self._inherited = inherited
        self._alive = alive
        self._before = before
        self._succession = succession
        self._service = service
        self._events = events
        self._cut = 0
        self._stop_at = math.inf
        workers = range(1, inherited.workers_wanted.get() + 1)
        self._slots = [control, *(Slot(Role.WORKER, number) for number in workers)]

    def supervise(self) -> int:
        """Keep every slot filled until a signal says to stop. Return the exit status."""
        gc.freeze()  # a collection in a child would write to every page that it shares with the others
        if self._before is None:
            self._service.has_main_process()
        while True:
            self._fill_slots()
            due = (slot.due for slot in self._slots if not (slot.pid or slot.held))
            received = _next_signal(min(self._stop_at, self._succession.due, *due))
            self._inherited.deposit.collect(self._inherited.listeners.services)
            if received in _STOP or time.monotonic() >= self._stop_at:
                if self._leaves(received):
                    continue
                self._service.stopping()
                self._succession.abandon()
                break
            self._react(received)
            if successor := self._succession.attend():
                self._service.replaced_by(successor.pid)
                self._events.info("upgrade.done", "the new gateway serves", successor=successor.pid)
                self._pass_on(successor)
                break
        self._stop(received)
        self._service.ended()
        self._succession.unlock()
        return 0

    def _leaves(self, received: signal.Signals | None) -> bool:
        """Whether the gateway serves on for a while, so that load balancers notice before the ports are closed."""
        delay = role.delay_seconds(self._settings())
        if received is None or self._stop_at < math.inf or not delay:
            return False
        self._stop_at = time.monotonic() + delay
        self._inherited.leaving.set(1)
        self._service.stopping()
        self._events.info("gateway.leaving", "not ready any more, and serving on", signal=received.name, seconds=delay)
        return True

    def _react(self, received: signal.Signals | None) -> None:
        match received:
            case signal.SIGCHLD:
                self._bury()
            case signal.SIGHUP:
                self._service.reloading()
                self._ask_for_reload()
            case signal.SIGUSR1 if self._inherited.serving.get():
                self._all_serve()
            case signal.SIGUSR2 if self._stop_at == math.inf:
                self._succession.begin()
            case signal.SIGTTIN:
                number = max(slot.number for slot in self._slots) + 1
                self._slots.append(Slot(Role.WORKER, number))
                self._resized(+1)
            case signal.SIGTTOU if self._inherited.workers_wanted.get() > 1:
                last = next(slot for slot in reversed(self._slots) if not slot.retiring)
                self._retire(last, signal.SIGTERM)
                self._resized(-1)

    def _all_serve(self) -> None:
        if self._before is None:
            self._service.ready()
            return
        try:
            spare.drop(self._inherited.data_dir)  # from here on there is no way back
        except StoreError as error:
            self._events.error("upgrade.failed", f"the database of before cannot be given up: {error}")
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._before.tell_serving()
        self._before.forget()
        self._before = None
        self._inherited.confirmed.open()
        self._service.has_main_process()

    def _pass_on(self, successor: Successor) -> None:
        """Have the successor do what was asked of this gateway while it had no control."""
        if self._inherited.reloads_begun.get() != self._inherited.reloads_asked.get():
            with contextlib.suppress(ProcessLookupError):
                os.kill(successor.pid, signal.SIGHUP)

    def _resized(self, step: int) -> None:
        wanted = self._inherited.workers_wanted
        wanted.set(wanted.get() + step)
        self._events.info("workers.resized", "the number of workers changed", workers=wanted.get())

    def _ask_for_reload(self) -> None:
        """Tell control, if there is one. One that is about to start, or to die, leaves a note for the next."""
        asked = self._inherited.reloads_asked
        asked.set(asked.get() + 1)
        if pid := self._slots[0].pid:
            os.kill(pid, signal.SIGHUP)

    def _fill_slots(self) -> None:
        """Fork whatever is missing; workers first, so that they serve while control is imported."""
        now = time.monotonic()
        control, *workers = self._slots
        for slot in (*workers, control):
            if not (slot.pid or slot.held) and slot.due <= now:
                self._fork(slot)

    def _fork(self, slot: Slot) -> None:
        if slot.role is Role.CONTROL:
            _control()
        now = time.monotonic()
        try:
            pid = os.fork()
        except OSError as error:
            slot.filled(0, now)
            delay = slot.emptied(now)
            self._events.error("child.not_started", f"cannot start {slot.name}: {error.strerror}", next_try_s=delay)
            return
        if pid:
            slot.filled(pid, now)
            return
        status = 1
        try:
            self._be(slot)
            status = 0
        finally:
            os._exit(status)

    def _be(self, slot: Slot) -> None:
        """Be the child that fills ``slot``, to the end of its life."""
        os.close(self._alive)
        self._succession.in_child(writes=slot.role is Role.CONTROL)
        if self._before is not None:
            self._before.forget()
        events = EventLog(role=slot.role, worker=slot.number or None, pid=os.getpid())
        try:
            if slot.role is Role.CONTROL:
                _control().run(self._inherited, events)
            else:
                slot.cut.set(worker.run(slot.number, self._inherited, events))
        except Exception as error:
            events.error("child.failed", f"{slot.name} failed: {error}", kind=type(error).__name__)
            raise

    def _bury(self) -> None:
        """Take note of every child that is dead. As PID 1 also of strangers, which are merely collected."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                pid, status = ended
                self._succession.buried(pid, os.waitstatus_to_exitcode(status))
                for slot in [slot for slot in self._slots if slot.pid == pid]:
                    self._note_death(slot, os.waitstatus_to_exitcode(status))

    def _note_death(self, slot: Slot, status: int) -> None:
        how, pid = how_it_ended(status), slot.pid
        delay = slot.emptied(time.monotonic())
        self._cut += slot.cut.get()
        slot.cut.set(0)
        if slot.retiring or slot.held:
            if slot.retiring:
                self._slots.remove(slot)
            self._events.info("child.ended", f"{slot.name} {how}", child=pid)
        else:
            soon = f"in {delay:g} s" if delay else "at once"
            self._events.error("child.died", f"{slot.name} {how}; another one starts {soon}", child=pid)

    def _retire(self, slot: Slot, how: signal.Signals) -> None:
        slot.retiring = True
        if slot.pid:
            os.kill(slot.pid, how)
        else:
            self._slots.remove(slot)

    def _stop(self, reason: signal.Signals | None) -> None:
        """Let every child finish what it does, within the drain time; kill what is left."""
        told = reason.name if reason and reason is not signal.SIGIO else None  # the successor sends that
        self._events.info("gateway.stopping", "finishing what runs", signal=told)
        workers_socket = Path(self._inherited.listeners.workers.getsockname())
        self._inherited.listeners.close()
        for slot in tuple(self._slots):
            self._retire(slot, signal.SIGTERM)
        deadline = time.monotonic() + role.drain_seconds(self._settings()) + _DRAIN_MARGIN_SECONDS
        while self._slots:
            received = _next_signal(deadline)
            if received is signal.SIGCHLD:
                self._bury()
            elif received in (signal.SIGINT, None):
                names = ", ".join(slot.name for slot in self._slots)
                self._events.warning("gateway.killing", f"not waiting any longer for {names}")
                for slot in tuple(self._slots):
                    self._retire(slot, signal.SIGKILL)
                deadline = math.inf
        if self._cut:
            self._events.warning("gateway.cut", "requests were cut at the end of the drain time", requests=self._cut)
        self._events.info("gateway.stopped", "stopped")
        listeners.forget_workers(workers_socket)

    def _settings(self) -> Settings:
        """What is configured now; a reload may have changed it since the start."""
        settings = self._inherited.settings
        with (
            contextlib.suppress(StoreError),
            contextlib.closing(Store.open(self._inherited.data_dir, writable=False)) as store,
        ):
            if generation := store.current():
                settings = generation.configuration.settings
        return settings


def _next_signal(deadline: float) -> signal.Signals | None:
    """Wait for a signal until a monotonic time, or for ever. None when the time is over."""
    if deadline == math.inf:
        return signal.Signals(signal.sigwaitinfo(_SIGNALS).si_signo)
    received = signal.sigtimedwait(_SIGNALS, max(0.0, deadline - time.monotonic()))
    return signal.Signals(received.si_signo) if received else None


def _raise_open_files(connections: int, events: EventLog) -> None:
    """Let each process open as many files as the system allows: a connection may need two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 2 * connections:
        message = f"{most} open files per process allow {most // 2} connections per worker; raise the limit (ulimit -n)"
        events.warning("limits.open_files", message, connections_per_worker=connections)


def _address(sock: socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{bracketed(host)}:{port}"
