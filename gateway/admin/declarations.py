"""How a call of the admin API is declared: once, for the router that serves it and the document that describes it.

A handler gets an `Asked`, whose parameters have been read as declared, and returns a `Reply` or raises a `Refusal`
or an error of `gateway.errors`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from gateway.admin.identity import Role
from gateway.certs.blocks import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request

    from gateway.admin.identity import Identity
    from gateway.admin.operations import Actor, Operations

_BODY_SECONDS = 30.0
_TEXT_CHARACTERS = 16384
_SHOWN_CHARACTERS = 60

Method = Literal["GET", "POST", "PUT", "DELETE"]
Value = str | int | bool | None


class Model(BaseModel):
    """A JSON object of the API. Fields that were not set are left out of what is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Fault(Model):
    """Something that is wrong with what a reload read: an error refuses it, the others do not."""

    severity: Literal["error", "warning", "note"]
    path: str
    source: str
    message: str
    cure: str


class Message(Model):
    """The shape of every refusal, and of successes that have nothing else to tell. A refused reload has problems."""

    status: Literal["ok", "error"]
    message: str
    problems: tuple[Fault, ...] = ()


class Refusal(Exception):  # noqa: N818 - as often the caller's mistake as an error
    """An answer that is not a success: its status and what to tell the caller."""

    def __init__(self, status: int, message: str, *, more: Mapping[str, object] | None = None) -> None:
        self.status = status
        self.message = message
        self.more = dict(more or {})
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers: a value of the declared type, and fields of the head."""

    value: object
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter and its JSON schema, which `read` enforces: type, enum, pattern, length, bounds."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})

    def read(self, texts: Sequence[str]) -> Value:
        """Return the value, the schema's default when it was not given; raise Refusal when it is not as declared."""
        if not texts:
            return self.schema.get("default")  # type: ignore[return-value] # declared beside the type
        if len(texts) > 1:
            raise Refusal(400, f"{self.name} was given {len(texts)} times; give it once")
        text = texts[0]
        match self.schema["type"]:
            case "boolean":
                if text not in ("true", "false"):
                    raise Refusal(400, f"{self.name} must be true or false, not {shown(text)}")
                return text == "true"
            case "integer":
                low, high = self.schema["minimum"], self.schema["maximum"]
                assert isinstance(low, int)
                assert isinstance(high, int)
                if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
                    raise Refusal(400, f"{self.name} must be a number from {low} to {high}, not {shown(text)}")
                return int(text)
        longest = self.schema.get("maxLength", _TEXT_CHARACTERS)
        assert isinstance(longest, int)
        allowed = self.schema.get("enum", (text,))
        assert isinstance(allowed, list | tuple)
        if (
            text not in allowed
            or len(text) > longest
            or not re.fullmatch(str(self.schema.get("pattern", "(?s:.*)")), text)
        ):
            raise Refusal(400, f"{self.name} cannot be {shown(text)}; it is {self.description}")
        return text


@dataclass(frozen=True, slots=True)
class Body:
    """The media types that are taken, with the schema of each, and the largest size in bytes."""

    description: str
    content: Mapping[str, type[Model] | Mapping[str, object]]
    limit: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one path. ``answer`` is the type of its success, ``refusals`` what else may come, by status.

    ``least`` is the role that it takes: a viewer's for what only reads, unless it says otherwise.
    """

    method: Method
    path: str
    summary: str
    handler: Callable[[Asked], Awaitable[Reply]]
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    refusals: Mapping[int, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    open: bool = False
    least: Role | None = None
    adapter: TypeAdapter[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the serialiser and the schema of the answer."""
        object.__setattr__(self, "adapter", TypeAdapter(self.answer))
        if self.least is None:
            object.__setattr__(self, "least", Role.VIEWER if self.method == "GET" else Role.OPERATOR)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to a declared call: what was asked, by whom, and of which gateway.

    ``identity`` is who was recognised; at an open call nobody was, and it may do nothing else.
    """

    call: Call
    request: Request
    operations: Operations
    actor: Actor
    values: Mapping[str, Value]
    identity: Identity

    def text(self, name: str) -> str:
        """Return a declared text parameter, empty when it was not given."""
        return str(self.values[name] or "")

    def flag(self, name: str) -> bool:
        """Return a declared boolean parameter."""
        return bool(self.values[name])

    def number(self, name: str) -> int:
        """Return a declared integer parameter."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    async def body(self) -> bytes:
        """Return the whole body. Raises Refusal when it is too large or takes too long."""
        assert self.call.body is not None
        limit, parts, size = self.call.body.limit, [], 0
        too_large = Refusal(413, f"the body is over {limit} bytes")
        length = self.request.headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > limit:
            raise too_large
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for part in self.request.stream():
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise too_large
        except TimeoutError as error:
            raise Refusal(408, f"the body did not arrive within {_BODY_SECONDS:g} s") from error
        except ClientDisconnect as error:
            raise Refusal(400, "the body was not sent whole") from error
        return b"".join(parts)


def shown(text: str) -> str:
    """What a caller sent, fit to be repeated to it: quoted, escaped, and short."""
    return ascii(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


def complaint(error: ValidationError) -> str:
    """What is wrong with a body, without a word of what stands in it: it may hold a private key."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "extra_forbidden":
        return "an unknown key; see /openapi.json for those there are"
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
