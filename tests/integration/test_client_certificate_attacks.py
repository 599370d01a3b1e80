"""What somebody tries who may not come in by certificate: other people's certificates, sessions and hosts."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib

from gateway.config.client_trust import ClientTrust
from gateway.routing import snapshot
from tests.support.clients import CLIENT, SERVER, Identity, crl, identity
from tests.support.front import AUTHORITY, Front, api, client_context, configuration, front
from tests.support.h2_client import H2Client, request
from tests.support.upstream import Upstream, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.config.load import Configuration

PAIR = AUTHORITY.leaf("a.test", "b.test", "open.test", "mixed.test", "localhost")
SITES = dict.fromkeys(("a.test", "b.test", "open.test", "mixed.test", ""), (PAIR,))
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])

CA = identity("Clients' CA", ca=True)
ALICE, BOB, EVE = identity("alice"), identity("bob"), identity("eve")
CAROL, DAVE = identity("carol", CA), identity("dave", CA)
INTERMEDIATE = identity("Intermediate", CA, ca=True)
EXPIRED_INTERMEDIATE = identity("Expired intermediate", CA, ca=True, days=(-30, -1))
NAMESAKE = identity("Clients' CA", ca=True)
FAKE = identity("carol", NAMESAKE)
REQUIRED = "Client TLS certificate is required"


def a_test(target: str, *listed: str, **more: Any) -> dict[str, Any]:
    """The API of a.test, which insists."""
    return api(target, domain="a.test", use_mutual_tls_auth=True, client_certificates=list(listed), **more)


def served(target: str, *crls: str, listed: tuple[str, ...] = (ALICE.pem, CA.pem), **settings: Any) -> Configuration:
    """a.test insists on a certificate; mixed.test wants one for a part, b.test another one; open.test asks nobody."""
    built = configuration(
        a_test(target, *listed),
        api(target, "/closed/", domain="mixed.test", use_mutual_tls_auth=True, client_certificates=list(listed)),
        api(target, "/open/", domain="mixed.test"),
        api(target, domain="b.test", use_mutual_tls_auth=True, client_certificates=[BOB.pem]),
        api(target, domain="open.test"),
        **settings,
    )
    named = {f"list-{number}": pem for number, pem in enumerate(crls)}
    return built.model_copy(update={"client_trust": ClientTrust(crls=named)})


@pytest.fixture
async def up() -> AsyncIterator[Upstream]:
    async with upstream() as running:
        yield running


async def ask(
    gate: Front, one: Identity | None, directory: Path, host: str = "a.test", path: str = "/",
    version: ssl.TLSVersion | None = None,
) -> int | str:  # fmt: skip
    """A status, the error of a 403, or "handshake"."""
    context = one.context(directory, version) if one else client_context(version=version)
    try:
        client = await gate.connect(host, context)
        response = await client.ask(b"GET %b HTTP/1.1" % path.encode(), b"Host: " + host.encode())
    except (OSError, asyncio.IncompleteReadError):
        return "handshake"
    client.close()
    return str(json.loads(response.body)["error"]) if response.status == 403 else response.status


STRANGERS = {
    "a listed certificate sent behind one's own": EVE.sending(ALICE),
    "the listed CA sent behind one's own": EVE.sending(CA),
    "one of the CA and the CA sent behind one's own": EVE.sending(CAROL, CA),
    "the name of a listed one and another key": identity("alice"),
    "one of another CA of the same name": FAKE.sending(NAMESAKE),
    "that, with the listed CA beside": FAKE.sending(NAMESAKE, CA),
    "a certificate for servers, of the CA": identity("server", CA, usages=(SERVER,)),
    "a key that may not sign, of the CA": identity("mute", CA, signs=False),
    "issued by a certificate that is no CA": identity("grandchild", CAROL).sending(CAROL),
    "an intermediate that has expired": identity("late", EXPIRED_INTERMEDIATE).sending(EXPIRED_INTERMEDIATE),
    "not valid yet, of the CA": identity("early", CA, days=(5, 30)),
    "the listed CA's own": CA,
    "an intermediate CA's own": INTERMEDIATE,
}


@VERSIONS
@pytest.mark.parametrize("who", STRANGERS.values(), ids=STRANGERS)
async def test_a_stranger_stays_outside_whatever_is_sent_along(
    tmp_path: Path, up: Upstream, who: Identity, version: ssl.TLSVersion
) -> None:
    async with front(tmp_path, served(up.url), SITES) as gate:
        assert await ask(gate, who, tmp_path, version=version) == "handshake"
        told = await ask(gate, who, tmp_path, "mixed.test", "/closed/", version)
        assert told == f"Certificate with SHA256 {who.sha256} not allowed"
        assert not up.requests


async def test_a_listed_certificate_has_to_be_one_for_clients(tmp_path: Path, up: Upstream) -> None:
    for wrong in (identity("server", usages=(SERVER,)), identity("mute", signs=False)):
        async with front(tmp_path, served(up.url, listed=(wrong.pem,)), SITES) as gate:
            assert await ask(gate, wrong, tmp_path) == "handshake"
    both = identity("both", usages=(SERVER, CLIENT))
    async with front(tmp_path, served(up.url, listed=(both.pem,)), SITES) as gate:
        assert await ask(gate, both, tmp_path) == 200


async def test_one_of_a_listed_ca_that_has_expired_is_told_so(tmp_path: Path, up: Upstream) -> None:
    old = identity("old", CA, days=(-30, -1))
    async with front(tmp_path, served(up.url), SITES) as gate:
        assert await ask(gate, old, tmp_path) == "Certificate has expired"
        forged = identity("old", identity("Clients' CA", ca=True), days=(-30, -1))
        assert await ask(gate, forged, tmp_path) == "handshake"


# resumption


class Talk:
    """One request over pyOpenSSL, which takes a session to another host and another identity; Python's ssl does not."""

    def __init__(
        self, port: int, host: str, path: str, one: Identity | None, directory: Path, version: int, session: Any = None
    ) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if one:
            one.context(directory)  # writes the file
            file = str(directory / f"{one.sha256[:16]}.pem")
            context.use_certificate_chain_file(file)
            context.use_privatekey_file(file)
        self.session: Any = None
        self.alert = ""
        self.reused = False
        self.answer = b""
        with socket.create_connection(("127.0.0.1", port)) as sock:
            connection = SSL.Connection(context, sock)
            connection.set_tlsext_host_name(host.encode())
            if session is not None:
                lib.SSL_set_session(connection._ssl, session._session)  # pyOpenSSL's own is for well-behaved clients
            connection.set_connect_state()
            try:
                connection.do_handshake()
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                self.answer = connection.recv(65536)
            except SSL.Error as error:
                self.alert = error.args[0][0][2] if error.args else ""
                return
            self.reused = bool(lib.SSL_session_reused(connection._ssl))
            self.session = connection.get_session()
            connection.shutdown()  # or OpenSSL would take the session for broken

    @property
    def status(self) -> int:
        return int(self.answer.split(b" ")[1]) if self.answer else 0


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
async def test_a_session_never_stands_in_for_a_certificate(tmp_path: Path, up: Upstream, version: int) -> None:
    async with front(tmp_path, served(up.url), SITES) as gate:

        def talk(host: str, one: Identity | None, session: Any = None, path: str = "/") -> Talk:
            return Talk(gate.port, host, path, one, tmp_path, version, session)

        def attack() -> None:
            plain = talk("open.test", None)
            assert plain.status == 200
            assert talk("open.test", None, plain.session).reused, "else the rest shows nothing"
            alice = talk("a.test", ALICE)
            part = talk("mixed.test", ALICE, path="/closed/")
            assert (alice.status, part.status) == (200, 200)
            for session in (plain.session, alice.session, part.session):
                assert talk("a.test", None, session).status == 0
                assert talk("a.test", EVE, session).status == 0
                assert talk("b.test", ALICE, session).status == 0
                again = talk("mixed.test", None, session, "/closed/")
                assert (again.status, again.reused) == (403, False)
                assert not talk("a.test", ALICE, session).reused

        await asyncio.to_thread(attack)


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
async def test_a_client_learns_by_the_alert_why_it_is_refused(tmp_path: Path, up: Upstream, version: int) -> None:
    async with front(tmp_path, served(up.url, crl(CA, CAROL)), SITES) as gate:
        alerts = {}
        for name, one in (("none", None), ("unknown", EVE), ("revoked", CAROL)):
            talk = await asyncio.to_thread(Talk, gate.port, "a.test", "/", one, tmp_path, version)
            alerts[name] = talk.alert.split("alert ")[-1]
    assert alerts == {
        "none": "certificate required" if version == SSL.TLS1_3_VERSION else "handshake failure",
        "unknown": "unknown ca",
        "revoked": "certificate revoked",
    }


