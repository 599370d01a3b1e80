"""Which changed settings need a restart, which files are watched, and what is logged of problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.definitions import ApiDefinition, Proxy
from gateway.config.load import Configuration
from gateway.config.problems import Findings, Place
from gateway.config.settings import (
    CertificateFiles,
    ControlTls,
    GatewaySection,
    HttpRedirect,
    HttpServerOptions,
    Limits,
    Settings,
)
from gateway.config.tyk_names import IGNORED
from gateway.observe.events import EventLog
from gateway.runtime.renewal import log_problems, needs_restart, watched


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


def test_everything_that_was_read_or_is_named_is_watched_and_nothing_else() -> None:
    pair = CertificateFiles(cert_file=Path("/c.crt"), key_file=Path("/c.key"), chain_file=Path("/chain.pem"))
    options = HttpServerOptions(certificates=(pair,), ssl_certificates=("/s.pem", "0" * 64, "-----BEGIN "))
    proxy = Proxy(listen_path="/", target_url="http://127.0.0.1/")
    api = ApiDefinition(api_id="one", certificates=("/a.pem",), use_keyless=True, proxy=proxy)
    settings = Settings(
        app_path=Path("/apps"),
        http_server_options=options,
        gateway=GatewaySection(certificates_dir=Path("/certs"), control_tls=ControlTls(certificate="/control.pem")),
    )
    configuration = Configuration(settings=settings, apis=(api,), warnings=(), files=(Path("/main.yaml"),))
    expected = ("c.crt", "c.key", "chain.pem", "s.pem", "a.pem", "apps", "certs", "control.pem", "main.yaml")
    assert watched(configuration) == {Path("/", name) for name in expected}
    unnamed = configuration.model_copy(update={"settings": Settings(gateway=GatewaySection(certificates_dir=None))})
    assert Path("/certs") in watched(unnamed)
    assert watched(Configuration.model_validate_json(configuration.model_dump_json())) == watched(configuration)


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (["storage"], ["event=configuration.problem"]),
        (["storage", "policies"], ['event=configuration.ignored keys="storage policies"']),
    ],
)
def test_keys_that_only_tyk_knows_are_one_line_of_the_log(tmp_path: Path, keys: list[str], lines: list[str]) -> None:
    found = Findings()
    for key in keys:
        found.note(Place(key, "tyk.conf:1"), IGNORED)
    found.warning(Place("http_server_options", "tyk.conf:2"), "is strange")
    with (tmp_path / "log").open("wb") as file:
        log_problems(EventLog(file.fileno()), tuple(found.problems))
    written = (tmp_path / "log").read_text().splitlines()
    assert len(written) == len(lines) + 1
    assert all(expected in line for expected, line in zip([*lines, "is strange"], written, strict=True))
