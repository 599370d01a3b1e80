"""``/tyk/crls``: the revocation lists by which clients' certificates are judged."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING

from gateway.admin.declarations import Body, Call, Message, Model, Parameter, Refusal, Reply
from gateway.certs.revocation import MAX_BYTES

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked
    from gateway.admin.operations import CrlState

_NAME = Parameter(
    "name",
    "path",
    "a name of your own: letters, digits, `.`, `_` and `-`",
    {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]*$", "maxLength": 64},
)
_PEM = {"type": "string", "pattern": "-----BEGIN X509 CRL-----"}
_BODY = Body(
    "A certificate revocation list, complete: PEM or DER.",
    {"application/x-pem-file": _PEM, "text/plain": _PEM, "application/pkix-crl": {"type": "string"}},
    MAX_BYTES,
)


class Crl(Model):
    """A revocation list. ``revoked`` is how many certificates it revokes; ``next_update`` is null if it never ends.

    ``source`` is `admin`, or the file that it stands in.
    """

    name: str
    source: str
    issuer: str
    this_update: datetime
    next_update: datetime | None
    revoked: int
    warnings: tuple[str, ...] = ()


class CrlList(Model):
    """All revocation lists."""

    crls: tuple[Crl, ...]


async def _list(asked: Asked) -> Reply:
    return Reply(CrlList(crls=tuple(map(_crl, await asked.operations.crls()))))


async def _get(asked: Asked) -> Reply:
    name = asked.text("name")
    state = await asked.operations.crl(name)
    if state is None:
        raise Refusal(404, f"there is no revocation list {name}")
    return Reply(_crl(state))


async def _put(asked: Asked) -> Reply:
    body = await asked.body()
    if not body.strip():
        raise Refusal(400, "there is no revocation list in the body; send PEM or DER")
    return Reply(_crl(await asked.operations.put_crl(asked.text("name"), body, asked.actor)))


async def _delete(asked: Asked) -> Reply:
    await asked.operations.delete_crl(asked.text("name"), asked.actor)
    return Reply(Message(status="ok", message="removed"))


CALLS = (
    Call("GET", "/tyk/crls", "List the revocation lists", _list, CrlList),
    Call("GET", "/tyk/crls/{name}", "Show one", _get, Crl, (_NAME,), refusals={404: "There is none."}),
    Call(
        "PUT", "/tyk/crls/{name}", "Put a revocation list", _put, Crl, (_NAME,), _BODY,
        {409: "It is older than the one of this name.", 422: "It is refused, and the message says why."},
        description="Every worker judges by it when the answer comes: at handshakes, and at requests on connections"
        " that are open.",
    ),
    Call(
        "DELETE", "/tyk/crls/{name}", "Remove one that was put", _delete, Message, (_NAME,),
        refusals={404: "There is none."},
        description="What it revoked counts again, as far as it is on a list.",
    ),
)  # fmt: skip


def _crl(state: CrlState) -> Crl:
    return Crl(
        name=state.name,
        source=state.source,
        issuer=state.issuer,
        this_update=state.this_update,
        next_update=state.next_update,
        revoked=state.revoked,
        warnings=state.warnings,
    )
