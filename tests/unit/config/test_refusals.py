from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import refusals

if TYPE_CHECKING:
    from unit.config.workshop import Workshop

Api = Callable[..., dict[str, Any]]


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.replace("*", "some").split(".")):
        value = {key: value}
    return dict(value)


@pytest.mark.parametrize("path", refusals.DEFINITION)
@pytest.mark.parametrize("value", [True, ["x"], {"a": "b"}, "false"])
def test_a_definition_that_asks_for_what_is_not_there_is_refused(
    workshop: Workshop, api: Api, path: str, value: Any
) -> None:
    errors = [str(problem) for problem in workshop.problems({"apis": [api(**nested(path, value))]})]
    assert any(line.startswith(f"error: apis[0].{path.replace('*', 'some')} @ ") for line in errors)
    assert not any(line.startswith("note") for line in errors)


@pytest.mark.parametrize("path", refusals.DEFINITION)
@pytest.mark.parametrize("value", [None, False, "", 0, [], {}, {"a": None, "b": ""}])
def test_a_definition_that_names_it_and_asks_for_nothing_is_served(
    workshop: Workshop, api: Api, path: str, value: Any
) -> None:
    assert workshop.load({"apis": [api(**nested(path, value))]}).apis


@pytest.mark.parametrize("written", ["use_oauth2: yes", "USE_OAUTH2: true", "Use_OAuth2: anything"])
def test_neither_case_nor_yaml_hides_what_is_asked_for(workshop: Workshop, written: str) -> None:
    text = f"{{api_id: a, use_keyless: true, {written}, proxy: {{listen_path: /, target_url: 'http://a'}}}}"
    assert "asks for an access control" in workshop.told(f"apis: [{text}]", "main.yaml")


@pytest.mark.parametrize("keyless", [{}, {"use_keyless": False}, {"use_keyless": None}, {"USE_KEYLESS": False}])
def test_a_definition_that_is_not_open_to_everybody_is_refused(workshop: Workshop, api: Api, keyless: Any) -> None:
    definition = api()
    del definition["use_keyless"]
    assert "error: apis[0].use_keyless @ main.json:1: is not true" in workshop.told({"apis": [definition | keyless]})


def test_a_definition_with_other_faults_is_refused_as_well(workshop: Workshop) -> None:
    told = workshop.told({"apis": [{"enable_jwt": True, "proxy": 5}]})
    for words in ["use_keyless", "enable_jwt", "api_id @ main.json:1: is required", "proxy @ main.json:1: must be"]:
        assert words in told
