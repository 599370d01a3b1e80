"""``/tyk/reload``: read all files again. Unlike Tyk's, the answer to ``?block=true`` says when that did not work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gateway.admin.configuration import fault
from gateway.admin.declarations import Call, Fault, Model, Parameter, Refusal, Reply
from gateway.admin.identity import Role
from gateway.config.standing import Standing  # noqa: TC001 - pydantic evaluates it

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked

_BLOCK = Parameter(
    "block", "query", "answer when every worker serves what was read", {"type": "boolean", "default": False}
)


class RefusedDefinition(Model):
    """An API definition with errors: what it said before is served, or it is out of service, alone."""

    api_id: str
    source: str
    standing: Standing
    reason: str


class Reloaded(Model):
    """A reload that will come or, with ``block``, has; ``problems`` are then its warnings, and what was refused."""

    status: Literal["ok"]
    message: str
    generation: int = 0
    problems: tuple[Fault, ...] = ()
    refused: tuple[RefusedDefinition, ...] = ()


async def _reload(asked: Asked) -> Reply:
    block = asked.flag("block")
    result = await asked.operations.reload(asked.actor, block=block)
    problems = tuple(map(fault, result.problems))
    if not result.ok:
        raise Refusal(409, result.message, more={"problems": [problem.model_dump() for problem in problems]})
    if not block:
        return Reply(Reloaded(status="ok", message=""))
    refused = tuple(
        RefusedDefinition(api_id=one.api_id, source=one.source, standing=one.standing, reason=one.reason)
        for one in result.refused
    )
    return Reply(
        Reloaded(status="ok", message=result.message, generation=result.generation, problems=problems, refused=refused)
    )


_REFUSED = {409: "What was read cannot be served, and everything stays as it was. Only with `block`."}
CALLS = (
    Call(
        "GET", "/tyk/reload", "Read all files again", _reload, Reloaded, (_BLOCK,), refusals=_REFUSED,
        least=Role.OPERATOR,
    ),
    Call(
        "GET", "/tyk/reload/group", "Read all files again", _reload, Reloaded, (_BLOCK,), refusals=_REFUSED,
        least=Role.OPERATOR,
        description="A node stands alone here, so this is the same as `/tyk/reload`.",
    ),
)  # fmt: skip
