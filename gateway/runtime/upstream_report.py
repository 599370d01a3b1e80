"""How the targets of APIs are: what each worker says of them, added up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.admin.operations import ApiReport, TargetReport, UpstreamReport
from gateway.routing.balancing import weighted_targets
from gateway.routing.uptime import host_key
from gateway.runtime.messages import MAX_TARGETS, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration
    from gateway.routing.balancing import Target
    from gateway.routing.health import TargetState
    from gateway.runtime.roster import Roster

_PATIENCE_SECONDS = 2.0


async def report(
    configuration: Configuration, after: str, limit: int, down: Collection[str], roster: Roster
) -> UpstreamReport:
    """Report on at most ``limit`` APIs behind ``after``, fewer where they have very many targets."""
    following = sorted((api for api in configuration.apis if api.api_id > after), key=lambda api: api.api_id)
    page: list[tuple[ApiDefinition, Mapping[Target, int]]] = []
    size = length = 0
    for api in following[:limit]:
        targets = weighted_targets(api)
        size += len(targets)
        length += len(api.api_id)
        if page and (size > MAX_TARGETS or length > MAX_TEXT):
            break
        page.append((api, targets))
    answers = await roster.inquire([api.api_id for api, _ in page], _PATIENCE_SECONDS)
    said: dict[tuple[int, int], list[TargetState]] = {}
    for state in (state for answer in answers for state in answer):
        said.setdefault((state.api, state.index), []).append(state)
    apis = tuple(
        _api(api, targets, [said.get((position, index), []) for index in range(len(targets))], down)
        for position, (api, targets) in enumerate(page)
    )
    return UpstreamReport(len(answers), apis, len(following) > len(page))


def _api(
    api: ApiDefinition,
    targets: Mapping[Target, int],
    said: Sequence[Sequence[TargetState]],
    down: Collection[str],
) -> ApiReport:
    return ApiReport(
        api.api_id,
        api.name,
        api.gateway.balancing.policy,
        tuple(
            _target(
                target,
                weight,
                states,
                down=host_key(api.api_id, target.host, target.port) in down,
            )
            for (target, weight), states in zip(targets.items(), said, strict=True)
        ),
    )


def _target(target: Target, weight: int, states: Sequence[TargetState], *, down: bool) -> TargetReport:
    ejected = [state.ejected for state in states if state.ejected > 0]
    return TargetReport(
        url=f"{target.scheme}://{target.authority.decode()}",
        weight=weight,
        down=down,
        ejections=len(ejected),
        ejected_until=datetime.now(UTC) + timedelta(seconds=max(ejected)) if ejected else None,
        in_flight=sum(state.in_flight for state in states),
        idle=sum(state.idle for state in states),
        waiting=sum(state.waiting for state in states),
        failures=sum(state.failures for state in states),
        retries=sum(state.retries for state in states),
    )
