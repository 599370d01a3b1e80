"""``gateway doctor``: each thing that InfluxDB's page names, broken on purpose, and what the doctor says of it."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from support.front import AUTHORITY, api, configuration, front
from typer.testing import CliRunner

from gateway import __version__
from gateway.certs.pem import CertificatePair
from gateway.certs.self_signed import self_signed
from gateway.cli.doctor import files, live
from gateway.cli.doctor.finding import State
from gateway.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.cli.doctor.finding import Finding

NOW = datetime.now(UTC)


def said(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.state.value, one.message) for one in findings]


async def test_each_domain_is_tried_and_told_what_its_clients_will_find(tmp_path: Path) -> None:
    old = AUTHORITY.leaf("old.test", now=NOW - timedelta(days=100))
    soon = AUTHORITY.leaf("soon.test", now=NOW - timedelta(days=85))
    pairs = {
        "good.test": (AUTHORITY.leaf("good.test"),),
        "*.wild.test": (AUTHORITY.leaf("*.wild.test"),),
        "other.test": (AUTHORITY.leaf("good.test"),),
        "old.test": (old,),
        "soon.test": (soon,),
        "own.test": (self_signed("own.test"),),
    }
    ca = tmp_path / "ca.pem"
    ca.write_bytes(AUTHORITY.pair.chain_pem)
    async with front(tmp_path, configuration(api()), pairs) as gate:
        place = live.Place("127.0.0.1", gate.port)

        def look(*domains: str, authorities: Path | None = ca) -> list[Finding]:
            return list(live.handshakes(place, domains, authorities, NOW))

        good = await asyncio.to_thread(look, "good.test", "*.wild.test")
        assert [one.state for one in good] == [State.OK, State.OK]
        assert good[0].message.startswith(
            "good.test: TLSv1.3, TLS_AES_128_GCM_SHA256; the certificate covers it, until "
        )
        found = said(await asyncio.to_thread(look, "other.test", "old.test", "soon.test", "own.test"))
        assert found == [
            ("problem", "other.test: the certificate does not cover other.test, only good.test"),
            ("problem", f"old.test: the certificate expired on {old.not_after:%Y-%m-%d %H:%M} UTC"),
            ("warning", f"soon.test: the certificate expires on {soon.not_after:%Y-%m-%d %H:%M} UTC"),
            ("problem", f"own.test: {ca} does not vouch for its certificate: self-signed certificate"),
        ]
        nobody = await asyncio.to_thread(lambda: look("own.test", "good.test", authorities=None))
        assert [one.state for one in nobody] == [State.WARNING, State.WARNING]
        assert "clients do not trust its certificate" in nobody[0].message
        assert "unable to get local issuer certificate" in nobody[1].message
        assert "handshake error" not in gate.log


async def test_a_handshake_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api(), gateway={"tls": {"strict_sni": True}})) as gate:
        place = live.Place("127.0.0.1", gate.port)
        (found,) = await asyncio.to_thread(lambda: list(live.handshakes(place, ["nobody.test"], None, NOW)))
    assert found.state is State.PROBLEM
    assert "nobody.test: no TLS handshake: " in found.message
    assert "unrecognized name" in found.message
    (gone,) = live.handshakes(place, ["nobody.test"], None, NOW)
    assert gone.message == "nobody.test: no TLS handshake: Connection refused"
    assert live.port(place, "clients").state is State.PROBLEM


class Played:
    """An admin API that says what a test wants."""

    class address:  # noqa: N801 - what the client calls it
        url, secret_source = "http://127.0.0.1:1", "a file"

    def __init__(self, version: str, **parts: tuple[str, str]) -> None:
        details = {name: {"status": status, "output": output} for name, (status, output) in parts.items()}
        self.hello = {"version": version, "details": details}

    def call(self, method: str, path: str, **_: object) -> object:
        return self.hello if path == "/hello" else {"domains": []}


def test_what_the_gateway_says_of_itself_is_passed_on() -> None:
    parts = {"certificates": ("warn", "expired: a.test"), "workers": ("fail", "none"), "store": ("pass", "")}
    found = said(list(live.control(Played("0.0.1", **parts))))  # type: ignore[arg-type]
    assert ("warning", "certificates: expired: a.test") in found
    assert ("problem", "workers: none") in found
    assert ("ok", "store: fine") in found
    assert ("warning", f"gateway 0.0.1 runs, this command is {__version__}") in found


@pytest.mark.parametrize(("failed", "state"), [(1, "ok"), (9, "warning")])
def test_many_failed_handshakes_send_to_the_log(failed: int, state: str) -> None:
    parts = {"handshakes": ("pass", f"TLS handshakes: 50, failed: {failed}")}
    (found,) = (one for one in live.control(Played(__version__, **parts)) if one.topic == "logs")  # type: ignore[arg-type]
    assert found.state.value == state


class Home:
    """A directory with a configuration and its files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        pair = AUTHORITY.leaf("a.test")
        self.cert, self.key = directory / "a.crt", directory / "a.key"
        self.cert.write_bytes(pair.chain_pem)
        self.key.touch(mode=0o600)
        self.key.write_bytes(pair.key_pem)
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            ports = {"listen_port": one.getsockname()[1], "control_api_port": two.getsockname()[1]}
        certificates = [{"cert_file": "a.crt", "key_file": "a.key"}]
        options = {"use_ssl": True, "certificates": certificates}
        self.path = directory / "gateway.yaml"
        one = api(domain="a.test")
        self.path.write_text(
            yaml.safe_dump({"listen_address": "127.0.0.1", **ports, "http_server_options": options, "apis": [one]})
        )

    def permissions(self) -> list[tuple[str, str]]:
        candidate, _ = files.configuration(self.path, {})
        assert candidate
        return said(list(files.permissions(candidate.configuration)))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_certificate_that_fits_its_key_is_said_to(home: Home) -> None:
    candidate, found = files.configuration(home.path, {})
    assert candidate
    assert said(found) == [("ok", f"{home.path}: nothing is wrong with it")]
    message = f"{home.cert}: they belong together, for a.test"
    assert said(list(files.certificates(candidate))) == [("ok", message)]


