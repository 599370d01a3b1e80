"""The last bytes that an upstream sent before its connection broke.

An upstream that answers early, and closes before it has read the whole request, resets the connection. A write may be
the first to notice. The answer is then still unread in the socket, and the loop closes the socket once the protocol
knows of the loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_BYTES = 65536
_READS = 16


def last_words(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """Read what is left in the socket; only while ``connection_lost`` of the protocol on it runs."""
    with contextlib.suppress(OSError):  # nothing more, or closed
        descriptor = transport.get_extra_info("socket").fileno()
        for _ in range(_READS):
            if not (data := os.read(descriptor, _READ_BYTES)):
                return
            yield data


class BelowTls(asyncio.BufferedProtocol):
    """A layer between a socket and the loop's TLS, which forgets what it has not read when a connection breaks."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._tls: asyncio.BufferedProtocol = transport.get_protocol()  # type: ignore[assignment]  # TLS has one
        # Each read calls TLS's own method.
        self.get_buffer = self._tls.get_buffer  # type: ignore[method-assign]
        self.buffer_updated = self._tls.buffer_updated  # type: ignore[method-assign]
        transport.set_protocol(self)

    def eof_received(self) -> bool | None:
        """Pass the end on."""
        return self._tls.eof_received()

    def pause_writing(self) -> None:
        """Pass back-pressure on."""
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        """Pass the end of back-pressure on."""
        self._tls.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Have what came before decrypted and delivered, and then the end."""
        if error is not None:
            for data in tuple(last_words(self._transport)):  # TLS may close the socket as it is given the first
                self.get_buffer(len(data))[: len(data)] = data  # type: ignore[index]  # a memoryview, as asyncio's are
                self.buffer_updated(len(data))
        self._tls.connection_lost(error)
