"""Whom the gateway takes for an upstream, and as whom it shows itself: real TLS, and nothing sent to a stranger."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.front import AUTHORITY, api, front, until
from support.h2_upstream import H2Upstream, h2_upstream
from support.trusted import Place, resolved
from support.upstream import Connection, ok, upstream

from gateway.routing import snapshot


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def digest(certificate: trustme.LeafCert | trustme.CA) -> str:
    pem = certificate.cert_pem if isinstance(certificate, trustme.CA) else certificate.cert_chain_pems[0]
    public = x509.load_pem_x509_certificate(pem.bytes()).public_key()
    return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def guarded(port: int, own: dict[str, Any] | None = None, host: str = "localhost", **more: Any) -> dict[str, Any]:
    """An API with an https target; ``own`` is its section upstream_tls."""
    return api(f"https://{host}:{port}/", gateway={"upstream_tls": own or {}}, **more)


async def status(tmp_path: Path, definition: dict[str, Any], **settings: Any) -> tuple[int, str]:
    """Ask such an API once; return the status, and what was logged of its upstream."""
    async with front(tmp_path, resolved(definition, **settings)) as gate:
        response = await gate.get()
        failed = re.search(r".*event=upstream.failed.*", gate.log)
        return response.status, failed[0] if failed else ""


# authorities and names


async def test_an_authority_of_ones_own_is_trusted_beside_the_systems(place, tmp_path):
    der = x509.load_pem_x509_certificate(place.authority.cert_pem.bytes()).public_bytes(Encoding.DER)
    async with upstream(tls=place.server()) as server:
        unknown, said = await status(tmp_path, guarded(server.port))
        assert (unknown, "unable to get local issuer certificate" in said) == (502, True)
        for reference in (place.ca, place.write("ca.crt", der), place.authority.cert_pem.bytes().decode()):
            settings = {"gateway": {"ca_certificates": {"corporate": reference}}}
            assert (await status(tmp_path, guarded(server.port), **settings))[0] == 200


async def test_the_authority_of_an_api_is_the_only_one_that_counts_for_it(place, tmp_path):
    other = place.write("other.pem", trustme.CA().cert_pem.bytes())
    everywhere = {"gateway": {"ca_certificates": {"corporate": place.ca}}}
    async with upstream(tls=place.server()) as server:
        assert (await status(tmp_path, guarded(server.port, {"ca_file": place.ca})))[0] == 200
        assert (await status(tmp_path, guarded(server.port, {"ca_file": other}), **everywhere))[0] == 502


async def test_a_certificate_that_is_no_authoritys_is_trusted_for_itself(place, tmp_path):
    """What TabPy's and Rserve's operators hand over is often the server's own certificate."""
    leaf = place.leaf("localhost")
    alone = place.write("leaf.pem", leaf.cert_chain_pems[0].bytes())
    async with upstream(tls=place.server(leaf)) as server:
        assert (await status(tmp_path, guarded(server.port, {"ca_file": alone})))[0] == 200


async def test_the_name_that_is_verified_may_be_another_than_the_one_that_is_dialled(place, tmp_path):
    seen: list[str | None] = []
    context = place.server(place.leaf("db.internal"))
    context.sni_callback = lambda _sock, name, _context: seen.append(name)  # type: ignore[assignment]
    own = {"ca_file": place.ca}
    async with upstream(tls=context) as server:
        assert (await status(tmp_path, guarded(server.port, own)))[0] == 502
        assert (await status(tmp_path, guarded(server.port, own | {"server_name": "db.internal"})))[0] == 200
    assert seen == ["localhost", "db.internal"]


@pytest.mark.parametrize("switch", ["ssl_force_common_name_check", None])
async def test_the_common_name_can_be_demanded_everywhere(place, tmp_path, switch):
    """Tyk's case 44, but for the answer: also where nothing else is verified."""
    leaf = place.leaf("localhost", common_name="somebody.else")
    blind = {"transport": {"ssl_insecure_skip_verify": True}}
    settings = {switch: True} if switch else {}
    async with upstream(tls=place.server(leaf)) as server:
        wanted = 502 if switch else 200
        assert (await status(tmp_path, guarded(server.port, proxy=blind), **settings))[0] == wanted
        assert len(server.requests) == (0 if switch else 1)


