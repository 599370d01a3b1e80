"""An import as a person types it, with a stand-in for the admin API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.certs.pem import parse_pair
from gateway.certs.self_signed import self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from support.admin_api import Asked, FakeApi

    from gateway.certs.pem import CertificatePair

OLD, SAME = "a" * 64, "what is put"


def write(path: Path, pair: CertificatePair) -> CertificatePair:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pair.chain_pem + pair.key_pem)
    return pair


def accept(api: FakeApi, name: str, previous: str | None = OLD, *warnings: str) -> None:
    """Have the API serve ``name`` with whatever is put for it; what nobody accepts is refused."""
    known: dict[str, tuple[str | None, tuple[str, ...]]] = api.__dict__.setdefault("known", {})
    known[name] = (previous, warnings)

    def answer(asked: Asked) -> dict[str, Any]:
        outcomes = []
        for one in asked.json["certificates"]:
            pair, _ = parse_pair(one["certificate"].encode(), passphrase=one.get("passphrase", "").encode() or None)
            for domain in one["domains"]:
                before, said = known.get(domain, (None, ()))
                refusal = None if domain in known else "it has expired"
                now = None if refusal else pair.fingerprint
                shown = {"fingerprint": now, "previous_fingerprint": now if before == SAME else before}
                outcomes.append({"domain": domain, "refusal": refusal, "warnings": said, **shown})
        return {"status": "ok", "outcomes": outcomes, "warnings": []}

    api.answers["POST /tyk/domains/certificates"] = (200, answer)


@pytest.fixture
def api(api: FakeApi) -> FakeApi:
    api.answers["GET /tyk/domains"] = (200, {"domains": [], "next": None})
    return api


def puts(api: FakeApi) -> list[list[str]]:
    """The domains of each request."""
    posted = [asked.json["certificates"] for asked in api.asked if asked.method == "POST"]
    return [[domain for one in certificates for domain in one["domains"]] for certificates in posted]


def test_each_certificate_is_put_for_each_of_its_names(api: FakeApi, run: Any, elsewhere: Path) -> None:
    pair = write(elsewhere / "certs/a.pem", self_signed("a.test", "*.a.test", "127.0.0.1"))
    accept(api, "a.test")
    accept(api, "*.a.test", None)
    finished = run("cert", "import", "certs")
    assert finished.exit_code == 0, finished.stderr
    assert puts(api) == [["a.test", "*.a.test"]]
    assert pair.key_pem.decode() in api.asked[-1].json["certificates"][0]["certificate"]
    assert finished.stdout.startswith("1 of 1 certificates imported, for 2 domains;")


def test_what_is_refused_is_told_with_the_reason_and_the_rest_goes_on(api: FakeApi, run: Any, elsewhere: Path) -> None:
    write(elsewhere / "certs/a.pem", self_signed("a.test"))
    (elsewhere / "certs/b.pem").write_bytes(self_signed("b.test").chain_pem)
    write(elsewhere / "certs/c.pem", self_signed("192.0.2.1"))
    write(elsewhere / "certs/d.pem", self_signed("d.test"))
    accept(api, "d.test")
    finished = run("cert", "import", "certs")
    assert finished.exit_code == 1
    assert "1 of 4 certificates imported" in finished.stdout
    assert "refused: 3" in finished.stdout
    assert "certs/a.pem: a.test: it has expired" in finished.stdout
    assert "certs/b.pem: no private key was given" in finished.stdout
    assert "certs/c.pem: the certificate names no host" in finished.stdout
    assert "PRIVATE KEY-" not in finished.output


def test_what_is_served_already_is_not_counted_as_imported(api: FakeApi, run: Any, elsewhere: Path) -> None:
    write(elsewhere / "certs/a.pem", self_signed("a.test"))
    accept(api, "a.test", SAME)
    finished = run("cert", "import", "certs", "--json")
    assert finished.exit_code == 0
    told = json.loads(finished.stdout)
    assert (told["imported"], told["unchanged"], told["domains"], told["total"]) == (0, 1, 0, 1)


def test_of_two_certificates_for_a_name_the_one_that_lasts_longer_is_served(
    api: FakeApi, run: Any, elsewhere: Path
) -> None:
    for file, days in (("1.pem", 30), ("2.pem", 90), ("3.pem", 60)):
        write(elsewhere / "certs" / file, self_signed("a.test", days=days))
    accept(api, "a.test")
    write(elsewhere / "certs/4.pem", self_signed("a.test", days=10, key="rsa2048"))
    finished = run("cert", "import", "certs")
    assert puts(api) == [["a.test"]] * 3  # the first, the second in its place, and RSA beside it
    assert "3.pem: not used for a.test: certs/2.pem lasts" in finished.stdout
    assert finished.exit_code == 0


def test_many_certificates_are_sent_a_hundred_at_a_time(api: FakeApi, run: Any, elsewhere: Path) -> None:
    key = self_signed("0.test")
    for number in range(205):
        write(elsewhere / f"certs/{number:03}.pem", self_signed(f"{number}.test", key="ec") if number else key)
        accept(api, f"{number}.test")
    finished = run("cert", "import", "certs")
    assert finished.exit_code == 0, finished.stderr
    assert [len(names) for names in puts(api)] == [100, 100, 5]
    assert "205 of 205 certificates imported, for 205 domains" in finished.stdout


def test_a_store_that_is_in_trouble_is_told_for_each_certificate(api: FakeApi, run: Any, elsewhere: Path) -> None:
    for name in "ab":
        write(elsewhere / f"certs/{name}.pem", self_signed(f"{name}.test"))
    api.answers["POST /tyk/domains/certificates"] = (500, {"status": "error", "message": "disk is full"})
    finished = run("cert", "import", "certs")
    assert finished.exit_code == 1
    assert "certs/a.pem: disk is full" in finished.stdout
    assert "certs/b.pem: disk is full" in finished.stdout


def test_a_dry_run_says_so_to_the_gateway(api: FakeApi, run: Any, elsewhere: Path) -> None:
    write(elsewhere / "certs/a.pem", self_signed("a.test"))
    accept(api, "a.test", OLD, "no API names a.test")
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
    accept(api, "a.test")
    assert run("cert", "import", "certs", "--passphrase-file", "secret").exit_code == 0
    assert api.asked[-1].json["certificates"][0]["passphrase"] == "open sesame"
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
