"""Administrators at the command line, before a real gateway whose control port shows a self-signed certificate."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.roles import PATIENCE, Gateway, Upstream

from gateway.certs.self_signed import Authority, self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "my password"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("first") as server:
        yield server
        server.shutdown()


class Desk:
    """A user on another host than the gateway's: no configuration file, no secret."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.server = f"https://localhost:{gateway.control_port}"
        self.home = gateway.directory / "home"
        self.home.mkdir()
        self.sessions = self.home / "gateway" / "sessions.json"

    def run(self, *words: str, status: int = 0, **environ: str) -> str:
        """Run a command; return what it says, stderr last."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TYK_GW_", "GATEWAY_"))}
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words], cwd=self.home, env={**kept, "XDG_CONFIG_HOME": str(self.home),
            **environ}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def last_change(self) -> str:
        changes = json.loads(self.run("status", "--json", "--config", str(self.gateway.directory / "gateway.yaml")))
        return f"{changes['last_change']['who']}: {changes['last_change']['what']}"


def certify(gateway: Gateway) -> None:
    pair, draft = self_signed("localhost"), gateway.directory / "draft"
    draft.touch(mode=0o600)
    draft.write_bytes(pair.chain_pem + pair.key_pem)
    draft.rename(gateway.directory / "control.pem")


@pytest.fixture
def desk(tmp_path: Path, upstream: Upstream) -> Iterator[Desk]:
    gateway = Gateway(tmp_path, Authority.create(), upstream)
    certify(gateway)
    gateway.settings["gateway"]["control_tls"] = "control.pem"
    gateway.configure()
    try:
        gateway.started()
        yield Desk(gateway)
    finally:
        gateway.end()


def test_administrators_log_in_and_the_certificate_they_trusted_is_the_only_one(desk: Desk) -> None:
    here = ("--config", str(desk.gateway.directory / "gateway.yaml"))
    words = desk.home / "password"
    words.write_text(PASSWORD + "\n")
    assert "added alice (operator)" in desk.run(
        "admin", "add", "alice", "--role", "operator", "--new-password-file", str(words), *here
    )
    desk.run("admin", "add", "victor", *here, GATEWAY_ADMIN_NEW_PASSWORD=PASSWORD)
    assert "victor  viewer" in desk.run("admin", "list", *here)

    # As with tsm: for one command, with the options before it.
    asked = ("-s", desk.server, "-u", "alice", "-p", PASSWORD)
    assert "--trust-admin-cert" in desk.run(*asked, "domain", "list", status=1)
    said = desk.run(*asked, "--trust-admin-controller-cert", "domain", "list")
    assert "a.test" in said
    assert "trusting" in said
    assert not desk.sessions.exists()
    assert "does not accept" not in desk.run("-s", desk.server, "-u", "alice", "-p", "wrong", "--trust-admin-cert",
                                             "domain", "list", status=1)  # fmt: skip

    at = ("--server", desk.server)
    said = desk.run("login", *at, "--user", "alice", "--password-file", str(words), "--trust-admin-cert")
    assert f"logged in at {desk.server} as alice (operator)" in said
    assert desk.sessions.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in desk.sessions.read_text()
    desk.run("reload", *at)
    assert desk.last_change() == "alice: reload"

    os.kill(desk.gateway.children()[-1], signal.SIGKILL)  # control is forked last
    desk.gateway.hear("control.started")
    desk.gateway.hear("control.started")
    assert "a.test" in desk.run("domain", "list", *at)

    certify(desk.gateway)
    desk.gateway.hear("reload.applied", certificates_changed='"(control port)"')
    for words_ in (("domain", "list"), ("domain", "list", "--trust-admin-cert")):
        assert "is not the one that was trusted when you logged in" in desk.run(*words_, *at, status=1)
    assert "could not be told" in desk.run("logout", *at)
    assert "which secret?" in desk.run("domain", "list", *at, status=2)

    trusting = (*at, "--trust-admin-cert")
    desk.run("login", *trusting, "--user", "victor", GATEWAY_ADMIN_PASSWORD=PASSWORD)
    assert "may only look" in desk.run("reload", *at, status=1)
    assert "a.test" in desk.run("domain", "list", *at)
    desk.run("admin", "delete", "victor", *here)
    assert "has ended; `gateway login`" in desk.run("domain", "list", *at, status=1)
    desk.run("logout", *at)
    assert "nobody is logged in" in desk.run("logout", *at, status=1)


def test_a_file_of_sessions_that_others_can_read_is_not_used(desk: Desk) -> None:
    desk.sessions.parent.mkdir()
    desk.sessions.write_text("{}")
    desk.sessions.chmod(0o644)
    assert "chmod 600" in desk.run("domain", "list", "--server", desk.server, status=1)
