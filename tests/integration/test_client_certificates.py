"""Who gets in by a certificate: Tyk's cases (15 to 30 of its own tests), through real handshakes.

As in Tyk with a control port of its own: a domain that has nothing for others insists in the handshake.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tests.support.clients import Identity, identity
from tests.support.front import AUTHORITY, Front, api, client_context, configuration, front
from tests.support.h2_client import H2Client, request
from tests.support.upstream import Upstream, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOSTS = ("a.test", "b.test", "c.test")
PAIR = AUTHORITY.leaf(*HOSTS, "localhost")
SITES = dict.fromkeys((*HOSTS, ""), (PAIR,))
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

CA = identity("Clients' CA", ca=True)
INTERMEDIATE = identity("Clients' intermediate", CA, ca=True)
ALICE, BOB, EVE = identity("alice"), identity("bob"), identity("eve")
CAROL = identity("carol", CA)
DAVE = identity("dave", INTERMEDIATE).sending(INTERMEDIATE)
OLD = identity("old", days=(-30, -1))
REQUIRED = "Client TLS certificate is required"
FAILED = "handshake"


def not_allowed(one: Identity) -> str:
    return f"Certificate with SHA256 {one.sha256} not allowed"


def mutual(path: str, *listed: str, **more: Any) -> dict[str, Any]:
    return api(more.pop("target"), path, use_mutual_tls_auth=True, client_certificates=list(listed), **more)


@pytest.fixture
async def up() -> AsyncIterator[Upstream]:
    async with upstream() as running:
        yield running


class Visitor:
    """Asks as somebody, and tells what became of it: a status, the error of a 403, or that the handshake failed."""

    def __init__(self, gate: Front, directory: Path) -> None:
        self._gate = gate
        self._directory = directory

    async def ask(
        self, one: Identity | None, host: str = "a.test", path: str = "/", version: ssl.TLSVersion | None = None
    ) -> int | str:
        context = one.context(self._directory, version) if one else client_context(version=version)
        try:
            client = await self._gate.connect(host, context)
            response = await client.ask(b"GET %b HTTP/1.1" % path.encode(), b"Host: " + host.encode())
        except (OSError, asyncio.IncompleteReadError):  # in TLS 1.3 the client learns of it when it reads
            return FAILED
        client.close()
        if response.status == 403:
            return str(json.loads(response.body)["error"])
        return response.status


ALWAYS = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["TLS 1.2", "TLS 1.3"])
ANNOUNCED = pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])

# The lists of a domain's only API, who comes, and what they get.
ALONE = {
    "16 a listed certificate": ([ALICE.pem], ALICE, 200),
    "17 nobody is listed": ([], ALICE, FAILED),
    "18 no certificate": ([ALICE.pem], None, FAILED),
    "19 another certificate": ([ALICE.pem], EVE, FAILED),
    "24 a listed one that has expired": ([OLD.pem], OLD, "Certificate has expired"),
    "25 a public key": ([ALICE.key_pem], ALICE, 200),
    "25 another public key": ([ALICE.key_pem], EVE, FAILED),
    "26 one of a listed CA": ([CA.pem], CAROL, 200),
    "26 one of a listed CA, through an intermediate that it sends": ([CA.pem], DAVE, 200),
    "26 self-signed": ([CA.pem], EVE, FAILED),
    "27 a chain, of which the CA counts": ([CAROL.pem + CA.pem], identity("another of the CA", CA), 200),
    "27 a chain, and somebody else": ([CAROL.pem + CA.pem], EVE, FAILED),
    "an intermediate is listed, and not its root": ([INTERMEDIATE.pem], DAVE, 200),
}


@ALWAYS
@ANNOUNCED
@pytest.mark.parametrize(("listed", "who", "expected"), ALONE.values(), ids=ALONE)
async def test_tyks_cases_of_a_domain_with_one_api(
    tmp_path: Path, up: Upstream, listed: list[str], who: Identity | None, expected: int | str, announced: bool,
    version: ssl.TLSVersion,
) -> None:  # fmt: skip
    options = {"skip_client_ca_announcement": not announced}
    config = configuration(mutual("/", *listed, target=up.url, domain="a.test"), api(up.url), options=options)
    async with front(tmp_path, config, SITES) as gate:
        visitor = Visitor(gate, tmp_path)
        assert await visitor.ask(who, version=version) == expected
        assert await visitor.ask(None, "b.test", version=version) == 200


@ALWAYS
@ANNOUNCED
async def test_20_a_domain_with_an_api_for_everybody_leaves_it_to_each_request(
    tmp_path: Path, up: Upstream, announced: bool, version: ssl.TLSVersion
) -> None:
    options = {"skip_client_ca_announcement": not announced}
    config = configuration(
        mutual("/closed/", ALICE.pem, target=up.url, domain="a.test"), api(up.url, "/open/", domain="a.test"),
        mutual("/anywhere/", ALICE.pem, target=up.url), api(up.url, "/"), options=options,
    )  # fmt: skip
    async with front(tmp_path, config, SITES) as gate:
        visitor = Visitor(gate, tmp_path)
        for host, path in (("a.test", "/closed/"), ("a.test", "/anywhere/"), ("b.test", "/anywhere/")):
            told = {one: await visitor.ask(one, host, path, version) for one in (None, EVE, ALICE)}
            assert told == {None: REQUIRED, EVE: not_allowed(EVE), ALICE: 200}, (host, path)
        assert {await visitor.ask(one, "a.test", "/open/", version) for one in (None, EVE, ALICE)} == {200}
        assert await visitor.ask(None, "b.test", "/", version) == 200


@ALWAYS
async def test_21_two_apis_of_a_domain_take_the_certificates_of_both_in_the_handshake_and_each_its_own_after(
    tmp_path: Path, up: Upstream, version: ssl.TLSVersion
) -> None:
    definitions = [
        mutual(f"/{name}/", one.pem, target=up.url, domain="a.test") for name, one in (("alice", ALICE), ("bob", BOB))
    ]
    async with front(tmp_path, configuration(*definitions), SITES) as gate:
        visitor = Visitor(gate, tmp_path)
        told = {
            (one, path): await visitor.ask(one, path=f"/{path}/", version=version)
            for one in (ALICE, BOB, EVE, None)
            for path in ("alice", "bob")
        }
    assert told == {
        (ALICE, "alice"): 200, (ALICE, "bob"): not_allowed(ALICE), (BOB, "alice"): not_allowed(BOB), (BOB, "bob"): 200,
        (EVE, "alice"): FAILED, (EVE, "bob"): FAILED, (None, "alice"): FAILED, (None, "bob"): FAILED,
    }  # fmt: skip


@ALWAYS
@pytest.mark.parametrize(
    ("domain", "closed", "free"),
    [("a.test", "a.test", "b.test"), ("", "a.test", "b.test"), ("*.test", "a.test", "localhost"),
     ("{who:a|c}.test", "c.test", "b.test")],
    ids=["22 on a custom domain", "23 on the empty domain", "on a wildcard", "on a template"],
)  # fmt: skip
async def test_a_domain_insists_and_the_others_do_not_ask(
    tmp_path: Path, up: Upstream, domain: str, closed: str, free: str, version: ssl.TLSVersion
) -> None:
    closed_one = mutual("/", ALICE.pem, target=up.url, domain=domain)
    config = configuration(closed_one, api(up.url, "/", domain="" if domain else "b.test"))
    sites = {**SITES, "*.test": (PAIR,)}
    async with front(tmp_path, config, sites) as gate:
        visitor = Visitor(gate, tmp_path)
        assert await visitor.ask(None, closed, version=version) == FAILED
        assert await visitor.ask(EVE, closed, version=version) == FAILED
        assert await visitor.ask(ALICE, closed, version=version) == 200
        assert await visitor.ask(None, free, version=version) == 200
        assert await visitor.ask(EVE, free, version=version) == 200  # nobody asks, so nobody shows


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
async def test_15_the_issuers_that_a_host_announces_are_those_of_its_own_apis(
    tmp_path: Path, up: Upstream, version: int
) -> None:
    definitions = (
        mutual("/", CA.pem, target=up.url, domain="a.test"),
        mutual("/", identity("Another CA", ca=True).pem, target=up.url),
        mutual("/", ALICE.key_pem, CA.pem, target=up.url, domain="b.test"),
        mutual("/", CAROL.pem, target=up.url, domain="c.test"),
    )
    async with front(tmp_path, configuration(*definitions), SITES) as gate:
        names = {host: await asyncio.to_thread(announced_to, gate.port, host, version) for host in HOSTS}
    assert names == {"a.test": ["Clients' CA"], "b.test": [], "c.test": ["Clients' CA"]}
    quiet = configuration(*definitions, options={"skip_client_ca_announcement": True})
    async with front(tmp_path, quiet, SITES) as gate:
        assert await asyncio.to_thread(announced_to, gate.port, "a.test", version) == []


def announced_to(port: int, host: str, version: int) -> list[str]:
    """The common names of the issuers whose certificates a host asks for."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        connection = SSL.Connection(context, sock)
        connection.set_tlsext_host_name(host.encode())
        connection.set_connect_state()
        with contextlib.suppress(SSL.Error):  # we have none to show
            connection.do_handshake()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of names in pyOpenSSL's own shape
            return [str(name.CN) for name in connection.get_client_ca_list()]