@pytest.mark.parametrize(
    ("everywhere", "own", "wanted"),
    [
        ({}, {}, 200),
        ({"proxy_ssl_min_version": 772}, {}, 502),
        ({}, {"ssl_min_version": 772}, 502),
        ({"proxy_ssl_min_version": 772}, {"ssl_min_version": 771}, 200),
        ({"proxy_ssl_ciphers": ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",)}, {}, 502),
        (
            {"proxy_ssl_ciphers": ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",)},
            {"ssl_ciphers": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)},
            200,
        ),
    ],
)
async def test_what_an_api_says_of_versions_and_ciphers_goes_before_what_all_say(
    place, tmp_path, everywhere, own, wanted
):
    """Tyk's case 46, against an upstream of TLS 1.2 with one suite."""
    context = place.server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    async with upstream(tls=context) as server:
        definition = guarded(server.port, {"ca_file": place.ca}, proxy={"transport": own})
        assert (await status(tmp_path, definition, **everywhere))[0] == wanted


# certificates that upstreams want


@pytest.mark.parametrize("pattern", ["*", "localhost", "LOCALHOST:{port}", "localhost:{port}"])
@pytest.mark.parametrize("where", ["api", "everywhere"])
async def test_an_upstream_is_shown_the_certificate_for_its_host(place, tmp_path, pattern, where):
    """Tyk's cases 42 and 43."""
    shown = place.bundle("client.pem", place.leaf("gateway.client"))
    seen: list[Any] = []

    async def note(connection: Connection) -> None:
        await connection.request()
        seen.append(connection.writer.get_extra_info("peercert")["subjectAltName"])
        await connection.send(ok())

    async with upstream(note, tls=place.server(clients=place.authority)) as server:
        named = {pattern.format(port=server.port): shown}
        definition = guarded(server.port, {"ca_file": place.ca}, upstream_certificates=named if where == "api" else {})
        security = {"certificates": {"upstream": named}} if where == "everywhere" else {}
        assert (await status(tmp_path, definition, security=security))[0] == 200
    assert seen == [(("DNS", "gateway.client"),)]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"upstream_certificates": {"elsewhere.test": "{shown}"}},
        {"upstream_certificates": {"*": "{shown}"}, "upstream_certificates_disabled": True},
        {"upstream_certificates": {"*": "{stranger}", "localhost:1": "{shown}"}},
    ],
)
async def test_an_upstream_that_wants_another_certificate_gets_no_request(place, tmp_path, more):
    files = {
        "{shown}": place.bundle("client.pem", place.leaf("gateway.client")),
        "{stranger}": place.bundle("stranger.pem", place.leaf("stranger", authority=trustme.CA())),
    }
    if "upstream_certificates" in more:
        more = more | {"upstream_certificates": {k: files[v] for k, v in more["upstream_certificates"].items()}}
    async with upstream(tls=place.server(clients=place.authority)) as server:
        assert (await status(tmp_path, guarded(server.port, {"ca_file": place.ca}, **more)))[0] == 502
        assert not server.requests


async def test_what_an_api_says_goes_before_what_all_say_and_its_own_section_before_both(place, tmp_path):
    seen: list[str] = []

    async def note(connection: Connection) -> None:
        await connection.request()
        seen.append(connection.writer.get_extra_info("peercert")["subjectAltName"][0][1])
        await connection.send(ok())

    one, two, three = (place.bundle(f"{n}.pem", place.leaf(f"{n}.client")) for n in ("one", "two", "three"))
    everywhere = {"security": {"certificates": {"upstream": {"localhost": one}}}}
    async with upstream(note, tls=place.server(clients=place.authority)) as server:
        own = {"ca_file": place.ca}
        of_api = {"upstream_certificates": {"*": two}}
        await status(tmp_path, guarded(server.port, own), **everywhere)
        await status(tmp_path, guarded(server.port, own, **of_api), **everywhere)
        await status(tmp_path, guarded(server.port, own | {"certificate": three}, **of_api), **everywhere)
    assert seen == ["one.client", "two.client", "three.client"]


