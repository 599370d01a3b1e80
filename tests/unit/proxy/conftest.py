"""A worker's request path for a test, made as the test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.proxy.workshop import Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def make_gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Gate]]:
    """Return what makes a gate of API definitions and settings, and leave nothing of it behind."""
    made: list[Gate] = []

    def make(*apis: dict[str, Any], **settings: Any) -> Gate:
        made.append(Gate(monkeypatch, *apis, **settings))
        return made[-1]

    yield make
    for gate in made:
        gate.close()
