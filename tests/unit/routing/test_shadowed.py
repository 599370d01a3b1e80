from __future__ import annotations

import pytest

from gateway.config.definitions import ApiDefinition
from gateway.config.load import Configuration
from gateway.config.settings import Settings
from gateway.routing.shadowed import problems


def api(name: str, path: str, domain: str = "", **more: object) -> ApiDefinition:
    proxy = {"listen_path": path, "target_url": "http://127.0.0.1:1/"}
    return ApiDefinition.model_validate({"api_id": name, "domain": domain, "proxy": proxy, **more})


APP = api("app", "/", "app.test")


@pytest.mark.parametrize(
    ("apis", "said"),
    [
        (
            [APP, api("tabpy", "/tabpy/")],
            ["tabpy: only hosts that no API names reach it: requests for app.test/tabpy/ go to 'app'"],
        ),
        ([APP, api("tabpy", "/", "tabpy.test")], []),
        ([APP, api("tabpy", "/tabpy/", "app.test")], []),
        ([APP, api("rest", "/")], []),
        ([api("tabpy", "/tabpy/"), api("other", "/other/")], []),
        # One is reached under its api_id before a shorter path is looked at.
        (
            [api("t", "/a/longer/", "a.test"), api("x", "/t/", "a.test")],
            ["x: nobody reaches it: requests for a.test/t/ go to 't'"],
        ),
        ([APP, api("api", "/v1/", "api.test"), api("tabpy", "/tabpy/")], []),
        ([APP, api("off", "/tabpy/", active=False)], []),
        ([APP, api("own", "/tabpy/", listen_port=9000)], []),
    ],
)  # fmt: skip
def test_a_route_that_others_have_is_told(apis: list[ApiDefinition], said: list[str]) -> None:
    found = problems(
        Configuration(settings=Settings(enable_custom_domains=True), apis=tuple(apis), warnings=(), files=())
    )
    told = [(one.path[5:].partition("]")[0], one.message) for one in found]
    assert [f"{name}: {rest}" for name, rest in told] == said
