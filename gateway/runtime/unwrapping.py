"""The root master key at a start, where only AWS KMS can open it: asked for until it comes, or until told to stop.

A child asks and leaves the key in the memory that all processes share (``certs.held``). So the supervisor, which is to
fork, has neither threads nor the cloud's library in it, and an answer that does not come can be waited for no longer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from gateway.certs import keyring
from gateway.certs.held import held
from gateway.errors import GatewayError, StoreError
from gateway.runtime.orphans import bind
from gateway.store import cloud_key

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

    from gateway.certs.keyring import Keyring
    from gateway.observe.events import EventLog

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
_CALL_MARGIN = 6.0
"""Times what the service has to connect, and to answer: it is asked twice, after credentials were looked for."""
_LONGEST_REASON = 4096


class StoppedError(GatewayError):
    """The gateway was told to stop before it served."""


def unwrap(data_dir: Path, seconds: float, stop: Set[signal.Signals], events: EventLog) -> None:
    """Have the root master key in memory, if there is one that the cloud has sealed.

    ``seconds`` is what the key service has for an answer. To be called with the ``stop`` signals and SIGCHLD blocked,
    before there is any child. Raises StoreError, and StoppedError at one of those signals.
    """
    try:
        ring = keyring.load(data_dir)
    except OSError as error:
        raise StoreError(f"the keys in {data_dir} cannot be read: {error.strerror}; check its owner") from error
    if ring is None or ring.cloud is None or held().get(ring.root_id) is not None:
        return
    pause = _FIRST_WAIT
    while reason := _ask(ring, seconds, stop):
        events.error(
            "keys.waiting", f"the root master key cannot be opened, and nothing is served without it: {reason}",
            key_arn=ring.cloud.arn, region=ring.cloud.region, root_master_key=ring.root_master_key.id,
            next_try_s=pause,
        )  # fmt: skip
        wait(pause, stop)
        pause = min(2 * pause, _LONGEST_WAIT)
    events.info(
        "keys.opened", "AWS KMS has opened the root master key", key_arn=ring.cloud.arn, region=ring.cloud.region,
        root_master_key=ring.root_master_key.id,
    )  # fmt: skip


def _ask(ring: Keyring, seconds: float, stop: Set[signal.Signals]) -> str:
    """Have a child ask once. Return why there is no key, "" when there is."""
    read, write = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        bind(parent)
        _be_asker(ring, seconds, write)
    os.close(write)
    try:
        wait(_CALL_MARGIN * seconds, stop, until=signal.SIGCHLD)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # one that is still at it
        os.waitpid(pid, 0)
        with os.fdopen(read, "rb") as pipe:
            reason = pipe.read(_LONGEST_REASON).decode(errors="replace")
    if held().get(ring.root_id) is not None:
        return ""
    return reason or "AWS KMS does not answer"


def _be_asker(ring: Keyring, seconds: float, write: int) -> None:
    """Be the child: leave the key in memory, or the reason why not in the pipe."""
    try:
        assert ring.cloud is not None, "only then there is somebody to ask"
        try:
            key = cloud_key.unseal(ring.cloud, ring.store, ring.root_master_key.sealed, seconds)
            if len(key) != keyring.KEY_BYTES:
                raise StoreError("what it holds is no root master key")  # noqa: TRY301 - told in one place
            held().put(ring.root_id, key)
        except GatewayError as error:
            os.write(write, str(error).encode()[:_LONGEST_REASON])
        except Exception as error:  # noqa: BLE001 - of a library with many parts; there is another try
            os.write(write, f"{type(error).__name__} in the library that asks AWS KMS".encode())
    finally:
        os._exit(0)


def wait(seconds: float, stop: Set[signal.Signals], until: signal.Signals | None = None) -> None:
    """Wait, or until that signal comes. Raises StoppedError."""
    deadline = time.monotonic() + seconds
    awaited = stop | {signal.SIGCHLD}
    while (left := deadline - time.monotonic()) > 0:
        received = signal.sigtimedwait(awaited, left)
        if received is not None and received.si_signo in stop:
            raise StoppedError("told to stop before it served")
        if received is not None and received.si_signo == until:
            return
