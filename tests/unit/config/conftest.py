from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from unit.config.workshop import API, Workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def api() -> Callable[..., dict[str, Any]]:
    """A definition that can be served, with some keys set otherwise."""

    def make(proxy: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        return {**API, **changes, "proxy": {**API["proxy"], **(proxy or {})}}  # type: ignore[dict-item]

    return make
