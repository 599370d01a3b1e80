"""The stand-ins of the admin API's tests say what the product says: each dialogue is held with both."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_accounts import FakeAccounts
from support.fake_operations import FakeOperations
from support.node import ACTOR, WHATEVER, Node

from gateway.admin.identity import Role
from gateway.admin.operations import BulkUpload, Expectation, Upload
from gateway.certs.self_signed import Authority
from gateway.config.settings import AdminSessions
from gateway.errors import GatewayError
from gateway.observe.events import EventLog
from gateway.runtime.accounts import LiveAccounts
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

AUTHORITY = Authority.create()
B, LATER_B, C = AUTHORITY.leaf("b.test"), AUTHORITY.leaf("b.test"), AUTHORITY.leaf("c.test")
API = {"api_id": "shop", "use_keyless": True, "proxy": {"listen_path": "/shop/", "target_url": "http://127.0.0.1/"}}
_OWN = {"generation", "created", "ends", "token"}  # each has numbers and times of its own


async def told(call: Awaitable[Any]) -> Any:
    """What came of a call: its result, or its error by type and words."""
    try:
        return comparable(await call)
    except GatewayError as error:
        return type(error).__name__, str(error)


def comparable(result: Any) -> Any:
    """A result without what may differ."""
    if is_dataclass(result):
        return {f.name: comparable(getattr(result, f.name)) for f in fields(result) if f.name not in _OWN}
    return [comparable(one) for one in result] if isinstance(result, list | tuple) else result


def upload(pair: CertificatePair, key: CertificatePair | None = None) -> Upload:
    return Upload(pair.chain_pem + (key or pair).key_pem)


def about_domains(it: Any) -> list[Callable[[], Awaitable[Any]]]:
    """The calls, in order; each is made when the one before has been answered."""

    def put(domain: str, what: Upload, expect: Expectation = WHATEVER, *, dry_run: bool = False) -> Any:
        return lambda: it.put_certificate(domain, what, expect, dry_run=dry_run, actor=ACTOR)

    bulk = [BulkUpload(upload(C), ("c.test", "d.test")), BulkUpload(upload(B, C), ("b.test",))]
    stale = Expectation(tags=frozenset({"0" * 64}))
    return [
        put("b.test", upload(B), dry_run=True),
        put("b.test", upload(B), Expectation(anything=True)),
        put("b.test", upload(B), stale),
        put("c.test", upload(B)),
        put("b.test", upload(B, C)),
        put("b.test", Upload(b"rubbish")),
        put("b.test", Upload(B.chain_pem)),
        put("b.test", upload(B)),
        lambda: it.rollback("b.test", WHATEVER, ACTOR),
        put("b.test", upload(LATER_B), Expectation(nothing=True)),
        put("b.test", upload(LATER_B), Expectation(tags=frozenset({B.fingerprint}))),
        lambda: it.domain("b.test"),
        lambda: it.domains("", 10, "b.*"),
        lambda: it.domains("b.test", 10),
        lambda: it.rollback("b.test", stale, ACTOR),
        lambda: it.rollback("b.test", WHATEVER, ACTOR),
        lambda: it.domain("b.test"),
        lambda: it.put_certificates(bulk, dry_run=True, actor=ACTOR),
        lambda: it.put_certificates(bulk, dry_run=False, actor=ACTOR),
        lambda: it.delete_domain("b.test", stale, ACTOR),
        lambda: it.delete_domain("b.test", WHATEVER, ACTOR),
        lambda: it.delete_domain("b.test", WHATEVER, ACTOR),
        lambda: it.delete_domain("b.test", Expectation(anything=True), ACTOR),
        lambda: it.rollback("b.test", WHATEVER, ACTOR),
        lambda: it.domain("b.test"),
    ]


def about_the_rest(it: Any) -> list[Callable[[], Awaitable[Any]]]:
    """As `about_domains`: the certificate store, definitions, revocation lists."""

    def add(pem: bytes) -> Any:
        return lambda: it.add_certificate("org", pem, None, ACTOR)

    crl = AUTHORITY.pair.chain_pem
    return [
        add(B.chain_pem + B.key_pem),
        add(B.chain_pem + B.key_pem),
        add(AUTHORITY.pair.chain_pem),
        add(b"rubbish"),
        add(B.chain_pem + C.key_pem),
        lambda: it.list_certificates("org"),
        lambda: it.certificates([f"org{B.fingerprint}", "none"]),
        lambda: it.delete_certificate("none", force=False, actor=ACTOR),
        lambda: it.create_api(API, ACTOR),
        lambda: it.create_api({"api_id": "shop", "use_keyless": True}, ACTOR),
        lambda: it.create_api({**API, "use_keyless": False}, ACTOR),
        lambda: it.update_api("shop", {**API, "name": "Shop"}, ACTOR),
        lambda: it.update_api("none", API, ACTOR),
        lambda: it.delete_api("shop", ACTOR),
        lambda: it.delete_api("shop", ACTOR),
        lambda: it.put_crl("x", b"rubbish", ACTOR),
        lambda: it.put_crl("x", crl, ACTOR),
        lambda: it.delete_crl("x", ACTOR),
        lambda: it.crl("x"),
    ]


@pytest.mark.parametrize("dialogue", [about_domains, about_the_rest])
async def test_operations(tmp_path: Path, dialogue: Callable[[Any], list[Callable[[], Awaitable[Any]]]]) -> None:
    real, fake = dialogue(Node(tmp_path, AUTHORITY).operations), dialogue(FakeOperations())
    for number, (ask, play) in enumerate(zip(real, fake, strict=True)):
        said, played = await told(ask()), await told(play())
        assert (number, played) == (number, said)


async def test_what_the_configuration_has_and_uses(tmp_path: Path) -> None:
    node, fake = Node(tmp_path, AUTHORITY), FakeOperations()
    node.define("two", domain="b.test", certificates=[reference := f"org{B.fingerprint}"])
    for it in (node.operations, fake):
        await it.add_certificate("org", B.chain_pem + B.key_pem, None, ACTOR)
    await node.operations.reload(ACTOR, block=True)
    fake.in_use.add(reference)
    filed = await node.operations.domain("a.test")
    assert filed is not None
    fake.served["a.test"] = replace(filed.pairs[0])
    for call in (
        lambda it: it.delete_certificate(reference, force=False, actor=ACTOR),
        lambda it: it.delete_domain("a.test", WHATEVER, ACTOR),
        lambda it: it.rollback("a.test", WHATEVER, ACTOR),
        lambda it: it.delete_certificate(reference, force=True, actor=ACTOR),
    ):
        said = await told(call(node.operations))
        assert await told(call(fake)) == said


async def test_accounts(tmp_path: Path) -> None:
    Store.open(tmp_path, writable=True).close()
    events = EventLog(os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY))
    conversations = []
    for it in (LiveAccounts(tmp_path, AdminSessions, events), FakeAccounts()):
        said = [
            await told(it.log_in("alice", "correct horse", "")),
            await told(it.add("alice", Role.OPERATOR, "correct horse", ACTOR)),
            await told(it.add("alice", Role.VIEWER, "another one", ACTOR)),
            await told(it.log_in("alice", "wrong", "")),
            await told(it.set_password("bob", "whatever it is", ACTOR)),
            await told(it.remove("bob", ACTOR)),
            await told(it.administrators()),
        ]
        session = await it.log_in("alice", "correct horse", "")
        assert session is not None
        said.append(await told(it.identify(session.token)))
        await it.set_password("alice", "a new password", ACTOR)
        said.append(await told(it.identify(session.token)))
        again = await it.log_in("alice", "a new password", "")
        assert again is not None
        await it.remove("alice", ACTOR)
        said += [await told(it.identify(again.token)), await told(it.log_in("alice", "a new password", ""))]
        conversations.append(said)
    assert conversations[1] == conversations[0]
    assert conversations[0][0] is conversations[0][8] is conversations[0][9] is None
