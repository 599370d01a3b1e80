"""The command as a person types it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.certs.self_signed import Authority

SECRET = "correct-horse-battery-staple"
GOOD = f"""
listen_port: 8443
secret: {SECRET}
http_server_options:
  use_ssl: true
  ssl_certificates: [a.pem]
apis:
  - {{name: a, api_id: a, use_keyless: true, domain: a.example.com,
     proxy: {{listen_path: /, target_url: "http://127.0.0.1:3000"}}}}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pair = Authority.create("Throw-away CA").leaf("a.example.com", days=30)
    bundle = tmp_path / "a.pem"
    bundle.touch(mode=0o600)
    bundle.write_bytes(pair.key_pem + pair.chain_pem)
    return tmp_path


def gateway(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert gateway("--version", cwd=tmp_path).stdout == f"gateway {__version__}\n"


def test_without_arguments_the_commands_are_listed(tmp_path: Path) -> None:
    shown = gateway(cwd=tmp_path).stdout
    panels = re.findall(r"^(\w.+):$", shown, re.MULTILINE)
    assert panels == [
        "Options", "Which gateway, and as whom",
        "Start here", "A gateway that runs", "Certificates and TLS", "What is behind it", "Administrators and keys",
    ]  # fmt: skip
    assert all(f"\n  {command} " in shown for command in ("serve", "check", "demo", "doctor", "cert", "upstream"))


@pytest.mark.parametrize("command", ["serve", "check"])
def test_without_a_configuration_it_tells_where_it_looked(command: str, tmp_path: Path) -> None:
    finished = gateway(command, cwd=tmp_path)
    assert finished.returncode == 2
    assert "config/tyk.conf" in finished.stderr
    assert "--config" in finished.stderr


def test_a_good_file_is_found_and_shown_as_a_table(directory: Path) -> None:
    (directory / "gateway.yaml").write_text(GOOD)
    finished = gateway("check", cwd=directory)
    assert finished.returncode == 0, finished.stdout
    row = next(line for line in finished.stdout.splitlines() if line.startswith("a.example.com"))
    assert "ec " in row
    assert "Throw-away CA" in row
    assert "(29 days)" in row
    assert "1.2" in row
    assert row.endswith("http://127.0.0.1:3000")
    assert "ECDHE-RSA-AES128-GCM-SHA256" in finished.stdout


def test_the_environment_is_obeyed(directory: Path) -> None:
    (directory / "gateway.yaml").write_text(GOOD)
    finished = gateway("check", cwd=directory, TYK_GW_HTTPSERVEROPTIONS_MINVERSION="772")
    assert "TLS 1.3 to 1.3" in finished.stdout


def test_all_problems_of_a_broken_file_are_told_at_once(directory: Path) -> None:
    broken = GOOD.replace("8443", "70000").replace("a.pem", "missing.pem").replace("use_ssl", "use_tls")
    (directory / "gateway.yaml").write_text(broken)
    finished = gateway("check", cwd=directory)
    assert finished.returncode == 2
    assert "listen_port" in finished.stdout
    assert "use_ssl" in finished.stdout
    assert "a.example.com  " not in finished.stdout


def test_a_missing_certificate_is_an_error(directory: Path) -> None:
    (directory / "gateway.yaml").write_text(GOOD.replace("a.pem", "missing.pem"))
    finished = gateway("check", cwd=directory)
    assert finished.returncode == 2
    assert "missing.pem" in finished.stdout


def test_warnings_fail_the_strict_check_only(directory: Path) -> None:
    (directory / "gateway.yaml").write_text(GOOD.replace("use_ssl: true", "use_ssl: true\n  ssl_ciphers: [nonsense]"))
    assert gateway("check", cwd=directory).returncode == 0
    strict = gateway("check", "--strict", cwd=directory)
    assert strict.returncode == 1
    assert "nonsense" in strict.stdout


def test_a_broken_file_is_not_served(directory: Path) -> None:
    (directory / "gateway.yaml").write_text(GOOD.replace("8443", "70000") + "storage: {type: redis}\n")
    finished = gateway("serve", cwd=directory)
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: listen_port")
    assert len(finished.stderr.splitlines()) == 1, "what Tyk alone knows is no reason"


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("8443", "70000")])
def test_no_secret_and_no_key_is_ever_shown(text: str, directory: Path) -> None:
    (directory / "gateway.yaml").write_text(text)
    finished = gateway("check", cwd=directory)
    assert SECRET not in finished.stdout + finished.stderr
    assert "PRIVATE KEY" not in finished.stdout + finished.stderr


def test_colours_are_for_terminals_only(directory: Path) -> None:
    (directory / "gateway.yaml").write_text(GOOD.replace("8443", "70000"))
    assert "\x1b[" not in gateway("check", cwd=directory).stdout
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "gateway", "check", "--config", directory / "gateway.yaml"]
    subprocess.run(command, check=False, stdout=follower, timeout=20)
    os.close(follower)
    assert b"\x1b[" in os.read(leader, 65536)
    os.close(leader)
