"""From declared calls to the routes that serve them: parameters read, answers and errors written, all in JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.declarations import Asked, Refusal, shown
from gateway.admin.identity import Identity, Role
from gateway.admin.operations import Actor
from gateway.errors import (
    CertificateError,
    ConfigurationError,
    ConflictError,
    GatewayError,
    KeyServiceError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from starlette.requests import Request

    from gateway.admin.declarations import Call, Method, Parameter, Value
    from gateway.admin.operations import Operations

IDENTITY = "gateway.identity"
"""Where in a request's scope the guard writes whom it has recognised."""

# The first that fits counts.
_STATUSES: tuple[tuple[type[GatewayError], int], ...] = (
    (CertificateError, 422),
    (ConfigurationError, 400),
    (NotFoundError, 404),
    (PreconditionError, 412),
    (ConflictError, 409),
    (OverloadedError, 503),
    (KeyServiceError, 502),
    (GatewayError, 500),
)
_TYKS_OWN = ("/tyk/apis", "/tyk/certs", "/tyk/reload", "/hello", "/ready")
_CHALLENGES = {401: {"WWW-Authenticate": "Bearer"}}
_NOBODY = Identity("", Role.VIEWER)


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
    retry = {"Retry-After": str(refusal.more["retry_after"])} if "retry_after" in refusal.more else {}
    body = {"status": "error", "message": refusal.message, **refusal.more}
    body.pop("retry_after", None)
    content = json.dumps(body, separators=(",", ":")).encode()
    return respond(refusal.status, content, {**retry, **_CHALLENGES.get(refusal.status, {}), **(headers or {})})


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


def _endpoint(calls: Mapping[Method, Call], operations: Operations) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        call = calls["GET" if request.method == "HEAD" else cast("Method", request.method)]
        identity: Identity = request.scope.get(IDENTITY, _NOBODY)
        assert call.least is not None
        if not call.open and not identity.role.may(call.least):
            raise Refusal(403, f"{identity.name} is a {identity.role} and may only look; this takes an {call.least}")
        _refuse_unknown(call, request)
        values = {parameter.name: _read(parameter, request) for parameter in call.parameters}
        actor = Actor(identity.name, request.client.host if request.client else "")
        reply = await call.handler(Asked(call, request, operations, actor, values, identity))
        return respond(200, call.adapter.dump_json(reply.value, exclude_unset=True), reply.headers)

    return answer


def _refuse_unknown(call: Call, request: Request) -> None:
    """Refuse unknown parameters: a misspelt ``dry_run`` must not become a swap. Tyk's own calls accept them."""
    if call.path.startswith(_TYKS_OWN):
        return
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
