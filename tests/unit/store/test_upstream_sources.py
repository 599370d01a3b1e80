"""What a configuration names towards upstreams: found, kept when it breaks, and told when it cannot be had."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.front import api, configuration

from gateway.certs.self_signed import Authority, Wish, self_signed
from gateway.config.load import Configuration
from gateway.config.material import Purpose
from gateway.store import uploads
from gateway.store.audit import Deed
from gateway.store.readings import FilesRead
from gateway.store.sqlite import Store
from gateway.store.upstream_sources import Provided, collect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

NOW = datetime.now(UTC)
DEED = Deed("test", "", "test", "")


@pytest.fixture(scope="module")
def client() -> CertificatePair:
    return self_signed("a.client", wish=Wish(("a.client",), client=True))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "data", writable=True)) as opened:
        yield opened


def written(directory: Path, content: bytes, name: str = "file.pem", mode: int = 0o600) -> str:
    path = directory / name
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def bundle(pair: CertificatePair) -> bytes:
    return pair.chain_pem + pair.key_pem


def shown(reference: str) -> Configuration:
    return configuration(api("https://a.test/", upstream_certificates={"*": reference}))


def pinned(reference: str) -> Configuration:
    return configuration(api("https://a.test/", pinned_public_keys={"*": (reference,)}))


def digest(pair: CertificatePair) -> str:
    key = pair.leaf.public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def told(provided: Provided) -> list[str]:
    return [str(problem) for problem in provided.problems]


def test_a_certificate_with_its_key_is_found_in_a_file_inline_and_in_the_store(tmp_path, store, client):
    store.add_certificate(*uploads.examine("org", bundle(client), None, NOW), DEED)
    for reference in (written(tmp_path, bundle(client)), bundle(client).decode(), f"org{client.fingerprint}"):
        config = shown(reference)
        provided = collect(config, NOW, store)
        assert provided.material.get(Purpose.IDENTITY, reference) == bundle(client).decode()
        assert not provided.problems
        # A worker has only the copy, in which no material stands at the place of the reference.
        copy = Configuration.model_validate_json(
            config.model_copy(update={"material": provided.material}).model_dump_json()
        )
        (kept,) = copy.apis[0].upstream_certificates.values()
        assert "PRIVATE KEY" not in kept
        assert copy.material.get(Purpose.IDENTITY, kept) == bundle(client).decode()


@pytest.mark.parametrize("kind", ["key", "certificate", "stored key", "stored certificate", "digest"])
def test_a_public_key_is_pinned_by_whatever_names_it(tmp_path, store, client, kind):
    key = client.leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    pem = key if kind.endswith("key") else client.chain_pem
    reference = digest(client) if kind == "digest" else written(tmp_path, pem)
    if kind.startswith("stored"):
        stored, pair = uploads.examine("", pem, None, NOW)
        store.add_certificate(stored, pair, DEED)
        reference = stored.id
    provided = collect(pinned(reference), NOW, store)
    assert provided.material.get(Purpose.PIN, reference) == digest(client)
    assert not provided.problems


def test_of_a_chain_only_the_leaf_is_pinned_and_of_public_keys_all(tmp_path, client):
    authority = Authority.create()
    leaf = authority.leaf("a.test")
    chain = written(tmp_path, leaf.chain_pem + authority.pair.chain_pem)
    assert collect(pinned(chain), NOW).material.get(Purpose.PIN, chain) == digest(leaf)
    pem = [
        pair.leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for pair in (leaf, client)
    ]
    keys = written(tmp_path, b"".join(pem), "keys.pem")
    found = collect(pinned(keys), NOW).material.get(Purpose.PIN, keys)
    assert found == f"{digest(leaf)} {digest(client)}"


def test_the_first_line_of_a_file_is_the_password_and_who_can_read_it_is_told(tmp_path):
    file = written(tmp_path, b"hunter2\n", mode=0o644)
    auth = {"enabled": True, "basic_auth": {"enabled": True, "username": "u", "password_file": file}}
    provided = collect(configuration(api("https://a.test/", upstream_auth=auth)), NOW)
    assert provided.material.get(Purpose.PASSWORD, file) == "hunter2"
    (said,) = told(provided)
    assert "every user of this host can read it" in said
    assert "hunter2" not in repr(provided) + said


@pytest.mark.parametrize("content", [b"", b"not PEM", b"\x30\x82", b"-----BEGIN CERTIFICATE-----\nAAAA\n", None])
def test_what_cannot_be_read_is_told_with_what_comes_of_it(tmp_path, content):
    reference = str(tmp_path / "missing.pem") if content is None else written(tmp_path, content)
    definition = api("https://a.test/", upstream_certificates={"*": reference}, pinned_public_keys={"*": (reference,)})
    provided = collect(configuration(definition, gateway={"ca_certificates": {"x": reference}}), NOW)
    assert not provided.material.found
    assert len(provided.unresolved) == 3
    assert sum("whose clients get 502" in said for said in told(provided)) == 2


@pytest.mark.parametrize("damage", ["cut", "gone", "other reference"])
def test_what_breaks_keeps_its_last_good_state_but_what_is_named_anew_has_none(tmp_path, store, client, damage):
    reference = written(tmp_path, bundle(client))
    config = shown(reference)
    config = config.model_copy(update={"material": collect(config, NOW, store).material})
    store.publish(config, (), None, "test", files=FilesRead(NOW))
    if damage == "cut":
        written(tmp_path, bundle(client)[:-100])
    elif damage == "gone":
        (tmp_path / "file.pem").unlink()
    else:
        reference = str(tmp_path / "other.pem")
    provided = collect(shown(reference), NOW, store)
    kept = provided.material.get(Purpose.IDENTITY, reference)
    assert kept == (None if damage == "other reference" else bundle(client).decode())
    assert len(provided.unresolved) == 1
    assert ("is used on" in told(provided)[0]) == (damage != "other reference")


def test_what_is_odd_about_a_certificate_is_told(tmp_path):
    old = Authority.create(now=NOW - timedelta(days=100)).leaf("a.test", days=1, now=NOW - timedelta(days=50))
    said = told(collect(shown(written(tmp_path, bundle(old), mode=0o644)), NOW))
    for words in ("every user of this host", "not for clients", "expired on"):
        assert any(words in one for one in said), words


def test_what_is_switched_off_is_not_looked_for():
    off = api(
        "https://a.test/",
        upstream_certificates={"*": "/nowhere/a.pem"},
        upstream_certificates_disabled=True,
        pinned_public_keys={"*": ("/nowhere/b.pem",)},
        certificate_pinning_disabled=True,
        upstream_auth={"enabled": False, "basic_auth": {"enabled": True, "password_file": "/nowhere/c"}},
    )
    assert not collect(configuration(off), NOW).problems
