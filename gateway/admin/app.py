"""The application on the control port, composed.

Control builds it so, and serves it with uvicorn:

    guard = Guard(lambda: self._secret_digest, accounts, events, loopback=ip_address(control_address).is_loopback)
    app.build(health, operations, accounts, guard)

The digest is `store.admin_secret.digest(settings.secret, data_dir)`; ``operations`` is an `operations.Operations`,
``accounts`` are `identity.Accounts`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from gateway.admin import (
    accounts,
    bulk,
    certificates,
    configuration,
    crls,
    definitions,
    domains,
    expiring,
    generations,
    health,
    keys,
    openapi,
    reload,
    upstreams,
)
from gateway.admin.declarations import Refusal
from gateway.admin.routes import explain, respond, routes
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.admin.authentication import Guard
    from gateway.admin.identity import Accounts
    from gateway.admin.operations import Operations

_DOCUMENT = "/openapi.json"


def build(who_knows: health.Health, operations: Operations, administrators: Accounts, guard: Guard) -> ASGIApp:
    """Return the application. All calls but ``/hello``, ``/ready``, ``/openapi.json`` and logging in need a right."""
    calls = (
        *health.calls(who_knows),
        *accounts.calls(administrators, guard.attempts),
        *certificates.CALLS,
        *crls.CALLS,
        *domains.CALLS,
        *bulk.CALLS,
        *definitions.CALLS,
        *reload.CALLS,
        *configuration.CALLS,
        *generations.CALLS,
        *upstreams.CALLS,
        *expiring.CALLS,
        *keys.CALLS,
    )
    described = json.dumps(openapi.document(calls)).encode()

    async def describe(_: Request) -> Response:
        return respond(200, described)

    app = Starlette(
        routes=[*routes(calls, operations), Route(_DOCUMENT, describe)],
        exception_handlers=dict.fromkeys((Refusal, GatewayError, HTTPException, Exception), explain),
    )
    app.router.redirect_slashes = False
    return _without_final_slash(guard.before(app, {_DOCUMENT, *(call.path for call in calls if call.open)}))


def _without_final_slash(app: ASGIApp) -> ASGIApp:
    """A path means the same with a slash at its end, as in Tyk."""

    async def strip(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await app(scope, receive, send)

    return strip
