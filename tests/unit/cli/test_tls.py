"""``gateway tls`` without a gateway: what it writes, what it refuses, what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from gateway.certs.self_signed import Authority
from gateway.cli.failures import AdminError
from gateway.cli.main import app
from gateway.cli.tls import versions
from gateway.tls.versions import TlsVersion

AUTHORITY = Authority.create("Throw-away CA")
TEXT = """\
# the front door
control_api_port: 1 # nobody listens there
http_server_options:
  use_ssl: true # for good
  ssl_certificates:
    - served.pem
apis: [{api_id: a, use_keyless: true, proxy: {listen_path: /, target_url: "http://127.0.0.1:1"}}]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(TEXT)
    save("served.pem", "served.test")
    return tmp_path


def save(path: str, name: str, *, key: str = "") -> None:
    pair = AUTHORITY.leaf(name)
    Path(path).write_bytes(pair.chain_pem if key else pair.chain_pem + pair.key_pem)
    for file in filter(None, (key, path)):
        Path(file).touch(mode=0o600)
        Path(file).chmod(0o600)
    if key:
        Path(key).write_bytes(pair.key_pem)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["tls", *words])


def test_the_first_line_of_the_status_is_the_one_that_scripts_look_for(home: Path) -> None:
    assert run("status").output.splitlines()[0] == "Minimum TLS version supported: 1.2"
    assert json.loads(run("status", "--json").output)["minimum"] == "1.2"


def test_a_change_is_shown_saved_and_the_old_file_kept(home: Path) -> None:
    result = run("set-min-version", "1.3")

    assert result.exit_code == 0, result.output
    assert "+  min_version: 1.3" in result.output
    assert "takes effect at the next start" in result.output
    assert Path("gateway.yaml").read_text() == TEXT.replace(
        "    - served.pem\n", "    - served.pem\n  min_version: 1.3\n"
    )
    assert Path("gateway.yaml.bak").read_text() == TEXT
    assert run("status").output.startswith("Minimum TLS version supported: 1.3\n")


def test_a_dry_run_leaves_the_file_alone(home: Path) -> None:
    result = run("disable", "--dry-run")

    assert "+  use_ssl: false # for good" in result.output
    assert Path("gateway.yaml").read_text() == TEXT


def test_disable_and_enable_come_back_to_the_same_text(home: Path) -> None:
    assert run("disable").exit_code == 0
    assert not yaml.safe_load(Path("gateway.yaml").read_text())["http_server_options"]["use_ssl"]
    assert run("enable").exit_code == 0
    assert Path("gateway.yaml").read_text() == TEXT


def test_add_cert_takes_the_key_first_as_elsewhere_and_renews_what_is_there(home: Path) -> None:
    save("a.crt", "a.test", key="a.key")
    assert run("add-cert", "a.key", "a.crt").exit_code == 0
    save("a.crt", "b.test", key="b.key")
    assert run("add-cert", "b.key", "a.crt").exit_code == 0

    options = yaml.safe_load(Path("gateway.yaml").read_text())["http_server_options"]
    assert options["certificates"] == [{"cert_file": "a.crt", "key_file": "b.key"}]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("add-cert", "b.key", "a.crt"), "does not belong to the certificate"),
        (("add-cert", "a.key"), "name both files"),
        (("enable", "--cert-file", "a.crt"), "name both --cert-file and --key-file"),
        (("set-min-version", "1.4"), "is not a TLS version"),
        (("set-ciphers", "FOO"), "unknown cipher 'FOO'; nothing has changed"),
        (("enable", "--protocols", "all -TLSv1.2"), "have a gap"),
    ],
)
def test_what_would_not_work_is_refused_and_nothing_changes(home: Path, words: tuple[str, ...], reason: str) -> None:
    save("b.crt", "b.test", key="b.key")
    save("a.crt", "a.test", key="a.key")
    before = sorted(home.iterdir())
    result = run(*words)

    assert result.exit_code in (1, 2)
    assert reason in result.output
    assert Path("gateway.yaml").read_text() == TEXT
    assert sorted(home.iterdir()) == before


def test_a_variable_that_wins_over_the_file_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYK_GW_HTTPSERVEROPTIONS_MINVERSION", "772")

    result = run("set-min-version", "1.2")
    assert result.exit_code == 1
    assert "TYK_GW_HTTPSERVEROPTIONS_MINVERSION is set, which wins" in result.output


def test_a_read_only_directory_gets_the_lines_to_change(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("gateway.files.os.open", refuse)
    result = run("set-min-version", "1.3")

    assert result.exit_code == 1
    assert "+  min_version: 1.3" in result.output
    assert "Read-only file system; its file system is read-only" in result.output
    assert "nothing has changed. Change the lines above" in result.output


def test_the_list_shows_names_of_files_and_not_where_they_are(home: Path) -> None:
    Path("deep").mkdir()
    save("deep/a.crt", "a.test", key="deep/a.key")
    assert run("add-cert", "deep/a.key", "deep/a.crt").exit_code == 0

    assert json.loads(run("list", "--json").output)["certificates"][0]["cert_file"] == "a.crt"
    assert "deep" not in run("list").output


@pytest.mark.parametrize(
    ("protocols", "lowest", "highest"),
    [
        ("all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1", TlsVersion.TLS1_2, TlsVersion.TLS1_3),
        ("all, -SSLv2, -SSLv3", TlsVersion.TLS1_0, TlsVersion.TLS1_3),
        ("TLSv1.2", TlsVersion.TLS1_2, TlsVersion.TLS1_2),
        ("+TLSv1.2 +TLSv1.3", TlsVersion.TLS1_2, TlsVersion.TLS1_3),
    ],
)
def test_protocols_are_read_as_apache_reads_them(protocols: str, lowest: TlsVersion, highest: TlsVersion) -> None:
    assert versions(protocols) == (lowest, highest)


@pytest.mark.parametrize("protocols", ["", "SSLv3", "all -all", "TLSv9", "TLSv1 TLSv1.2"])
def test_protocols_that_cannot_be_served_are_refused(protocols: str) -> None:
    with pytest.raises(AdminError):
        versions(protocols)
