"""Commands that change or show settings, with the gateway that serves this file, with one elsewhere, and with none.

What a command says is compared with what a client meets; what it refuses must not have touched a file.
"""

from __future__ import annotations

import contextlib
import os  # noqa: F401 - a condition below
import shutil  # noqa: F401
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from support.console import Shell
from support.roles import PATIENCE, Gateway, Upstream

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "correct horse battery"
AUTHORITY = Authority.create("Test CA")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("hello") as server:
        yield server
        server.shutdown()


def gateway(directory: Path, upstream: Upstream) -> Gateway:
    directory.mkdir()
    made = Gateway(directory, AUTHORITY, upstream)
    made.settings["pid_file_location"] = "gateway.pid"
    made.configure()
    return made


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """The gateway of this directory's file, with a viewer and an operator."""
    made = gateway(tmp_path_factory.mktemp("commands") / "here", upstream)
    made.started()
    shell = Shell(made.directory)
    (made.directory / "word").write_text(PASSWORD)
    for name, role in (("vera", "viewer"), ("olga", "operator")):
        assert "exit" not in shell.run(f"gateway admin add {name} --role {role} --new-password-file word")
    yield made
    made.end()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway elsewhere, which serves another file."""
    made = gateway(tmp_path_factory.mktemp("commands") / "there", upstream)
    made.settings["apis"][0]["gateway"] = {"tls": {"max_version": "1.3"}}
    made.configure()
    made.started()
    yield made
    made.end()


@pytest.fixture
def type_(here: Gateway) -> Iterator[Shell]:
    """A shell in the directory of the gateway's file, which is put back afterwards."""
    file = here.directory / "gateway.yaml"
    text = file.read_text()
    yield Shell(here.directory)
    headers = {"X-Tyk-Authorization": (here.directory / "data" / "admin.secret").read_text().strip()}
    with httpx.Client(base_url=f"http://127.0.0.1:{here.control_port}", headers=headers, trust_env=False) as client:
        for domain in ("a.test", "b.test"):
            client.delete(f"/tyk/domains/{domain}/certificate")
        if file.read_text() != text:
            file.write_text(text)
            assert client.get("/tyk/reload?block=true", timeout=PATIENCE).status_code == 200


def issue(directory: Path, *names: str, as_: str) -> str:
    """Issue a certificate and its key, in two files; return its serial number as clients see it."""
    pair = AUTHORITY.leaf(*names)
    for suffix, content in (("crt", pair.chain_pem), ("key", pair.key_pem)):
        path = directory / f"{as_}.{suffix}"
        path.touch(mode=0o600)
        path.write_bytes(content)
    return f"{pair.leaf.serial_number:X}".lstrip("0")


def serial(gateway: Gateway, name: str) -> str:
    with contextlib.closing(gateway.connect(name)) as connection:
        return connection.serial