async def test_a_certificate_is_shown_over_http_2_too(place, tmp_path):
    shown = place.bundle("client.pem", place.leaf("gateway.client"))
    context = place.server(clients=place.authority, alpn=["h2"])
    async with h2_upstream(tls=context) as server:
        own = {"ca_file": place.ca, "certificate": shown}
        pins = {"pinned_public_keys": {"localhost": (digest(place.authority),)}}
        definition = guarded(server.port, own, **pins)
        assert (await status(tmp_path, definition, proxy_enable_http2=True))[0] == 200
        assert (await status(tmp_path, guarded(server.port, {"ca_file": place.ca}), proxy_enable_http2=True))[0] == 502


@pytest.mark.parametrize("http_2", [False, True])
@pytest.mark.parametrize("known", [True, False])
async def test_a_gateway_behind_a_gateway_lets_it_in_by_its_certificate(place, tmp_path, http_2, known):
    """Tyk's case 47: mutual TLS from one to the next."""
    client = place.leaf("outer.gateway", authority=trustme.CA())
    listed = (client if known else place.leaf("another")).cert_chain_pems[0].bytes().decode()
    trusted = AUTHORITY.pair.chain_pem.decode()
    async with upstream() as server:
        inner = resolved(api(server.url, domain="localhost", use_mutual_tls_auth=True, client_certificates=(listed,)))
        async with front(tmp_path, inner) as second:
            shown = {"upstream_certificates": {"localhost": place.bundle("outer.pem", client)}}
            definition = guarded(second.port, {"ca_file": trusted}, **shown)
            assert (await status(tmp_path, definition, proxy_enable_http2=http_2))[0] == (200 if known else 502)
        assert len(server.requests) == (1 if known else 0)


# pins


@pytest.mark.parametrize(
    ("pinned", "blind", "wanted"),
    [
        ("leaf", False, 200),
        ("authority", False, 200),
        ("stranger", False, 502),
        ("stranger,leaf", False, 200),
        ("leaf", True, 200),
        ("authority", True, 502),  # nothing was verified, so only the upstream's own key says who it is
        ("stranger", True, 502),
    ],
)
@pytest.mark.parametrize("where", ["api", "everywhere"])
async def test_an_upstream_has_one_of_the_pinned_keys_or_gets_nothing(place, tmp_path, pinned, blind, wanted, where):
    """Tyk's case 45, but in addition to what is verified."""
    leaf = place.leaf("localhost")
    known = {"leaf": digest(leaf), "authority": digest(place.authority), "stranger": "ab" * 32}
    pins = {"*": tuple(known[name] for name in pinned.split(","))}
    proxy = {"transport": {"ssl_insecure_skip_verify": blind}}
    async with upstream(tls=place.server(leaf)) as server:
        definition = guarded(
            server.port, {"ca_file": place.ca}, proxy=proxy, pinned_public_keys=pins if where == "api" else {}
        )
        security = {"pinned_public_keys": pins} if where == "everywhere" else {}
        answer, said = await status(tmp_path, definition, security=security)
        assert answer == wanted
        if wanted == 502:
            assert f"its public key is not pinned: SHA-256 {digest(leaf)}" in said
            assert not server.requests


@pytest.mark.parametrize("http_2", [False, True])
@pytest.mark.parametrize("pinned", ["leaf", "authority", "stranger"])
def test_pins_hold_on_the_loop_that_workers_run(place, tmp_path, pinned, http_2):
    leaf = place.leaf("localhost")
    known = {"leaf": digest(leaf), "authority": digest(place.authority), "stranger": "ab" * 32}
    wanted = 502 if pinned == "stranger" else 200

    async def ask() -> None:
        context = place.server(leaf, alpn=["h2"] if http_2 else ["http/1.1"])
        async with h2_upstream(tls=context) if http_2 else upstream(tls=context) as server:
            shown = place.bundle("client.pem", place.leaf("the.client"))
            own = {"ca_file": place.ca, "certificate": shown}
            definition = guarded(server.port, own, pinned_public_keys={"*": (known[pinned],)})
            assert (await status(tmp_path, definition, proxy_enable_http2=http_2))[0] == wanted
            asked = server.streams if isinstance(server, H2Upstream) else server.requests
            assert len(asked) == (wanted == 200)

    uvloop.run(ask())


