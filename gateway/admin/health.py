"""``/hello`` and ``/ready``, with the paths and shapes that Tyk's clients know.

``/hello`` answers 200 as long as anybody answers, and tells component by component how things are. ``/ready`` says
with its status whether this node should get traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from gateway import __version__
from gateway.admin.declarations import Call, Model, Refusal, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.admin.declarations import Asked


class Status(StrEnum):
    """How a component is, from good to bad. The whole is as bad as its worst part."""

    PASS = "pass"  # noqa: S105 - a word of the health check format, not a password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Component:
    """How one part of the gateway is. ``kind`` is Tyk's componentType; ``output`` says more in words."""

    status: Status
    kind: str
    time: datetime
    output: str = ""


class Health(Protocol):
    """Who knows how the gateway is."""

    def components(self) -> Mapping[str, Component]:
        """Every part by its name."""

    def unready(self) -> str | None:
        """Why this node should get no traffic, or None when it should."""


class HealthDetail(Model):
    """How one part of the gateway is."""

    status: Status
    componentType: str  # noqa: N815 - Tyk's spelling
    time: datetime
    output: str = ""


class HealthReport(Model):
    """How the gateway is."""

    status: Status
    version: str
    description: str
    details: dict[str, HealthDetail]


def calls(health: Health) -> tuple[Call, ...]:
    """Return the two calls, which need no secret."""

    def report(description: str) -> Reply:
        components = health.components()
        status = max((component.status for component in components.values()), key=list(Status).index)
        details = {name: _detail(component) for name, component in components.items()}
        return Reply(HealthReport(status=status, version=__version__, description=description, details=details))

    async def say_hello(_: Asked) -> Reply:
        return report("Gateway")

    async def say_ready(_: Asked) -> Reply:
        reason = health.unready()
        if reason is not None:
            raise Refusal(503, reason)
        return report("Gateway ready")

    return (
        Call("GET", "/hello", "How the gateway is, part by part", say_hello, HealthReport, open=True),
        Call(
            "GET", "/ready", "Whether this node should get traffic", say_ready, HealthReport, open=True,
            refusals={503: "It should not; the message says why."},
        ),
    )  # fmt: skip


def _detail(component: Component) -> HealthDetail:
    output = {"output": component.output} if component.output else {}
    time = component.time.astimezone(UTC).replace(microsecond=0)
    return HealthDetail(status=component.status, componentType=component.kind, time=time, **output)
