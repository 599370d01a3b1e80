"""``/tyk/upstreams``: where APIs lead, and how their targets are just now."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING

from gateway.admin.declarations import Call, Model, Parameter, Reply

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked
    from gateway.admin.operations import ApiReport, TargetReport

_AFTER = Parameter("after", "query", "list the APIs behind this id: `next` of the page before")
_LIMIT = Parameter(
    "limit",
    "query",
    "how many APIs to list at most",
    {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
)


class Target(Model):
    """A target. It is ``healthy`` when no check finds its host down and no worker leaves it out.

    ``ejections`` is how many workers leave it out because requests failed, at the latest until ``ejected_until``.
    Requests in flight and waiting, idle connections, failures and retries are those of all workers; the last two count
    from their start, and all are those of the address, whichever API led there.
    """

    url: str
    weight: int
    healthy: bool
    down: bool
    ejections: int
    ejected_until: datetime | None
    in_flight: int
    idle: int
    waiting: int
    failures: int
    retries: int


class Api(Model):
    """An API and its targets."""

    api_id: str
    name: str
    policy: str
    targets: tuple[Target, ...]


class UpstreamList(Model):
    """A page of APIs in the order of their ids. ``workers`` is how many told; ``next`` is null on the last page."""

    workers: int
    apis: tuple[Api, ...]
    next: str | None


async def _list(asked: Asked) -> Reply:
    report = await asked.operations.upstreams(asked.text("after"), asked.number("limit"))
    following = report.apis[-1].api_id if report.more and report.apis else None
    return Reply(UpstreamList(workers=report.workers, apis=tuple(map(_api, report.apis)), next=following))


CALLS = (
    Call(
        "GET", "/tyk/upstreams", "List the targets of APIs with their health", _list, UpstreamList, (_AFTER, _LIMIT)
    ),
)  # fmt: skip


def _api(report: ApiReport) -> Api:
    targets = tuple(map(_target, report.targets))
    return Api(api_id=report.api_id, name=report.name, policy=report.policy, targets=targets)


def _target(report: TargetReport) -> Target:
    return Target(
        url=report.url,
        weight=report.weight,
        healthy=not report.down and not report.ejections,
        down=report.down,
        ejections=report.ejections,
        ejected_until=report.ejected_until,
        in_flight=report.in_flight,
        idle=report.idle,
        waiting=report.waiting,
        failures=report.failures,
        retries=report.retries,
    )
