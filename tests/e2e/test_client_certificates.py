"""Clients' certificates through real processes: files that change, revocations that are put and stay."""

from __future__ import annotations

import contextlib
import signal
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
from support.clients import crl, identity
from support.roles import PATIENCE, Connection, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.clients import Identity

CA, OTHER = identity("Clients' CA", ca=True), identity("Other CA", ca=True)
CAROL, DAVE, ZOE = identity("carol", CA), identity("dave", CA), identity("zoe", OTHER)


class Mutual:
    """A gateway whose a.test is for the clients of a CA, and who may come."""

    def __init__(self, directory: Path, upstream: Upstream) -> None:
        authority = Authority.create()
        self._directory = directory
        self._trust = authority.pair.chain_pem.decode()
        self.gateway = Gateway(directory, authority, upstream)
        self.ca = directory / "clients.pem"
        self.ca.write_text(CA.pem)
        (api,) = self.gateway.settings["apis"]
        api |= {"use_mutual_tls_auth": True, "client_certificates": ["clients.pem"]}
        self.gateway.settings["secret"] = "of this test, and of no other"
        self.gateway.configure()

    def connect(self, one: Identity) -> Connection:
        context = one.context(self._directory)
        context.load_verify_locations(cadata=self._trust)
        return Connection(self.gateway.port, "a.test", context)

    def lets_in(self, one: Identity) -> bool:
        """Ask eight times, so that both workers are asked, most of the time."""
        return all(self._lets_in(one) for _ in range(8))

    def shuts_out(self, one: Identity) -> bool:
        return not any(self._lets_in(one) for _ in range(8))

    def _lets_in(self, one: Identity) -> bool:
        try:
            with contextlib.closing(self.connect(one)) as connection:
                return connection.get() == "first"
        except (ssl.SSLError, OSError):
            return False

    def admin(self) -> httpx.Client:
        secret = self.gateway.settings["secret"]
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.gateway.control_port}", headers={"X-Tyk-Authorization": secret},
            timeout=PATIENCE,
        )  # fmt: skip


@pytest.fixture
def mutual(tmp_path: Path) -> Iterator[Mutual]:
    with Upstream("first") as upstream:
        made = Mutual(tmp_path, upstream)
        try:
            made.gateway.started()
            yield made
        finally:
            made.gateway.end()
            upstream.shutdown()


def test_a_revocation_counts_when_the_call_returns_and_over_a_restart(mutual: Mutual) -> None:
    assert mutual.lets_in(CAROL)
    assert mutual.shuts_out(ZOE)
    with mutual.admin() as admin, contextlib.closing(mutual.connect(CAROL)) as kept:
        assert kept.get() == "first"
        response = admin.put("/tyk/crls/clients", content=crl(CA, CAROL))
        assert (response.status_code, response.json()["revoked"]) == (200, 1)
        assert mutual.shuts_out(CAROL)
        assert mutual.lets_in(DAVE)
        kept.send("/")
        status, text = kept.answer()
        assert (status, "has been revoked" in text) == (403, True)
        assert admin.put("/tyk/crls/clients", content=crl(identity("Clients' CA", ca=True))).status_code == 422
        assert admin.put("/tyk/crls/clients", content=crl(CA, days=(-3, 5))).status_code == 409
        mutual.gateway.signal(signal.SIGTERM)
        mutual.gateway.process.wait(PATIENCE)
        mutual.gateway.end()
        mutual.gateway.started()
        assert mutual.shuts_out(CAROL)
        assert [one["name"] for one in admin.get("/tyk/crls").json()["crls"]] == ["clients"]
        assert admin.delete("/tyk/crls/clients").status_code == 200
        assert mutual.lets_in(CAROL)


def test_a_file_of_cas_that_changes_counts_and_one_that_is_broken_keeps_its_last_content(mutual: Mutual) -> None:
    mutual.ca.write_text(OTHER.pem)
    until(lambda: mutual.lets_in(ZOE))
    assert mutual.shuts_out(CAROL)
    mutual.ca.write_text("broken")
    until(lambda: mutual.gateway.health()["details"]["certificates"]["status"] == "warn")
    assert "its last content counts" in mutual.gateway.health()["details"]["certificates"]["output"]
    assert mutual.lets_in(ZOE)
