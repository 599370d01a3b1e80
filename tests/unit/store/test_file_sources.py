"""Certificates that a configuration names: what is served under which name, and what is said about bad ones."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from gateway.certs.self_signed import Authority
from gateway.config.definitions import ApiDefinition, Proxy
from gateway.config.load import Configuration
from gateway.config.problems import Problem, Severity
from gateway.config.settings import CertificateFiles, GatewaySection, HttpServerOptions, Settings
from gateway.store import uploads
from gateway.store.audit import Deed
from gateway.store.file_sources import Collected, collect
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.certs.pem import CertificatePair

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


class Files:
    """Writes certificates into a directory and collects what a configuration makes of them."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.directory = directory
        self._authority = authority

    def issue(self, *names: str, days: int = 90, key: str = "ec", now: datetime = NOW) -> CertificatePair:
        return self._authority.leaf(*names, days=days, key=key, now=now)  # type: ignore[arg-type]

    def bundle(self, name: str, pair: CertificatePair, mode: int = 0o600) -> str:
        path = self.directory / name
        path.write_bytes(pair.chain_pem + pair.key_pem)
        path.chmod(mode)
        return str(path)

    def pair(self, name: str, pair: CertificatePair, domain: str = "", **more: object) -> CertificateFiles:
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        certificate.write_bytes(pair.chain_pem)
        key.touch(mode=0o600)
        key.write_bytes(pair.key_pem)
        return CertificateFiles(cert_file=certificate, key_file=key, domain_name=domain, **more)  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    return Files(tmp_path, authority)


def api(domain: str = "", *certificates: str, **more: bool) -> ApiDefinition:
    proxy = Proxy(listen_path="/", target_url="http://127.0.0.1/")
    return ApiDefinition(api_id="one", domain=domain, certificates=certificates, use_keyless=True, proxy=proxy, **more)


def collected(*apis: ApiDefinition, **options: object) -> Collected:
    options.setdefault("use_ssl", True)
    settings = Settings(http_server_options=HttpServerOptions(**options))  # type: ignore[arg-type]
    return collect(Configuration(settings=settings, apis=apis, warnings=(), files=()), NOW)


def served(result: Collected, name: str) -> list[str]:
    return [entry.pair.fingerprint for entry in result.entries if entry.name == name]


def told(result: Collected) -> list[str]:
    return [str(problem) for problem in result.problems]


def test_every_name_of_a_bundle_is_served(files: Files) -> None:
    pair = files.issue("a.test", "*.b.test", "192.0.2.7")
    path = files.bundle("a.pem", pair)
    result = collected(ssl_certificates=(path,))
    assert [(entry.name, entry.source) for entry in result.entries] == [
        ("a.test", path), ("*.b.test", path), ("192.0.2.7", path),
    ]  # fmt: skip
    assert result.default == "a.test"
    assert told(result) == []


def test_higher_sources_win_a_name_whatever_the_order(files: Files) -> None:
    lowest, low, high, highest = (files.issue("a.test", f"{n}.test") for n in range(4))
    pairs = (files.pair("high", high, "a.test"), files.pair("lowest", lowest))
    bundle, of_api = files.bundle("low.pem", low), files.bundle("highest.pem", highest)
    everything = collected(api("", of_api), certificates=pairs, ssl_certificates=(bundle,))
    assert served(everything, "a.test") == [highest.fingerprint]
    assert [served(everything, f"{n}.test") for n in range(4)] == [
        [lowest.fingerprint], [low.fingerprint], [high.fingerprint], [highest.fingerprint],
    ]  # fmt: skip
    assert served(collected(certificates=pairs, ssl_certificates=(bundle,)), "a.test") == [high.fingerprint]
    assert served(collected(certificates=pairs[1:], ssl_certificates=(bundle,)), "a.test") == [low.fingerprint]
    assert served(collected(certificates=pairs[1:]), "a.test") == [lowest.fingerprint]


