"""``/tyk/domains/certificates``: many at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.admin import Admin

from gateway.admin.bulk import MOST_BYTES, MOST_CERTIFICATES, MOST_DOMAINS
from gateway.certs.self_signed import self_signed

PATH = "/tyk/domains/certificates"
PAIR = self_signed("a.test", "b.test")
PEM = (PAIR.chain_pem + PAIR.key_pem).decode()


def one(*domains: str, **more: Any) -> dict[str, Any]:
    return {"certificate": PEM, "domains": domains, **more}


async def post(*certificates: dict[str, Any], query: str = "") -> Any:
    return await Admin().ask("POST", PATH + query, json={"certificates": certificates})


async def test_outcomes_come_in_the_order_of_the_request_whatever_is_refused() -> None:
    response = await post(one("A.test", "not a name", "b.test"), one("192.0.2.1"), one("c.test"))
    assert response.status_code == 200, response.text
    body = response.json()
    assert [outcome["domain"] for outcome in body["outcomes"]] == [
        "a.test", "not a name", "b.test", "192.0.2.1", "c.test",
    ]  # fmt: skip
    refusals = [outcome["refusal"] for outcome in body["outcomes"]]
    assert [bool(refusal) for refusal in refusals] == [False, True, False, True, True]
    assert "is not a host name" in refusals[1]
    assert "does not cover c.test" in refusals[4]
    assert body["outcomes"][0]["fingerprint"] == PAIR.fingerprint
    assert (body["generation"], body["dry_run"]) == (7, False)


async def test_a_dry_run_has_no_generation() -> None:
    body = (await post(one("a.test"), query="?dry_run=true")).json()
    assert (body["generation"], body["dry_run"]) == (None, True)


@pytest.mark.parametrize(
    "certificates",
    [
        [],
        [one()],
        [one("a.test", key="misspelt")],
        [one("a" * 254)],
        [one("a.test")] * (MOST_CERTIFICATES + 1),
        [one(*["a.test"] * 600)] * 2,
        [one(*["a.test"] * (MOST_DOMAINS + 1))],
    ],
)
async def test_what_is_not_as_described_is_refused_as_a_whole_and_not_quoted(certificates: list[Any]) -> None:
    response = await post(*certificates)
    assert response.status_code == 400
    assert "BEGIN" not in response.text


async def test_a_body_is_bounded() -> None:
    body = json.dumps({"certificates": [one("a.test")], "x": " " * MOST_BYTES})
    assert (await Admin().ask("POST", PATH, content=body)).status_code == 413