def test_a_key_of_another_certificate_is_a_problem_with_its_place(home: Home) -> None:
    home.key.write_bytes(AUTHORITY.leaf("a.test").key_pem)
    candidate, found = files.configuration(home.path, {})
    assert candidate is None
    (message,) = (message for state, message in said(found) if state == "problem")
    assert "certificates[0]" in message
    assert "does not belong to the certificate" in message


def test_a_key_that_cannot_be_read_is_told_even_though_nothing_could_be_served(home: Home) -> None:
    home.key.unlink()
    result = CliRunner().invoke(app, ["doctor", "--config", str(home.path)])
    assert f"problem  permissions          {home.key}: No such file or directory" in result.output


@pytest.mark.parametrize(("mode", "state", "who"), [(0o644, "problem", "every user"), (0o640, "warning", "the group")])
def test_a_key_that_others_can_read_is_told(home: Home, mode: int, state: str, who: str) -> None:
    assert [one for one, _ in home.permissions()] == ["ok"]
    home.key.chmod(mode)
    ((found, message),) = home.permissions()
    assert found == state
    assert f"{home.key}: {who}" in message


def test_a_user_reads_what_owner_group_and_directories_allow(tmp_path: Path) -> None:
    path = tmp_path / "in" / "key"
    path.parent.mkdir()
    path.touch()
    path.chmod(0o640)
    status = path.stat()
    stranger, member = files.User(4242, frozenset()), files.User(4242, frozenset({status.st_gid}))
    assert not stranger.may(status, 4)
    assert member.may(status, 4)
    assert not member.may(status, 2)
    assert files.User(0, frozenset()).may(status, 4)
    path.parent.chmod(0o700)
    path.chmod(0o644)
    assert stranger.may(path.stat(), 4)
    assert not stranger.reads(path)


def test_without_a_gateway_that_is_the_problem_and_the_rest_is_looked_at_all_the_same(home: Home) -> None:
    result = CliRunner().invoke(app, ["doctor", "--config", str(home.path)])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith("problem  control port")
    assert any(line.startswith("ok       certificate and key") for line in lines)
    assert any(line.startswith("problem  ports") for line in lines)
    assert lines[-1] == "2 problems, no warnings"


def test_services_are_looked_for_at_their_own_ports(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        settings = yaml.safe_load(home.path.read_text())
        service = {"api_id": "db", "protocol": "tcp", "listen_port": port, "proxy": {"target_url": "tcp://127.0.0.1:1"}}
        settings["apis"].append(service)
        home.path.write_text(yaml.safe_dump(settings))
        result = CliRunner().invoke(app, ["doctor", "--config", str(home.path)])
    assert f"ok       ports                127.0.0.1:{port} (service db) accepts connections" in result.output


@pytest.mark.parametrize(("mode", "state"), [(0o644, "problem"), (0o640, "warning"), (0o600, "ok")])
def test_a_definition_with_a_password_that_others_can_read_is_told(home: Home, mode: int, state: str) -> None:
    definitions = home.directory / "apps"
    definitions.mkdir()
    basic = {"enabled": True, "username": "u", "password": "hidden"}
    one = api(domain="b.test") | {"api_id": "b", "upstream_auth": {"enabled": True, "basic_auth": basic}}
    (definitions / "b.json").write_text(json.dumps(one))
    (definitions / "b.json").chmod(mode)
    home.path.write_text(home.path.read_text() + f"app_path: {definitions}\n")
    ((found, message),) = home.permissions()
    assert found == state
    assert (str(definitions / "b.json") in message) is (state != "ok")
    output = CliRunner().invoke(app, ["check", "--config", str(home.path)]).output
    assert ("there is a key or a password in it" in output) is (state == "problem")


async def test_a_must_staple_certificate_is_told(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "staple.test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(AUTHORITY.pair.leaf.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=300))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("staple.test")]), critical=False)
        .add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
    )
    pair = CertificatePair((builder.sign(AUTHORITY.pair.key, SHA256()),), key, ("staple.test",))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(AUTHORITY.pair.chain_pem)
    async with front(tmp_path, configuration(api()), {"staple.test": (pair,)}) as gate:
        place = live.Place("127.0.0.1", gate.port)
        (one,) = await asyncio.to_thread(lambda: list(live.handshakes(place, ["staple.test"], ca, NOW)))
    assert one.state is State.WARNING
    assert "must-staple" in one.message
