"""``/tyk/apis`` in Tyk's shapes and words."""

from __future__ import annotations

import pytest
from support.admin import Admin

API = {
    "api_id": "shop", "use_keyless": True, "proxy": {"listen_path": "/", "target_url": "http://127.0.0.1/"},
}  # fmt: skip
MISMATCH = "Request APIID does not match that in Definition! For Update operations these must match."


async def test_a_definition_is_added_shown_changed_and_removed() -> None:
    admin = Admin()
    assert (await admin.ask("POST", "/tyk/apis", json=API)).json() == {"key": "shop", "status": "ok", "action": "added"}
    assert (await admin.ask("GET", "/tyk/apis/shop")).json() == API
    changed = {**API, "name": "Shop"}
    answer = (await admin.ask("PUT", "/tyk/apis/shop/", json=changed)).json()
    assert answer == {"key": "shop", "status": "ok", "action": "modified"}
    assert (await admin.ask("GET", "/tyk/apis/")).json() == [changed]
    answer = (await admin.ask("DELETE", "/tyk/apis/shop")).json()
    assert answer == {"key": "shop", "status": "ok", "action": "deleted"}
    assert (await admin.ask("GET", "/tyk/apis")).json() == []


async def test_a_definition_without_an_id_gets_one() -> None:
    answer = (await Admin().ask("POST", "/tyk/apis", json={**API, "api_id": ""})).json()
    assert len(answer["key"]) == 32


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PUT", API), ("DELETE", None)])
async def test_an_unknown_id_is_404_in_tyks_words(method: str, body: object) -> None:
    response = await Admin().ask(method, "/tyk/apis/shop", json=body)
    assert (response.status_code, response.json()) == (404, {"status": "error", "message": "API not found"})


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_the_ids_in_path_and_body_must_be_the_same(method: str) -> None:
    response = await Admin().ask(method, "/tyk/apis/other", json=API)
    assert (response.status_code, response.json()) == (400, {"status": "error", "message": MISMATCH})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"[" * 100_000, b"\xff", b"1" * 5000])
async def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    response = await Admin().ask("POST", "/tyk/apis", content=body)
    assert (response.status_code, response.json()) == (400, {"status": "error", "message": "Request malformed"})


async def test_a_refused_definition_says_why() -> None:
    response = await Admin().ask("POST", "/tyk/apis", json={"api_id": "shop", "use_keyless": True})
    assert response.status_code == 400
    assert response.json()["message"] == "Validation of API Definition failed. Reason: proxy: is required and missing."


@pytest.mark.parametrize("api_id", ["../etc", ".", ".hidden", "a b", "-a", "x" * 129, 5, None, "a\n"])
async def test_an_id_that_is_no_file_name_is_refused(api_id: object) -> None:
    admin = Admin()
    assert (await admin.ask("POST", "/tyk/apis", json={**API, "api_id": api_id})).status_code == 400
    assert admin.operations.definitions == {}


async def test_an_inline_private_key_is_not_shown() -> None:
    admin = Admin()
    key = "-----BEGIN EC PRIVATE KEY-----\nSECRET"
    admin.operations.definitions["shop"] = {**API, "certificates": [key, "id"], "nested": {"deep": (key,)}}
    for path in ("/tyk/apis", "/tyk/apis/shop"):
        text = (await admin.ask("GET", path)).text
        assert "SECRET" not in text
        assert '"id"' in text


OAS = {"openapi": "3.0.3", "info": {"title": "Shop", "version": "1"}, "x-tyk-api-gateway": {"info": {"id": "shop"}}}


async def test_an_openapi_definition_is_added_shown_changed_and_removed() -> None:
    admin = Admin()
    added = (await admin.ask("POST", "/tyk/apis/oas", json=OAS)).json()
    assert added == {"key": "shop", "status": "ok", "action": "added"}
    assert (await admin.ask("GET", "/tyk/apis/oas")).json() == [OAS]
    assert (await admin.ask("GET", "/tyk/apis/oas/shop")).json() == OAS
    public = (await admin.ask("GET", "/tyk/apis/oas/shop?mode=public")).json()
    assert public == {"openapi": "3.0.3", "info": {"title": "Shop", "version": "1"}}
    assert (await admin.ask("GET", "/tyk/apis/shop")).json() == {"api_id": "shop", "is_oas": True}
    without_id = {**OAS, "x-tyk-api-gateway": {}}
    answer = (await admin.ask("PUT", "/tyk/apis/oas/shop", json=without_id)).json()
    assert answer == {"key": "shop", "status": "ok", "action": "modified"}
    answer = (await admin.ask("DELETE", "/tyk/apis/oas/shop")).json()
    assert answer == {"key": "shop", "status": "ok", "action": "deleted"}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/tyk/apis/oas", {"openapi": "3.0.3"}, "the payload should contain x-tyk-api-gateway"),
        ("/tyk/apis/oas", API, "the payload should contain x-tyk-api-gateway"),
        ("/tyk/apis", OAS, "this API endpoint only supports Tyk Classic APIs"),
    ],
)
async def test_each_format_has_its_calls(path: str, body: object, words: str) -> None:
    response = await Admin().ask("POST", path, json=body)
    assert response.status_code == 400
    assert words in response.json()["message"]


async def test_a_classic_definition_is_no_document() -> None:
    admin = Admin()
    await admin.ask("POST", "/tyk/apis", json=API)
    response = await admin.ask("GET", "/tyk/apis/oas/shop")
    assert (response.status_code, "classic format" in response.json()["message"]) == (400, True)
    assert (await admin.ask("GET", "/tyk/apis/oas/none")).status_code == 404


@pytest.mark.parametrize(
    "path", ["/tyk/apis?p=-1", "/tyk/apis/?foo=bar", "/tyk/certs?p=-1&org_id=x", "/tyk/reload?p=1"]
)
async def test_tyks_own_paths_take_parameters_that_nobody_knows(path: str) -> None:
    assert (await Admin().ask("GET", path)).status_code == 200


@pytest.mark.parametrize("path", ["/tyk/domains?p=-1", "/tyk/upstreams?p=-1", "/tyk/expiring?limti=5"])
async def test_ours_do_not(path: str) -> None:
    response = await Admin().ask("GET", path)
    assert (response.status_code, "there is no parameter" in response.json()["message"]) == (400, True)