async def test_a_pin_does_not_stand_in_for_trust(place, tmp_path):
    leaf = place.leaf("localhost")
    pins = {"pinned_public_keys": {"*": (digest(leaf),)}}
    async with upstream(tls=place.server(leaf)) as server:
        assert (await status(tmp_path, guarded(server.port, **pins)))[0] == 502


@pytest.mark.parametrize("blind", [True, False])
async def test_a_certificate_that_an_upstream_merely_sends_along_fits_no_pin(place, tmp_path, blind):
    """Anybody can send the certificate of another; Tyk takes it for its own."""
    pinned = place.leaf("the.real.one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    impostor = place.leaf("localhost")
    chain = impostor.private_key_and_cert_chain_pem.bytes() + pinned.cert_chain_pems[0].bytes()
    context.load_cert_chain(place.write("chain.pem", chain))
    proxy = {"transport": {"ssl_insecure_skip_verify": blind}}
    pins = {"pinned_public_keys": {"*": (digest(pinned),)}}
    async with upstream(tls=context) as server:
        definition = guarded(server.port, {"ca_file": place.ca}, proxy=proxy, **pins)
        assert (await status(tmp_path, definition))[0] == 502
        assert not server.requests


async def test_pins_can_be_switched_off_for_an_api(place, tmp_path):
    pins = {"pinned_public_keys": {"*": ("ab" * 32,)}}
    async with upstream(tls=place.server()) as server:
        definition = guarded(server.port, {"ca_file": place.ca}, certificate_pinning_disabled=True, **pins)
        assert (await status(tmp_path, definition, security=pins))[0] == 200


# what cannot be had, and what changes


@pytest.mark.parametrize(
    "more",
    [
        {"upstream_certificates": {"*": "/nowhere/client.pem"}},
        {"pinned_public_keys": {"*": ("/nowhere/key.pem",)}},
        {"gateway": {"upstream_tls": {"ca_file": "/nowhere/ca.pem"}}},
        {
            "upstream_auth": {
                "enabled": True,
                "basic_auth": {"enabled": True, "username": "u", "password_file": "/nowhere/password"},
            }
        },
    ],
)
async def test_a_protection_that_cannot_be_had_keeps_requests_away_and_harms_nobody_else(place, tmp_path, more):
    everywhere = {"gateway": {"ca_certificates": {"corporate": place.ca}}}
    async with upstream(tls=place.server()) as server:
        target = f"https://localhost:{server.port}/"
        config = resolved(api(target, "/guarded/", **more), api(target, "/other/"), **everywhere)
        async with front(tmp_path, config) as gate:
            assert (await gate.get("/guarded/")).status == 502
            assert (await gate.get("/other/")).status == 200
            await gate.logged(r"can(not)? be had.* event=upstream.failed")
        assert len(server.requests) == 1


async def test_a_changed_certificate_is_for_new_connections_and_old_ones_finish(place, tmp_path):
    go_on, seen = asyncio.Event(), []

    async def answer(connection: Connection) -> None:
        while True:
            head, _ = await connection.request()
            seen.append(connection.writer.get_extra_info("peercert")["subjectAltName"][0][1])
            if b"/slow" in head:
                await go_on.wait()
            await connection.send(ok(b"answered"))

    shown = place.bundle("client.pem", place.leaf("old.client"))
    async with upstream(answer, tls=place.server(clients=place.authority)) as server:
        definition = guarded(server.port, {"ca_file": place.ca, "certificate": shown})
        async with front(tmp_path, resolved(definition)) as gate:
            assert (await gate.get()).status == 200
            slow = asyncio.create_task(gate.get("/slow"))
            await until(lambda: len(seen) == 2)
            place.bundle("client.pem", place.leaf("new.client"))
            gate.server.apply(snapshot.build(resolved(definition), 2), frozenset())
            assert (await gate.get()).status == 200
            go_on.set()
            assert (await slow).body == b"answered"
    assert seen == ["old.client", "old.client", "new.client"]


async def test_a_reload_that_changes_nothing_keeps_the_connections(place, tmp_path):
    shown = place.bundle("client.pem", place.leaf("the.client"))
    async with upstream(tls=place.server(clients=place.authority)) as server:
        definition = guarded(server.port, {"ca_file": place.ca, "certificate": shown})
        async with front(tmp_path, resolved(definition)) as gate:
            await gate.get()
            gate.server.apply(snapshot.build(resolved(definition), 2), frozenset())
            await gate.get()
        assert server.connections == 1


async def test_a_key_is_sealed_on_its_way_into_openssl(place, tmp_path, monkeypatch):
    read: list[bytes] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, path: str, **more: Any) -> None:
        read.append(Path(path).read_bytes())
        load(self, path, **more)

    shown = place.bundle("client.pem", place.leaf("the.client"))
    context = place.server(clients=place.authority)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    async with upstream(tls=context) as server:
        definition = guarded(server.port, {"ca_file": place.ca, "certificate": shown})
        assert (await status(tmp_path, definition))[0] == 200
    (content,) = read
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
    assert content.count(b"PRIVATE KEY") == 2


