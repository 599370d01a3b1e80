"""From declared calls to the routes that serve them: parameters read, answers and errors written, all in JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.declarations import Asked, Refusal, shown
from gateway.admin.operations import Actor
from gateway.errors import (
    CertificateError,
    ConfigurationError,
    ConflictError,
    GatewayError,
    NotFoundError,
    PreconditionError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from starlette.requests import Request

    from gateway.admin.declarations import Call, Method, Parameter, Value
    from gateway.admin.operations import Operations

# The first that fits counts.
_STATUSES: tuple[tuple[type[GatewayError], int], ...] = (
    (CertificateError, 422),
    (ConfigurationError, 400),
    (NotFoundError, 404),
    (PreconditionError, 412),
    (ConflictError, 409),
    (GatewayError, 500),
)


def routes(calls: Sequence[Call], operations: Operations) -> Iterator[Route]:
    """Yield a route for each path; the first of two that match counts."""
    for path in dict.fromkeys(call.path for call in calls):
        by_method = {call.method: call for call in calls if call.path == path}
        yield Route(path, _endpoint(by_method, operations), methods=list(by_method))


def respond(status: int, content: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON, which ends with a newline as Tyk's does."""
    fields = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return Response(content + b"\n", status, fields, media_type="application/json")


def refuse(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with what is wrong."""
    body = {"status": "error", "message": refusal.message, **refusal.more}
    return respond(refusal.status, json.dumps(body, separators=(",", ":")).encode(), headers)


async def explain(_: Request, error: Exception) -> Response:
    """Turn whatever a handler or the router raised into an answer."""
    match error:
        case Refusal():
            return refuse(error)
        case GatewayError():
            status = next(status for kind, status in _STATUSES if isinstance(error, kind))
            return refuse(Refusal(status, str(error)))
        case HTTPException():
            texts = {404: "Not found", 405: "Method not supported"}
            return refuse(Refusal(error.status_code, texts.get(error.status_code, error.detail)), error.headers)
    return refuse(Refusal(500, "an error in the gateway itself; its log says more"))


def actor(request: Request) -> Actor:
    """Who asks. There is one secret, so far."""
    return Actor("secret", request.client.host if request.client else "")


def _endpoint(calls: Mapping[Method, Call], operations: Operations) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        call = calls["GET" if request.method == "HEAD" else cast("Method", request.method)]
        _refuse_unknown(call, request)
        values = {parameter.name: _read(parameter, request) for parameter in call.parameters}
        reply = await call.handler(Asked(call, request, operations, actor(request), values))
        return respond(200, call.adapter.dump_json(reply.value, exclude_unset=True), reply.headers)

    return answer


def _refuse_unknown(call: Call, request: Request) -> None:
    """A misspelt ``dry_run`` must not become a swap."""
    known = {parameter.name for parameter in call.parameters if parameter.where == "query"}
    if unknown := sorted(set(request.query_params) - known):
        there_are = f"there are {', '.join(sorted(known))}" if known else "this call has none"
        raise Refusal(400, f"there is no parameter {shown(unknown[0])}; {there_are}")


def _read(parameter: Parameter, request: Request) -> Value:
    match parameter.where:
        case "path":
            return parameter.read([request.path_params[parameter.name]])
        case "query":
            return parameter.read(request.query_params.getlist(parameter.name))
        case _:
            # A list that stands on several lines is one list (RFC 9110 section 5.3).
            lines = request.headers.getlist(parameter.name)
            return parameter.read([", ".join(lines)] if lines else [])
