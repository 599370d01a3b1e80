"""What the commands ask of the admin API, and how they tell its answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.admin_api import served

if TYPE_CHECKING:
    from pathlib import Path

    from support.admin_api import FakeApi

OLD, NEW = "a" * 64, "b" * 64
SWAPPED = {
    "status": "ok",
    "domain": "a.test",
    "fingerprint": NEW,
    "previous_fingerprint": OLD,
    "names": ["a.test", "b.test"],
    "not_after": "2999-01-01T00:00:00Z",
    "generation": 12,
    "warnings": ["no API names a.test"],
    "dry_run": False,
}
PATH = "/tyk/domains/a.test/certificate"
STORED = {
    "id": f"org{OLD}",
    "issuer_cn": "CA",
    "subject_cn": "a.test",
    "dns_names": ["a.test", "b.test", "c.test", "d.test"],
    "has_private": True,
    "not_before": "2026-01-01T00:00:00Z",
    "not_after": "2999-01-01T00:00:00Z",
    "is_ca": False,
}


def block(name: str) -> str:
    return f"-----BEGIN {name.upper()}-----\n{name}\n-----END {name.upper()}-----\n"


@pytest.fixture
def files(elsewhere: Path) -> Path:
    for name in ("cert", "key", "chain"):
        (elsewhere / f"{name}.pem").write_text(f"what people write above\n{block(name)}")
    (elsewhere / "passphrase").write_text("open sesame\r\nnot this\n")
    return elsewhere


def test_a_swap_sends_the_parts_and_tells_the_result(api: FakeApi, run: Any, files: Path) -> None:
    api.answers[f"PUT {PATH}"] = (200, SWAPPED)
    api.answers["GET /tyk/served"] = (200, lambda asked: served(asked) | {"fingerprints": [NEW]})
    arguments = ("A.test", "cert.pem", "key.pem", "--chain", "chain.pem", "--passphrase-file", "passphrase")
    finished = run("cert", "swap", *arguments, "--if-match", OLD)
    asked, looked = api.asked
    assert (looked.path, looked.query) == ("/tyk/served", {"domain": "a.test"})
    assert asked.json == {
        "certificate": block("cert"),
        "private_key": block("key"),
        "chain": block("chain"),
        "passphrase": "open sesame",
    }
    assert asked.headers["if-match"] == OLD
    assert asked.query == {}
    assert finished.exit_code == 0
    facts = dict(line.split(maxsplit=1) for line in finished.stdout.splitlines())
    assert facts.pop("expires").startswith("2999-01-01 (")
    assert facts == {
        "domain": "a.test",
        "certificate": NEW,
        "before": OLD,
        "names": "a.test, b.test",
        "generation": "12",
        "served": f"{NEW[:12]}, served by 2 workers",
    }
    assert finished.stderr == "warning: no API names a.test\n"


def test_a_swap_after_which_something_else_is_served_is_no_success(api: FakeApi, run: Any, files: Path) -> None:
    api.answers[f"PUT {PATH}"] = (200, SWAPPED)
    api.answers["GET /tyk/served"] = (200, lambda asked: served(asked) | {"fingerprints": [OLD]})
    finished = run("cert", "swap", "a.test", "cert.pem")
    assert finished.exit_code == 1
    assert "a.test is served with another certificate" in finished.stderr


def test_a_dry_run_says_that_nothing_has_changed(api: FakeApi, run: Any, files: Path) -> None:
    api.answers[f"PUT {PATH}"] = (200, SWAPPED | {"generation": None, "dry_run": True})
    finished = run("cert", "swap", "a.test", "cert.pem", "--dry-run")
    assert api.asked[0].query == {"dry_run": "true"}
    assert "not changed (dry run)" in finished.stdout


def test_a_program_gets_the_answer_as_it_is_and_nothing_else(api: FakeApi, run: Any, files: Path) -> None:
    api.answers[f"PUT {PATH}"] = (200, SWAPPED)
    finished = run("cert", "swap", "a.test", "cert.pem", "--json")
    assert json.loads(finished.stdout) == SWAPPED
    assert finished.stderr == ""


def test_a_refusal_is_told_with_status_1(api: FakeApi, run: Any, files: Path) -> None:
    refusal = {"status": "error", "message": "the private key does not belong to the certificate"}
    api.answers[f"PUT {PATH}"] = (422, refusal)
    finished = run("cert", "swap", "a.test", "cert.pem")
    assert (finished.exit_code, finished.stdout) == (1, "")
    assert finished.stderr == "error: the private key does not belong to the certificate\n"
    finished = run("cert", "swap", "a.test", "cert.pem", "--json")
    assert finished.exit_code == 1
    assert json.loads(finished.stdout) == refusal


def test_a_missing_file_is_told_before_anything_is_asked(api: FakeApi, run: Any) -> None:
    finished = run("cert", "swap", "a.test", "missing.pem")
    assert finished.exit_code == 1
    assert finished.stderr == "error: missing.pem cannot be read: No such file or directory\n"
    assert not api.asked


@pytest.mark.parametrize(
    "arguments",
    [
        ("cert", "swap", "not a name", "cert.pem"),
        ("cert", "swap", "a.test", "cert.pem", "--if-match", "\u00e4"),
        ("cert", "swap", "a.test"),
        ("cert", "rollback", ""),
        ("cert", "delete", "../../x"),
        ("domain", "show", "a/b"),
        ("cert", "show", "a.test"),
        ("cert", "show", f"{OLD},{NEW}"),
        ("status", "--expiring", "soon"),
    ],
)
def test_wrong_usage_asks_nothing_and_has_status_2(
    api: FakeApi, run: Any, files: Path, arguments: tuple[str, ...]
) -> None:
    assert run(*arguments).exit_code == 2
    assert not api.asked


def test_a_bundle_can_come_from_stdin(api: FakeApi, files: Path) -> None:
    from typer.testing import CliRunner

    from gateway.cli.main import app

    api.answers[f"PUT {PATH}"] = (200, SWAPPED)
    finished = CliRunner().invoke(app, ["cert", "swap", "a.test", "-"], input=block("bundle"))
    assert finished.exit_code == 0
    assert api.asked[0].json == {"certificate": block("bundle")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * (1 << 21), "the PEM text is over 1048576 bytes"),
        (b"root:x:0:0:", "this is not PEM text"),
        (b"\x30\x82\x01\x01\x30", "a DER certificate (convert it: openssl x509"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_pem_text_is_not_sent(api: FakeApi, run: Any, files: Path, content: bytes, said: str) -> None:
    (files / "cert.pem").write_bytes(content)
    finished = run("cert", "add", "cert.pem")
    assert finished.exit_code == 1
    assert finished.stderr.startswith("error: cert.pem")
    assert said in finished.stderr
    assert not api.asked


def test_a_rollback_and_a_removal_are_told_like_a_swap(api: FakeApi, run: Any) -> None:
    api.answers[f"POST {PATH}/rollback"] = (200, SWAPPED)
    assert NEW in run("cert", "rollback", "a.test").stdout
    gone = {"fingerprint": None, "not_after": None, "names": []}
    api.answers[f"DELETE {PATH}"] = (200, SWAPPED | gone)
    finished = run("cert", "delete", "a.test")
    assert "certificate  none" in finished.stdout
    assert "expires" not in finished.stdout


def test_a_wildcard_stays_readable_in_the_path(api: FakeApi, run: Any) -> None:
    api.answers["POST /tyk/domains/*.a.test/certificate/rollback"] = (200, SWAPPED)
    assert run("cert", "rollback", "*.A.test").exit_code == 0


def test_adding_prints_the_id_alone(api: FakeApi, run: Any, files: Path) -> None:
    api.answers["POST /tyk/certs"] = (200, {"id": f"org{OLD}", "status": "ok", "message": "Certificate added"})
    finished = run("cert", "add", "cert.pem", "--org-id", "org")
    assert finished.stdout == f"org{OLD}\n"
    assert api.asked[0].query == {"org_id": "org"}


def test_certificates_of_the_store_are_a_table(api: FakeApi, run: Any) -> None:
    api.answers["GET /tyk/certs"] = (200, {"certs": [STORED]})
    heading, row = run("cert", "list").stdout.splitlines()
    assert heading.split() == ["id", "names", "key", "expires"]
    assert row.startswith(f"org{OLD}  a.test, b.test, c.test and 1 more  yes  2999-01-01 (")
    assert api.asked[0].query == {"mode": "detailed"}


def test_an_empty_store_is_told(api: FakeApi, run: Any) -> None:
    api.answers["GET /tyk/certs"] = (200, {"certs": None})
    assert run("cert", "list").output == "no certificates in the store; see: gateway cert add --help\n"


def test_a_public_key_has_no_end(api: FakeApi, run: Any) -> None:
    key = STORED | {"dns_names": None, "has_private": False, "not_after": "0001-01-01T00:00:00Z"}
    api.answers["GET /tyk/certs"] = (200, {"certs": [key]})
    assert run("cert", "list").stdout.splitlines()[1].split() == [f"org{OLD}", "a.test", "no"]


def test_one_certificate_of_the_store_is_shown(api: FakeApi, run: Any) -> None:
    names = {"subject": {"CommonName": "a.test"}, "issuer": {"CommonName": "CA\x1b[2J"}}
    api.answers[f"GET /tyk/certs/org{OLD}"] = (200, STORED | names | {"fingerprint": NEW})
    shown = run("cert", "show", f"org{OLD}").stdout
    assert NEW in shown
    assert "CA\N{REPLACEMENT CHARACTER}[2J" in shown, "a name in a certificate must not command the terminal"


def test_a_certificate_is_deleted_by_its_id_and_quietly(api: FakeApi, run: Any) -> None:
    api.answers[f"DELETE /tyk/certs/org{OLD}"] = (200, {"status": "ok", "message": "removed"})
    finished = run("cert", "delete", f"org{OLD}", "--force")
    assert (finished.exit_code, finished.output) == (0, "")
    assert api.asked[0].query == {"force": "true"}


@pytest.mark.parametrize("command", [("cert", "list"), ("domain", "list"), ("status",), ("reload",)])
def test_without_a_gateway_every_command_says_so(
    elsewhere: Path, run: Any, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TYK_GW_SECRET", "x")
    finished = run(*command, "--server", "http://127.0.0.1:1")
    assert finished.exit_code == 1
    assert "cannot reach the gateway at http://127.0.0.1:1: Connection refused; start it with" in finished.stderr


def test_a_password_that_is_too_short_is_refused_without_asking(api: FakeApi, run: Any) -> None:
    finished = run("admin", "add", "alice", "--new-password", "short")
    assert (finished.exit_code, api.asked) == (2, [])
    assert finished.stderr == "error: the new password has 5 characters; give at least 8\n"


@pytest.mark.parametrize("command", [("tls", "list"), ("status",)])
def test_a_configuration_that_is_not_there_is_told_once(elsewhere: Path, run: Any, command: tuple[str, ...]) -> None:
    finished = run(*command, "--config", "nowhere.yaml")
    assert finished.exit_code == 2
    assert finished.stderr.startswith("error: nowhere.yaml: the file cannot be read: No such file or directory (check")


def test_the_help_of_a_command_has_its_own_and_the_shared_options(run: Any) -> None:
    shown = run("cert", "swap", "--help").stdout
    assert all(option in shown for option in ("--dry-run", "--if-match", "--server", "--secret-file", "--json"))
