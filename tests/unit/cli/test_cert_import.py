"""An import as a person types it, with a stand-in for the admin API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.certs.self_signed import self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from support.admin_api import FakeApi

    from gateway.certs.pem import CertificatePair

OLD = "a" * 64


def write(path: Path, pair: CertificatePair) -> CertificatePair:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pair.chain_pem + pair.key_pem)
    return pair


def accept(api: FakeApi, name: str, pair: CertificatePair, previous: str | None = OLD, *warnings: str) -> None:
    answer = {"fingerprint": pair.fingerprint, "previous_fingerprint": previous, "warnings": warnings}
    api.answers[f"PUT /tyk/domains/{name}/certificate"] = (200, answer)


@pytest.fixture
def api(api: FakeApi) -> FakeApi:
    api.answers["GET /tyk/domains"] = (200, {"domains": [], "next": None})
    return api


def puts(api: FakeApi) -> list[str]:
    return [asked.path.split("/")[3] for asked in api.asked if asked.method == "PUT"]


def test_each_certificate_is_put_for_each_of_its_names(api: FakeApi, run: Any, elsewhere: Path) -> None:
    pair = write(elsewhere / "certs/a.pem", self_signed("a.test", "*.a.test", "127.0.0.1"))
    accept(api, "a.test", pair)
    accept(api, "*.a.test", pair, None)
    finished = run("cert", "import", "certs")
    assert finished.exit_code == 0, finished.stderr
    assert puts(api) == ["a.test", "*.a.test"]
    assert pair.key_pem.decode() in api.asked[-1].json["certificate"]
    assert finished.stdout.startswith("1 of 1 certificates imported, for 2 domains;")


def test_what_is_refused_is_told_with_the_reason_and_the_rest_goes_on(api: FakeApi, run: Any, elsewhere: Path) -> None:
    write(elsewhere / "certs/a.pem", self_signed("a.test"))
    api.answers["PUT /tyk/domains/a.test/certificate"] = (422, {"status": "error", "message": "it has expired"})
    (elsewhere / "certs/b.pem").write_bytes(self_signed("b.test").chain_pem)
    write(elsewhere / "certs/c.pem", self_signed("192.0.2.1"))
    accept(api, "d.test", write(elsewhere / "certs/d.pem", self_signed("d.test")))
    finished = run("cert", "import", "certs")
    assert finished.exit_code == 1
    assert "1 of 4 certificates imported" in finished.stdout
    assert "refused: 3" in finished.stdout
    assert "certs/a.pem: a.test: it has expired" in finished.stdout
    assert "certs/b.pem: no private key was given" in finished.stdout
    assert "certs/c.pem: the certificate names no host" in finished.stdout
    assert "PRIVATE KEY-" not in finished.output


def test_what_is_served_already_is_not_counted_as_imported(api: FakeApi, run: Any, elsewhere: Path) -> None:
    pair = write(elsewhere / "certs/a.pem", self_signed("a.test"))
    accept(api, "a.test", pair, pair.fingerprint)
    finished = run("cert", "import", "certs", "--json")
    assert finished.exit_code == 0
    told = json.loads(finished.stdout)
    assert (told["imported"], told["unchanged"], told["domains"], told["total"]) == (0, 1, 0, 1)


def test_of_two_certificates_for_a_name_the_one_that_lasts_longer_is_served(
    api: FakeApi, run: Any, elsewhere: Path
) -> None:
    for file, days in (("1.pem", 30), ("2.pem", 90), ("3.pem", 60)):
        accept(api, "a.test", write(elsewhere / "certs" / file, self_signed("a.test", days=days)))
    write(elsewhere / "certs/4.pem", self_signed("a.test", days=10, key="rsa2048"))
    finished = run("cert", "import", "certs")
    assert puts(api) == ["a.test"] * 3  # the first, the second in its place, and RSA beside it
    assert "3.pem: not used for a.test: certs/2.pem lasts" in finished.stdout
    assert finished.exit_code == 0


def test_a_dry_run_says_so_to_the_gateway(api: FakeApi, run: Any, elsewhere: Path) -> None:
    accept(api, "a.test", write(elsewhere / "certs/a.pem", self_signed("a.test")), OLD, "no API names a.test")
    finished = run("cert", "import", "certs", "--dry-run")
    assert api.asked[-1].query == {"dry_run": "true"}
    assert "would be imported" in finished.stdout
    assert "certs/a.pem: no API names a.test" in finished.stdout


def test_encrypted_keys_are_opened_with_the_passphrase(api: FakeApi, run: Any, elsewhere: Path) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    pair = write(elsewhere / "certs/a.pem", self_signed("a.test"))
    sealed = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    (elsewhere / "certs/a.pem").write_bytes(pair.chain_pem + sealed)
    (elsewhere / "secret").write_text("open sesame\n")
    accept(api, "a.test", pair)
    assert run("cert", "import", "certs", "--passphrase-file", "secret").exit_code == 0
    assert api.asked[-1].json["passphrase"] == "open sesame"
    assert run("cert", "import", "certs").exit_code == 1


@pytest.mark.parametrize("path", ["missing", "empty", "a.txt"])
def test_nothing_to_import_is_wrong_usage(api: FakeApi, run: Any, elsewhere: Path, path: str) -> None:
    (elsewhere / "empty").mkdir()
    (elsewhere / "a.txt").write_text("no archive")
    finished = run("cert", "import", path)
    assert finished.exit_code == 2
    assert path in finished.stderr


def test_a_wrong_secret_is_told_once(api: FakeApi, run: Any, elsewhere: Path) -> None:
    for name in "ab":
        write(elsewhere / f"certs/{name}.pem", self_signed(f"{name}.test"))
    refusal = "Attempted administrative access with invalid or missing key!"
    api.answers["GET /tyk/domains"] = (403, {"status": "error", "message": refusal})
    finished = run("cert", "import", "certs")
    assert finished.exit_code == 1
    assert len(api.asked) == 1
    assert "does not accept the secret" in finished.stderr