async def test_29_without_tls_nobody_has_a_certificate(tmp_path: Path, up: Upstream) -> None:
    config = configuration(mutual("/", ALICE.pem, target=up.url), options={"use_ssl": False})
    async with front(tmp_path, config) as gate:
        client = await gate.connect(None)
        response = await client.ask(b"GET / HTTP/1.1", b"Host: a.test")
        assert (response.status, json.loads(response.body)) == (403, {"error": "TLS not enabled"})
        client.close()


async def test_certificates_of_the_whole_gateway_count_for_every_api_that_asks(tmp_path: Path, up: Upstream) -> None:
    security = {"certificates": {"apis": [BOB.pem]}}
    config = configuration(mutual("/", ALICE.pem, target=up.url, domain="a.test"), security=security)
    async with front(tmp_path, config, SITES) as gate:
        visitor = Visitor(gate, tmp_path)
        assert [await visitor.ask(one) for one in (ALICE, BOB, EVE)] == [200, 200, FAILED]


async def test_the_log_says_who_was_refused_and_why(tmp_path: Path, up: Upstream) -> None:
    config = configuration(mutual("/", ALICE.pem, target=up.url, domain="a.test"))
    async with front(tmp_path, config, SITES) as gate:
        visitor = Visitor(gate, tmp_path)
        assert await visitor.ask(EVE) == FAILED
        await gate.logged(
            rf"TLS handshake error from 127.0.0.1: the client's certificate \(SHA256 {EVE.sha256}\) is not"
        )
        assert await visitor.ask(None) == FAILED
        await gate.logged("client sent no certificate")