def test_within_a_source_key_types_stand_side_by_side_and_the_last_of_each_counts(files: Files) -> None:
    first, last, rsa = files.issue("a.test"), files.issue("a.test"), files.issue("a.test", key="rsa2048")
    paths = [files.bundle(f"{n}.pem", pair) for n, pair in enumerate((first, rsa, last))]
    assert set(served(collected(ssl_certificates=paths and tuple(paths)), "a.test")) == {
        last.fingerprint, rsa.fingerprint,
    }  # fmt: skip


def test_a_higher_source_takes_the_name_with_all_key_types(files: Files) -> None:
    rsa, ec = files.issue("a.test", key="rsa2048"), files.issue("a.test")
    result = collected(api("", files.bundle("ec.pem", ec)), ssl_certificates=(files.bundle("rsa.pem", rsa),))
    assert served(result, "a.test") == [ec.fingerprint]


def test_a_domain_name_is_served_with_its_pair_even_when_it_is_not_in_it(files: Files) -> None:
    pair = files.issue("other.test")
    result = collected(certificates=(files.pair("a", pair, "Bücher.test"),))
    assert {entry.name for entry in result.entries} == {"xn--bcher-kva.test", "other.test"}
    assert result.default == "xn--bcher-kva.test"
    (problem,) = result.problems
    assert (problem.severity, problem.path) == ("warning", "http_server_options.certificates[0]")
    assert "does not cover xn--bcher-kva.test, only other.test" in problem.message


def test_inline_pem_is_served_and_never_quoted(files: Files) -> None:
    pair, other = files.issue("a.test"), files.issue("b.test")
    good = (pair.chain_pem + pair.key_pem).decode()
    bad = (pair.chain_pem + other.key_pem).decode()
    result = collected(api("", good), ssl_certificates=(bad,))
    assert [entry.source for entry in result.entries] == ["apis[one].certificates[0]"]
    (problem,) = result.problems
    assert (problem.path, problem.source) == ("http_server_options.ssl_certificates[0]", "inline PEM")
    assert "BEGIN" not in str(problem)


def test_one_file_named_by_many_apis_is_read_and_complained_about_once(files: Files) -> None:
    path = files.bundle("a.pem", files.issue("a.test"), mode=0o644)
    result = collected(api("a.test", path), api("a.test", path))
    assert told(result) == [
        (
            f"warning: apis[one].certificates[0] @ {path}: every user of this host can read the private key"
            f" (chmod o= {path})"
        )
    ]


@pytest.mark.parametrize("out", [{"active": False}, {"internal": True}, {"domain_disabled": True}])
def test_certificates_of_apis_that_are_not_served_on_their_domain_are_not_read(
    files: Files, out: dict[str, bool]
) -> None:
    path = files.bundle("a.pem", files.issue("a.test"))
    assert collected(api("a.test", path, **out), use_ssl=False) == Collected((), None, ())


def test_the_default_site_is_the_configured_one(files: Files) -> None:
    paths = tuple(files.bundle(f"{n}.pem", files.issue(name)) for n, name in enumerate(("a.test", "*.b.test")))
    assert collected(ssl_certificates=paths).default == "a.test"
    assert collected(ssl_certificates=paths, server_name="WWW.b.test").default == "*.b.test"
    result = collected(ssl_certificates=paths, server_name="c.test")
    assert result.default == "a.test"
    assert told(result) == [
        (
            "warning: http_server_options.server_name: no certificate covers c.test, so the first certificate is the "
            "default (name a certificate that does)"
        )
    ]


def test_the_certificate_named_with_a_star_is_for_whoever_matches_nothing(files: Files) -> None:
    first, star = files.issue("a.test"), files.issue("b.test")
    certificates = (files.pair("first", first), files.pair("star", star, "*"))
    for server_name in ("", "*"):
        result = collected(api("c.test"), certificates=certificates, server_name=server_name)
        assert (result.default, served(result, ""), told(result)) == ("", [star.fingerprint], [])
        assert (served(result, "a.test"), served(result, "b.test")) == ([first.fingerprint], [star.fingerprint])
    assert collected(certificates=certificates, server_name="a.test").default == "a.test"
    assert collected(certificates=certificates[:1], server_name="*").default == "a.test"


