"""``gateway cert verify``: a certificate in files, judged without a gateway."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)
AUTHORITY = Authority.create("Test CA")
PAIR = AUTHORITY.leaf("a.test", "*.w.test", days=80)
OTHER = AUTHORITY.leaf("b.test")


def save(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_bytes(content)
    return path


@pytest.fixture
def certificate(elsewhere: Path) -> Path:
    return save(elsewhere / "a.crt", PAIR.chain_pem, 0o644)


@pytest.fixture
def key(elsewhere: Path) -> Path:
    return save(elsewhere / "a.key", PAIR.key_pem)


def test_a_good_pair_is_described_and_has_status_0(run: Any, certificate: Path, key: Path) -> None:
    finished = run("cert", "verify", certificate, key)
    assert finished.exit_code == 0
    assert "a.test, *.w.test" in finished.stdout
    assert "(79 days)" in finished.stdout
    assert "ec, 256 bits, the private key matches" in finished.stdout
    assert PAIR.fingerprint in finished.stdout
    assert finished.stdout.endswith("\nIt can be served.\n")
    assert "warning" not in finished.stdout


def test_a_bundle_needs_no_second_file(run: Any, elsewhere: Path) -> None:
    bundle = save(elsewhere / "a.pem", PAIR.key_pem + PAIR.chain_pem)
    assert run("cert", "verify", bundle).exit_code == 0


def test_a_key_of_another_certificate_is_told_with_what_the_certificate_is(
    run: Any, elsewhere: Path, certificate: Path
) -> None:
    finished = run("cert", "verify", certificate, save(elsewhere / "b.key", OTHER.key_pem))
    assert finished.exit_code == 1
    assert "the private key does not belong to the certificate (of a.test)" in finished.stdout
    assert "matches" not in finished.stdout
    assert PAIR.fingerprint in finished.stdout
    assert finished.stdout.endswith("\nIt cannot be served.\n")


def test_a_missing_key_is_an_error(run: Any, certificate: Path) -> None:
    finished = run("cert", "verify", certificate)
    assert finished.exit_code == 1
    assert "no private key was given" in finished.stdout


def test_an_expired_certificate_cannot_be_served(run: Any, elsewhere: Path) -> None:
    old = AUTHORITY.leaf("a.test", days=10, now=NOW - timedelta(days=20))
    finished = run("cert", "verify", save(elsewhere / "old.pem", old.chain_pem + old.key_pem))
    assert finished.exit_code == 1
    assert "(expired)" in finished.stdout
    assert "renew it" in finished.stdout


@pytest.mark.parametrize(("domain", "status"), [("A.test", 0), ("x.w.test", 0), ("w.test", 1), ("no name", 2)])
def test_a_domain_that_is_asked_for_has_to_be_covered(
    run: Any, certificate: Path, key: Path, domain: str, status: int
) -> None:
    assert run("cert", "verify", certificate, key, "--domain", domain).exit_code == status


def test_a_chain_in_the_wrong_order_is_told_and_can_be_served(run: Any, elsewhere: Path) -> None:
    bundle = AUTHORITY.pair.chain_pem + PAIR.chain_pem + PAIR.key_pem
    finished = run("cert", "verify", save(elsewhere / "upside-down.pem", bundle))
    assert finished.exit_code == 0
    assert "1 warning" in finished.stdout
    assert "not in order" in finished.stdout


def test_a_key_that_every_user_can_read_is_told_with_the_cure(run: Any, certificate: Path, key: Path) -> None:
    key.chmod(0o644)
    finished = run("cert", "verify", certificate, key)
    assert finished.exit_code == 0
    assert "every user of this host can read the private key" in finished.stdout
    assert f"chmod o= {key}" in finished.stdout


def test_an_encrypted_key_is_opened_with_the_first_line_of_a_file(run: Any, elsewhere: Path, certificate: Path) -> None:
    encrypted = PAIR.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    key = save(elsewhere / "sealed.key", encrypted)
    assert "no passphrase was given" in run("cert", "verify", certificate, key).stdout
    passphrase = save(elsewhere / "passphrase", b"open sesame\nnot this\n", 0o644)
    finished = run("cert", "verify", certificate, key, "--passphrase-file", passphrase)
    assert finished.exit_code == 0
    assert "every user of this host can read the passphrase" in finished.stdout
    assert "sesame" not in finished.output


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x30\x82\x01\x00", PAIR.chain_pem[:200]])
def test_what_is_no_certificate_is_told_and_not_a_traceback(run: Any, elsewhere: Path, content: bytes) -> None:
    finished = run("cert", "verify", save(elsewhere / "x.pem", content))
    assert finished.exit_code == 1
    assert "1 error" in finished.stdout


def test_a_missing_file_is_told(run: Any, elsewhere: Path) -> None:
    finished = run("cert", "verify", "missing.pem")
    assert finished.exit_code == 1
    assert "missing.pem" in finished.stdout
    assert "No such file" in finished.stdout


def test_trust_is_judged_by_the_authorities_of_this_machine(
    run: Any, elsewhere: Path, certificate: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "not by this machine's authorities: unable to get local issuer"
        in run("cert", "verify", certificate, key).stdout
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(save(elsewhere / "ca.pem", AUTHORITY.pair.chain_pem)))
    assert "by this machine, through CN=Test CA" in run("cert", "verify", certificate, key).stdout


def test_a_program_gets_facts_and_problems_and_never_a_key(run: Any, certificate: Path, key: Path) -> None:
    finished = run("cert", "verify", certificate, key, "--domain", "other.test", "--json")
    shown = json.loads(finished.stdout)
    assert finished.exit_code == 1
    assert (shown["ok"], shown["key_matches"]) == (False, True)
    assert shown["chain"][0]["fingerprint"] == PAIR.fingerprint
    assert [problem["severity"] for problem in shown["problems"]] == ["error"]
    assert "PRIVATE" not in finished.output


def test_a_file_that_is_named_twice_is_judged_once(run: Any, elsewhere: Path) -> None:
    bundle = save(elsewhere / "a.pem", PAIR.key_pem + PAIR.chain_pem, 0o644)
    assert run("cert", "verify", bundle, bundle).stdout.count("chmod") == 1
