"""The commands that speak with a running gateway, as a person types them, against a gateway that runs."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.certs.pem import CertificatePair

PATIENCE = 90.0
AUTHORITY = Authority.create("Throw-away CA")


class Node:
    """A gateway with two workers in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as tls, socket.create_server(("127.0.0.1", 0)) as control:
            self.port, self.control_port = tls.getsockname()[1], control.getsockname()[1]
        self.configured = AUTHORITY.leaf("a.test")
        self.save("configured.pem", self.configured)
        self.settings: dict[str, Any] = {
            "listen_address": "127.0.0.1",
            "listen_port": self.port,
            "control_api_port": self.control_port,
            "http_server_options": {"use_ssl": True, "ssl_certificates": ["configured.pem"]},
            "gateway": {"workers": 2, "access_log": "off"},
            "apis": [
                {
                    "api_id": "a",
                    "domain": "a.test",
                    "use_keyless": True,
                    "proxy": {"listen_path": "/", "target_url": "http://127.0.0.1:1"},
                }
            ],
        }
        self.configure()

    def configure(self) -> None:
        (self.directory / "gateway.yaml").write_text(yaml.safe_dump(self.settings))

    def save(self, name: str, pair: CertificatePair) -> str:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(pair.chain_pem + pair.key_pem)
        return name

    def run(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run a command that shall end with this status; return what it said, stdout before stderr."""
        finished = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        said = finished.stdout + finished.stderr
        assert finished.returncode == status, said
        assert "Traceback" not in said
        assert "PRIVATE KEY" not in said
        return said

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def served(self, name: str = "a.test") -> set[str]:
        """The fingerprints of the certificates that new connections get: enough of them to meet both workers."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        seen = set()
        for _ in range(12):
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                seen.add(sha256(secure.getpeercert(binary_form=True) or b"").hexdigest())
        return seen

    def is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.control_port, timeout=PATIENCE)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TYK_GW_")}
    with (node.directory / "events").open("w") as events:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            cwd=node.directory,
            env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=events,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not node.is_ready():
            assert process.poll() is None, (node.directory / "events").read_text()
            assert time.monotonic() < deadline, (node.directory / "events").read_text()
            time.sleep(0.05)
        yield node
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_domain_is_swapped_shown_rolled_back_and_given_back_to_the_configuration(node: Node) -> None:
    first, second = AUTHORITY.leaf("a.test"), AUTHORITY.leaf("a.test", "b.test")
    swapped = node.ask("cert", "swap", "a.test", node.save("first.pem", first))
    assert (swapped["fingerprint"], swapped["previous_fingerprint"]) == (first.fingerprint, node.configured.fingerprint)
    assert node.served() == {first.fingerprint}

    said = node.run("cert", "swap", "a.test", node.save("second.pem", second), "--if-match", first.fingerprint)
    assert f"certificate  {second.fingerprint}" in said
    assert f"before       {first.fingerprint}" in said
    assert "names        a.test, b.test" in said
    assert re.search(r"^generation   \d+$", said, re.MULTILINE)
    assert node.served() == {second.fingerprint}

    shown = node.ask("domain", "show", "A.test")
    assert [pair["fingerprint"] for pair in shown["certificates"]] == [second.fingerprint]
    assert shown["certificates"][0]["previous_fingerprint"] == first.fingerprint
    assert "a.test" in node.run("domain", "list")

    assert first.fingerprint in node.run("cert", "rollback", "a.test")
    assert node.served() == {first.fingerprint}

    node.run("cert", "delete", "a.test")
    assert node.served() == {node.configured.fingerprint}


def test_parts_in_files_of_their_own_are_swapped_in_too(node: Node) -> None:
    pair = AUTHORITY.leaf("parts.test")
    (node.directory / "parts.crt").write_bytes(pair.chain_pem)
    (node.directory / "parts.key").write_bytes(pair.key_pem)
    (node.directory / "ca.crt").write_bytes(AUTHORITY.pair.chain_pem)
    said = node.run("cert", "swap", "parts.test", "parts.crt", "parts.key", "--chain", "ca.crt")
    assert "warning:" in said, "no API names the domain yet"
    assert node.served("parts.test") == {pair.fingerprint}


def test_a_dry_run_and_a_refusal_change_nothing(node: Node) -> None:
    before = node.served()
    bundle = node.save("next.pem", AUTHORITY.leaf("a.test"))
    assert "not changed (dry run)" in node.run("cert", "swap", "a.test", bundle, "--dry-run")
    assert "If-Match" in node.run("cert", "swap", "a.test", bundle, "--if-match", "0" * 64, status=1)
    other = node.save("other.pem", AUTHORITY.leaf("other.test"))
    assert "a.test" in node.run("cert", "swap", "a.test", other, status=1)
    (node.directory / "wrong.key").write_bytes(AUTHORITY.leaf("a.test").key_pem)
    (node.directory / "right.crt").write_bytes(AUTHORITY.leaf("a.test").chain_pem)
    said = node.run("cert", "swap", "a.test", "right.crt", "wrong.key", status=1)
    assert "does not belong to the certificate" in said
    assert node.served() == before


