"""An upgrade as the supervisor sees it that is to be replaced: its steps, and the way back from each."""

from __future__ import annotations

import math
import os
import signal
import time
from enum import Enum
from typing import TYPE_CHECKING

from gateway.errors import StoreError
from gateway.runtime import listeners, role
from gateway.runtime.children import how_it_ended
from gateway.runtime.upgrade import Command, News, Successor
from gateway.store import spare

if TYPE_CHECKING:
    from gateway.observe.events import EventLog
    from gateway.runtime.children import Slot
    from gateway.runtime.role import Inherited

_CHECK_SECONDS = 300.0
_TAKE_SECONDS = 120.0
_LOOK_SECONDS, _RETRY_SECONDS = 0.05, 1.0
_END_MARGIN_SECONDS = 5.0


class _Step(Enum):
    NONE = "no upgrade"
    CHECKING = "the new gateway reads its configuration"
    LEAVING = "control ends"
    TAKING = "the new gateway starts its workers"
    RECOVERING = "the new gateway failed, and ends"


class Succession:
    """Keeps the lock on the data, and hands it over. ``due`` is when to `attend` even without a signal."""

    def __init__(
        self, control: Slot, lock: int, command: Command | None, inherited: Inherited, events: EventLog
    ) -> None:
        self._lock = lock
        self.due = math.inf
        self._control = control
        self._command = command
        self._inherited = inherited
        self._events = events
        self._step = _Step.NONE
        self._successor: Successor | None = None
        self._ended = ""
        self._told = False
        self._kill_at = math.inf

    def begin(self) -> None:
        """Start a successor, unless one is on its way or there can be none."""
        if self._command is None or os.getpid() == 1:
            why = "a demo has no successor" if self._command is None else "process 1 cannot be replaced"
            self._events.warning("upgrade.refused", f"{why}: stop this gateway and start another")
            return
        if self._step is not _Step.NONE:
            self._events.warning("upgrade.refused", f"an upgrade is under way: {self._step.value}")
            return
        try:
            self._successor = Successor.start(self._command, self._inherited.listeners.ports, self._inherited.data_dir)
        except OSError as error:
            self._events.error("upgrade.failed", f"no process can be started: {error.strerror}")
            return
        self._ended, self._told = "", False
        self._go(_Step.CHECKING, _CHECK_SECONDS)
        self._events.info("upgrade.started", "another gateway starts to take over", successor=self._successor.pid)

    def buried(self, pid: int, status: int) -> None:
        """Take note of the end of a process that is none of the slots'."""
        if self._successor is not None and pid == self._successor.pid:
            self._ended = f"it {how_it_ended(status)}"

    def attend(self) -> Successor | None:
        """Go on as far as possible; return the successor once it serves, and this gateway has nothing left to do."""
        successor = self._successor
        if successor is None:
            return None
        if self._step is _Step.RECOVERING:
            self._recover(successor)
            return None
        match successor.news(), self._step:
            case News.CHECKED, _Step.CHECKING:
                self._leave()
            case News.SERVING, _Step.TAKING:
                return successor
            case News.NOTHING, _ if not self._ended and time.monotonic() < self.due:
                pass
            case News.NOTHING, step:
                self._fail(successor, self._ended or f"it took too long: {step.value}")
            case _:
                self._fail(successor, self._ended or "it ended the conversation")
        if self._step is _Step.LEAVING and not self._control.pid:
            self._unlock()
            successor.hand_over()
            self._go(_Step.TAKING, _TAKE_SECONDS)
        return None

    def abandon(self) -> None:
        """Take back what was begun: this gateway is told to stop, and so is the other."""
        if self._successor is not None:
            early = self._step in (_Step.CHECKING, _Step.LEAVING)
            self._successor.end(signal.SIGKILL if early else signal.SIGTERM)

    def in_child(self, *, writes: bool) -> None:
        """Keep nothing of it in a child, but in one that writes the lock: as long as it lives nobody else may."""
        if self._successor is not None:
            self._successor.forget()
        if not writes:
            self._unlock()

    def unlock(self) -> None:
        """Let go of the data at the end of this gateway, unless another one has it already."""
        if self._lock >= 0:
            listeners.unlock(self._lock)
            self._lock = -1

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _go(self, step: _Step, seconds: float) -> None:
        self._step, self.due = step, time.monotonic() + seconds

    def _leave(self) -> None:
        self._control.held = True
        if self._control.pid:
            os.kill(self._control.pid, signal.SIGUSR2)
        self._go(_Step.LEAVING, _TAKE_SECONDS)

    def _fail(self, successor: Successor, reason: str) -> None:
        self._events.error("upgrade.failed", f"the new gateway does not take over: {reason}", successor=successor.pid)
        if self._step is _Step.TAKING:  # its workers may have accepted connections: let them end well
            successor.end(signal.SIGTERM)
            drain = role.drain_seconds(self._inherited.settings)
            self._go(_Step.RECOVERING, _LOOK_SECONDS)
            self._kill_at = time.monotonic() + drain + _END_MARGIN_SECONDS
        else:
            successor.end(signal.SIGKILL)
            self._resume(successor)

    def _recover(self, successor: Successor) -> None:
        """Go back to what was, as soon as nobody else can write."""
        try:
            self._lock = self._lock if self._lock >= 0 else listeners.lock(self._inherited.data_dir)
        except StoreError:
            if time.monotonic() > self._kill_at:
                successor.end(signal.SIGKILL)
            self.due = time.monotonic() + _LOOK_SECONDS
            return
        try:
            if reason := spare.settle(self._inherited.data_dir):
                self._events.error("upgrade.database", f"the database stays as the new gateway left it: {reason}")
        except StoreError as error:
            if not self._told:
                self._told = True
                message = f"changes are refused until the database can be put back: {error}"
                self._events.error("upgrade.database", message)
            self.due = time.monotonic() + _RETRY_SECONDS
            return
        self._resume(successor)

    def _resume(self, successor: Successor) -> None:
        successor.forget()
        self._successor, self._step, self.due = None, _Step.NONE, math.inf
        self._control.held, self._control.due = False, 0.0
        self._events.info("upgrade.undone", "this gateway goes on")
