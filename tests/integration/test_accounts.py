"""Administrators and sessions in a real store."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from gateway.admin.identity import Role
from gateway.admin.operations import Actor
from gateway.config.settings import AdminSessions
from gateway.errors import ConflictError, NotFoundError, OverloadedError
from gateway.observe.events import EventLog
from gateway.runtime.accounts import LiveAccounts
from gateway.runtime.passwords import Passwords
from gateway.store.accounts import SESSIONS_PER_ACCOUNT
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from pathlib import Path

ROOT = Actor("secret", "127.0.0.1")


class Node:
    """A data directory whose clock is the test's."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir, self.now = data_dir, 1_000_000.0
        self.settings = AdminSessions(idle_timeout=1800, lifetime=43200)
        Store.open(data_dir, writable=True).close()

    def accounts(self) -> LiveAccounts:
        events = EventLog(os.open(self.data_dir / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND))
        return LiveAccounts(self.data_dir, lambda: self.settings, events, lambda: self.now)

    def audit(self) -> list[tuple[str, str, str]]:
        store = Store.open(self.data_dir, writable=False)
        deeds = [entry.deed for entry in store.audit(100)][::-1]
        store.close()
        return [(deed.who, deed.action, deed.subject) for deed in deeds]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def logged_in(accounts: LiveAccounts, name: str = "alice", password: str = "correct horse") -> str:
    found = await accounts.log_in(name, password, "10.0.0.1")
    assert found
    return found.token


async def test_a_session_survives_control_and_ends_when_it_is_idle_or_old(node: Node) -> None:
    await node.accounts().add("alice", Role.OPERATOR, "correct horse", ROOT)
    token, begun = await logged_in(node.accounts()), node.now
    for _ in range(20):
        node.now += 1700
        found = await node.accounts().identify(token)
        assert found
        assert (found.name, found.role) == ("alice", Role.OPERATOR)
    node.now += 1800
    assert await node.accounts().identify(token) is None
    token, begun = await logged_in(node.accounts()), node.now
    while await node.accounts().identify(token):
        node.now += 1000
    assert 43200 <= node.now - begun < 44200


async def test_wrong_passwords_and_unknown_names_are_refused(node: Node) -> None:
    accounts = node.accounts()
    await accounts.add("alice", Role.VIEWER, "correct h\u00f6rse", ROOT)
    assert await accounts.log_in("alice", "correct horse", "") is None
    assert await accounts.log_in("bob", "correct h\u00f6rse", "") is None
    assert await accounts.log_in("alice", "correct ho\u0308rse", "")  # as another keyboard composes it
    assert await accounts.identify("made up") is None
    assert await accounts.identify("\udcff" * 60) is None
    assert await accounts.identify("x" * 1_000_000) is None


async def test_sessions_end_with_the_account_and_with_its_password(node: Node) -> None:
    accounts = node.accounts()
    await accounts.add("alice", Role.VIEWER, "correct horse", ROOT)
    await accounts.add("bob", Role.VIEWER, "correct horse", ROOT)
    others = await logged_in(accounts, "bob")
    token = await logged_in(accounts)
    await accounts.set_password("alice", "battery staple", ROOT)
    assert await accounts.identify(token) is None
    assert await accounts.log_in("alice", "correct horse", "") is None
    token = await logged_in(accounts, password="battery staple")
    await accounts.remove("alice", ROOT)
    assert await accounts.identify(token) is None
    assert await accounts.identify(others)
    with pytest.raises(NotFoundError):
        await accounts.remove("alice", ROOT)
    with pytest.raises(ConflictError):
        await accounts.add("bob", Role.OPERATOR, "correct horse", ROOT)
    assert node.audit() == [
        ("secret", "add administrator", "alice (viewer)"),
        ("secret", "add administrator", "bob (viewer)"),
        ("bob", "log in", "bob"),
        ("alice", "log in", "alice"),
        ("secret", "change password", "alice"),
        ("alice", "log in", "alice"),
        ("secret", "delete administrator", "alice"),
    ]


async def test_sessions_of_an_account_are_bounded_and_the_quiet_one_goes(node: Node) -> None:
    accounts = node.accounts()
    await accounts.add("alice", Role.VIEWER, "correct horse", ROOT)
    accounts._passwords.fits = lambda *_: asyncio.sleep(0, True)  # type: ignore[method-assign] # each takes a while
    tokens = []
    for _ in range(SESSIONS_PER_ACCOUNT):
        node.now += 1
        tokens.append(await logged_in(accounts))
    node.now += 100
    assert await accounts.identify(tokens[0])
    tokens.append(await logged_in(accounts))
    alive = [await accounts.identify(token) is not None for token in tokens]
    assert alive == [True, False, *[True] * (SESSIONS_PER_ACCOUNT - 1)]


async def test_a_session_goes_on_while_nothing_can_be_written(node: Node) -> None:
    accounts = node.accounts()
    await accounts.add("alice", Role.VIEWER, "correct horse", ROOT)
    token = await logged_in(accounts)
    node.now += 600
    with sqlite3.connect(node.data_dir / "gateway.db") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT raise(ABORT, 'the disk is full'); END"
        )
    connection.close()
    assert await accounts.identify(token)


async def test_the_database_holds_neither_passwords_nor_tokens(node: Node) -> None:
    accounts = node.accounts()
    await accounts.add("alice", Role.VIEWER, "correct horse", ROOT)
    token = await logged_in(accounts)
    with sqlite3.connect(node.data_dir / "gateway.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "$argon2id$v=19$m=65536,t=2,p=1$" in dump
    assert "correct horse" not in dump
    assert token not in dump
    assert token.encode().hex().upper() not in dump


async def test_only_a_few_wait_for_a_hash_while_the_loop_goes_on() -> None:
    passwords, turns = Passwords(), 0
    asked = [asyncio.create_task(passwords.fits("guess", None)) for _ in range(20)]
    while not all(task.done() for task in asked):
        turns += 1
        await asyncio.sleep(0.001)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert outcomes.count(False) == 8
    assert sum(isinstance(one, OverloadedError) for one in outcomes) == 12
    assert turns > 8