def test_a_certificate_is_added_to_the_store_listed_shown_and_deleted(node: Node) -> None:
    pair = AUTHORITY.leaf("stored.test")
    identifier = node.run("cert", "add", node.save("stored.pem", pair), "--org-id", "org").strip()
    assert identifier == f"org{pair.fingerprint}"
    assert "already exists" in node.run("cert", "add", "stored.pem", "--org-id", "org", status=1)
    assert f"{identifier}  stored.test" in node.run("cert", "list")
    assert identifier not in node.run("cert", "list", "--org-id", "another")
    assert node.ask("cert", "show", identifier)["has_private"] is True
    assert node.run("cert", "delete", identifier) == ""
    node.run("cert", "show", identifier, status=1)


def test_status_and_reload_tell_the_truth(node: Node) -> None:
    assert "ready        yes" in node.run("status")
    generation = node.ask("reload")["generation"]
    node.settings["listen_prot"] = 1
    node.configure()
    said = node.run("reload", status=1)
    assert "listen_prot" in said
    assert "did you mean" in said
    del node.settings["listen_prot"]
    node.configure()
    assert node.ask("reload")["generation"] >= generation
    status = node.ask("status")
    assert status["ready"] is True
    assert status["last_change"]["what"]


def test_the_secret_is_found_or_demanded_and_a_wrong_one_is_told(node: Node) -> None:
    generated = node.directory / "data" / "admin.secret"
    server = ("--server", f"http://127.0.0.1:{node.control_port}")
    assert "which secret?" in node.run("status", *server, status=2)
    node.run("status", *server, "--secret-file", str(generated))
    secret = generated.read_text().strip()
    node.run("status", GATEWAY_ADMIN_URL=server[1], TYK_GW_SECRET=secret)
    said = node.run("status", TYK_GW_SECRET="wrong", status=1)
    assert "does not accept the secret from TYK_GW_SECRET" in said
    assert secret not in said
    assert "wrong" not in said


def test_tls_is_set_switched_off_and_on_without_a_restart(node: Node) -> None:
    other = AUTHORITY.leaf("other.test")
    sealed = load_pem_private_key(other.key_pem, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )
    (node.directory / "other.crt").write_bytes(other.chain_pem)
    (node.directory / "other.key").touch(mode=0o600)
    (node.directory / "other.key").write_bytes(sealed)

    said = node.run("tls", "add-cert", "other.key", "other.crt", "--passphrase", "open sesame")
    assert "serves it" in said
    assert node.served("other.test") == {other.fingerprint}
    assert "open sesame" not in (node.directory / "gateway.yaml").read_text()

    node.run("tls", "set-min-version", "1.3")
    old = ssl.create_default_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=PATIENCE) as plain,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
    ):
        old.wrap_socket(plain, server_hostname="a.test")

    node.run("tls", "disable")
    plain_http = HTTPConnection("127.0.0.1", node.port, timeout=PATIENCE)
    plain_http.request("GET", "/", headers={"Host": "a.test"})
    assert plain_http.getresponse().status == 502
    plain_http.close()
    node.run("tls", "enable", "--protocols", "all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1")
    assert node.served("other.test") == {other.fingerprint}
    assert node.run("tls", "status").startswith("Minimum TLS version supported: 1.2\n")


def test_what_is_not_valid_yet_is_put_only_by_force_and_takes_over_when_its_time_has_come(node: Node) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    present = AUTHORITY.leaf("time.test", days=30)
    soon, late = (
        AUTHORITY.leaf("time.test", now=now + timedelta(hours=1, **{unit: 5})) for unit in ("seconds", "days")
    )
    node.run("cert", "swap", "time.test", node.save("present.pem", present))
    assert "or force it" in node.run("cert", "swap", "time.test", node.save("late.pem", late), status=1)
    assert node.served("time.test") == {present.fingerprint}

    node.run("cert", "swap", "time.test", node.save("soon.pem", soon), "--force")
    deadline = time.monotonic() + PATIENCE
    while (served := node.served("time.test")) != {soon.fingerprint}:  # without another word to the gateway
        assert present.fingerprint in served or datetime.now(UTC) >= soon.not_before
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert datetime.now(UTC) >= soon.not_before

    node.run("cert", "swap", "time.test", "late.pem", "--force")
    assert node.served("time.test") == {soon.fingerprint}
    assert "going back" not in node.run("cert", "rollback", "time.test")
    assert node.served("time.test") == {soon.fingerprint}
