"""How much a client has not taken yet: the difference between a slow reader and one that does not read."""

from __future__ import annotations

import fcntl
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def unsent(transport: asyncio.Transport) -> int:
    """Count what waits in ``transport`` and in the kernel behind it; at least one, to be true."""
    try:
        waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError, AttributeError):  # closed already
        return 1
    return max(int.from_bytes(waiting, sys.byteorder) + transport.get_write_buffer_size(), 1)
