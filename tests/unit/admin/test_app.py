"""``/hello`` and ``/ready``: paths, methods, statuses and shapes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway import __version__
from gateway.admin.app import Component, Status, build

if TYPE_CHECKING:
    from collections.abc import Mapping

MOMENT = datetime(2026, 11, 22, 2, 15, 48, 999999, tzinfo=UTC)


class Patient:
    """A health that is whatever the test says."""

    def __init__(self, *, reason: str | None = None, **statuses: Status) -> None:
        self._reason = reason
        self._components = {
            name: Component(status, "system", MOMENT, "" if status is Status.PASS else f"{name} hurts")
            for name, status in (statuses or {"workers": Status.PASS}).items()
        }

    def components(self) -> Mapping[str, Component]:
        return self._components

    def unready(self) -> str | None:
        return self._reason


async def ask(patient: Patient, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(build(patient))
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
        return await client.request(method, path)


async def test_hello_has_tyks_shape() -> None:
    response = await ask(Patient(workers=Status.PASS, store=Status.FAIL), "/hello")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "status": "fail",
        "version": __version__,
        "description": "Gateway",
        "details": {
            "workers": {"status": "pass", "componentType": "system", "time": "2026-11-22T02:15:48Z"},
            "store": {
                "status": "fail", "componentType": "system",
                "time": "2026-11-22T02:15:48Z", "output": "store hurts",
            },
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        ((Status.PASS, Status.PASS), "pass"),
        ((Status.PASS, Status.WARN), "warn"),
        ((Status.WARN, Status.FAIL), "fail"),
        ((Status.FAIL, Status.PASS), "fail"),
    ],
)
async def test_the_whole_is_as_bad_as_its_worst_part(statuses: tuple[Status, Status], whole: str) -> None:
    response = await ask(Patient(a=statuses[0], b=statuses[1]), "/hello")
    assert (response.status_code, response.json()["status"]) == (200, whole)


async def test_ready_is_200_when_nothing_speaks_against_traffic() -> None:
    response = await ask(Patient(configuration=Status.WARN), "/ready")
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["description"]) == ("warn", "Gateway ready")


async def test_not_ready_is_503_with_the_reason() -> None:
    response = await ask(Patient(reason="Gateway is shutting down"), "/ready")
    assert response.status_code == 503
    assert response.json() == {"status": "error", "message": "Gateway is shutting down"}
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/hello", "/ready"])
async def test_head_is_answered_like_get(path: str) -> None:
    assert (await ask(Patient(), path, "HEAD")).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused_in_json(method: str) -> None:
    response = await ask(Patient(), "/hello", method)
    assert response.status_code == 405
    assert response.json() == {"status": "error", "message": "Method not supported"}
    assert sorted(response.headers["allow"].split(", ")) == ["GET", "HEAD"]


async def test_other_paths_are_unknown_in_json() -> None:
    response = await ask(Patient(), "/")
    assert (response.status_code, response.json()) == (404, {"status": "error", "message": "Not found"})
