"""``/tyk/upstreams``, page by page."""

from __future__ import annotations

from support.admin import Admin


async def test_every_target_is_told_of() -> None:
    response = await Admin().ask("GET", "/tyk/upstreams")
    assert response.status_code == 200
    report = response.json()
    assert (report["workers"], report["next"]) == (2, None)
    assert [api["api_id"] for api in report["apis"]] == ["api0", "api1", "api2"]
    assert report["apis"][0]["targets"] == [
        {
            "url": "http://10.0.0.1:8080",
            "weight": 1,
            "healthy": False,
            "down": False,
            "ejections": 1,
            "ejected_until": "2026-11-22T02:15:48Z",
            "in_flight": 2,
            "idle": 3,
            "waiting": 4,
            "failures": 5,
            "retries": 6,
        }
    ]


async def test_pages_follow_each_other() -> None:
    admin, after, found = Admin(), "", []
    while after is not None:
        page = (await admin.ask("GET", f"/tyk/upstreams?limit=2&after={after}")).json()
        found += [api["api_id"] for api in page["apis"]]
        after = page["next"]
    assert found == ["api0", "api1", "api2"]


async def test_it_needs_the_secret() -> None:
    assert (await Admin().ask("GET", "/tyk/upstreams", secret=None)).status_code == 403
