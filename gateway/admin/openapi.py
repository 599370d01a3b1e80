"""The OpenAPI 3.1 document of the declared calls. What it says is what the router does: both read the same values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from gateway import __version__
from gateway.admin.authentication import HEADER
from gateway.admin.declarations import Message, Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.json_schema import JsonSchemaMode

    from gateway.admin.declarations import Body, Call, Parameter

_TEMPLATE = "#/components/schemas/{model}"
_MESSAGE = {"$ref": "#/components/schemas/Message"}
_SECRET_REFUSALS = {
    401: "The session has ended.",
    403: "The secret is wrong or missing, the role does not suffice, or the request comes from another site's page.",
    429: "Too many wrong secrets came from this address; Retry-After says when to try again.",
}


def document(calls: Sequence[Call]) -> dict[str, Any]:
    """Describe ``calls``."""
    schemas, definitions = _schemas(calls)
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gateway admin API",
            "version": __version__,
            "description": "Certificates, API definitions and reloads of a running gateway. See docs/admin-api.md.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "secret": {"type": "apiKey", "in": "header", "name": HEADER},
                "session": {"type": "http", "scheme": "bearer", "description": "The token of POST /tyk/login."},
            },
        },
    }


def _schemas(calls: Sequence[Call]) -> tuple[dict[object, Any], dict[str, Any]]:
    """Return the schema of every answer (by its call) and body model, and what they refer to."""
    inputs: list[tuple[object, JsonSchemaMode, TypeAdapter[Any]]] = [(Message, "serialization", TypeAdapter(Message))]
    for call in calls:
        inputs.append((call.handler, "serialization", call.adapter))
        for schema in call.body.content.values() if call.body else ():
            if isinstance(schema, type) and schema not in [key for key, _, _ in inputs]:
                inputs.append((schema, "validation", TypeAdapter(schema)))
    found, definitions = TypeAdapter.json_schemas(inputs, ref_template=_TEMPLATE)
    return {key: schema for (key, _), schema in found.items()}, definitions["$defs"]


def _operation(call: Call, schemas: Mapping[object, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": "Done.",
        "content": {"application/json": {"schema": schemas[call.handler]}},
    }
    if call.headers:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}, "required": True}
            for name, text in call.headers.items()
        }
    operation: dict[str, Any] = {
        "summary": call.summary,
        "operationId": call.method.lower() + "".join(c if c.isalnum() else "_" for c in call.path),
        "parameters": [_parameter(parameter) for parameter in call.parameters],
        "responses": {"200": success} | {str(status): _refusal(text) for status, text in _refusals(call).items()},
        "security": [] if call.open else [{"secret": []}, {"session": []}],
    }
    takes = "" if call.open else f"Takes the role {call.least}."
    if description := " ".join(filter(None, (call.description, takes))):
        operation["description"] = description
    if call.body:
        operation["requestBody"] = _body(call.body, schemas)
    return operation


def _refusals(call: Call) -> dict[int, str]:
    found: dict[int, str] = {403: _SECRET_REFUSALS[403]} if call.open else dict(_SECRET_REFUSALS)
    if call.parameters or call.body:
        found[400] = "The request is not as described; the message says where."
    if call.body:
        found |= {408: "The body took too long.", 413: f"The body is over {call.body.limit} bytes."}
    if not call.open:
        found[500] = "The gateway itself is in trouble, such as a full disk; nothing has changed."
    return dict(sorted((found | dict(call.refusals)).items()))


def _refusal(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _MESSAGE}}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _body(body: Body, schemas: Mapping[object, Any]) -> dict[str, Any]:
    content = {
        media: {"schema": schemas[schema] if isinstance(schema, type) and issubclass(schema, Model) else schema}
        for media, schema in body.content.items()
    }
    return {"description": body.description, "required": True, "content": content}
