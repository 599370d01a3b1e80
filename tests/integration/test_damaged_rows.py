"""A row of the node's database that cannot be read harms itself alone: at a start, at a reload, and in control."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.certs.self_signed import Authority
from gateway.errors import CertificateError
from gateway.routing.clients import ClientLists
from gateway.runtime import control, renewal
from gateway.store.accounts import AccountStore
from gateway.store.audit import Deed
from gateway.store.database import DATABASE
from gateway.store.expiry import ExpiryStore
from gateway.store.sqlite import Store
from tests.integration.test_operations import ACTOR, Node
from tests.support.clients import NOW, crl, identity

if TYPE_CHECKING:
    from pathlib import Path

CA = identity("Clients' CA", ca=True)
ALICE = identity("alice", CA)
DEED = Deed("tester", "", "test", "")

VALUES = {"text": "'nonsense'", "bytes": "X'00ff'", "bad UTF-8": "CAST(X'ff' AS TEXT)", "number": "7", "nothing": "''"}
COLUMNS = [
    "crls.crl", "configurations.content", "materials.chain", "materials.key", "materials.begins", "materials.expires",
    "names.source", "certificates.kind", "certificates.der", "certificates.pem", "readings.status", "readings.remarks",
    "readings.quiet_from", "generations.created", "generations.files_read", "unresolved.problem",
    "administrators.role", "administrators.created",
]  # fmt: skip


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def node(tmp_path: Path, authority: Authority) -> Node:
    return Node(tmp_path, authority)


def damage(node: Node, statement: str) -> None:
    with closing(sqlite3.connect(node.data_dir / DATABASE, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount > 0


def start(node: Node) -> None:
    candidate = renewal.read(node.directory / "gateway.yaml", {})
    renewal.publish(node.data_dir, candidate, DEED)


def look(node: Node) -> tuple[str, frozenset[str]]:
    now = datetime.now(UTC)
    troubles, _, damaged = control._certificates(node.data_dir, node.reloads.current.configuration, now)
    return troubles, damaged


def standing(node: Node) -> str:
    """Tell what a worker that reads the store now thinks of a client."""
    with closing(Store.open(node.data_dir, writable=False)) as store:
        configuration = store.newest().configuration
    allowed = ClientLists(configuration).of_api(configuration.apis[0])
    assert allowed is not None
    return allowed.judge(ALICE.leaf, (), NOW).standing.name


async def fill(node: Node) -> None:
    node.define("one", domain="a.test", use_mutual_tls_auth=True, client_certificates=[CA.pem])
    await node.operations.add_certificate("org", ALICE.pem.encode(), None, ACTOR)
    await node.operations.reload(ACTOR, block=True)
    await node.operations.put_crl("clients", crl(CA).encode(), ACTOR)
    with closing(AccountStore.open(node.data_dir, writable=True)) as accounts:
        accounts.add("root", "operator", "hash", DEED)
    with closing(sqlite3.connect(node.data_dir / DATABASE, isolation_level=None)) as connection:
        connection.execute("INSERT INTO unresolved VALUES ('something')")
        connection.execute(
            "INSERT OR REPLACE INTO readings SELECT source, '', '', material, key_type, name, '', 0, 1 FROM names"
        )


@pytest.mark.parametrize("value", VALUES)
async def test_whatever_stands_in_a_row_the_gateway_starts_reloads_and_looks_around(node: Node, value: str) -> None:
    await fill(node)
    for column in COLUMNS:
        table, _, name = column.partition(".")
        with closing(sqlite3.connect(node.data_dir / DATABASE, isolation_level=None)) as connection:
            connection.execute(f"UPDATE {table} SET {name} = {VALUES[value]}")
        look(node)
        result = await node.operations.reload(ACTOR, block=True)
        assert result.ok, (column, result.message)
        with closing(ExpiryStore.open(node.data_dir, writable=True)) as expiry:
            expiry.prepare(NOW)
            expiry.ending(NOW + timedelta(days=10_000), 10)
        await node.operations.list_certificates(None)
        await node.operations.crls()
        await node.operations.generations(10)
        start(node)
        assert node.served() == [node.filed.fingerprint], column


async def test_a_damaged_configuration_is_read_anew_from_the_files(node: Node) -> None:
    damage(node, "UPDATE configurations SET content = X'01'")
    assert "the stored configuration of generation 1 cannot be read" in look(node)[0]
    start(node)
    assert look(node) == ("", frozenset())
    damage(node, "DELETE FROM configurations")
    result = await node.operations.reload(ACTOR, block=True)
    assert (result.ok, look(node)[0]) == (True, "")


async def test_a_damaged_revocation_list_lets_nobody_in_until_it_is_put_again(node: Node) -> None:
    await fill(node)
    assert standing(node) == "ALLOWED"
    damage(node, "UPDATE crls SET crl = 'nonsense'")
    assert "cannot be read" in look(node)[0]
    assert "clients" in "".join(look(node)[1])
    assert (await node.operations.reload(ACTOR, block=True)).ok
    assert standing(node) == "UNSURE"
    await node.operations.put_crl("clients", crl(CA).encode(), ACTOR)
    assert (standing(node), look(node)[1]) == ("ALLOWED", frozenset())
    damage(node, "UPDATE crls SET crl = X'ff'")
    await node.operations.delete_crl("clients", ACTOR)
    assert standing(node) == "ALLOWED"


@pytest.mark.parametrize("column", ["key", "chain"])
async def test_a_damaged_certificate_leaves_its_name_to_the_file_and_can_be_put_again(node: Node, column: str) -> None:
    put = node.authority.leaf("a.test")
    await node.put(put)
    assert node.served() == [put.fingerprint]
    damage(node, f"UPDATE materials SET {column} = X'00' WHERE fingerprint = '{put.fingerprint}'")
    assert node.served() == [node.filed.fingerprint]
    await node.put(node.authority.leaf("a.test"))
    assert node.served() != [node.filed.fingerprint]


async def test_a_name_of_which_nothing_can_be_read_says_so(node: Node) -> None:
    damage(node, "UPDATE materials SET key = X'00'")
    with pytest.raises(CertificateError, match="put it again"):
        node.served()