def test_what_cannot_be_read_is_no_error_where_tls_is_off(tmp_path: Path) -> None:
    missing = CertificateFiles(cert_file=tmp_path / "no.crt", key_file=tmp_path / "no.key")
    for use_ssl, severity in ((True, "error"), (False, "warning")):
        (problem,) = collected(certificates=(missing,), use_ssl=use_ssl).problems
        assert problem.severity == severity


def test_passphrases_open_encrypted_keys(files: Files) -> None:
    pair = files.issue("a.test")
    given = files.pair("a", pair)
    given.key_file.write_bytes(
        pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    )
    (files.directory / "phrase").write_text("open sesame\nsecond line\n")
    for opener in ({"passphrase": "open sesame"}, {"passphrase_file": files.directory / "phrase"}):
        opened = CertificateFiles(cert_file=given.cert_file, key_file=given.key_file, **opener)  # type: ignore[arg-type]
        assert served(collected(certificates=(opened,)), "a.test") == [pair.fingerprint]
    (problem,) = collected(certificates=(given,)).problems[:1]
    assert problem.severity == "error"
    assert "encrypted" in problem.message


def test_a_bad_chain_file_is_told(files: Files) -> None:
    pair = files.issue("a.test")
    (files.directory / "chain.pem").write_bytes(b"not PEM at all")
    result = collected(certificates=(files.pair("a", pair, chain_file=files.directory / "chain.pem"),))
    assert result.problems[0].severity == "error"


def test_all_files_that_cannot_be_used_are_told_at_once(files: Files) -> None:
    a, b = files.issue("a.test"), files.issue("b.test")
    wrong = files.pair("wrong", a)
    wrong.key_file.write_bytes(b.key_pem)
    missing = files.pair("missing", a)
    missing.key_file.unlink()
    garbage = files.directory / "garbage.pem"
    garbage.write_text("hello")
    result = collected(api("", str(files.directory)), certificates=(wrong, missing), ssl_certificates=(str(garbage),))
    assert result.entries == ()
    errors = [problem for problem in result.problems if problem.severity == "error"]
    assert [(problem.path, problem.source) for problem in errors] == [
        ("http_server_options.certificates[0]", str(wrong.cert_file)),
        ("http_server_options.certificates[1]", str(missing.key_file)),
        ("http_server_options.ssl_certificates[0]", str(garbage)),
        ("apis[one].certificates[0]", str(files.directory)),
    ]
    assert "does not belong" in errors[0].message
    assert errors[1].message == "cannot be read: No such file or directory"


def test_an_expired_certificate_is_served_with_a_warning(files: Files) -> None:
    pair = files.issue("a.test", days=10, now=NOW - timedelta(days=60))
    result = collected(ssl_certificates=(files.bundle("a.pem", pair),))
    assert served(result, "a.test") == [pair.fingerprint]
    (problem,) = result.problems
    assert (problem.severity, "expired on" in problem.message) == ("warning", True)


def test_a_domain_without_a_certificate_is_told(files: Files) -> None:
    path = files.bundle("a.pem", files.issue("a.test", "*.b.test"))
    apis = [api(domain) for domain in ("a.test", "x.b.test", "c.test", "{any}.d.test", "")]
    assert told(collected(*apis, ssl_certificates=(path,))) == [
        (
            "warning: apis[one].domain: no certificate covers c.test, so its clients get the default certificate "
            "(name one in ssl_certificates or certificates)"
        )
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "data", writable=True)) as store:
        yield store


def kept(store: Store, *apis: ApiDefinition, directory: Path | None = None, **options: object) -> Collected:
    """Collect with the store at hand and, as a reload does, publish what came of it."""
    settings = Settings(
        http_server_options=HttpServerOptions(**{"use_ssl": True, **options}),  # type: ignore[arg-type]
        gateway=GatewaySection(certificates_dir=directory),
    )
    configuration = Configuration(settings=settings, apis=apis, warnings=(), files=())
    result = collect(configuration, NOW, store)
    if not errors(result):
        store.publish(configuration, result.entries, result.default, "test")
    return result


