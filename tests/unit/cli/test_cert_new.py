"""``gateway cert self-signed`` and ``csr``, looked at with openssl."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app

openssl = shutil.which("openssl")
with_openssl = pytest.mark.skipif(openssl is None, reason="openssl judges the files")
SUBJECT = ("--C", "US", "--ST", "California", "--L", "San Francisco", "--O", "Example Company", "--OU", "IT Department")
NAMES = ("--dns", "Example.com", "--dns", "*.b.example.com", "--ip", "10.1.2.3", "--ip", "::1")


def run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["cert", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def ask(*arguments: object) -> str:
    assert openssl
    command = [openssl, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@with_openssl
@pytest.mark.parametrize(("kind", "usage"), [("ec", "Signature"), ("rsa2048", "Signature, Key Encipherment")])
def test_openssl_reads_in_the_certificate_what_was_asked_for(tmp_path, kind, usage):
    run("self-signed", *NAMES, *SUBJECT, "--key", kind, "--days", 30, "--out", tmp_path)
    certificate, key = tmp_path / "example.com.crt", tmp_path / "example.com.key"
    text = one_line(ask("x509", "-in", certificate, "-noout", "-text"))
    assert "DNS:example.com, DNS:*.b.example.com, IP Address:10.1.2.3, IP Address:0:0:0:0:0:0:0:1" in text
    assert f"X509v3 Key Usage: critical Digital {usage} X509v3" in text
    assert "X509v3 Extended Key Usage: TLS Web Server Authentication" in text
    subject = "C = US, ST = California, L = San Francisco, O = Example Company, OU = IT Department, CN = example.com"
    assert f"Issuer: {subject}" in text
    assert f"Subject: {subject}" in text
    assert ask("pkey", "-in", key, "-pubout") == ask("x509", "-in", certificate, "-noout", "-pubkey")
    assert "OK" in ask("verify", "-CAfile", certificate, "-verify_hostname", "x.b.example.com", certificate)
    days = ask("x509", "-in", certificate, "-noout", "-checkend", 29 * 86400)
    assert "will not expire" in days


@with_openssl
def test_a_request_verifies_and_asks_for_the_same(tmp_path):
    run("csr", *NAMES, *SUBJECT, "--CN", "Ours", "--key", "rsa4096", "--client", "--out", tmp_path)
    text = one_line(ask("req", "-in", tmp_path / "example.com.csr", "-noout", "-text", "-verify"))
    assert "verify OK" in text
    assert "OU = IT Department, CN = Ours" in text
    assert "DNS:example.com, DNS:*.b.example.com, IP Address:10.1.2.3" in text
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in text
    assert "Public-Key: (4096 bit)" in text


@with_openssl
def test_a_passphrase_from_a_file_encrypts_the_key(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("open sesame\nnot this\n")
    output = run("csr", "--dns", "a.test", "--passphrase-file", secret, "--out", tmp_path)
    assert f"--passphrase-file {secret}" in output
    key = tmp_path / "a.test.key"
    assert key.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    ask("pkey", "-in", key, "-passin", "pass:open sesame", "-noout")


def test_the_key_is_for_its_owner_alone_and_nothing_is_left_beside(tmp_path):
    before = os.umask(0)
    try:
        run("self-signed", "--dns", "a.test", "--out", tmp_path)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "a.test.crt": 0o644,
        "a.test.key": 0o600,
    }


@pytest.mark.parametrize("there", ["a.test.crt", "a.test.key"])
def test_what_is_there_stays_unless_forced(tmp_path, there):
    (tmp_path / there).write_text("mine")
    output = run("self-signed", "--dns", "a.test", "--out", tmp_path, status=1)
    assert "nothing was written; --force replaces it" in output
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    run("self-signed", "--dns", "a.test", "--out", tmp_path, "--force")
    assert (tmp_path / there).read_text().startswith("-----BEGIN")


def test_a_second_file_that_cannot_be_written_takes_the_first_back(tmp_path):
    arguments = ("--key-file", tmp_path / "k", "--cert-file", tmp_path / "missing" / "c")
    output = run("self-signed", "--dns", "a.test", *arguments, status=1)
    missing = tmp_path / "missing"
    assert f"{missing / 'c'} cannot be written: No such file or directory; make the directory {missing} first" in output
    assert list(tmp_path.iterdir()) == []


def test_programs_get_json_with_the_next_step(tmp_path):
    answer = json.loads(run("self-signed", "--dns", "a.test", "--out", tmp_path, "--json"))
    assert answer["names"] == ["a.test"]
    assert answer["next"][0] == f"gateway tls add-cert {tmp_path}/a.test.key {tmp_path}/a.test.crt"
    run("verify", Path(answer["certificate"]), Path(answer["key"]), "--domain", "a.test")


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ((), "--dns NAME"),
        (("--dns", "a b"), "is not a host name"),
        (("--ip", "10.1.2"), "10.1.2"),
        (("--dns", "a.test", "--key", "dsa"), "use ec, rsa2048, rsa4096"),
        (("--dns", "a.test", "--C", "USA"), "the subject cannot be written"),
        (("--dns", "a.test", "--passphrase", ""), "the passphrase is empty"),
    ],
)
def test_wrong_usage_is_told_and_leaves_no_file(tmp_path, arguments, cure):
    for command in ("self-signed", "csr"):
        assert cure in run(command, *arguments, "--out", tmp_path, status=2)
    assert list(tmp_path.iterdir()) == []
