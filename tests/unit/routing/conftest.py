"""API definitions in one line."""

from __future__ import annotations

import pytest

from gateway.config.definitions import ApiDefinition


@pytest.fixture(scope="session")
def define():
    """Make a definition from what a test is about."""

    def make(api_id: str, listen_path: str, domain: str = "", *, proxy=None, **fields) -> ApiDefinition:
        proxy = {"listen_path": listen_path, "target_url": "http://127.0.0.1:1/"} | (proxy or {})
        fields = {"api_id": api_id, "domain": domain, "use_keyless": True, "proxy": proxy} | fields
        return ApiDefinition.model_validate(fields)

    return make
