"""What control can be asked for, on a real store and files; a stand-in takes the part of the workers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
import yaml
from support.node import ACTOR, WHATEVER, Node

from gateway.admin.concealment import concealed
from gateway.admin.operations import BulkUpload, Expectation, Kind, Upload
from gateway.certs.self_signed import Authority
from gateway.errors import (
    CertificateError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PreconditionError,
    StoreError,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def node(tmp_path: Path, authority: Authority) -> Node:
    return Node(tmp_path, authority)


async def test_a_swap_is_confirmed_by_the_workers_and_told_in_full(node: Node) -> None:
    pair = node.authority.leaf("a.test")
    result = await node.put(pair)
    assert (result.fingerprint, result.previous_fingerprint) == (pair.fingerprint, node.filed.fingerprint)
    assert (result.names, result.not_after, result.generation) == (("a.test",), pair.not_after, 2)
    assert (result.warnings, result.dry_run) == ((), False)
    assert node.roster.applied == [(2, frozenset({"a.test", ""}))]
    assert node.served() == [pair.fingerprint]
    assert (await node.results())[0] == ("put certificate", "a.test", "ok")


async def test_a_worker_that_does_not_confirm_is_a_warning(node: Node) -> None:
    node.roster.missing = ("worker 2 has not confirmed it",)
    assert (await node.put(node.authority.leaf("a.test"))).warnings == ("worker 2 has not confirmed it",)


async def test_a_dry_run_checks_everything_and_changes_nothing(node: Node) -> None:
    result = await node.put(node.authority.leaf("a.test"), dry_run=True)
    assert (result.previous_fingerprint, result.generation, result.dry_run) == (node.filed.fingerprint, None, True)
    with pytest.raises(PreconditionError):
        await node.put(node.authority.leaf("a.test"), dry_run=True, expect=Expectation(nothing=True))
    with pytest.raises(CertificateError, match=r"does not cover a\.test"):
        await node.put(node.authority.leaf("b.test"), dry_run=True)
    assert (node.served(), node.roster.applied) == ([node.filed.fingerprint], [])


async def test_many_are_put_with_one_generation_and_each_is_judged_as_if_it_came_alone(node: Node) -> None:
    a, b, wrong = node.authority.leaf("a.test", "x.test"), node.authority.leaf("b.test"), node.authority.leaf("c.test")
    uploads = [
        BulkUpload(Upload(a.chain_pem + a.key_pem), ("a.test", "x.test", "y.test")),
        BulkUpload(Upload(b.chain_pem + a.key_pem), ("b.test",)),
        BulkUpload(Upload(b.chain_pem + b.key_pem), ("b.test",)),
        BulkUpload(Upload(wrong.chain_pem), ("c.test", "d.test")),
    ]
    tried = await node.operations.put_certificates(uploads, dry_run=True, actor=ACTOR)
    assert (tried.generation, node.roster.applied, node.served()) == (None, [], [node.filed.fingerprint])
    result = await node.operations.put_certificates(uploads, dry_run=False, actor=ACTOR)
    assert tried.outcomes == result.outcomes
    assert result.generation == 2
    assert node.roster.applied == [(2, frozenset({"a.test", "b.test", "x.test", ""}))]
    assert [outcome.domain for outcome in result.outcomes] == [
        "a.test", "x.test", "y.test", "b.test", "b.test", "c.test", "d.test",
    ]  # fmt: skip
    assert [bool(outcome.refusal) for outcome in result.outcomes] == [False, False, True, True, False, True, True]
    first, *_, second = (outcome for outcome in result.outcomes if not outcome.refusal)
    assert (first.fingerprint, first.previous_fingerprint) == (a.fingerprint, node.filed.fingerprint)
    assert (second.fingerprint, second.previous_fingerprint) == (b.fingerprint, None)
    assert "does not cover y.test" in result.outcomes[2].refusal
    assert "does not belong to the certificate" in result.outcomes[3].refusal
    assert (node.served(), node.served("b.test"), node.served("c.test")) == ([a.fingerprint], [b.fingerprint], [])
    told = [(subject, said == "ok") for what, subject, said in await node.results() if what == "put certificate"]
    assert sorted(told) == [
        ("a.test", True), ("b.test", False), ("b.test", True), ("c.test", False), ("d.test", False),
        ("x.test", True), ("y.test", False),
    ]  # fmt: skip
    again = await node.operations.put_certificates(uploads[:1], dry_run=False, actor=ACTOR)
    assert again.generation == 2
    assert again.outcomes[0].previous_fingerprint == a.fingerprint
    assert len(node.roster.applied) == 1


async def test_the_first_of_many_becomes_the_default_site(node: Node) -> None:
    (node.directory / "a.test.pem").unlink()
    node.main["http_server_options"] = {"use_ssl": True}
    node.configure()
    assert (await node.operations.reload(ACTOR, block=True)).ok
    (self_signed,) = node.served("")
    pairs = [node.authority.leaf(f"{name}.test") for name in "zy"]
    uploads = [BulkUpload(Upload(pair.chain_pem + pair.key_pem), pair.names) for pair in pairs]
    await node.operations.put_certificates(uploads, dry_run=False, actor=ACTOR)
    assert node.served("") == [pairs[0].fingerprint]
    assert node.served("localhost") == []
    for name in "zy":
        assert node.asked == []
        await node.operations.delete_domain(f"{name}.test", WHATEVER, ACTOR)
    assert node.asked == [ACTOR]
    assert (await node.operations.reload(ACTOR, block=True)).ok
    assert node.served("") == node.served("localhost") not in ([], [self_signed])


async def test_an_expectation_that_moved_prevents_the_swap(node: Node) -> None:
    first, second = node.authority.leaf("a.test"), node.authority.leaf("a.test")
    await node.put(first, expect=Expectation(tags=frozenset({node.filed.fingerprint})))
    with pytest.raises(PreconditionError, match=first.fingerprint):
        await node.put(second, expect=Expectation(tags=frozenset({node.filed.fingerprint})))
    assert node.served() == [first.fingerprint]
    assert (await node.results())[0][2].startswith("refused: ")


async def test_of_many_swaps_at_once_each_is_confirmed_in_turn(node: Node) -> None:
    pairs = [node.authority.leaf("a.test") for _ in range(8)]
    results = await asyncio.gather(*map(node.put, pairs))
    assert sorted(result.generation for result in results) == [*range(2, 10)]
    assert [number for number, _ in node.roster.applied] == [*range(2, 10)]
    (last,) = [result.fingerprint for result in results if result.generation == 9]
    assert node.served() == [last]


async def test_rollback_and_removal_tell_what_serves_in_its_place(node: Node) -> None:
    pair = node.authority.leaf("a.test")
    await node.put(pair)
    back = await node.operations.rollback("a.test", WHATEVER, ACTOR)
    assert (back.fingerprint, back.previous_fingerprint) == (node.filed.fingerprint, pair.fingerprint)
    await node.operations.rollback("a.test", WHATEVER, ACTOR)
    removed = await node.operations.delete_domain("a.test", WHATEVER, ACTOR)
    assert (removed.fingerprint, removed.not_after) == (node.filed.fingerprint, node.filed.not_after)
    with pytest.raises(ConflictError, match=r"a\.test\.pem"):
        await node.operations.delete_domain("a.test", WHATEVER, ACTOR)
    with pytest.raises(NotFoundError):
        await node.operations.rollback("b.test", WHATEVER, ACTOR)


async def test_a_domain_says_who_serves_it_and_which_apis_name_it(node: Node) -> None:
    await node.put(wild := node.authority.leaf("*.b.test"), "*.b.test")
    a, b = await node.operations.domains("", 10)
    assert (b.domain, b.apis, b.pairs[0].source) == ("a.test", ("one",), str(node.directory / "a.test.pem"))
    assert (a.domain, a.apis, a.pairs[0].fingerprint) == ("*.b.test", (), wild.fingerprint)
    assert await node.operations.domain("c.test") is None
    assert [state.domain for state in await node.operations.domains("*.b.test", 1)] == ["a.test"]


async def test_a_reload_tells_the_truth(node: Node) -> None:
    node.main["hostname"] = "b.test"
    node.configure()
    assert (await node.operations.reload(ACTOR, block=True)).ok
    (node.directory / "gateway.yaml").write_text("listen_prot: 1\n")
    refused = await node.operations.reload(ACTOR, block=True)
    assert (refused.ok, refused.generation) == (False, 2)
    assert "listen_prot" in refused.message
    assert "listen_prot" in str(refused.problems[0])
    assert node.reloads.last.refusal
    assert (await node.results())[0][2].startswith("refused: ")
    node.configure()
    assert (await node.operations.reload(ACTOR, block=True)).ok
    assert not node.reloads.last.refusal


async def test_a_reload_that_finds_nothing_new_leaves_everything_as_it_is_and_says_so(node: Node) -> None:
    result = await node.operations.reload(ACTOR, block=True)
    assert (result.ok, result.generation, result.message) == (True, 1, "nothing has changed")
    assert node.roster.applied == []
    assert (await node.results())[0] == ("reload", str(node.directory / "gateway.yaml"), "ok: nothing had changed")
    node.roster.missing = ("worker 2 has not confirmed it",)
    (problem,) = (await node.operations.reload(ACTOR, block=True)).problems
    assert problem.message == "worker 2 has not confirmed it"
    pair = node.file("a.test")
    result = await node.operations.reload(ACTOR, block=True)
    assert (result.generation, result.message) == (2, "")
    assert node.served() == [pair.fingerprint]


async def test_a_single_problem_is_not_counted(node: Node) -> None:
    (node.directory / "gateway.yaml").write_text("listen_prot: 1\n")
    refused = await node.operations.reload(ACTOR, block=True)
    assert len(refused.problems) == 1
    assert refused.message.startswith("error: listen_prot")


async def test_a_reload_that_nobody_waits_for_is_only_asked_for(node: Node) -> None:
    assert (await node.operations.reload(ACTOR, block=False)).generation == 1
    assert node.asked == [ACTOR]


async def test_a_configured_secret_takes_effect_with_the_reload(node: Node) -> None:
    generated = node.reloads.secret_digest
    node.main["secret"] = "open sesame, please"
    node.configure()
    await node.operations.reload(ACTOR, block=True)
    assert node.reloads.secret_digest != generated


async def test_the_store_keeps_pairs_certificates_and_public_keys(node: Node) -> None:
    pair, operations = node.authority.leaf("b.test"), node.operations
    one = await operations.add_certificate("org", pair.key_pem + pair.chain_pem, None, ACTOR)
    two = await operations.add_certificate("", node.authority.pair.chain_pem, None, ACTOR)
    assert one == f"org{pair.fingerprint}"
    assert [(entry.id, entry.kind) for entry in await operations.list_certificates(None)] == [
        (one, Kind.PAIR),
        (two, Kind.CERTIFICATE),
    ]
    assert [entry.id for entry in await operations.list_certificates("org")] == [one]
    assert [entry and entry.org_id for entry in await operations.certificates([two, "x", one])] == ["", None, "org"]
    with pytest.raises(CertificateError, match=f"Certificate with {one} id already exists"):
        await operations.add_certificate("org", pair.key_pem + pair.chain_pem, None, ACTOR)
    for _ in range(2):
        await operations.delete_certificate(one, force=False, actor=ACTOR)
    assert [entry.id for entry in await operations.list_certificates(None)] == [two]


async def test_a_certificate_that_is_waited_for_has_a_reload_follow_and_is_then_in_use(node: Node) -> None:
    pair = node.authority.leaf("b.test")
    reference = f"org{pair.fingerprint}"
    node.define("two", domain="b.test", certificates=[reference])
    waiting = await node.operations.reload(ACTOR, block=True)
    assert waiting.ok
    assert any(reference in str(problem) for problem in waiting.problems)
    await node.operations.add_certificate("org", pair.key_pem + pair.chain_pem, None, ACTOR)
    assert node.asked == [ACTOR]
    await node.operations.reload(ACTOR, block=True)
    assert node.served("b.test") == [pair.fingerprint]
    with pytest.raises(ConflictError, match="API two"):
        await node.operations.delete_certificate(reference, force=False, actor=ACTOR)
    await node.operations.delete_certificate(reference, force=True, actor=ACTOR)
    await node.operations.reload(ACTOR, block=True)
    assert node.served("b.test") == [pair.fingerprint]


async def test_definitions_are_written_changed_and_removed_as_files(node: Node) -> None:
    operations = node.operations
    definition = node.define("two", domain="b.test")
    (node.directory / "apps" / "two.json").unlink()
    assert await operations.create_api(definition, ACTOR) == "two"
    fresh = await operations.create_api({**definition, "api_id": "", "domain": "c.test"}, ACTOR)
    assert [api["api_id"] for api in await operations.apis()] == ["one"]
    assert (await operations.reload(ACTOR, block=True)).ok
    assert {api["api_id"] for api in await operations.apis()} == {"one", "two", fresh}
    await operations.update_api("two", {**definition, "domain": "d.test"}, ACTOR)
    await operations.delete_api("one", ACTOR)
    assert (await operations.reload(ACTOR, block=True)).ok
    assert await operations.api("one") is None
    changed = await operations.api("two")
    assert changed is not None
    assert changed["domain"] == "d.test"
    with pytest.raises(NotFoundError):
        await operations.delete_api("one", ACTOR)
    with pytest.raises(ConfigurationError, match="listen_path"):
        await operations.create_api({"use_keyless": True, "proxy": {"target_url": "http://a/"}}, ACTOR)


@pytest.mark.parametrize("suffix", ["json", "yaml"])
async def test_who_gets_edits_and_puts_a_definition_loses_nothing(node: Node, suffix: str) -> None:
    pair = node.authority.leaf("b.test")
    inline = (pair.chain_pem + pair.key_pem).decode()
    tyks = {"version_data": {"not_versioned": True, "versions": {"Default": {"name": "Default"}}}, "tags": ["a", "1"]}
    definition = {**node.define("one", domain="b.test"), **tyks, "certificates": [inline, "../a.test.pem"]}
    (node.directory / "apps" / "one.json").unlink()
    file = node.directory / "apps" / f"mine.{suffix}"
    file.write_text(json.dumps(definition) if suffix == "json" else yaml.safe_dump(definition))
    assert (await node.operations.reload(ACTOR, block=True)).ok
    shown = concealed(await node.operations.api("one"))
    assert "PRIVATE KEY" not in str(shown)
    assert {**shown, "certificates": definition["certificates"]} == definition
    await node.operations.update_api("one", {**shown, "name": "First"}, ACTOR)
    assert yaml.safe_load(file.read_text()) == {**definition, "name": "First"}
    assert await node.operations.create_api(shown, ACTOR) == "one"
    assert yaml.safe_load(file.read_text()) == definition
    assert (await node.operations.reload(ACTOR, block=True)).ok
    assert node.served("b.test") == [pair.fingerprint]
    with pytest.raises(ConfigurationError, match="stands for nothing"):
        await node.operations.create_api({**shown, "api_id": "two"}, ACTOR)


async def test_an_api_of_the_main_file_is_not_changed_from_here(node: Node) -> None:
    node.main["apis"] = [node.define("inline", domain="c.test")]
    (node.directory / "apps" / "inline.json").unlink()
    node.configure()
    assert (await node.operations.reload(ACTOR, block=True)).ok
    assert await node.operations.api("inline") == node.main["apis"][0]
    with pytest.raises(ConflictError, match="main file"):
        await node.operations.delete_api("inline", ACTOR)
    del node.main["app_path"]
    node.configure()
    await node.operations.reload(ACTOR, block=True)
    with pytest.raises(ConflictError, match="app_path"):
        await node.operations.create_api({}, ACTOR)


async def test_a_store_that_cannot_be_written_is_an_error_and_nothing_changes(node: Node) -> None:
    (node.data_dir / "gateway.db").rename(node.data_dir / "away.db")
    (node.data_dir / "gateway.db").mkdir()
    with pytest.raises(StoreError):
        await node.put(node.authority.leaf("a.test"))
    assert node.roster.applied == []


async def test_no_key_is_in_the_event_log(node: Node) -> None:
    pair = node.authority.leaf("a.test")
    await node.put(pair)
    with pytest.raises(CertificateError):
        await node.put(pair, "b.test")
    log = (node.directory / "log").read_text()
    assert "certificate.swapped" in log
    assert "change.refused" in log
    assert "PRIVATE" not in log


PASSWORD = {"password": "p"}


async def test_openapi_definitions_are_written_changed_and_removed_as_files(node: Node) -> None:
    operations, apps = node.operations, node.directory / "apps"
    extension = {
        "info": {"id": "pets", "name": "Pets", "state": {"active": True}},
        "upstream": {
            "url": "http://127.0.0.1:1/",
            "authentication": {"enabled": False, "basicAuth": {"password": "p"}},
        },
        "server": {"listenPath": {"value": "/pets/"}, "customDomain": {"enabled": True, "name": "a.test"}},
    }
    document = {"openapi": "3.0.3", "info": {"title": "Pets", "version": "1"}, "x-tyk-api-gateway": extension}
    assert await operations.create_api(document, ACTOR) == "pets"
    assert json.loads((apps / "pets-oas.json").read_text()) == document
    assert await operations.document("pets") is None  # until the reload
    assert (await operations.reload(ACTOR, block=True)).ok
    assert await operations.documents() == [document]
    classic = await operations.api("pets")
    assert classic is not None
    assert (classic["is_oas"], classic["domain"]) == (True, "a.test")
    shown = concealed(await operations.document("pets"))
    assert "not shown" in str(shown)
    del shown["x-tyk-api-gateway"]["info"]["id"]
    shown["x-tyk-api-gateway"]["server"]["customDomain"]["name"] = "c.test"
    await operations.update_api("pets", shown, ACTOR)
    changed = json.loads((apps / "pets-oas.json").read_text())["x-tyk-api-gateway"]
    assert (changed["info"]["id"], changed["upstream"]) == ("pets", extension["upstream"])
    with pytest.raises(ConflictError, match="OAS format"):
        await operations.update_api("pets", {**classic, "is_oas": False}, ACTOR)
    wanted = {**extension, "server": {**extension["server"], "authentication": {"enabled": True}}}
    with pytest.raises(ConfigurationError, match=r"x-tyk-api-gateway.server.authentication"):
        await operations.create_api({**document, "x-tyk-api-gateway": wanted}, ACTOR)
    nameless = {**extension, "info": {}, "server": {"listenPath": {"value": "/x/"}}}
    fresh = await operations.create_api({**document, "x-tyk-api-gateway": nameless}, ACTOR)
    assert (apps / f"{fresh}-oas.json").exists()


async def test_both_files_of_an_openapi_definition_go_with_it(node: Node) -> None:
    apps = node.directory / "apps"
    extension = {
        "info": {"id": "pets"},
        "upstream": {"url": "http://a/"},
        "server": {"listenPath": {"value": "/pets/"}},
    }
    (apps / "pets-oas.json").write_text(json.dumps({"openapi": "3.0.3", "x-tyk-api-gateway": extension}))
    classic = {**node.define("pets", domain="a.test"), "is_oas": True}
    (apps / "pets.json").write_text(json.dumps(classic))
    assert (await node.operations.reload(ACTOR, block=True)).ok
    assert [one["x-tyk-api-gateway"] for one in await node.operations.documents()] == [extension]
    await node.operations.delete_api("pets", ACTOR)
    assert [file.name for file in apps.iterdir()] == ["one.json"]
