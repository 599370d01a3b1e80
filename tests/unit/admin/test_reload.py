"""``/tyk/reload`` and ``/tyk/generations``."""

from __future__ import annotations

import pytest
from support.admin import Admin

from gateway.admin.declarations import Message
from gateway.admin.operations import ReloadResult
from gateway.config.problems import Problem, Severity

PATHS = ["/tyk/reload", "/tyk/reload/", "/tyk/reload/group", "/tyk/reload/group/"]
PROBLEM = Problem(Severity.ERROR, "apis[0].proxy", "gateway.yaml:7", "is missing", "add it")


@pytest.mark.parametrize("path", PATHS)
async def test_a_reload_is_scheduled_in_tyks_shape(path: str) -> None:
    admin = Admin()
    response = await admin.ask("GET", path)
    assert (response.status_code, response.json()) == (200, {"status": "ok", "message": ""})
    assert admin.operations.reloads == [False]


@pytest.mark.parametrize("path", PATHS)
async def test_a_reload_that_is_waited_for_tells_what_came_of_it(path: str) -> None:
    admin = Admin()
    response = await admin.ask("GET", path + "?block=true")
    assert response.json() == {"status": "ok", "message": "", "generation": 7, "problems": [], "refused": []}
    assert admin.operations.reloads == [True]


async def test_a_reload_that_failed_is_no_success() -> None:
    admin = Admin()
    admin.operations.reload_result = ReloadResult(ok=False, generation=6, message="refused", problems=(PROBLEM,))
    response = await admin.ask("GET", "/tyk/reload?block=true")
    assert response.status_code == 409
    Message.model_validate_json(response.content)  # as /openapi.json describes every refusal
    assert response.json() == {
        "status": "error",
        "message": "refused",
        "problems": [
            {
                "severity": "error", "path": "apis[0].proxy", "source": "gateway.yaml:7",
                "message": "is missing", "cure": "add it",
            }
        ],
    }  # fmt: skip


async def test_the_last_changes_are_listed_newest_first() -> None:
    from gateway.certs.self_signed import self_signed

    admin = Admin()
    for name in ("a.example", "b.example", "c.example"):
        pair = self_signed(name)
        await admin.ask("PUT", f"/tyk/domains/{name}/certificate", content=pair.chain_pem + pair.key_pem)
    entries = (await admin.ask("GET", "/tyk/generations?limit=2")).json()["generations"]
    assert [entry["subject"] for entry in entries] == ["c.example", "b.example"]
    assert entries[0] == {
        "number": 3, "time": "2026-11-22T02:15:48Z", "who": "secret", "what": "certificate put",
        "subject": "c.example", "result": "ok", "address": "127.0.0.1", "old": None, "new": None,
    }  # fmt: skip
