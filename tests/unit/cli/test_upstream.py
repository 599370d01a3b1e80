"""``gateway ca`` and ``gateway upstream`` without a gateway: what they write, refuse, show, and never show."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
import trustme
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from gateway.cli import rewriting
from gateway.cli.failures import AdminError
from gateway.cli.main import app
from gateway.config.load import load

TEXT = """\
# the front door
control_api_port: 1 # nobody listens there
gateway:
  workers: 1 # enough
"""
CA = trustme.CA(organization_name="Private CA")
TABPY = (
    "--connection-type", "maestro-tabpy-secure", "--tabpy-host", "tabpy.internal", "--tabpy-port", "9443",
    "--tabpy-username", "tableau", "--tabpy-password", "s3cret", "--tabpy-connect-timeout-ms", "2500", "-cf", "ca.pem",
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(TEXT)
    (tmp_path / "ca.pem").write_bytes(CA.cert_pem.bytes())
    certificate = x509.load_pem_x509_certificate(CA.cert_pem.bytes())
    (tmp_path / "ca.der").write_bytes(certificate.public_bytes(Encoding.DER))
    return tmp_path


def run(*words: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == status, result.output
    return result


def passwords() -> list[Path]:
    return sorted(Path("data/secrets").glob("*"))


# authorities


@pytest.mark.parametrize("name", ["ca.pem", "ca.der"])
def test_an_authority_is_added_listed_and_deleted_and_the_file_is_as_before(name: str) -> None:
    assert "+    custom: " + name in run("ca", "add", "--cert-file", name).output.replace("+  ca_", "+    ca_")
    assert "# enough" in Path("gateway.yaml").read_text()
    (one,) = json.loads(run("ca", "list", "--json").output)
    assert (one["name"], one["certificates"][0]["is_ca"], one["problem"]) == ("custom", True, "")
    assert "Private CA" in run("ca", "list").output
    run("ca", "delete")
    assert Path("gateway.yaml").read_text() == TEXT
    assert "the system's are trusted" in run("ca", "list").output


def test_a_second_authority_needs_a_name_of_its_own() -> None:
    run("ca", "add", "-cf", "ca.pem")
    before = Path("gateway.yaml").read_text()
    assert "already" in run("ca", "add", "--cert-file", "ca.der", status=1).output
    assert Path("gateway.yaml").read_text() == before
    run("ca", "add", "--cert-file", "ca.der", "--name", "other.one")
    assert list(load(Path("gateway.yaml"), {}).settings.gateway.ca_certificates) == ["custom", "other.one"]
    run("ca", "delete", "--name", "custom")
    run("ca", "delete", "--name", "custom", status=1)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", None]
)
def test_what_is_no_certificate_is_refused(content: bytes | None) -> None:
    if content is not None:
        Path("bad.crt").write_bytes(content)
    assert "bad.crt: " in run("ca", "add", "--cert-file", "bad.crt", status=1).output
    assert "bad.crt: " in run("upstream", "enable", *TABPY[:-1], "bad.crt", status=1).output
    assert Path("gateway.yaml").read_text() == TEXT
    assert not passwords()


def test_an_authority_whose_file_went_is_listed_with_what_is_wrong() -> None:
    run("ca", "add", "--cert-file", "ca.pem")
    Path("ca.pem").unlink()
    assert "No such file" in run("ca", "list").output


# upstreams


def test_tabpy_gets_its_credentials_its_authority_and_its_patience() -> None:
    output = run("upstream", "enable", *TABPY).output
    assert "s3cret" not in output + Path("gateway.yaml").read_text()
    (file,) = passwords()
    assert file.read_text() == "s3cret\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(place.stat().st_mode) for place in (file.parent, file.parent.parent)] == [0o700, 0o700]
    (api,) = load(Path("gateway.yaml"), {}).apis
    assert (api.proxy.target_url, api.proxy.listen_path) == ("https://tabpy.internal:9443/", "/tabpy/")
    assert api.gateway.timeouts.connect == 2.5
    assert api.gateway.upstream_tls.ca_file == str(Path("ca.pem").absolute())
    assert api.upstream_auth.basic_auth.password_file == file.absolute()
    (listed,) = json.loads(run("upstream", "list", "--json").output)
    assert listed == {
        "name": "tabpy",
        "type": "https",
        "target": "https://tabpy.internal:9443/",
        "clients": "/tabpy/",
        "username": "tableau",
        "certificate": "ca.pem",
        "connect_timeout_ms": 2500,
    }
    assert "tabpy.internal" in run("upstream", "list").output


@pytest.mark.parametrize(
    ("words", "place", "told"),
    [
        ((), ("", "/tabpy/"), True),
        (("--domain", "tabpy.test"), ("tabpy.test", "/"), False),
        (("--domain", "app.test", "--listen-path", "/tabpy"), ("app.test", "/tabpy/"), True),
        (("--listen-path", "/"), ("", "/"), False),
    ],
)
def test_tabpy_has_a_host_for_its_own_client(words: tuple[str, ...], place: tuple[str, str], told: bool) -> None:
    output = run("upstream", "enable", "--connection-type", "maestro-tabpy", "--host", "localhost", *words).output
    (api,) = load(Path("gateway.yaml"), {}).apis
    assert (api.domain, api.proxy.listen_path) == place
    assert ("TabPy's own client asks at the root" in output) is told


def test_an_ipv6_host_may_have_brackets() -> None:
    run("upstream", "enable", "--connection-type", "http", "--host", "[2001:db8::5]", "--port", "8080")
    (api,) = load(Path("gateway.yaml"), {}).apis
    assert (api.name, api.proxy.target_url) == ("2001-db8-5", "http://[2001:db8::5]:8080/")


def test_the_certificate_may_be_glued_to_its_option() -> None:
    run("upstream", "enable", *TABPY[:-2], "-cfca.pem")
    (api,) = load(Path("gateway.yaml"), {}).apis
    assert api.gateway.upstream_tls.ca_file == str(Path("ca.pem").absolute())


def test_enabled_again_it_is_changed_and_its_old_password_goes() -> None:
    run("upstream", "enable", *TABPY)
    (old,) = passwords()
    run("upstream", "enable", *(word.replace("s3cret", "n3w") for word in TABPY))
    (new,) = passwords()
    assert new != old
    assert new.read_text() == "n3w\n"
    assert len(load(Path("gateway.yaml"), {}).apis) == 1
    run("upstream", "enable", "--connection-type", "tabpy", "--host", "localhost")
    assert not passwords()
    (api,) = load(Path("gateway.yaml"), {}).apis
    assert (api.proxy.target_url, api.upstream_auth.enabled) == ("http://localhost:9004/", False)


def test_disabled_it_leaves_nothing_behind() -> None:
    run("upstream", "enable", "--connection-type", "http", "--host", "kept.test")
    before = Path("gateway.yaml").read_text()
    run("upstream", "enable", *TABPY)
    run("upstream", "disable", "tabpy")
    assert Path("gateway.yaml").read_text() == before
    assert not passwords()
    assert "no upstream 'tabpy'" in run("upstream", "disable", "tabpy", status=1).output


def test_rserve_is_a_service_with_a_port_of_its_own_and_keeps_no_credentials() -> None:
    result = run(
        "upstream", "enable", "--connection-type", "maestro-rserve-secure", "--rserve-host", "::1",
        "--rserve-port", "4912", "--rserve-username", "r", "--rserve-password", "s3cret", "--listen-port", "6311",
        "--rserve-connect-timeout-ms", "900000", "--cert-file", "ca.pem",
    )  # fmt: skip
    assert "the credentials are not kept" in result.output
    (api,) = load(Path("gateway.yaml"), {}).apis
    assert (api.protocol, api.listen_port, api.proxy.target_url) == ("tcp", 6311, "tls://[::1]:4912")
    assert not passwords()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--connection-type", "maestro", "--host", "a"), "no connection type"),
        (("--connection-type", "tcp", "--host", "a"), "no usual port"),
        (("--connection-type", "tabpy", "--host", "a", "--username", "u"), "both"),
        (("--connection-type", "tabpy", "--host", "a", "--username", "u:x", "--password", "p"), "colon"),
        (("--connection-type", "tabpy", "--host", "a", "--cert-file", "ca.pem"), "secure type"),
        (("--connection-type", "tabpy", "--host", "a", "--name", "a/b"), "a name is of letters"),
        (("--connection-type", "tabpy", "--host", "a/b"), "not a host name"),
        (("--connection-type", "tabpy", "--host", "a?b"), "not a host name"),
    ],
)
def test_wrong_usage_is_told_and_changes_nothing(words: tuple[str, ...], said: str) -> None:
    assert said in run("upstream", "enable", *words, status=2).output
    assert Path("gateway.yaml").read_text() == TEXT


def test_what_the_check_refuses_leaves_no_password() -> None:
    assert "refused" in run("upstream", "enable", *TABPY, "--domain", "no host", status=1).output
    run("upstream", "enable", *TABPY, "--dry-run")
    assert not passwords()
    assert Path("gateway.yaml").read_text() == TEXT


def test_a_password_that_a_gateway_refuses_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    run("upstream", "enable", *TABPY)
    kept = passwords()

    def refuse(*_: object) -> None:
        raise AdminError("the gateway refused it")

    monkeypatch.setattr(rewriting, "_reload", refuse)
    run("upstream", "enable", *(word.replace("s3cret", "n3w") for word in TABPY), status=1)
    assert passwords() == kept


def test_definitions_in_the_directory_beside_the_file_go_on_being_read() -> None:
    Path("apps").mkdir()
    definition = {"api_id": "old", "use_keyless": True, "proxy": {"listen_path": "/old/", "target_url": "http://a"}}
    Path("apps/old.json").write_text(json.dumps(definition))
    run("upstream", "enable", *TABPY)
    assert {api.api_id for api in load(Path("gateway.yaml"), {}).apis} == {"old", "upstream-tabpy"}


def test_one_that_becomes_a_service_forgets_its_password() -> None:
    run("upstream", "enable", *TABPY)
    assert passwords()
    run("upstream", "enable", "--connection-type", "tcp", "--host", "a", "--port", "9999", "--name", "tabpy")
    assert not passwords()


@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_secrets_on_a_line_that_changes_are_not_shown(quote: str) -> None:
    name = "t.json" if quote == '"' else "t.yaml"
    said = "".join(f"{one}: {quote}hush-{one}-hush{quote}, " for one in ("secret", "node_secret", "Password"))
    pem = "-----BEGIN EC PRIVATE KEY-----\\nhush\\n-----END EC PRIVATE KEY-----"
    text = "{" + said + f'"x": "{pem}", control_api_port: 1' + "}"
    Path(name).write_text(re.sub(r"(\w+): ", r'"\1": ', text) if quote == '"' else text)
    output = run("ca", "add", "--cert-file", "ca.der", "--config", name).output
    assert "ca.der" in output
    assert "hush" not in output
    assert "hush" in Path(name).read_text()


def test_the_backup_has_the_rights_of_the_file() -> None:
    Path("gateway.yaml").chmod(0o600)
    Path("gateway.yaml.bak").write_text("of before")  # with wider rights
    run("ca", "add", "--cert-file", "ca.der")
    assert Path("gateway.yaml.bak").read_text() == TEXT
    assert Path("gateway.yaml.bak").stat().st_mode & 0o777 == 0o600


def test_tyks_own_file_is_edited_as_json() -> None:
    Path("gateway.yaml").unlink()
    Path("tyk.conf").write_text('{\n  "control_api_port": 1\n}\n')
    run("upstream", "enable", *TABPY)
    assert json.loads(Path("tyk.conf").read_text())["apis"][0]["api_id"] == "upstream-tabpy"
    run("ca", "add", "--cert-file", "ca.der")
    assert yaml.safe_load(Path("tyk.conf").read_text())["gateway"]["ca_certificates"] == {"custom": "ca.der"}


def test_what_an_upstream_is_told_is_not_taken_for_the_administrators() -> None:
    output = run("upstream", "enable", "--help").output
    assert "--user," not in output
    assert output.count("--username") == 1
