"""The control port in TLS, with the real processes and the real command line's client."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority, self_signed
from gateway.cli.address import locate
from gateway.cli.admin_client import AdminClient
from gateway.cli.failures import AdminError
from tests.support.clients import identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.certs.pem import CertificatePair


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("first") as server:
        yield server
        server.shutdown()


@pytest.fixture
def gateway(tmp_path: Path, authority: Authority, upstream: Upstream) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, authority, upstream)
    try:
        yield gateway
    finally:
        if hasattr(gateway, "process"):
            gateway.end()


def started(gateway: Gateway, **control_tls: str) -> Gateway:
    gateway.settings["gateway"]["control_tls"] = control_tls
    gateway.configure()
    gateway.started()
    return gateway


def written(gateway: Gateway, pair: CertificatePair, name: str = "control.pem") -> Path:
    """Write a bundle and rename it to where it belongs, as careful tools do."""
    draft = gateway.directory / "draft"
    draft.touch(mode=0o600)
    draft.write_bytes(pair.chain_pem + pair.key_pem)
    return draft.rename(gateway.directory / name)


def shown(gateway: Gateway, **limits: ssl.TLSVersion) -> bytes:
    """The certificate (DER) that a new connection to the control port sees."""
    context = ssl._create_unverified_context()
    for limit, version in limits.items():
        setattr(context, limit, version)
    sock = socket.create_connection(("127.0.0.1", gateway.control_port), timeout=PATIENCE)
    with context.wrap_socket(sock) as tls:
        certificate = tls.getpeercert(binary_form=True)
        assert certificate
        return certificate


def command_line(gateway: Gateway, environ: dict[str, str] | None = None, **options: Any) -> AdminClient:
    """What the commands use: beside the configuration file, unless ``options`` say otherwise."""
    usual = {"server": None, "secret_file": None, "config": gateway.directory / "gateway.yaml", "found": None}
    return AdminClient(locate(environ or {}, **(usual | options)))


def der(pair: CertificatePair) -> bytes:
    return pair.leaf.public_bytes(Encoding.DER)


def test_a_domain_lends_its_certificate_and_a_swap_shows_while_the_command_line_goes_on(
    gateway: Gateway, authority: Authority
) -> None:
    gateway.certify("admin.test")
    gateway.settings["http_server_options"]["ssl_certificates"].append("admin.test.pem")
    with contextlib.ExitStack() as kept:
        old = kept.enter_context(command_line(started(gateway, domain="admin.test")))
        before = shown(gateway)
        for _ in range(10):
            pair = authority.leaf("admin.test")
            pem = (pair.chain_pem + pair.key_pem).decode()
            with command_line(gateway) as new:
                answer = new.call("PUT", "/tyk/domains/admin.test/certificate", content=pem)
            assert answer["previous_fingerprint"]
            assert shown(gateway) == der(pair)
            assert old.call("GET", "/tyk/domains/admin.test/certificate")["certificates"][0]["source"] == "admin"
        old.call("DELETE", "/tyk/domains/admin.test/certificate")
        assert shown(gateway) == before


def test_a_self_signed_file_is_trusted_as_it_is_swapped_and_a_bad_one_leaves_the_last_good(gateway: Gateway) -> None:
    first, second = self_signed("admin.test"), self_signed("admin.test")
    path = written(gateway, first)
    with command_line(started(gateway, certificate="control.pem")) as client:
        assert client.address.url.startswith("https://")
        assert client.call("GET", "/tyk/certs") == {"certs": None}
        written(gateway, second)
        gateway.hear("reload.applied", certificates_changed='"(control port)"')
        assert shown(gateway) == der(second)
        assert client.call("GET", "/tyk/domains")["domains"][0]["domain"] == "a.test"
        path.write_text("half a certi")
        gateway.hear("configuration.problem")
        gateway.hear("reload.applied")
        assert shown(gateway) == der(second)
        assert "gateway.control_tls" in client.call("GET", "/hello")["details"]["certificates"]["output"]
        os.kill(gateway.children()[-1], signal.SIGKILL)  # control is forked last
        gateway.hear("control.started")
        assert shown(gateway) == der(second)
        # Its connection is gone, and the one to come shows another certificate than this client has begun with.
        assert client.call("GET", "/tyk/certs") == {"certs": None}
    with command_line(gateway) as client:
        assert [one["domain"] for one in client.call("GET", "/tyk/domains")["domains"]] == ["a.test"]
        written(gateway, first)
        client.call("GET", "/tyk/reload", params={"block": "true"})
    assert shown(gateway) == der(first)


def test_the_policy_is_that_of_clients_and_strangers_are_told(gateway: Gateway) -> None:
    written(gateway, self_signed("admin.test"))
    gateway.settings["http_server_options"]["min_version"] = "1.3"
    started(gateway, certificate="control.pem")
    with pytest.raises(ssl.SSLError):
        shown(gateway, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert "TLS handshake error from 127.0.0.1" in gateway.hear("control.handshake")
    assert shown(gateway, minimum_version=ssl.TLSVersion.TLSv1_3)


def test_another_host_has_to_be_told_whom_to_trust(gateway: Gateway, authority: Authority) -> None:
    written(gateway, authority.leaf("localhost", "127.0.0.1"))
    ca, started_gateway = gateway.directory / "ca.pem", started(gateway, certificate="control.pem")
    ca.write_bytes(authority.pair.chain_pem)
    secret = gateway.directory / "data" / "admin.secret"
    server = f"https://localhost:{gateway.control_port}"
    elsewhere = {"config": None, "server": server, "secret_file": secret}
    with command_line(started_gateway, **elsewhere) as client, pytest.raises(AdminError, match="--trust FILE"):
        client.call("GET", "/hello")
    with command_line(started_gateway, **elsewhere, trust_file=ca) as client:
        assert client.call("GET", "/tyk/certs") == {"certs": None}
    with command_line(started_gateway, {"GATEWAY_ADMIN_TRUST": str(ca)}, **elsewhere) as client:
        assert client.call("GET", "/tyk/certs") == {"certs": None}
    with pytest.raises(AdminError, match="no certificates to trust"):
        command_line(started_gateway, **elsewhere, trust_file=secret)


def test_tls_comes_and_goes_with_a_reload(gateway: Gateway) -> None:
    gateway.started()
    written(gateway, pair := self_signed("admin.test"))
    gateway.settings["gateway"]["control_tls"] = "control.pem"
    gateway.configure()
    until(gateway.ready)
    assert shown(gateway) == der(pair)
    del gateway.settings["gateway"]["control_tls"]
    gateway.configure()
    until(gateway.ready)


@pytest.mark.parametrize(
    ("control_tls", "said"),
    [
        ({"certificate": "nothing.pem"}, "gateway.control_tls.certificate"),
        ({"domain": "nobody.test"}, "there is no certificate for nobody.test"),
        ({}, "has to name either certificate or domain"),
    ],
)
def test_a_certificate_that_cannot_be_had_at_the_first_start_is_an_error(
    gateway: Gateway, control_tls: dict[str, str], said: str
) -> None:
    gateway.settings["gateway"]["control_tls"] = control_tls
    gateway.configure()
    finished = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", str(gateway.directory / "gateway.yaml")],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert finished.returncode == 2
    assert said in finished.stderr


def test_commands_show_a_client_certificate_where_one_is_asked_for(gateway: Gateway, authority: Authority) -> None:
    written(gateway, self_signed("admin.test"))
    client, stranger = identity("an administrator"), identity("a stranger")
    ids = [one.leaf.fingerprint(SHA256()).hex() for one in (client,)]
    started(gateway, certificate="control.pem")
    with command_line(gateway) as at:
        at.call("POST", "/tyk/certs", content=client.pem)
    gateway.settings["security"] = {"control_api_use_mutual_tls": True, "certificates": {"control_api": ids}}
    gateway.configure()
    gateway.hear("reload.applied", cause='"watched files"')
    for one in (client, stranger):
        one.context(gateway.directory)
    shown_by = {one: (gateway.directory / f"{one.sha256[:16]}.pem", None) for one in (client, stranger)}
    for refused in (None, shown_by[stranger]):
        with command_line(gateway, shown=refused) as at, pytest.raises(AdminError, match="--client-cert FILE"):
            at.call("GET", "/hello")
    with command_line(gateway, shown=shown_by[client]) as at:
        assert at.call("GET", "/tyk/certs", params={"mode": "detailed"})["certs"]
        at.call("DELETE", f"/tyk/certs/{ids[0]}", params={"force": "true"})
        gateway.hear("reload.applied", cause="secret")
        with pytest.raises(AdminError, match="not allowed"):
            at.call("GET", "/hello")
    with command_line(gateway, shown=shown_by[client]) as at, pytest.raises(AdminError, match="--client-cert FILE"):
        at.call("GET", "/hello")