# hosts


async def test_a_request_for_a_host_that_asks_for_other_certificates_is_misdirected(
    tmp_path: Path, up: Upstream
) -> None:
    async with front(tmp_path, served(up.url), SITES) as gate:
        statuses = {}
        for name, one in (("open.test", None), ("a.test", ALICE), ("b.test", BOB), ("mixed.test", ALICE)):
            client = await gate.connect(name, one.context(tmp_path) if one else None)
            for host in ("open.test", "a.test", "b.test", "mixed.test", "A.test.:443"):
                path = b"/closed/" if host == "mixed.test" else b"/"
                response = await client.ask(b"GET %b HTTP/1.1" % path, b"Host: " + host.encode())
                statuses[name, host] = response.status
            client.close()
    own = {("open.test", "open.test"), ("a.test", "a.test"), ("b.test", "b.test"), ("mixed.test", "mixed.test"),
           ("a.test", "A.test.:443")}  # fmt: skip
    assert {key for key, status in statuses.items() if status == 200} == own
    assert {status for key, status in statuses.items() if key not in own} == {421}


async def test_http_2_is_judged_stream_by_stream(tmp_path: Path, up: Upstream) -> None:
    async with front(tmp_path, served(up.url), SITES) as gate:
        client = await H2Client.connect(gate, name="mixed.test", context=EVE.context(tmp_path))
        asked = [
            client.ask(request(path, host=host))
            for host, path in (("mixed.test", "/open/"), ("mixed.test", "/closed/"), ("a.test", "/"))
        ]
        answers = [await client.answer(stream) for stream in asked]
        assert [answer.status for answer in answers] == [200, 403, 421]
        client.close()


