"""``/hello`` and ``/ready``: paths, methods, statuses and shapes."""

from __future__ import annotations

import pytest
from support.admin import Admin, Patient

from gateway import __version__
from gateway.admin.health import Status


async def test_hello_has_tyks_shape() -> None:
    response = await Admin(patient=Patient(workers=Status.PASS, store=Status.FAIL)).ask("GET", "/hello", secret=None)
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
    response = await Admin(patient=Patient(a=statuses[0], b=statuses[1])).ask("GET", "/hello")
    assert (response.status_code, response.json()["status"]) == (200, whole)


async def test_ready_is_200_when_nothing_speaks_against_traffic() -> None:
    response = await Admin(patient=Patient(configuration=Status.WARN)).ask("GET", "/ready", secret=None)
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["description"]) == ("warn", "Gateway ready")


async def test_not_ready_is_503_with_the_reason() -> None:
    response = await Admin(patient=Patient(reason="Gateway is shutting down")).ask("GET", "/ready", secret=None)
    assert response.status_code == 503
    assert response.json() == {"status": "error", "message": "Gateway is shutting down"}
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/hello", "/ready", "/hello/"])
async def test_head_is_answered_like_get(path: str) -> None:
    assert (await Admin().ask("HEAD", path)).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused_in_json(method: str) -> None:
    response = await Admin().ask(method, "/hello")
    assert response.status_code == 405
    assert response.json() == {"status": "error", "message": "Method not supported"}
    assert sorted(response.headers["allow"].split(", ")) == ["GET", "HEAD"]


@pytest.mark.parametrize("path", ["/", "/tyk", "/tyk/certs//x", "/tyk/certs/a/b", "/hello/there", "//"])
async def test_other_paths_are_unknown_in_json(path: str) -> None:
    response = await Admin().ask("GET", path)
    assert (response.status_code, response.json()) == (404, {"status": "error", "message": "Not found"})