# credentials


def credentials(**more: Any) -> dict[str, Any]:
    basic = {"enabled": True, "username": "tableau", **more}
    return {"upstream_auth": {"enabled": True, "basic_auth": basic}}


@pytest.mark.parametrize("how", ["file", "inline", "header"])
async def test_an_upstream_gets_the_gateways_credentials_and_never_the_clients(place, tmp_path, how):
    file = place.write("password", "s3cret: ä\nsecond line\n".encode())
    more = {
        "file": {"password_file": file},
        "inline": {"password": "s3cret: ä"},
        "header": {"password_file": file, "header": {"enabled": True, "name": "X-Upstream-Auth"}},
    }[how]
    name = "X-Upstream-Auth" if how == "header" else "Authorization"
    said = b"Basic " + base64.b64encode("tableau:s3cret: ä".encode())
    async with upstream() as server, front(tmp_path, resolved(api(server.url, **credentials(**more)))) as gate:
        response = await gate.get("/", f"{name.lower()}: Basic c3RvbGVuOnRoaW5n".encode())
        assert response.status == 200
        lines = [line for line in server.requests[0].split(b"\r\n") if line.lower().startswith(name.lower().encode())]
        assert lines == [name.encode() + b": " + said]
        assert b"s3cret" not in gate.log.encode()
        assert said.decode() not in repr(gate.server.snapshot)


# services


@pytest.mark.parametrize("fault", ["", "no certificate", "other key", "missing"])
async def test_a_service_meets_its_target_by_the_same_rules(place, tmp_path, fault):
    """Tyk's case 33, with a server that speaks first, as Rserve does."""

    async def greet(connection: Connection) -> None:
        await connection.send(b"Rsrv0103QAP1\r\n")
        await connection.send(await connection.reader.readline())

    leaf = place.leaf("rserve.internal")
    own = {"ca_file": place.ca, "server_name": "rserve.internal"}
    shown = place.bundle("client.pem", place.leaf("the.client"))
    more: dict[str, Any] = {"upstream_certificates": {"*": shown}, "pinned_public_keys": {"*": (digest(leaf),)}}
    if fault == "no certificate":
        del more["upstream_certificates"]
    if fault == "other key":
        more["pinned_public_keys"] = {"*": ("ab" * 32,)}
    if fault == "missing":
        own["ca_file"] = "/nowhere/ca.pem"
    async with upstream(greet, tls=place.server(leaf, clients=place.authority)) as server:
        definition = {
            "api_id": "rserve", "protocol": "tcp", "listen_port": 6311, "use_keyless": True,
            "proxy": {"listen_path": "/", "target_url": f"tls://127.0.0.1:{server.port}"},
            "gateway": {"upstream_tls": own}, **more,
        }  # fmt: skip
        async with front(tmp_path, resolved(definition)) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.service_ports[6311])
            writer.write(b"eval\n")
            async with asyncio.timeout(10):
                try:
                    answer = await reader.read()
                except ConnectionError:
                    answer = b""
            writer.close()
            assert answer == (b"" if fault else b"Rsrv0103QAP1\r\neval\n")