# revocation


@VERSIONS
async def test_a_revoked_certificate_is_refused_in_the_handshake_also_where_none_is_required(
    tmp_path: Path, up: Upstream, version: ssl.TLSVersion
) -> None:
    pinned = identity("pinned", CA)
    nested = identity("nested", INTERMEDIATE).sending(INTERMEDIATE)
    listed = (ALICE.pem, CA.pem, pinned.pem)
    config = served(up.url, crl(CA, CAROL, pinned, INTERMEDIATE), listed=listed)
    async with front(tmp_path, config, SITES) as gate:
        for who in (CAROL, pinned, nested):
            assert await ask(gate, who, tmp_path, version=version) == "handshake"
            assert await ask(gate, who, tmp_path, "mixed.test", "/open/", version) == "handshake"
        await gate.logged(f"SHA256 {CAROL.sha256}\\) has been revoked")
        for who in (ALICE, DAVE):
            assert await ask(gate, who, tmp_path, version=version) == 200


async def test_a_list_that_its_ca_has_not_signed_revokes_nobody(tmp_path: Path, up: Upstream) -> None:
    forged = crl(identity("Clients' CA", ca=True), CAROL)
    async with front(tmp_path, served(up.url, forged), SITES) as gate:
        assert await ask(gate, CAROL, tmp_path) == 200


@pytest.mark.parametrize(("rule", "expected"), [("refuse", "handshake"), ("use", 200)])
async def test_a_list_that_is_over_lets_in_nobody_of_its_ca_unless_told_otherwise(
    tmp_path: Path, up: Upstream, rule: str, expected: int | str
) -> None:
    config = served(up.url, crl(CA, CAROL, days=(-9, -1)), gateway={"expired_client_crls": rule})
    async with front(tmp_path, config, SITES) as gate:
        assert await ask(gate, DAVE, tmp_path) == expected
        told = await ask(gate, DAVE, tmp_path, "mixed.test", "/closed/")
        assert told == 200 if rule == "use" else "cannot be checked: no current revocation list" in str(told)
        assert await ask(gate, CAROL, tmp_path) == "handshake"
        assert await ask(gate, ALICE, tmp_path) == 200, "of another issuer"


async def test_a_revocation_and_a_change_of_the_list_hold_for_connections_that_are_open(
    tmp_path: Path, up: Upstream
) -> None:
    async with front(tmp_path, served(up.url), SITES) as gate:
        carol, alice = [await gate.connect("a.test", one.context(tmp_path)) for one in (CAROL, ALICE)]
        get = (b"GET / HTTP/1.1", b"Host: a.test")
        assert [(await client.ask(*get)).status for client in (carol, alice)] == [200, 200]
        gate.server.apply(snapshot.build(served(up.url, crl(CA, CAROL)), 2), frozenset())
        refused = await carol.ask(*get)
        assert json.loads(refused.body) == {"error": f"Certificate with SHA256 {CAROL.sha256} has been revoked"}
        assert (await alice.ask(*get)).status == 200
        gate.server.apply(snapshot.build(served(up.url, listed=(CA.pem,)), 3), frozenset())
        assert (await alice.ask(*get)).status == 403
        assert (await carol.ask(*get)).status == 200
        alice.close()
        carol.close()
