"""The application on the control port: ``/hello`` and ``/ready``, with the paths and shapes that Tyk's clients know.

``/hello`` answers 200 as long as anybody answers, and tells component by component how things are. ``/ready`` says
with its status whether this node should get traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request


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


def build(health: Health) -> Starlette:
    """Return the application."""

    def report(description: str) -> JSONResponse:
        components = health.components()
        details = {name: _detail(component) for name, component in components.items()}
        status = max((component.status for component in components.values()), key=list(Status).index)
        return JSONResponse(
            {"status": status, "version": __version__, "description": description, "details": details},
            headers={"Cache-Control": "no-store"},
        )

    async def say_hello(_: Request) -> JSONResponse:
        return report("Gateway")

    async def say_ready(_: Request) -> JSONResponse:
        reason = health.unready()
        return report("Gateway ready") if reason is None else _error(503, reason)

    async def refuse(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # Starlette promises it to the handler of a status
        message = "Method not supported" if error.status_code == 405 else "Not found"
        return _error(error.status_code, message, error.headers)

    return Starlette(
        routes=[Route("/hello", say_hello), Route("/ready", say_ready)],
        exception_handlers={404: refuse, 405: refuse},
    )


def _detail(component: Component) -> dict[str, str]:
    time = component.time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    detail = {"status": str(component.status), "componentType": component.kind, "time": time}
    return detail | ({"output": component.output} if component.output else {})


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"status": "error", "message": message}
    return JSONResponse(body, status, headers={"Cache-Control": "no-store", **(headers or {})})
