"""``/tyk/expiring``: every certificate that the gateway knows and that ends soon, whoever shows it to whom."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING

from gateway.admin.declarations import Call, Model, Parameter, Reply

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked

_DAYS = Parameter(
    "days",
    "query",
    "list what ends within this time",
    {"type": "integer", "minimum": 0, "maximum": 36500, "default": 30},
)
_LIMIT = Parameter(
    "limit", "query", "how many to list at most", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)


class Expiring(Model):
    """A certificate and where it is used. ``role`` is server, client, upstream, authority (a CA), or store.

    ``places`` are the first few names that it is served for, an id of the store, or keys of the configuration.
    """

    fingerprint: str
    name: str
    not_after: datetime
    role: str
    places: tuple[str, ...]


class ExpiringList(Model):
    """Certificates, the first to end first; what has ended is among them."""

    certificates: tuple[Expiring, ...]


async def _list(asked: Asked) -> Reply:
    found = await asked.operations.expiring(asked.number("days"), asked.number("limit"))
    return Reply(
        ExpiringList(
            certificates=tuple(
                Expiring(
                    fingerprint=one.fingerprint, name=one.name, not_after=one.expires, role=one.role, places=one.places
                )
                for one in found
            )
        )
    )


CALLS = (Call("GET", "/tyk/expiring", "List the certificates that end soon", _list, ExpiringList, (_DAYS, _LIMIT)),)
