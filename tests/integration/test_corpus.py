"""Two thousand odd files on every way in that a running gateway has: only their own names are harmed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.admin.operations import BulkUpload, Expectation, Upload
from gateway.certs import loading
from gateway.certs.self_signed import Authority
from gateway.errors import CertificateError, ConflictError
from gateway.runtime import renewal
from tests.integration.test_operations import ACTOR, Node
from tests.support import corpus
from tests.support.clients import Identity, identity
from tests.support.front import AUTHORITY, api, client_context, configuration, front
from tests.support.upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Authority.create().leaf("good.test", "many.test")
GOOD_PEM = GOOD.chain_pem + GOOD.key_pem


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path, Authority.create())


def odd() -> dict[str, bytes]:
    """A certificate for each reason why one cannot be read, and a few of the others."""
    found = {}
    for number, data in enumerate(corpus.certificates().values()):
        try:
            loading.certificate(data)
        except CertificateError as error:
            found.setdefault(f"{error} {error.__cause__}"[:160], data)
        else:
            if number % 200 == 0:
                found[str(number)] = data
    assert len(found) > 15
    return found


async def test_no_call_of_the_admin_api_answers_with_more_than_a_refusal(node: Node) -> None:
    taken = refused = 0
    for number, data in enumerate(odd().values()):
        for attempt in (
            node.operations.put_certificate("good.test", Upload(data), Expectation(), dry_run=False, actor=ACTOR),
            node.operations.put_certificate(
                "good.test", Upload(GOOD_PEM, chain=data), Expectation(), dry_run=True, actor=ACTOR
            ),
            node.operations.add_certificate("", data, None, ACTOR),
            node.operations.put_crl(f"list-{number}", data, ACTOR),
        ):
            try:
                await attempt
                taken += 1
            except (CertificateError, ConflictError):
                refused += 1
    assert taken
    assert refused > 100
    assert all(one is not None for one in await node.operations.list_certificates(None))
    assert node.served() == [node.filed.fingerprint]


async def test_in_an_import_each_is_refused_by_itself(node: Node) -> None:
    uploads = [BulkUpload(Upload(data), (f"n{at}.test",)) for at, data in enumerate(corpus.files().values())]
    uploads.insert(1000, BulkUpload(Upload(GOOD_PEM), ("many.test",)))
    result = await node.operations.put_certificates(uploads, dry_run=False, actor=ACTOR)
    assert [one.domain for one in result.outcomes if not one.refusal] == ["many.test"]
    assert node.served("many.test") == [GOOD.fingerprint]


def test_as_files_they_harm_their_own_names_only(node: Node) -> None:
    """All of them at once, in all places of a configuration that name files; and behind a good certificate."""
    places = {place: node.directory / place for place in ("certs", "chains", "clients", "towards")}
    for place in places.values():
        place.mkdir()
    for number, data in enumerate(corpus.files().values()):
        (places["certs"] / f"{number:04}.pem").write_bytes(data)
        if number % 10 == 0:
            (places["clients"] / f"{number}").write_bytes(data)
    for number, data in enumerate(odd().values()):
        (places["chains"] / f"{number}.pem").write_bytes(GOOD_PEM + data)
        (places["towards"] / f"{number}").write_bytes(data)
    (places["certs"] / "good.pem").write_bytes(GOOD_PEM)
    towards = sorted(map(str, places["towards"].iterdir()))
    node.main["http_server_options"]["ssl_certificates"] += sorted(map(str, places["chains"].iterdir()))
    node.main["gateway"] = {"ca_certificates": {f"c{at}.test": name for at, name in enumerate(towards)}}
    node.main["security"] = {"certificates": {"upstream": {f"u{at}.test": name for at, name in enumerate(towards)}}}
    node.define(
        "two", domain="two.test", use_mutual_tls_auth=True,
        client_certificates=sorted(map(str, places["clients"].iterdir())),
        pinned_public_keys={f"p{at}.test": name for at, name in enumerate(towards)},
    )  # fmt: skip
    node.configure()
    candiextension = renewal.read(node.directory / "gateway.yaml", {})
    names = {entry.name for entry in candiextension.collected.entries}
    assert {"a.test", "good.test"} <= names
    assert not [problem for problem in candiextension.warnings if problem.severity == "error"]


LEAF = identity("a client")


def patched(version: bytes = b"\x02", extension: bytes = b"") -> bytes:
    """The certificate of a client with another version, or without its basic constraints; nobody has signed that."""
    der = LEAF.leaf.public_bytes(Encoding.DER)
    der = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01" + version, 1)
    return der.replace(b"\x06\x03\x55\x1d\x13\x01\x01\xff", extension, 1) if extension else der


ODD_CLIENTS: dict[str, bytes] = {
    "a version that does not exist": patched(b"\x06"),
    "an extension that is something else": patched(extension=b"\x06\x03\x55\x1d\x0f\x01\x01\xff"),
}


class Shown(Identity):
    """A client that shows other bytes with its key."""

    def __init__(self, der: bytes) -> None:
        object.__setattr__(self, "leaf", LEAF.leaf)
        object.__setattr__(self, "key", LEAF.key)
        object.__setattr__(self, "chain", ())
        object.__setattr__(self, "der", der)

    def context(self, directory: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = super().context(directory, version)
        path = directory / "shown.pem"
        secret = (directory / f"{self.sha256[:16]}.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
        path.write_bytes(secret + corpus.in_pem(self.der))  # type: ignore[attr-defined]
        context.load_cert_chain(path)
        return context


@pytest.mark.parametrize("der", ODD_CLIENTS.values(), ids=ODD_CLIENTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_client_with_an_odd_certificate_is_refused_and_the_log_has_a_line(
    tmp_path: Path, der: bytes, version: ssl.TLSVersion, capfd: pytest.CaptureFixture[str]
) -> None:
    pair = AUTHORITY.leaf("a.test", "b.test")
    listed = identity("somebody")
    async with upstream() as up:
        mutual: dict[str, Any] = {"use_mutual_tls_auth": True, "client_certificates": [listed.pem]}
        config = configuration(
            api(up.url, domain="a.test", **mutual),
            api(up.url, "/mutual", domain="b.test", **mutual),
            api(up.url, "/open", domain="b.test"),
        )
        async with front(tmp_path, config, dict.fromkeys(("a.test", "b.test"), (pair,))) as gate:
            for _ in range(3):
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    client = await gate.connect("a.test", Shown(der).context(tmp_path, version))
                    response = await client.ask(b"GET / HTTP/1.1", b"Host: a.test")
                    raise AssertionError(f"answered with {response.status}")
            for path, status in ((b"/mutual", 403), (b"/open", 200)):
                client = await gate.connect("b.test", Shown(der).context(tmp_path, version))
                assert (await client.ask(b"GET %b HTTP/1.1" % path, b"Host: b.test")).status == status
                client.close()
            client = await gate.connect("b.test", client_context())
            assert (await client.ask(b"GET /open HTTP/1.1", b"Host: b.test")).status == 200
            client.close()
        log = gate.log
    assert "Traceback" not in log + capfd.readouterr().err
    assert "client's certificate" in log
