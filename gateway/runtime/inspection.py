"""The check of the database before a start, in a child that has a deadline: a large one is not read to its end."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from gateway.errors import StoreError
from gateway.runtime.orphans import bind
from gateway.runtime.unwrapping import wait
from gateway.store import inspection
from gateway.store.database import DATABASE

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

_SECONDS = 2.0
_LONGEST_REASON = 4096


def inspect(data_dir: Path, stop: Set[signal.Signals]) -> None:
    """See whether the database is damaged, as far as can be seen in a short time.

    To be called as ``unwrap`` is. Raises StoreError when it is, and StoppedError.
    """
    if not (data_dir / DATABASE).exists():
        return
    read, write = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if not pid:
        bind(parent)
        _be_inspector(data_dir, write)
    os.close(write)
    try:
        wait(_SECONDS, stop, until=signal.SIGCHLD)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(read, "rb") as pipe:
            reason = pipe.read(_LONGEST_REASON).decode(errors="replace")
    if reason:
        raise StoreError(reason)


def _be_inspector(data_dir: Path, write: int) -> None:
    try:
        inspection.inspect(data_dir)
    except StoreError as error:
        os.write(write, str(error).encode()[:_LONGEST_REASON])
    finally:
        os._exit(0)
