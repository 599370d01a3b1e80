"""The errors of the gateway: one shallow tree.

    GatewayError
    ├── ConfigurationError    the files or the environment cannot be served; carries every problem at once
    ├── EditError             a configuration file that a program should not change by itself
    ├── CertificateError      a certificate, key or chain that a careful person would refuse
    ├── StoreError            the node's database cannot be opened, read or written
    │   ├── DamagedError          one row of it cannot be read; the others can
    │   └── FileError             a file cannot be written, and is what it was
    ├── OverloadedError       too much of this is asked for at the same time; it may work in a moment
    ├── KeyServiceError       the cloud's key service cannot be reached, or does not let its key be used
    ├── RefusedError          a change that was asked for does not fit what there is
    │   ├── NotFoundError         what it names is not there
    │   ├── ConflictError         it is in use, exists already, or belongs to somebody else
    │   └── PreconditionError     it is not what the caller took it for
    ├── MessageError          bytes that are not the HTTP they claim to be (from a client or an upstream)
    │   └── HeaderListTooLargeError   well-formed HTTP/2 fields, more of them than are taken
    ├── Http2Error            frames that break HTTP/2: of one stream, or of the whole connection
    │   └── HpackError                compressed fields that cannot be read
    ├── UnknownServiceError   a connection is for none of the services of its port
    └── UpstreamError         no answer can be had from an upstream: unreachable, too slow, broken

Every message says what happened, where, and what to do about it. No message ever holds a private key or a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.problems import Problem


class GatewayError(Exception):
    """The root: anything that the gateway itself decided is wrong."""


class ConfigurationError(GatewayError):
    """The configuration cannot be served. ``problems`` holds all of them, errors and warnings, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class EditError(GatewayError):
    """A configuration file cannot be changed by a program without harm to what a person wrote in it."""


class CertificateError(GatewayError):
    """A certificate, key or chain is unusable; the message says which rule it breaks and the cure."""


class StoreError(GatewayError):
    """The node's database cannot be opened, read or written."""


class DamagedError(StoreError):
    """One row of the node's database cannot be read. The others can."""


class FileError(StoreError):
    """A file cannot be written or removed; the message names it and the cure, and it is what it was."""


class OverloadedError(GatewayError):
    """Too much of this is asked for at the same time; nothing has changed."""


class KeyServiceError(GatewayError):
    """The cloud's key service cannot be reached, or does not let its key be used; the message has no secret."""


class RefusedError(GatewayError):
    """A change that was asked for does not fit what there is; nothing has changed."""


class NotFoundError(RefusedError):
    """What the change names is not there."""


class ConflictError(RefusedError):
    """What the change names is in use, exists already, or is kept where the caller cannot write."""


class PreconditionError(RefusedError):
    """What the change names is not what the caller took it for (RFC 9110 section 13.1)."""


class MessageError(GatewayError):
    """Bytes that are not the HTTP message they claim to be.

    ``status`` is what a client that sent them is answered with (RFC 9110 section 15.5); an upstream that sent them
    is answered for with 502.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class TargetError(MessageError):
    """A request that is sound but for its path, as people type it: in HTTP/2, too, it is answered and not reset."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason)


class HeaderListTooLargeError(MessageError):
    """An HTTP/2 field list is larger than what was announced (RFC 9113 section 10.5.1); the connection goes on."""


class Http2Error(GatewayError):
    """Frames that break HTTP/2. ``code`` is RFC 9113's (section 7); ``stream`` 0 means the whole connection."""

    def __init__(self, code: int, reason: str, stream: int = 0) -> None:
        self.code = code
        self.stream = stream
        super().__init__(reason)


class HpackError(Http2Error):
    """A field block is malformed: both sides' tables are out of step, and the connection of no more use."""

    def __init__(self, reason: str) -> None:
        super().__init__(9, reason)  # COMPRESSION_ERROR (RFC 9113 section 4.3)


class UnknownServiceError(GatewayError):
    """A connection is for none of the services of its port, or does not say for which."""


class UpstreamError(GatewayError):
    """No answer can be had from an upstream. ``status`` is 502, 503 or 504 (RFC 9110 section 15.6).

    ``unprocessed`` says that the upstream has surely not acted on the request; ``body`` is then what of the request's
    body can be sent again: all that was sent, or None when that is more than is kept. ``code``, if not 0, is that of
    HTTP/2 with which the upstream reset the stream (RFC 9113 section 7).
    """

    body: bytes | None = b""

    def __init__(self, status: int, reason: str, *, unprocessed: bool = False, code: int = 0) -> None:
        self.status = status
        self.unprocessed = unprocessed
        self.code = code
        super().__init__(reason)
