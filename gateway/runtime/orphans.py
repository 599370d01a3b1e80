"""The processes that a killed supervisor leaves behind, and how they end.

Workers and control learn of its death when their lifeline ends (``role``). A process without an event loop to watch a
lifeline is bound to its parent by the kernel instead. The next supervisor finds the dead one's process id in the lock
file, so it knows that a lock or a port still in use will be free in a moment.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def bind(parent: int) -> None:
    """Have the kernel kill this process when its ``parent`` ends, which may have happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def unbind() -> None:
    """Let this process outlive its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0)


def is_alive(pid: int) -> bool:
    """Return whether the process runs, and is not merely a zombie that its parent has not collected yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state not in (b"Z", b"X")
