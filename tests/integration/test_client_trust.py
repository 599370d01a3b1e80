"""Where clients' certificates come from: files, the store, inline; and what becomes of them at reloads and CRLs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway.certs.self_signed import Authority
from gateway.errors import CertificateError, ConflictError, NotFoundError
from gateway.routing.clients import ClientLists
from gateway.store.sqlite import Store
from tests.integration.test_operations import ACTOR, Node
from tests.support.clients import NOW, Identity, crl, identity

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.load import Configuration

CA, OTHER = identity("Clients' CA", ca=True), identity("Other CA", ca=True)
ALICE, BOB, CAROL = identity("alice"), identity("bob"), identity("carol", CA)
DAVE = identity("dave", CA)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def node(tmp_path: Path, authority: Authority) -> Node:
    return Node(tmp_path, authority)


def let_in(node: Node, *ones: Identity) -> list[bool]:
    """Whom a worker that reads the store now lets in."""
    with closing(Store.open(node.data_dir, writable=False)) as store:
        configuration: Configuration = store.newest().configuration
    allowed = ClientLists(configuration).of_api(configuration.apis[0])
    assert allowed is not None
    return [allowed.judge(one.leaf, (), NOW).standing.name == "ALLOWED" for one in ones]


def ask_for(node: Node, *listed: str) -> None:
    node.define("one", domain="a.test", use_mutual_tls_auth=True, client_certificates=list(listed))


async def reload(node: Node) -> list[str]:
    result = await node.operations.reload(ACTOR, block=True)
    return [str(problem) for problem in result.problems] if result.ok else [f"refused: {result.message}"]


async def test_files_ids_and_inline_pem_stand_side_by_side_and_a_file_that_changes_counts(node: Node) -> None:
    file = node.directory / "clients.pem"
    file.write_text(ALICE.pem)
    stored = await node.operations.add_certificate("org", BOB.pem.encode(), None, ACTOR)
    ask_for(node, str(file), stored, CA.pem)
    assert await reload(node) == []
    assert let_in(node, ALICE, BOB, CAROL, identity("eve")) == [True, True, True, False]
    assert file in node.reloads.current.watched
    file.write_text(identity("zoe").pem)
    assert await reload(node) == []
    assert let_in(node, ALICE, BOB) == [False, True]
    applied = len(node.roster.applied)
    assert await reload(node) == []
    assert len(node.roster.applied) == applied, "nothing has changed"


async def test_a_file_that_cannot_be_read_keeps_its_last_content_and_one_that_never_could_lets_in_nobody(
    node: Node,
) -> None:
    good, missing = node.directory / "good.pem", node.directory / "missing.pem"
    good.write_text(ALICE.pem)
    ask_for(node, str(good), str(missing))
    (told,) = await reload(node)
    assert "missing.pem" in told
    assert "nobody gets in by it" in told
    good.write_text("half of it")
    assert sum("its last content counts" in line for line in await reload(node)) == 1
    assert let_in(node, ALICE) == [True]
    with closing(Store.open(node.data_dir, writable=False)) as store:
        assert len(store.unresolved()) == 2, "what /ready tells"


async def test_a_list_of_which_nothing_is_found_lets_in_nobody(node: Node) -> None:
    ask_for(node, str(node.directory / "missing.pem"), "f" * 64)
    assert len(await reload(node)) == 2
    assert let_in(node, ALICE, CAROL) == [False, False]


async def test_a_certificate_that_is_taken_out_of_the_store_no_longer_counts_when_the_call_returns(node: Node) -> None:
    stored = await node.operations.add_certificate("org", BOB.pem.encode(), None, ACTOR)
    ask_for(node, stored)
    await reload(node)
    assert let_in(node, BOB) == [True]
    with pytest.raises(ConflictError, match="client_certificates"):
        await node.operations.delete_certificate(stored, force=False, actor=ACTOR)
    await node.operations.delete_certificate(stored, force=True, actor=ACTOR)
    assert let_in(node, BOB) == [False]


async def test_a_private_key_that_was_pasted_with_a_certificate_is_in_no_copy(node: Node) -> None:
    pair = node.authority.leaf("client.test")
    ask_for(node, (pair.key_pem + pair.chain_pem).decode())
    await reload(node)
    assert "PRIVATE" not in node.reloads.current.configuration.model_dump_json()
    with closing(Store.open(node.data_dir, writable=False)) as store:
        assert "BEGIN CERTIFICATE" in store.newest().configuration.apis[0].client_certificates[0]


async def test_a_revocation_list_that_is_put_counts_at_once_and_survives_reloads(node: Node) -> None:
    ask_for(node, CA.pem)
    await reload(node)
    state = await node.operations.put_crl("clients", crl(CA, CAROL).encode(), ACTOR)
    assert (state.revoked, state.source, state.warnings) == (1, "admin", ())
    assert node.roster.applied[-1] == (node.roster.generation, frozenset())
    assert let_in(node, CAROL, DAVE) == [False, True]
    main_file = node.directory / "gateway.yaml"
    sound = main_file.read_bytes()
    main_file.write_text("{broken")
    assert (await reload(node))[0].startswith("refused")
    await node.operations.put_crl("clients", crl(CA, CAROL, DAVE).encode(), ACTOR)
    assert let_in(node, CAROL, DAVE) == [False, False], "files that are broken hinder no revocation"
    main_file.write_bytes(sound)
    assert await reload(node) == []
    assert let_in(node, CAROL, DAVE) == [False, False]
    assert [one.name for one in await node.operations.crls()] == ["clients"]
    await node.operations.delete_crl("clients", ACTOR)
    assert let_in(node, CAROL) == [True]
    with pytest.raises(NotFoundError):
        await node.operations.delete_crl("clients", ACTOR)
    assert [(what, said) for what, _, said in await node.results()][:1] != []


async def test_a_revocation_list_is_refused_if_the_listed_ca_has_not_signed_it_or_it_is_older(node: Node) -> None:
    ask_for(node, CA.pem)
    await reload(node)
    forged = crl(identity("Clients' CA", ca=True), CAROL)
    with pytest.raises(CertificateError, match="not signed"):
        await node.operations.put_crl("clients", forged.encode(), ACTOR)
    with pytest.raises(CertificateError, match="not a certificate revocation list"):
        await node.operations.put_crl("clients", b"nonsense", ACTOR)
    await node.operations.put_crl("clients", crl(CA, CAROL).encode(), ACTOR)
    with pytest.raises(ConflictError, match="older"):
        await node.operations.put_crl("clients", crl(CA, days=(-3, 7)).encode(), ACTOR)
    assert let_in(node, CAROL) == [False]
    stranger = await node.operations.put_crl("other", crl(OTHER).encode(), ACTOR)
    assert "no listed CA" in stranger.warnings[0]


async def test_a_file_of_revocations_counts_is_watched_and_keeps_its_last_content(node: Node) -> None:
    file = node.directory / "clients.crl"
    node.main["gateway"] = {"client_crls": ["clients.crl"]}
    node.configure()
    ask_for(node, CA.pem)
    assert "cannot be read" in (await reload(node))[0]
    file.write_text(crl(CA, CAROL))
    assert await reload(node) == []
    assert let_in(node, CAROL, DAVE) == [False, True]
    assert file in node.reloads.current.watched
    file.write_text(crl(identity("Clients' CA", ca=True)))
    assert "its last content counts" in (await reload(node))[0]
    assert let_in(node, CAROL, DAVE) == [False, True]
    file.write_text(crl(CA, days=(-9, -1)))
    assert "past its nextUpdate" in (await reload(node))[0]
    assert let_in(node, DAVE) == [False]


async def test_a_revocation_list_that_was_never_there_keeps_out_who_comes_with_a_certificate_and_nothing_else(
    node: Node,
) -> None:
    ask_for(node, CA.pem)
    node.main["gateway"] = {"client_crls": ["clients.crl"]}
    node.configure()
    (told,) = await reload(node)
    assert told.startswith("warning: gateway.client_crls[0]")
    assert "no client gets in by a certificate until it can" in told
    assert let_in(node, CAROL) == [False]
    (node.directory / "clients.crl").write_text(crl(CA, DAVE))
    assert await reload(node) == []
    assert let_in(node, CAROL, DAVE) == [True, False]
