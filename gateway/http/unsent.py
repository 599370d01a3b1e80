"""How much a client has not taken yet: the difference between a slow reader and one that does not read."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_NO_TIME = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Cut a connection with what waits in the kernel: an end in good order would stay behind that for minutes."""
    with contextlib.suppress(OSError, AttributeError):  # closed already
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_TIME)
    transport.abort()


def unsent(transport: asyncio.Transport) -> int:
    """Count what waits in ``transport`` and in the kernel behind it; at least one, to be true."""
    try:
        waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError, AttributeError):  # closed already
        return 1
    return max(int.from_bytes(waiting, sys.byteorder) + transport.get_write_buffer_size(), 1)