def errors(result: Collected) -> list[Problem]:
    return [problem for problem in result.problems if problem.severity is Severity.ERROR]


def test_a_certificate_is_found_by_its_id_in_the_store(files: Files, store: Store) -> None:
    pair = files.issue("a.test")
    stored, same = uploads.examine("org", pair.chain_pem + pair.key_pem, None, NOW)
    store.add_certificate(stored, same, Deed("tester", "", "add", stored.id))
    result = kept(store, ssl_certificates=(stored.id,))
    assert served(result, "a.test") == [pair.fingerprint]
    assert [entry.source for entry in result.entries] == [stored.id]
    assert result.problems == ()


def test_an_unknown_id_harms_nobody_else_and_is_told(files: Files, store: Store) -> None:
    pair, unknown = files.issue("a.test"), "0" * 64
    result = kept(store, ssl_certificates=(files.bundle("a.pem", pair), unknown))
    assert served(result, "a.test") == [pair.fingerprint]
    (problem,) = result.unresolved
    assert (problem.severity, problem.source) == (Severity.WARNING, unknown)
    assert "no certificate with a key under this id" in problem.message


def test_with_nothing_left_to_serve_what_cannot_be_read_is_an_error(store: Store) -> None:
    assert len(errors(kept(store, ssl_certificates=("0" * 64, "/missing.pem")))) == 2


def test_what_was_put_is_enough_to_serve(files: Files, store: Store) -> None:
    kept(store)
    store.put("a.test", files.issue("a.test"), lambda _: None, Deed("tester", "", "put", "a.test"))
    result = kept(store, api("a.test"), ssl_certificates=("/missing.pem",), server_name="a.test")
    assert (errors(result), result.default) == ([], "a.test")
    assert result.problems == result.unresolved


@pytest.mark.parametrize("damage", ["missing", "garbage", "other key"])
def test_a_bundle_that_broke_keeps_the_last_good_one_for_its_names(files: Files, store: Store, damage: str) -> None:
    old, other = files.issue("a.test", "b.test"), files.issue("c.test")
    path, second = files.bundle("a.pem", old), files.bundle("c.pem", other)
    kept(store, api("", path), ssl_certificates=(second,))
    new = files.issue("a.test")
    content = {"garbage": b"garbage", "other key": new.chain_pem + old.key_pem}
    (Path(path).unlink if damage == "missing" else lambda: Path(path).write_bytes(content[damage]))()
    result = kept(store, api("", path), ssl_certificates=(second,))
    assert served(result, "a.test") == served(result, "b.test") == [old.fingerprint]
    assert served(result, "c.test") == [other.fingerprint]
    (problem,) = result.unresolved
    assert (problem.severity, problem.source) == (Severity.WARNING, path)
    files.bundle("a.pem", new)
    result = kept(store, api("", path), ssl_certificates=(second,))
    assert (served(result, "a.test"), served(result, "b.test")) == ([new.fingerprint], [])


def test_a_pair_of_files_that_broke_keeps_its_domain_and_its_names(files: Files, store: Store) -> None:
    pair = files.issue("a.test")
    written = files.pair("one", pair, domain="x.test")
    kept(store, certificates=(written,))
    written.key_file.unlink()
    result = kept(store, certificates=(written,))
    assert served(result, "a.test") == served(result, "x.test") == [pair.fingerprint]
    assert [problem.source for problem in result.unresolved] == [str(written.key_file)]


