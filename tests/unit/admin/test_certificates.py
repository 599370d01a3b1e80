"""``/tyk/certs`` in Tyk's shapes and words."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.admin import Admin

from gateway.admin.operations import Kind, StoredCertificate
from gateway.certs.self_signed import Authority, self_signed

if TYPE_CHECKING:
    from gateway.certs.pem import CertificatePair

PAIR = self_signed("www.example.com", "example.com")
BUNDLE = PAIR.chain_pem + PAIR.key_pem


def stored(pair: CertificatePair, org: str = "", kind: Kind = Kind.PAIR) -> StoredCertificate:
    return StoredCertificate(org + pair.fingerprint, org, kind, pair.leaf.public_bytes(Encoding.DER))


async def test_a_certificate_is_added_under_organisation_and_fingerprint() -> None:
    response = await Admin().ask("POST", "/tyk/certs?org_id=acme", content=BUNDLE)
    assert response.status_code == 200
    assert response.json() == {"id": f"acme{PAIR.fingerprint}", "status": "ok", "message": "Certificate added"}
    assert response.content.endswith(b"}\n")


@pytest.mark.parametrize(
    "request_",
    [
        {"content": BUNDLE, "headers": {"Content-Type": "application/json"}},
        {"content": BUNDLE, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": BUNDLE.replace(b"\n", b""), "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": BUNDLE, "headers": {"Content-Type": "multipart/form-data"}},
        {"content": BUNDLE, "headers": {"Content-Type": "application/octet-stream"}},
        {"content": BUNDLE.replace(b"\n", b"\r\n")},
        {"files": {"data": ("bundle.pem", BUNDLE)}},
        {"files": {"cert": ("cert.pem", PAIR.chain_pem), "key": ("key.pem", PAIR.key_pem)}},
        {"json": BUNDLE.decode()},
    ],
)
async def test_pem_is_read_whatever_it_is_said_to_be(request_: dict[str, Any]) -> None:
    response = await Admin().ask("POST", "/tyk/certs?p=-1&org_id=acme", **request_)
    assert response.json()["id"] == f"acme{PAIR.fingerprint}"


async def test_parts_and_a_passphrase_come_in_json() -> None:
    admin = Admin()
    parts = {"certificate": PAIR.chain_pem.decode(), "private_key": PAIR.key_pem.decode(), "passphrase": "pw"}
    assert (await admin.ask("POST", "/tyk/certs", json=parts)).json()["id"] == PAIR.fingerprint
    assert admin.operations.passphrases == ["pw"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"rubbish", "this is not PEM text"),
        (PAIR.chain_pem + self_signed("other.example").key_pem, "does not belong to the certificate"),
    ],
)
async def test_what_is_refused_gets_tyks_status_and_the_reason(body: bytes, said: str) -> None:
    response = await Admin().ask("POST", "/tyk/certs", content=body)
    assert (response.status_code, response.json()["status"]) == (403, "error")
    assert said in response.json()["message"]


async def test_a_certificate_that_is_there_already_is_refused_in_tyks_words() -> None:
    admin = Admin()
    await admin.ask("POST", "/tyk/certs", content=BUNDLE)
    response = await admin.ask("POST", "/tyk/certs", content=BUNDLE)
    message = f"Certificate with {PAIR.fingerprint} id already exists"
    assert (response.status_code, response.json()) == (403, {"status": "error", "message": message})


@pytest.mark.parametrize("body", [b"", b" \n"])
async def test_an_empty_body_is_refused_as_tyk_does(body: bytes) -> None:
    response = await Admin().ask("POST", "/tyk/certs", content=body)
    message = "Failed to decode certificate. It should be PEM encoded."
    assert (response.status_code, response.json()) == (403, {"status": "error", "message": message})


@pytest.mark.parametrize(
    "body",
    [
        '{"certificate": 1, "private_key": "TOPSECRET"}',
        '{"private_key": "TOPSECRET"}',
        '{"certificate": "x", "TOPSECRET": ""}',
        '{"certificate": "TOPSECRET',
        '["TOPSECRET"]',
    ],
)
async def test_a_refusal_never_repeats_what_was_sent(body: str) -> None:
    response = await Admin().ask("POST", "/tyk/certs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert "TOPSECRET" not in response.text


async def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    response = await Admin().ask("POST", "/tyk/certs", content=b"x" * (1 << 20) + b"y")
    assert (response.status_code, response.json()["message"]) == (413, "the body is over 1048576 bytes")


@pytest.mark.parametrize("org", ["../x", "a b", "ü", "x" * 129])
async def test_an_organisation_is_letters_and_digits(org: str) -> None:
    assert (await Admin().ask("POST", "/tyk/certs", params={"org_id": org}, content=BUNDLE)).status_code == 400


async def test_an_empty_list_is_null_as_in_go() -> None:
    assert (await Admin().ask("GET", "/tyk/certs?org_id=1")).json() == {"certs": None}


async def test_certificates_are_listed_by_organisation_or_all() -> None:
    admin = Admin()
    for one in (stored(PAIR, "a"), stored(PAIR, "b")):
        admin.operations.stored[one.id] = one
    assert (await admin.ask("GET", "/tyk/certs/?org_id=a")).json() == {"certs": [f"a{PAIR.fingerprint}"]}
    assert len((await admin.ask("GET", "/tyk/certs")).json()["certs"]) == 2


async def test_a_detailed_list_has_tyks_fields() -> None:
    admin = Admin()
    admin.operations.stored["x"] = stored(PAIR)
    (entry,) = (await admin.ask("GET", "/tyk/certs?mode=detailed")).json()["certs"]
    assert entry == {
        "id": PAIR.fingerprint,
        "issuer_cn": "www.example.com",
        "subject_cn": "www.example.com",
        "dns_names": ["www.example.com", "example.com"],
        "has_private": True,
        "not_before": f"{PAIR.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{PAIR.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "is_ca": False,
    }


async def test_one_certificate_has_tyks_fields_with_gos_names() -> None:
    admin = Admin()
    authority = Authority.create("Root of All")
    admin.operations.stored["ca"] = stored(authority.pair, kind=Kind.CERTIFICATE)
    response = (await admin.ask("GET", "/tyk/certs/ca")).json()
    assert (response["fingerprint"], response["has_private"], response["is_ca"]) == (
        authority.pair.fingerprint,
        False,
        True,
    )
    assert "dns_names" not in response
    assert response["subject"] == {
        "Country": None, "Organization": None, "OrganizationalUnit": None, "Locality": None, "Province": None,
        "StreetAddress": None, "PostalCode": None, "SerialNumber": "", "CommonName": "Root of All",
        "Names": [{"Type": [2, 5, 4, 3], "Value": "Root of All"}], "ExtraNames": None,
    }  # fmt: skip


async def test_a_public_key_is_shown_under_its_id() -> None:
    admin = Admin()
    der = PAIR.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    admin.operations.stored["k"] = StoredCertificate("k" * 64, "", Kind.PUBLIC_KEY, der)
    response = (await admin.ask("GET", "/tyk/certs/k")).json()
    assert response["subject"]["CommonName"] == "Public Key: " + "k" * 64
    assert (response["fingerprint"], response["not_after"]) == (hashlib.sha256(der).hexdigest(), "0001-01-01T00:00:00Z")


async def test_of_several_ids_those_that_are_missing_are_null() -> None:
    admin = Admin()
    admin.operations.stored["x"] = stored(PAIR)
    response = (await admin.ask("GET", "/tyk/certs/x,nothing")).json()
    assert [entry and entry["id"] for entry in response] == [PAIR.fingerprint, None]


async def test_a_missing_certificate_is_404_in_tyks_words() -> None:
    response = await Admin().ask("GET", "/tyk/certs/nothing")
    message = "Certificate with given SHA256 fingerprint not found"
    assert (response.status_code, response.json()) == (404, {"status": "error", "message": message})


@pytest.mark.parametrize("path", ["/tyk/certs/x", "/tyk/certs/nothing?org_id=1"])
async def test_a_certificate_is_removed_even_if_there_is_none(path: str) -> None:
    admin = Admin()
    admin.operations.stored["x"] = stored(PAIR)
    response = await admin.ask("DELETE", path)
    assert (response.status_code, response.json()) == (200, {"status": "ok", "message": "removed"})
    assert ("x" in admin.operations.stored) == ("nothing" in path)


async def test_a_certificate_in_use_is_removed_by_force_only() -> None:
    admin = Admin()
    admin.operations.stored["x"] = stored(PAIR)
    admin.operations.in_use.add("x")
    response = await admin.ask("DELETE", "/tyk/certs/x")
    assert (response.status_code, response.json()["message"]) == (
        409,
        "x is used by API two; to remove it anyway, force it",
    )
    assert (await admin.ask("DELETE", "/tyk/certs/x?force=true")).status_code == 200
