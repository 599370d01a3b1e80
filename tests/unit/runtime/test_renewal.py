"""Which changed settings need a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import GatewaySection, HttpRedirect, Limits, Settings
from gateway.runtime.renewal import needs_restart


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"listen_address": "127.0.0.1"}, "listen_address"),
        ({"listen_port": 8443}, "listen_port"),
        ({"control_api_port": 9697}, "control_api_port"),
        ({"gateway": GatewaySection(control_address="::1")}, "gateway.control_address"),
        ({"gateway": GatewaySection(workers=3)}, "gateway.workers"),
        ({"gateway": GatewaySection(data_dir=Path("elsewhere"))}, "gateway.data_dir"),
        ({"gateway": GatewaySection(http_redirect=HttpRedirect(port=80))}, "gateway.http_redirect.port"),
    ],
)
def test_what_sockets_and_processes_hang_on_needs_a_restart(change: dict[str, Any], key: str) -> None:
    assert needs_restart(Settings(), Settings(**change)) == (key,)
    assert needs_restart(Settings(**change), Settings()) == (key,)


def test_everything_else_does_not() -> None:
    plain = GatewaySection(http_redirect=HttpRedirect(port=80))
    other = GatewaySection(http_redirect=HttpRedirect(port=80, hsts_max_age=60), limits=Limits(head_bytes=4096))
    assert needs_restart(Settings(gateway=plain), Settings(gateway=other, hostname="a.test")) == ()
