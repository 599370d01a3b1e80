"""Which APIs name a domain, and what refers to a stored certificate."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.definitions import ApiDefinition, Proxy
from gateway.config.load import Configuration
from gateway.config.settings import HttpServerOptions, Settings
from gateway.runtime.naming import Naming


def api(api_id: str, domain: str = "", **more: Any) -> ApiDefinition:
    proxy = Proxy(listen_path="/", target_url="http://127.0.0.1/")
    return ApiDefinition(api_id=api_id, domain=domain, use_keyless=True, proxy=proxy, **more)


def naming(*apis: ApiDefinition, **settings: Any) -> Naming:
    return Naming(Configuration(settings=Settings(**settings), apis=apis, warnings=(), files=()))


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("a.test", ("exact",)),
        ("www.a.test", ("below", "wild")),
        ("x.a.test", ("wild",)),
        ("*.a.test", ("wild", "below")),
        ("t.b.test", ("template",)),
        ("*.b.test", ("template",)),
        ("host.test", ("anonymous", "off")),
        ("c.test", ()),
    ],
)
def test_an_api_names_what_it_answers_for(name: str, ids: tuple[str, ...]) -> None:
    index = naming(
        api("exact", "A.test"),
        api("below", "www.a.test"),
        api("wild", "*.a.test"),
        api("template", "{sub}.b.test"),
        api("anonymous"),
        api("off", "c.test", domain_disabled=True),
        hostname="host.test",
    )
    assert index.apis(name) == ids


def test_without_custom_domains_no_domain_is_named() -> None:
    assert naming(api("one", "a.test"), enable_custom_domains=False).apis("a.test") == ()


def test_whoever_refers_to_a_certificate_is_told() -> None:
    index = naming(api("one", certificates=("id",)), http_server_options=HttpServerOptions(ssl_certificates=("id",)))
    assert index.users("id") == ("http_server_options.ssl_certificates", "API one")
    assert index.users("other") == ()
    towards = naming(
        api("one", upstream_certificates={"*": "id"}, pinned_public_keys={"a.test": ("other", "id")}),
        api("off", upstream_certificates={"*": "id"}, upstream_certificates_disabled=True),
    )
    assert towards.users("id") == ("apis[one].upstream_certificates.*", "apis[one].pinned_public_keys.a.test")
