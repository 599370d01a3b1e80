"""``/tyk/apis``: API definitions in the files of ``app_path``, in Tyk's shapes and words. A reload serves them.

In the classic format, and under ``/tyk/apis/oas`` in that of today: an OpenAPI document with Tyk's extension.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from gateway.admin.concealment import concealed
from gateway.admin.declarations import Body, Call, Model, Parameter, Refusal, Reply
from gateway.config.oas import EXTENSION
from gateway.config.problems import Severity
from gateway.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.admin.declarations import Asked

Definition = dict[str, Any]

# An id becomes a file name, so it can neither hide one nor leave the directory.
_ID_PATTERN = "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_API_ID = Parameter(
    "id", "path", "an `api_id`: letters, digits and . _ -", {"type": "string", "pattern": f"^{_ID_PATTERN}$"}
)
_BODY = Body(
    "A definition in Tyk's classic format: docs/configuration.md has its keys.",
    {
        "application/json": {
            "type": "object",
            "required": ["proxy"],
            "properties": {"api_id": {"type": "string", "pattern": f"^({_ID_PATTERN})?$"}, "proxy": {"type": "object"}},
        }
    },
)
_DOCUMENT = Body(
    f"An OpenAPI document whose section {EXTENSION} says how the API is served.",
    {
        "application/json": {
            "type": "object",
            "required": [EXTENSION],
            "properties": {EXTENSION: {"type": "object"}},
        }
    },
)
_MODE = Parameter("mode", "query", f"`public` leaves {EXTENSION} out")
_REFUSED = {
    400: "The definition is refused, and the message says why.",
    409: "There is no `app_path`, or the main file defines this id.",
}
_NOT_FOUND = "API not found"
_CLASSIC_ONLY = "this API endpoint only supports Tyk Classic APIs; please use the appropriate Tyk OAS API endpoint"


class Changed(Model):
    """What was done to the file of which API. It is served after a reload."""

    key: str
    status: Literal["ok"]
    action: Literal["added", "modified", "deleted"]


async def _list(asked: Asked) -> Reply:
    return Reply([concealed(one) for one in await asked.operations.apis()])


async def _get(asked: Asked) -> Reply:
    found = await asked.operations.api(asked.text("id"))
    if found is None:
        raise Refusal(404, _NOT_FOUND)
    return Reply(concealed(found))


async def _list_documents(asked: Asked) -> Reply:
    return Reply([_as_asked(asked, one) for one in await asked.operations.documents()])


async def _get_document(asked: Asked) -> Reply:
    found = await asked.operations.document(asked.text("id"))
    if found is not None:
        return Reply(_as_asked(asked, found))
    if await asked.operations.api(asked.text("id")) is None:
        raise Refusal(404, _NOT_FOUND)
    raise Refusal(400, "the requested API definition is in Tyk classic format, please use old api endpoint")


def _as_asked(asked: Asked, document: Mapping[str, Any]) -> Definition:
    """Return a document without its secrets and, in the public mode, without Tyk's extension."""
    public = asked.text("mode") == "public"
    kept = {key: value for key, value in document.items() if not public or key.lower() != EXTENSION}
    return cast("Definition", concealed(kept))


async def _add(asked: Asked) -> Reply:
    definition = await _definition(asked)
    if "id" in asked.values:
        _demand_same_id(asked, definition)
    try:
        made = await asked.operations.create_api(definition, asked.actor)
    except ConfigurationError as error:
        _refuse(error)
    return Reply(Changed(key=made, status="ok", action="added"))


async def _update(asked: Asked) -> Reply:
    definition, api_id = await _definition(asked), asked.text("id")
    _demand_same_id(asked, definition)
    try:
        await asked.operations.update_api(api_id, definition, asked.actor)
    except ConfigurationError as error:
        _refuse(error)
    except NotFoundError as error:
        raise Refusal(404, _NOT_FOUND) from error
    return Reply(Changed(key=api_id, status="ok", action="modified"))


async def _delete(asked: Asked) -> Reply:
    api_id = asked.text("id")
    try:
        await asked.operations.delete_api(api_id, asked.actor)
    except NotFoundError as error:
        raise Refusal(404, _NOT_FOUND) from error
    return Reply(Changed(key=api_id, status="ok", action="deleted"))


