"""What control and a worker say to each other: one JSON object per line on a UNIX stream socket.

The worker dials and says ``Hello`` with the generation it serves. From then on control says ``Apply``
whenever a newer generation is in the store and ``Ping`` now and then; the worker answers ``Applied`` or
``Failed``, and ``Counters``. Control says ``Probed`` whenever hosts went down or up, and to each worker that comes;
``Inquire`` when somebody wants to know how targets are, which the worker answers with ``Targets``; and ``Meet`` when
somebody wants to know what a client meets, which the worker answers with ``Met``. A worker that lacks sockets of
services says ``Sockets`` on another connection, and gets them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from gateway.routing.front import Front  # noqa: TC001 - pydantic evaluates it
from gateway.routing.health import TargetState  # noqa: TC001 - pydantic evaluates it

MAX_LINE = 1 << 20
"""Bytes of the longest line. A peer that sends more is not one of ours, and is hung up on."""

MAX_NAMES = 1000
"""An ``Apply`` names at most so many sites (with 253 characters each they fit in a line); with more it says
"all" (None), which costs a worker no more than evicting them one by one."""

MAX_TARGETS = 2000
"""A ``Targets`` tells of at most so many: control inquires for no more at once."""

MAX_TEXT = 100_000
"""Characters of the names in a ``Probed`` or an ``Inquire``, which JSON may have to write with six bytes each. Hosts
that are too many to be named count as up: hardly are all of them down, and the gateway online."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Worker: I am worker number ``worker``, process ``pid``, and serve ``generation``."""

    worker: int
    pid: int
    generation: int
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Apply:
    """Control: ``generation`` is in the store; certificates of ``names`` changed (None: any may have)."""

    generation: int
    names: tuple[str, ...] | None
    kind: Literal["apply"] = "apply"


@dataclass(frozen=True, slots=True)
class Applied:
    """Worker: every new connection and request now sees ``generation``."""

    generation: int
    kind: Literal["applied"] = "applied"


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker: ``generation`` cannot be served here for ``reason``; the one before it still is."""

    generation: int
    reason: str
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Ping:
    """Control: are you there?"""

    kind: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True)
class Counters:
    """Worker: I am, and this is what I have counted since my start."""

    values: dict[str, int]
    kind: Literal["counters"] = "counters"


@dataclass(frozen=True, slots=True)
class Probed:
    """Control: exactly these hosts are down, each an API's id, a host and a port with spaces between."""

    down: tuple[str, ...]
    kind: Literal["probed"] = "probed"


@dataclass(frozen=True, slots=True)
class Inquire:
    """Control: how are the targets of these APIs?"""

    number: int
    api_ids: tuple[str, ...]
    kind: Literal["inquire"] = "inquire"


@dataclass(frozen=True, slots=True)
class Targets:
    """Worker: this is how they are, in answer to inquiry ``number``."""

    number: int
    states: tuple[TargetState, ...]
    kind: Literal["targets"] = "targets"


@dataclass(frozen=True, slots=True)
class Meet:
    """Control: what does a client meet that asks for this name ("": for none)?"""

    number: int
    name: str
    kind: Literal["meet"] = "meet"


@dataclass(frozen=True, slots=True)
class Met:
    """Worker: this, in answer to question ``number``, while it served ``generation``."""

    number: int
    generation: int
    front: Front
    kind: Literal["met"] = "met"


@dataclass(frozen=True, slots=True)
class Sockets:
    """Worker, on a connection of its own: give me the sockets of services. They come with a list of their ports."""

    kind: Literal["sockets"] = "sockets"


FromWorker = Hello | Applied | Failed | Counters | Targets | Met | Sockets
FromControl = Apply | Ping | Probed | Inquire | Meet
Message = FromWorker | FromControl

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def encode(message: Message) -> bytes:
    """Return the line that says ``message``."""
    return _MESSAGE.dump_json(message) + b"\n"


def decode(line: bytes) -> Message:
    """Return what ``line`` says. Raises ValueError when it is none of the messages above."""
    return _MESSAGE.validate_json(line)
