"""``/tyk/generations``: the audit log's last entries."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING

from gateway.admin.declarations import Call, Model, Parameter, Reply

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked
    from gateway.admin.operations import GenerationEntry

_LIMIT = Parameter(
    "limit", "query", "how many to list at most", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)


class Change(Model):
    """Who did what to what, when and from where, and what came of it.

    ``number`` is null when no generation came of it; ``old`` and ``new`` are fingerprints.
    """

    number: int | None
    time: datetime
    who: str
    what: str
    subject: str
    result: str
    address: str
    old: str | None
    new: str | None


class ChangeList(Model):
    """Changes, the newest first."""

    generations: tuple[Change, ...]


async def _list(asked: Asked) -> Reply:
    entries = await asked.operations.generations(asked.number("limit"))
    return Reply(ChangeList(generations=tuple(map(_change, entries))))


CALLS = (Call("GET", "/tyk/generations", "List the last changes", _list, ChangeList, (_LIMIT,)),)


def _change(entry: GenerationEntry) -> Change:
    return Change(
        number=entry.number,
        time=entry.time,
        who=entry.who,
        what=entry.what,
        subject=entry.subject,
        result=entry.result,
        address=entry.address,
        old=entry.old,
        new=entry.new,
    )
