from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.admin_api import FakeApi, served
from typer.testing import CliRunner

from gateway.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SECRET = "correct-horse-battery-staple"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in, and no variable that says where a gateway is."""
    monkeypatch.chdir(tmp_path)
    for name in ("GATEWAY_ADMIN_URL", "TYK_GW_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def api(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """A stand-in for the admin API, where the environment says that it is."""
    with FakeApi() as fake:
        fake.answers["GET /tyk/served"] = (200, served)
        monkeypatch.setenv("GATEWAY_ADMIN_URL", fake.url)
        monkeypatch.setenv("TYK_GW_SECRET", SECRET)
        yield fake


@pytest.fixture
def run():
    """A function that runs a command in this process."""
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))
