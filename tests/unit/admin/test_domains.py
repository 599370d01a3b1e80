"""``/tyk/domains``: what is served, and swaps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.admin import Admin

from gateway.admin.operations import Expectation, tag
from gateway.certs.self_signed import self_signed
from gateway.errors import PreconditionError

OLD, NEW = self_signed("www.example.com"), self_signed("www.example.com")
PATH = "/tyk/domains/www.example.com/certificate"


def bundle(pair: object = NEW) -> bytes:
    return pair.chain_pem + pair.key_pem  # type: ignore[attr-defined]


async def serving(pair: object = OLD) -> Admin:
    admin = Admin()
    assert (await admin.ask("PUT", PATH, content=bundle(pair))).status_code == 200
    return admin


@pytest.mark.parametrize("media", ["application/x-pem-file", "text/plain", "application/x-www-form-urlencoded", None])
async def test_a_bundle_is_put_as_it_is(media: str | None) -> None:
    admin = await serving()
    response = await admin.ask("PUT", PATH, content=bundle(), headers={"Content-Type": media} if media else {})
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "domain": "www.example.com",
        "fingerprint": NEW.fingerprint,
        "previous_fingerprint": OLD.fingerprint,
        "names": ["www.example.com"],
        "not_after": f"{NEW.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "generation": 7,
        "warnings": ["no API definition names www.example.com yet"],
        "dry_run": False,
    }


@pytest.mark.parametrize(
    "media", ["application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"]
)
async def test_the_parts_are_put_as_json(media: str) -> None:
    import json

    body = json.dumps({"certificate": NEW.chain_pem.decode(), "private_key": NEW.key_pem.decode()})
    admin = await serving()
    response = await admin.ask("PUT", PATH, content=body, headers={"Content-Type": media})
    assert response.json()["fingerprint"] == NEW.fingerprint


async def test_a_refused_certificate_is_422_with_the_reason_and_changes_nothing() -> None:
    admin = await serving()
    response = await admin.ask("PUT", PATH, content=bundle(self_signed("other.example")))
    assert response.status_code == 422
    assert "does not cover www.example.com" in response.json()["message"]
    assert admin.operations.served["www.example.com"].fingerprint == OLD.fingerprint


async def test_a_dry_run_changes_nothing() -> None:
    admin = await serving()
    answer = (await admin.ask("PUT", PATH + "?dry_run=true", content=bundle())).json()
    assert (answer["dry_run"], answer["generation"], answer["fingerprint"]) == (True, None, NEW.fingerprint)
    assert admin.operations.served["www.example.com"].fingerprint == OLD.fingerprint


@pytest.mark.parametrize(
    "query", ["dryrun=true", "dry_run=1", "dry_run=", "dry_run=true&dry_run=false", "Dry_Run=true"]
)
async def test_a_misspelt_dry_run_is_no_swap(query: str) -> None:
    admin = await serving()
    assert (await admin.ask("PUT", f"{PATH}?{query}", content=bundle())).status_code == 400
    assert admin.operations.served["www.example.com"].fingerprint == OLD.fingerprint


COLONS = ":".join(OLD.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()


@pytest.mark.parametrize(
    "expected",
    [f'"{OLD.fingerprint}"', OLD.fingerprint, f'"{COLONS}"', COLONS, f'"{"0" * 64}", "{OLD.fingerprint}"', "*"],
    ids=["quoted", "bare", "quoted with colons", "with colons", "one of two", "any"],
)
async def test_a_swap_that_expects_what_is_served_happens(expected: str) -> None:
    admin = await serving()
    assert (await admin.ask("PUT", PATH, content=bundle(), headers={"If-Match": expected})).status_code == 200


@pytest.mark.parametrize(
    "expected", [f'"{NEW.fingerprint}"', f'W/"{OLD.fingerprint}"', '""'], ids=["another", "weak", "empty"]
)
async def test_a_swap_that_expects_something_else_does_not(expected: str) -> None:
    admin = await serving()
    response = await admin.ask("PUT", PATH, content=bundle(), headers={"If-Match": expected})
    assert (response.status_code, OLD.fingerprint in response.json()["message"]) == (412, True)
    assert admin.operations.served["www.example.com"].fingerprint == OLD.fingerprint


async def test_a_first_certificate_can_be_guarded_against_replacing_one() -> None:
    admin, guarded = Admin(), {"If-None-Match": "*"}
    assert (await admin.ask("PUT", PATH, content=bundle(), headers={"If-Match": "*"})).status_code == 412
    assert (await admin.ask("PUT", PATH, content=bundle(), headers=guarded)).status_code == 200
    assert (await admin.ask("PUT", PATH, content=bundle(), headers=guarded)).status_code == 412


@pytest.mark.parametrize(
    "headers",
    [{"If-Match": "x y"}, {"If-Match": '"a'}, {"If-Match": ""}, {"If-None-Match": '"a"'}, {"If-Match": "*, *"}],
)
async def test_a_precondition_that_cannot_be_read_is_not_passed_over(headers: dict[str, str]) -> None:
    admin = await serving()
    assert (await admin.ask("PUT", PATH, content=bundle(), headers=headers)).status_code == 400


async def test_the_entity_tag_of_get_is_the_one_that_if_match_takes() -> None:
    admin = await serving()
    etag = (await admin.ask("GET", PATH)).headers["etag"]
    assert etag == f'"{OLD.fingerprint}"'
    assert (await admin.ask("DELETE", PATH, headers={"If-Match": etag})).status_code == 200


def test_two_certificates_have_one_tag_and_either_fingerprint_will_do() -> None:
    both = ["b" * 64, "a" * 64]
    for expected in (tag(both), *both):
        Expectation(frozenset({expected})).check(both)
    with pytest.raises(PreconditionError):
        Expectation(frozenset({tag(both)})).check(both[:1])


async def test_a_domain_is_shown_with_its_certificates() -> None:
    admin = await serving()
    assert (await admin.ask("GET", PATH + "/")).json() == {
        "domain": "www.example.com",
        "certificates": [
            {
                "fingerprint": OLD.fingerprint,
                "key_type": "ec",
                "names": ["www.example.com"],
                "not_before": f"{OLD.not_before:%Y-%m-%dT%H:%M:%SZ}",
                "not_after": f"{OLD.not_after:%Y-%m-%dT%H:%M:%SZ}",
                "source": "admin",
                "previous_fingerprint": None,
            }
        ],
        "apis": [],
    }


async def test_domains_are_listed_page_by_page() -> None:
    admin = await serving()
    pair = admin.operations.served["www.example.com"]
    admin.operations.served |= {"*.example.com": pair, "a.example": pair}
    first = (await admin.ask("GET", "/tyk/domains?limit=2")).json()
    assert ([one["domain"] for one in first["domains"]], first["next"]) == (["*.example.com", "a.example"], "a.example")
    second = (await admin.ask("GET", "/tyk/domains", params={"limit": 2, "after": first["next"]})).json()
    assert ([one["domain"] for one in second["domains"]], second["next"]) == (["www.example.com"], None)


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("*.example.com", ["*.example.com", "www.example.com"]),
        ("WWW.*", ["www.example.com"]),
        ("a.example", ["a.example"]),
        ("w*.com", ["www.example.com"]),
        ("*", ["*.example.com", "a.example", "www.example.com"]),
        ("example.com", []),
    ],
)
async def test_domains_are_listed_by_a_pattern(match: str, found: list[str]) -> None:
    admin = await serving()
    pair = admin.operations.served["www.example.com"]
    admin.operations.served |= {"*.example.com": pair, "a.example": pair}
    listed = (await admin.ask("GET", "/tyk/domains", params={"match": match})).json()
    assert [one["domain"] for one in listed["domains"]] == found


@pytest.mark.parametrize("match", ["*.*", "a?c", "[a-z].test", "a b", "%", "*.example.com;", "x" * 254, "/etc/*"])
async def test_a_pattern_has_one_star_and_letters_of_names(match: str) -> None:
    answer = await Admin().ask("GET", "/tyk/domains", params={"match": match})
    assert answer.status_code == 400
    assert "match cannot be" in answer.json()["message"]


@pytest.mark.parametrize("limit", ["0", "10001", "-1", "x", "1e3", "٣", ""])
async def test_a_limit_is_a_number_within_bounds(limit: str) -> None:
    assert (await Admin().ask("GET", "/tyk/domains", params={"limit": limit})).status_code == 400


async def test_rollback_brings_the_previous_certificate_back_and_again_the_later_one() -> None:
    admin = await serving()
    await admin.ask("PUT", PATH, content=bundle())
    back = (await admin.ask("POST", PATH + "/rollback")).json()
    assert (back["fingerprint"], back["previous_fingerprint"]) == (OLD.fingerprint, NEW.fingerprint)
    assert (await admin.ask("POST", PATH + "/rollback/")).json()["fingerprint"] == NEW.fingerprint


async def test_what_cannot_be_undone_is_told_apart() -> None:
    admin = await serving()
    assert (await admin.ask("POST", PATH + "/rollback")).status_code == 409
    assert (await admin.ask("POST", "/tyk/domains/no.example/certificate/rollback")).status_code == 404
    assert (await admin.ask("DELETE", "/tyk/domains/no.example/certificate")).status_code == 404
    served = admin.operations.served
    served["www.example.com"] = replace(served["www.example.com"], source="certs/example.pem")
    assert (await admin.ask("DELETE", PATH)).status_code == 409


async def test_after_a_removal_nothing_may_be_left() -> None:
    admin = await serving()
    answer = (await admin.ask("DELETE", PATH)).json()
    assert (answer["fingerprint"], answer["previous_fingerprint"], answer["not_after"]) == (None, OLD.fingerprint, None)
    assert (await admin.ask("GET", PATH)).status_code == 404


@pytest.mark.parametrize("spelt", ["WWW.Example.COM", "www.example.com.", "%77ww.example.com"])
async def test_a_domain_is_found_however_it_is_spelt(spelt: str) -> None:
    admin = await serving()
    assert (await admin.ask("GET", f"/tyk/domains/{spelt}/certificate")).json()["domain"] == "www.example.com"


@pytest.mark.parametrize(
    "name", ["192.0.2.1", "::1", "a..b", "-", "*", "a.*.b", "x" * 64, "a%00b", "m%C3%BCnchen.example"]
)
async def test_what_is_no_domain_is_refused(name: str) -> None:
    response = await Admin().ask("PUT", f"/tyk/domains/{name}/certificate", content=bundle())
    assert response.status_code == 400
