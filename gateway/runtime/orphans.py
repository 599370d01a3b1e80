"""What a supervisor that was killed leaves behind, and how soon it is gone.

Workers and control see it at the end of their lifeline (``role``). A process that has no event loop to watch one is
bound to its parent by the kernel instead. Whoever starts next finds the dead one's process id in the lock file, and
knows by it that a lock or a port which is taken will be free in a moment.
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
    """Outlive the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only what its parent has not collected yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state not in (b"Z", b"X")