def lowest(gateway: Gateway) -> str:
    """The lowest version of TLS of the last two that a client gets."""
    context = ssl.create_default_context(cadata=AUTHORITY.pair.chain_pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as sock:
        try:
            context.wrap_socket(sock, server_hostname="a.test").close()
        except ssl.SSLError:
            return "1.3"
    return "1.2"


def state(directory: Path) -> dict[str, bytes]:
    """Every file beside the configuration, and the secrets."""
    files = [*directory.glob("*"), *directory.glob("data/secrets/*")]
    return {str(path): path.read_bytes() for path in files if path.is_file() and path.name != ".output"}


CHANGES = (
    "tls set-min-version 1.3",
    "tls set-ciphers ECDHE+AESGCM",
    "tls disable",
    "tls add-cert new.key new.crt",
    "ca add --cert-file new.crt",
    "upstream enable --connection-type tabpy --host localhost --username u --password p",
)


@pytest.mark.parametrize(
    ("who", "said", "changes"),
    [
        ("--user olga --password wrong", "wrong", CHANGES[:1]),  # wrong ones are counted
        ("--user vera --password-file word", "vera is a viewer and may only look; nothing has changed", CHANGES[:-1]),
        ("-u vera --password-file word", "vera is a viewer and may only look; nothing has changed", CHANGES[-1:]),
        ("--secret-file new.key", "does not accept the secret", CHANGES[:1]),
    ],
)
def test_who_may_not_change_anything_has_changed_nothing(
    type_: Shell, here: Gateway, who: str, said: str, changes: tuple[str, ...]
) -> None:
    issue(here.directory, "a.test", as_="new")
    before = state(here.directory)
    for change in changes:
        output = type_.run(f"gateway {change} {who}")
        assert "(exit status 1)" in output
        assert said in output
    assert state(here.directory) == before


def test_a_gateway_elsewhere_changes_its_own_file(type_: Shell, here: Gateway, there: Gateway) -> None:
    new = issue(here.directory, "a.test", "b.test", as_="new")
    before = state(here.directory)
    elsewhere = f"gateway -s http://127.0.0.1:{there.control_port} --secret-file {there.directory}/data/admin.secret"
    assert lowest(there) == "1.2"

    dry = type_.run(f"{elsewhere} tls set-min-version 1.3 --dry-run")
    assert "+  min_version: 1.3" in dry
    assert "exit" not in dry
    assert lowest(there) == "1.2"
    type_.run(f"{elsewhere} tls set-min-version 1.1")
    assert "2 warnings" in (checked := type_.run(f"{elsewhere} check"))
    assert "TLS 1.1 is obsolete and weak" in checked
    said = type_.run(f"{elsewhere} tls set-min-version 1.3")
    assert "in force: TLS 1.3 to 1.3\n" in said
    assert lowest(there) == "1.3"
    said = type_.run(f"{elsewhere} tls add-cert new.key new.crt")
    assert "b.test: " in said
    assert serial(there, "b.test") == new == serial(there, "a.test")
    said = type_.run(f"{elsewhere} ca add -c new.crt --name its")
    assert "authority its: CN=a.test, trusted now" in said
    said = type_.run(
        f"{elsewhere} upstream enable --connection-type https --name db --host localhost --cert-file new.crt"
        " --username u --password hush"
    )
    assert "upstream db: https://localhost:443/, at /db/" in said
    (secret,) = (there.directory / "data" / "secrets").iterdir()
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("hush\n", 0o600)
    assert "1.3 to 1.3" in type_.run(f"{elsewhere} tls status")
    assert "its" in type_.run(f"{elsewhere} ca list")
    assert "obsolete" not in type_.run(f"{elsewhere} check")

    written = yaml.safe_load((there.directory / "gateway.yaml").read_text())
    assert written["http_server_options"]["min_version"] == 1.3
    assert written["gateway"]["ca_certificates"]["its"].startswith("-----BEGIN CERTIFICATE-----")
    assert state(here.directory) == before
    assert lowest(here) == "1.2"
    for path in ("/etc/shadow", "new.crt", f"{here.directory}/new.crt"):  # nobody reaches files from afar
        answer = type_.run(
            f"curl -s -H X-Tyk-Authorization:$(cat {there.directory}/data/admin.secret) -d "
            f"""'{{"authorities": {{"x": "{path}"}}}}' http://127.0.0.1:{there.control_port}/tyk/configuration"""
        )
        assert "send the PEM itself" in answer


def test_a_file_that_another_gateway_answers_for_is_left_alone(type_: Shell, here: Gateway, there: Gateway) -> None:
    other = here.directory / "other.yaml"
    other.write_text((there.directory / "gateway.yaml").read_text())
    before = state(here.directory)
    output = type_.run(
        f"gateway tls set-min-version 1.2 -c other.yaml --secret-file {there.directory}/data/admin.secret"
    )
    assert f"is answered by the gateway of another file, {there.directory}/gateway.yaml" in output
    assert "(exit status 1)" in output
    assert state(here.directory) == before
    other.unlink()


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_what_the_gateway_refuses_is_taken_back(type_: Shell, here: Gateway, there: Gateway, where: str) -> None:
    meant = here if where == "here" else there
    (meant.directory / "gateway.yaml.bak").unlink(missing_ok=True)
    before = state(meant.directory)
    option = f"-s http://127.0.0.1:{meant.control_port} --secret-file {meant.directory}/data/admin.secret"
    with socket.create_server(("127.0.0.1", 0)) as taken:  # which no check of a file can know
        said = type_.run(
            "gateway upstream enable --connection-type tcp --host localhost --port 9 --name taken"
            f" --listen-port {taken.getsockname()[1]} {option if where == 'elsewhere' else ''}"
        )
    assert "(exit status 1)" in said
    assert "in use" in said
    assert state(meant.directory) == before


def test_a_certificate_that_is_not_valid_yet_takes_no_place(type_: Shell, here: Gateway) -> None:
    held = serial(here, "a.test")
    pair = AUTHORITY.leaf("a.test", now=datetime.now(UTC) + timedelta(days=7))
    (here.directory / "later.pem").write_bytes(pair.chain_pem)
    (here.directory / "later.key").write_bytes(pair.key_pem)
    before = state(here.directory)
    said = type_.run("gateway tls add-cert later.key later.pem")
    assert "this certificate is valid from" in said
    assert "(exit status 1)" in said
    assert state(here.directory) == before
    assert serial(here, "a.test") == held


@pytest.mark.parametrize("before", ["domain_name", "id", "swapped", "both", "id of two"])
def test_a_certificate_takes_the_place_of_whatever_the_name_had(type_: Shell, here: Gateway, before: str) -> None:
    issue(here.directory, "a.test", as_="old")
    issue(here.directory, "a.test", "b.test", as_="two")
    options = here.settings["http_server_options"]
    entry = {"domain_name": "a.test", "cert_file": "old.crt", "key_file": "old.key"}
    ids = {one: type_.run(f"gateway cert add {one}.crt {one}.key").split()[0] for one in ("old", "two")}
    wanted = {
        "domain_name": {"certificates": [entry]},
        "id": {"ssl_certificates": [ids["old"]]},
        "swapped": {},
        "both": {"certificates": [entry], "ssl_certificates": ["a.test.pem", ids["old"]]},
        "id of two": {"ssl_certificates": [ids["two"]]},
    }[before]
    text = yaml.safe_dump({**here.settings, "http_server_options": {**options, **wanted}})
    (here.directory / "gateway.yaml").write_text(text)
    type_.run("gateway reload")
    if before == "swapped":
        type_.run("gateway cert swap a.test old.crt old.key")

    new = issue(here.directory, "a.test", as_="new")
    said = type_.run("gateway tls add-cert new.crt new.key")  # in the other order, too
    assert "exit" not in said, said
    assert "a.test: ec " in said
    assert serial(here, "a.test") == new
    type_.run("gateway reload")
    assert serial(here, "a.test") == new


def test_what_cannot_be_replaced_is_named(type_: Shell, here: Gateway) -> None:
    issue(here.directory, "a.test", as_="old")
    api = {**here.settings["apis"][0], "certificates": ["a.test.pem"]}
    (here.directory / "gateway.yaml").write_text(yaml.safe_dump({**here.settings, "apis": [api]}))
    type_.run("gateway reload")
    held, before = serial(here, "a.test"), state(here.directory)

    said = type_.run("gateway tls add-cert old.key old.crt")
    assert f"a.test would go on being served with the certificate of {here.directory}/a.test.pem" in said.replace(
        "/etc/gateway", str(here.directory)
    )
    assert "(exit status 1)" in said
    assert state(here.directory) == before
    assert serial(here, "a.test") == held


def test_flags_and_variables_of_the_running_gateway_are_shown_and_win(tmp_path: Path, upstream: Upstream) -> None:
    made = gateway(tmp_path / "flags", upstream)
    made.settings["http_server_options"] = {"use_ssl": False}
    made.configure()
    issue(made.directory, "a.test", as_="flag")
    made.flags = ["--tls-cert", "flag.crt", "--tls-key", "flag.key"]
    made.flags = [one if one.startswith("--") else str(made.directory / one) for one in made.flags]
    made.environ = {"TYK_GW_HTTPSERVEROPTIONS_MINVERSION": "1.3"}
    made.started()
    shell = Shell(made.directory)
    try:
        assert shell.run("gateway tls status").startswith("Minimum TLS version supported: 1.3\nTLS           enabled")
        assert "certificate   flag.crt flag.key" in shell.run("gateway tls list")
        checked = shell.run("gateway check")
        assert "HTTPS on" in checked
        assert "TLS 1.3 to 1.3" in checked
        assert "--tls-cert, which wins over the file" in checked
        assert "TYK_GW_HTTPSERVEROPTIONS_MINVERSION=1.3, which wins over the file" in checked
        examined = shell.run("gateway doctor")
        assert "TLS is disabled" not in examined
        assert "--tls-cert" in examined
        before = state(made.directory)
        for change, winner in (
            ("tls set-min-version 1.2", "TYK_GW_HTTPSERVEROPTIONS_MINVERSION=1.3"),
            ("tls add-cert flag.key flag.crt", "--tls-cert"),
            ("tls disable", "--tls-cert"),
        ):
            said = shell.run(f"gateway {change}")
            assert f"the running gateway was started with {winner}" in said
            assert "(exit status 1)" in said
        assert state(made.directory) == before
    finally:
        made.end()

    assert "no gateway runs it" in shell.run("gateway tls status")
    assert shell.run("gateway tls set-min-version 1.2").endswith(
        "no gateway answers at the control port, so none was told: it takes effect at the next start\n"
    )


def test_a_host_with_rules_of_its_own_is_named(type_: Shell, here: Gateway) -> None:
    api = {**here.settings["apis"][0], "gateway": {"tls": {"min_version": "1.2"}}}
    (here.directory / "gateway.yaml").write_text(yaml.safe_dump({**here.settings, "apis": [api]}))
    type_.run("gateway reload")
    said = type_.run("gateway tls set-min-version 1.3 -u olga --password-file word")
    assert "in force: TLS 1.3 to 1.3\na.test has rules of its own: TLS 1.2 to 1.3\n" in said
    assert lowest(here) == "1.2"


def test_a_swap_says_what_is_served(type_: Shell, here: Gateway) -> None:
    new = issue(here.directory, "a.test", as_="new")
    assert "served by 2 workers" in type_.run("gateway cert swap a.test new.crt new.key")
    assert serial(here, "a.test") == new
    type_.run("gateway tls disable")
    assert "plain HTTP is served" in type_.run("gateway cert rollback a.test")


def test_the_options_stand_behind_every_command(type_: Shell, here: Gateway) -> None:
    issue(here.directory, "a.test", as_="new")
    server = f"-s http://127.0.0.1:{here.control_port} -u vera --password-file word"
    for command in ("check", "cert verify new.crt new.key", "tls status", "tls list", "ca list", "upstream list"):
        said = type_.run(f"gateway {command} {server}")
        assert "exit" not in said, said


@pytest.mark.skipif(
    "shutil.which('setpriv') is None or os.geteuid()", reason="this user is not root, or there is no setpriv"
)
def test_nobody_without_a_home_can_ask(here: Gateway) -> None:
    # The capability is for a Python that stands where only root may look, as pyenv's does.
    reader = "--inh-caps +dac_read_search --ambient-caps +dac_read_search"
    said = Shell(here.directory).run(
        f"env -u HOME setpriv --reuid 54321 --clear-groups {reader} gateway status -s http://127.0.0.1:{here.control_port}"
        f" -u vera --password '{PASSWORD}'"
    )
    assert said.startswith("ready"), said