_ONE = "/tyk/apis/{id}"
_OAS, _OAS_ONE = "/tyk/apis/oas", "/tyk/apis/oas/{id}"
CALLS = (
    Call("GET", _OAS, "List the OpenAPI definitions that are served", _list_documents, list[Definition], (_MODE,)),
    Call(
        "POST", _OAS, "Write an OpenAPI definition", _add, Changed, (), _DOCUMENT, _REFUSED,
        description="One of the same id is replaced; without an id it gets one. Reload to serve it.",
    ),
    Call(
        "GET", _OAS_ONE, "Show an OpenAPI definition", _get_document, Definition, (_API_ID, _MODE),
        refusals={400: "It is in the classic format.", 404: _NOT_FOUND},
    ),
    Call(
        "PUT", _OAS_ONE, "Replace an OpenAPI definition", _update, Changed, (_API_ID,), _DOCUMENT,
        {**_REFUSED, 404: _NOT_FOUND}, description="Reload to serve it.",
    ),
    Call(
        "DELETE", _OAS_ONE, "Remove an OpenAPI definition", _delete, Changed, (_API_ID,),
        refusals={404: _NOT_FOUND, 409: "It is defined in the main file."}, description="Reload to stop serving it.",
    ),
    Call("GET", "/tyk/apis", "List the API definitions that are served", _list, list[Definition]),
    Call(
        "POST", "/tyk/apis", "Write an API definition", _add, Changed, (), _BODY, _REFUSED,
        description="One of the same id is replaced; without an id it gets one. Reload to serve it.",
    ),
    Call("GET", _ONE, "Show an API definition", _get, Definition, (_API_ID,), refusals={404: _NOT_FOUND}),
    Call("POST", _ONE, "Write an API definition", _add, Changed, (_API_ID,), _BODY, _REFUSED),
    Call(
        "PUT", _ONE, "Replace an API definition", _update, Changed, (_API_ID,), _BODY,
        {**_REFUSED, 404: _NOT_FOUND}, description="Reload to serve it.",
    ),
    Call(
        "DELETE", _ONE, "Remove an API definition", _delete, Changed, (_API_ID,),
        refusals={404: _NOT_FOUND, 409: "It is defined in the main file."}, description="Reload to stop serving it.",
    ),
)  # fmt: skip


async def _definition(asked: Asked) -> Definition:
    """Read the body: a definition in the format that the call is for, with an id that can be a file's name, or none."""
    try:
        definition = json.loads(await asked.body(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "Request malformed") from None  # the error would quote the body
    if not isinstance(definition, dict):
        raise Refusal(400, "Request malformed")
    wants_document = asked.call.body is _DOCUMENT
    if wants_document != (_member(definition, EXTENSION) is not None):
        there_is = f"the payload should contain {EXTENSION}" if wants_document else _CLASSIC_ONLY
        raise Refusal(400, there_is)
    api_id = _api_id(definition)
    if not isinstance(api_id, str):
        raise Refusal(400, "Validation of API Definition failed. Reason: api_id must be a text.")
    if api_id:
        _API_ID.read([api_id])
    return definition


def _api_id(definition: Definition) -> object:
    """Return the id that a definition of either format gives itself; "" when it gives none."""
    extension = _member(definition, EXTENSION)
    holder, key = (definition, "api_id") if extension is None else (_member(extension, "info") or {}, "id")
    found = _member(holder, key)
    return "" if found is None and key not in (holder if isinstance(holder, dict) else ()) else found


def _member(section: object, name: str) -> Any:
    members = section if isinstance(section, dict) else {}
    return next((value for key, value in members.items() if key.lower() == name), None)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _demand_same_id(asked: Asked, definition: Definition) -> None:
    """Refuse a body with another id than the path's; an OpenAPI document may leave it out."""
    api_id = _api_id(definition)
    if api_id != asked.text("id") and not (api_id == "" and asked.call.body is _DOCUMENT):
        message = "Request APIID does not match that in Definition! For Update operations these must match."
        raise Refusal(400, message)


def _refuse(error: ConfigurationError) -> NoReturn:
    reasons = [
        f"{p.path}: {p.message}" if p.path else p.message for p in error.problems if p.severity is Severity.ERROR
    ]
    reason = "; ".join(reasons)
    raise Refusal(400, f"Validation of API Definition failed. Reason: {reason}.") from error