# what the upstream is told (RFC 9440)


def der(one: Identity) -> bytes:
    return b":" + base64.b64encode(one.leaf.public_bytes(Encoding.DER)) + b":"


FORGED = (
    b"Client-Cert: :Zm9yZ2Vk:", b"client-cert: :Zm9yZ2Vk:", b"Client_Cert: :Zm9yZ2Vk:", b"CLIENT.CERT: :Zm9yZ2Vk:",
    b"Client-Cert-Chain: :Zm9yZ2Vk:", b"Client_Cert_Chain: :Zm9yZ2Vk:",
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ("certificate", {b"client-cert": der(DAVE)}),
        ("chain", {b"client-cert": der(DAVE), b"client-cert-chain": der(INTERMEDIATE)}),
        ("off", {}),
    ],
)
async def test_the_upstream_learns_who_asks_from_the_gateway_alone(
    tmp_path: Path, up: Upstream, wanted: str, fields: dict[bytes, bytes]
) -> None:
    closed = mutual("/", CA.pem, target=up.url, domain="a.test", gateway={"client_cert_fields": wanted})
    config = configuration(closed, mutual("/closed/", CA.pem, target=up.url), api(up.url, "/open/"))
    async with front(tmp_path, config, SITES) as gate:
        client = await gate.connect("a.test", DAVE.context(tmp_path))
        for _ in range(2):
            assert (await client.ask(b"GET / HTTP/1.1", b"Host: a.test", *FORGED)).status == 200
            assert told(up.requests[-1]) == fields
        client.close()
        client = await gate.connect("b.test", DAVE.context(tmp_path))  # who is known need not be named to everybody
        assert (await client.ask(b"GET /open/ HTTP/1.1", b"Host: b.test", *FORGED)).status == 200
        assert told(up.requests[-1]) == {}
        client.close()


async def test_over_http_2_the_upstream_learns_the_same(tmp_path: Path, up: Upstream) -> None:
    config = configuration(mutual("/", ALICE.pem, target=up.url, domain="a.test"))
    async with front(tmp_path, config, SITES) as gate:
        client = await H2Client.connect(gate, name="a.test", context=ALICE.context(tmp_path))
        asked = client.ask(request("/", "GET", ("client-cert", ":Zm9yZ2Vk:"), ("client_cert", ":x:"), host="a.test"))
        assert (await client.answer(asked)).status == 200
        assert told(up.requests[-1]) == {b"client-cert": der(ALICE)}
        client.close()


def told(head: bytes) -> dict[bytes, bytes]:
    """The fields about certificates that an upstream got, in any spelling; each once."""
    lines = [line.partition(b": ") for line in head.split(b"\r\n") if line.lower().startswith(b"client")]
    assert len({name.lower() for name, _, _ in lines}) == len(lines)
    return {name.lower(): value for name, _, value in lines}