def test_a_directory_is_filled_with_bundles_and_pairs(files: Files, store: Store) -> None:
    bundle, split, listed = files.issue("a.test"), files.issue("b.test"), files.issue("c.test")
    (files.directory / "certs").mkdir()
    inside = Files(files.directory / "certs", files._authority)
    inside.bundle("a.pem", bundle)
    inside.pair("b", split)
    inside.bundle("c.pem", files.issue("c.test"))
    inside.bundle(".hidden.pem", files.issue("hidden.test"))
    (inside.directory / "README.md").write_text("certificates live here")
    path = files.bundle("c.pem", listed)
    result = kept(store, directory=inside.directory, ssl_certificates=(path,))
    assert served(result, "a.test") == [bundle.fingerprint]
    assert served(result, "b.test") == [split.fingerprint]
    assert served(result, "c.test") == [listed.fingerprint]
    assert served(result, "hidden.test") == []
    hidden = "serves c.test instead, because its place in the order comes first; it stays so"
    assert told(result) == [f"note: certificates @ {inside.directory}/c.pem: {path} {hidden}"]
    assert result.default == "c.test"


def test_what_is_wrong_with_a_file_that_is_named_twice_is_told_once(files: Files, store: Store) -> None:
    (files.directory / "certs").mkdir()
    inside = Files(files.directory / "certs", files._authority)
    path = Path(inside.bundle("a.pem", files.issue("a.test")))
    path.chmod(0o644)
    result = kept(store, directory=inside.directory, ssl_certificates=(str(path),))
    cure = f"every user of this host can read the private key (chmod o= {path})"
    assert told(result) == [f"warning: http_server_options.ssl_certificates[0] @ {path}: {cure}"]


def test_a_file_that_left_the_directory_is_no_longer_served_and_a_broken_one_still_is(
    files: Files, store: Store
) -> None:
    stays, goes = files.issue("a.test"), files.issue("b.test")
    (files.directory / "certs").mkdir()
    inside = Files(files.directory / "certs", files._authority)
    broken, gone = Path(inside.bundle("a.pem", stays)), Path(inside.bundle("b.pem", goes))
    kept(store, directory=inside.directory)
    broken.write_bytes(stays.chain_pem)
    gone.unlink()
    result = kept(store, directory=inside.directory)
    assert (served(result, "a.test"), served(result, "b.test")) == ([stays.fingerprint], [])
    inside.directory.rename(files.directory / "away")
    assert served(kept(store, directory=inside.directory), "a.test") == [stays.fingerprint]


def test_what_else_is_in_the_directory_is_only_noted(files: Files, store: Store) -> None:
    pair = files.issue("a.test")
    (files.directory / "certs").mkdir()
    inside = Files(files.directory / "certs", files._authority)
    inside.bundle("a.pem", pair)
    (inside.directory / "chain.pem").write_bytes(pair.chain_pem)
    (inside.directory / "privkey.pem").write_bytes(pair.key_pem)
    result = kept(store, directory=inside.directory)
    assert served(result, "a.test") == [pair.fingerprint]
    assert [(problem.severity, problem.message) for problem in result.problems] == [
        (Severity.NOTE, "there is no private key in it, so it is not served"),
        (Severity.NOTE, "there is no certificate in it, so it is not served"),
    ]
    assert result.unresolved == ()


def test_an_expired_certificate_replaces_no_good_one(files: Files, store: Store) -> None:
    good = files.issue("a.test")
    path = files.bundle("a.pem", good)
    kept(store, ssl_certificates=(path,))
    files.bundle("a.pem", files.issue("a.test", days=1, now=NOW - timedelta(days=30)))
    result = kept(store, ssl_certificates=(path,))
    assert served(result, "a.test") == [good.fingerprint]
    assert "while the one that is served is good" in result.unresolved[0].message


def test_a_certificate_for_another_domain_replaces_no_good_one(files: Files, store: Store) -> None:
    good = files.issue("a.test")
    kept(store, certificates=(files.pair("one", good, domain="a.test"),))
    result = kept(store, certificates=(files.pair("one", files.issue("b.test"), domain="a.test"),))
    assert served(result, "a.test") == [good.fingerprint]
    assert result.unresolved


def test_a_certificate_that_expired_while_it_served_goes_on_and_blocks_nothing(files: Files, store: Store) -> None:
    old = files.issue("a.test", days=1, now=NOW - timedelta(days=30))
    path = files.bundle("a.pem", old)
    kept(store, ssl_certificates=(path,))
    assert served(kept(store, ssl_certificates=(path,)), "a.test") == [old.fingerprint]
