from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.config.workshop import API, Workshop

from gateway.config import tyk_names
from gateway.config.definitions import ApiDefinition, Proxy, Transport
from gateway.config.load import Configuration, load
from gateway.config.problems import Severity
from gateway.config.settings import GatewaySection, HttpServerOptions, Limits, Settings
from gateway.errors import ConfigurationError

Api = Callable[..., dict[str, Any]]
SAMPLES = Path(__file__).parents[3] / "config"


@pytest.mark.parametrize("name", ["tyk.conf", "gateway.yaml"])
def test_the_samples_load_without_a_word(name: str) -> None:
    configuration = load(SAMPLES / name, {})
    assert configuration.warnings == ()
    assert [(api.domain, api.proxy.target_url) for api in configuration.apis] == [
        ("alpha.localhost", "http://127.0.0.1:9001/"),
        ("{tenant}.beta.localhost", "http://127.0.0.1:9002/"),
    ]
    assert configuration.settings.gateway.http_redirect is not None
    certificates = [*configuration.settings.http_server_options.ssl_certificates]
    for api in configuration.apis:
        certificates += api.certificates
    assert [Path(path).name for path in certificates] == ["localhost.pem", "alpha.localhost.pem", "beta.localhost.pem"]
    assert {Path(path).resolve().parent for path in certificates} == {SAMPLES.parent / "certs" / "demo"}


def test_both_samples_say_the_same() -> None:
    one, two = (load(SAMPLES / name, {}) for name in ("tyk.conf", "gateway.yaml"))
    assert one.settings.model_copy(update={"app_path": None}) == two.settings


def test_a_file_with_every_key_of_tyk_loads_with_a_note_on_each_that_means_nothing(
    workshop: Workshop, api: Api
) -> None:
    object_or_not = {"anything": {"at": ["all", 1, None]}}
    noted = [row.path for row in tyk_names.MAIN_FILE if row.fate is tyk_names.Fate.NOTED and "." not in row.path]
    options = HttpServerOptions.tyk_only
    main = {
        **dict.fromkeys(noted, object_or_not),
        "http_server_options": dict.fromkeys(options, True),
        "apis": [api(**dict.fromkeys(ApiDefinition.tyk_only), proxy=dict.fromkeys(Proxy.tyk_only))],
    }
    problems = workshop.problems(main)
    assert {problem.severity for problem in problems} == {Severity.NOTE}
    assert len(problems) == len(noted) + len(options)


def test_names_of_tyk_and_keys_that_are_obeyed_are_apart() -> None:
    for model in (Settings, HttpServerOptions, ApiDefinition, Proxy, Transport):
        assert model.tyk_only.isdisjoint(model.model_fields)
        assert all(name == name.lower() for name in model.tyk_only)


@pytest.mark.parametrize("directory", ["/etc/tyk/apps", "/opt/tyk-gateway/apps/"])
def test_the_app_path_of_tyks_own_files_may_be_absent(workshop: Workshop, directory: str) -> None:
    if Path(directory).exists():
        pytest.skip("this host has Tyk")
    assert "warning: app_path @ main.json:1: the directory" in workshop.told({"app_path": directory})


def test_any_other_app_path_must_exist(workshop: Workshop) -> None:
    assert "error: app_path @ main.json:1: the directory nowhere does not exist" in workshop.told(
        {"app_path": "nowhere"}
    )
    assert "error: app_path @ main.json:1: main.json cannot be listed" in workshop.told({"app_path": "main.json"})


def test_definitions_come_from_the_directory_in_order_and_from_the_main_file(workshop: Workshop, api: Api) -> None:
    def place(path: str) -> dict[str, Any]:
        return api(api_id=path, proxy={"listen_path": path.strip("/") or "/"}) | {"api_id": path.strip("/")}

    workshop.write(place("/b"), "defs/b.json")
    workshop.write("api_id: a\nuse_keyless: true\nproxy: {listen_path: /a, target_url: 'http://a'}\n", "defs/a.yml")
    for skipped in ("defs/c-mcp.json", "defs/notes.txt", "defs/sub/d.json", "defs/e.json.bak"):
        workshop.write("not even JSON", skipped)
    configuration = workshop.load({"app_path": "defs", "apis": [place("/inline")]})
    assert [definition.api_id for definition in configuration.apis] == ["inline", "a", "b"]
    names = [file.relative_to(workshop.directory).as_posix() for file in configuration.files]
    assert names == ["main.json", "defs/a.yml", "defs/b.json"]


def test_the_directory_beside_the_main_file_is_read_unless_that_defines_apis_itself(
    workshop: Workshop, api: Api
) -> None:
    workshop.write(api(api_id="beside"), "apps/a.json")
    assert [one.api_id for one in workshop.load({}).apis] == ["beside"]
    assert [one.api_id for one in workshop.load({"apis": [api()]}).apis] == ["one"]
    both = workshop.load({"app_path": "apps", "apis": [api(proxy={"listen_path": "/x"})]})
    assert [one.api_id for one in both.apis] == ["one", "beside"]


def test_definitions_that_are_not_served_are_notes_whatever_else_they_say(workshop: Workshop) -> None:
    told = workshop.told({"apis": [{"active": False, "use_oauth2": True}, {"internal": True}, {**API, "active": None}]})
    assert told.splitlines() == [
        "note: apis[0].active @ main.json:1: is false: this API is not served",
        "note: apis[1].internal @ main.json:1: is true: this API is not served",
    ]


@pytest.mark.parametrize(
    ("apis", "words"),
    [
        ({}, "error: apis @ main.json:1: must be a list"),
        ([{**API, "API_ID": "x"}], "error: apis[0].API_ID @ main.json:1: the key stands twice"),
        ([5], "error: apis[0] @ main.json:1: an API definition must be a section"),
        (
            [{"openapi": "3.0.3", "info": {}}],
            "error: apis[0].x-tyk-api-gateway @ main.json:1: is not there, so nothing says where",
        ),
    ],
)
def test_what_is_no_definition_is_an_error(workshop: Workshop, apis: Any, words: str) -> None:
    assert words in workshop.told({"apis": apis})


def test_two_lists_of_apis_are_an_error(workshop: Workshop) -> None:
    assert "error: APIS @ main.json:1: the key stands twice" in workshop.told({"apis": [], "APIS": [API]})


def test_all_problems_of_all_files_are_told_at_once_in_order(workshop: Workshop, api: Api) -> None:
    workshop.write("{", "apps/a.json")
    workshop.write(api(domain="x/y"), "apps/b.json")
    workshop.write({}, "apps/c.json")
    lines = workshop.told('{"listen_port": -1,\n"hostname": "a b",\n"secret": 1}', TYK_GW_FROBNICATE="1").splitlines()
    sources = [line.partition(" @ ")[2].partition(": ")[0] or line.split(": ")[1] for line in lines]
    assert sources == [
        "TYK_GW_FROBNICATE",
        "main.json:1",
        "main.json:2",
        "main.json:3",
        "apps/a.json:1",
        "apps/b.json:1",
        "apps/c.json:1",
        "apps/c.json:1",
        "apps/c.json:1",
    ]


def test_a_main_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "none.yaml", {})


def test_secrets_and_inline_keys_stay_out_of_copies_and_texts(workshop: Workshop, api: Api) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"
    pair = {"cert_file": "a", "key_file": "b", "passphrase": "hunter2"}
    options = {"use_ssl": True, "ssl_certificates": [pem], "certificates": [pair]}
    configuration = workshop.load(
        {"secret": "hunter2", "http_server_options": options, "apis": [api(certificates=[pem])]}
    )
    assert "hunter2" not in configuration.model_dump_json() + repr(configuration) + str(configuration)
    copy = Configuration.model_validate_json(configuration.model_dump_json())
    assert copy.settings.secret is None
    assert copy.settings.http_server_options.certificates[0].passphrase is None
    assert len(copy.settings.http_server_options.ssl_certificates) == 1


NAMES = sorted(
    {*Settings.model_fields, *HttpServerOptions.model_fields, *GatewaySection.model_fields, *Limits.model_fields}
    | {*ApiDefinition.model_fields, *Proxy.model_fields, *Transport.model_fields, "apis", "storage", "version_data"}
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["/", ".", "http://a", "a.example", "*.a", "{x:[}", "1.2", "json", "\u0000", 771, 8443])
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=5),
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES) | st.text(), TREES, max_size=6),
    st.lists(st.dictionaries(st.sampled_from(NAMES), TREES, max_size=8), max_size=2),
    st.dictionaries(
        st.sampled_from(
            ["TYK_GW_LISTENPORT", "TYK_GW_HTTPSERVEROPTIONS_CERTIFICATES", "TYK_GW_X", "TYK_GW_GATEWAY_LIMITS_X"]
        ),
        st.text(),
    ),
)
def test_any_mapping_is_a_configuration_or_a_list_of_problems(
    main: Mapping[str, Any], apis: list[Any], environ: Mapping[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "main.json"
        path.write_text(json.dumps({"apis": apis, **main}), encoding="utf-8")
        configuration = None
        try:
            configuration = load(path, environ)
        except ConfigurationError as error:
            problems = error.problems
        else:
            problems = configuration.warnings
            Configuration.model_validate_json(configuration.model_dump_json())
        refused = any(problem.severity is Severity.ERROR for problem in problems)
        assert refused is (configuration is None)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "listen_port": st.integers(1, 9000),
            "hostname": st.sampled_from(["", "a.example", "{x}.example"]),
            "proxy_default_timeout": st.floats(0, 1000),
            "proxy_ssl_min_version": st.sampled_from([0, 769, "1.2"]),
            "http_server_options": st.fixed_dictionaries(
                {"use_ssl": st.just(True)},
                optional={
                    "ssl_certificates": st.lists(st.sampled_from(["a.pem", "/b.pem"])),
                    "ssl_ciphers": st.lists(st.text("AESGCM+:-_", min_size=1)),
                    "certificates": st.just([{"cert_file": "a", "key_file": "b", "chain_file": "c"}]),
                },
            ),
            "gateway": st.fixed_dictionaries(
                {},
                optional={
                    "trusted_proxies": st.just(["10.0.0.0/8"]),
                    "access_log": st.sampled_from(["off", {"path": "x"}]),
                    "http_redirect": st.just({"port": 9999}),
                    "limits": st.just({"body_bytes": 0}),
                },
            ),
        },
    ),
    st.sampled_from(["/", "a/../b/", "/{id}"]),
)
def test_a_configuration_reads_back_equal_from_its_json(main: Mapping[str, Any], listen_path: str) -> None:
    definition = {**API, "proxy": {"listen_path": listen_path, "target_url": "http://a", "target_list": ["b"]}}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "main.json"
        path.write_text(json.dumps({**main, "apis": [definition]}), encoding="utf-8")
        configuration = load(path, {})
    assert Configuration.model_validate_json(configuration.model_dump_json()) == configuration


def test_ids_of_the_store_stay_as_they_are_unless_a_file_is_called_so(workshop: Workshop, api: Api) -> None:
    plain, owned, file = "0a" * 32, "org_1-" + "0a" * 32, "f" * 64
    workshop.write("", file)
    references = [plain, owned, file, "certs/" + plain, plain + ".pem", plain[1:]]
    configuration = workshop.load(
        {"http_server_options": {"ssl_certificates": references}, "apis": [api(certificates=[owned])]}
    )
    paths = [str(workshop.directory / name) for name in references[2:]]
    assert configuration.settings.http_server_options.ssl_certificates == (plain, owned, *paths)
    assert configuration.apis[0].certificates == (owned,)
    named = workshop.load({}, TYK_GW_HTTPSERVEROPTIONS_SSLCERTIFICATES=f"{owned},{plain}")
    assert named.settings.http_server_options.ssl_certificates == (owned, plain)


def test_certificates_live_beside_the_main_file_unless_it_says_otherwise(workshop: Workshop) -> None:
    assert workshop.load({}).settings.gateway.certificates_dir is None
    (workshop.directory / "certs").mkdir()
    assert workshop.load({}).settings.gateway.certificates_dir == workshop.directory / "certs"
    named = workshop.load({"gateway": {"certificates_dir": "elsewhere"}})
    assert named.settings.gateway.certificates_dir == workshop.directory / "elsewhere"


def test_the_environment_can_do_without_a_main_file(workshop: Workshop, api: Api) -> None:
    workshop.write(api(), "defs/one.json")
    environ = {"TYK_GW_OMITCONFIGFILE": "true", "TYK_GW_APPPATH": str(workshop.directory / "defs")}
    configuration = load(workshop.directory / "none.conf", {**environ, "TYK_GW_LISTENPORT": "8443"})
    assert (configuration.settings.listen_port, [one.api_id for one in configuration.apis]) == (8443, ["one"])
    workshop.write("{ broken", "tyk.conf")
    assert load(workshop.directory / "tyk.conf", environ).apis == configuration.apis
    with pytest.raises(ConfigurationError):
        load(workshop.directory / "tyk.conf", {**environ, "TYK_GW_OMITCONFIGFILE": "false"})


def test_a_star_is_the_name_of_whoever_matches_nothing(workshop: Workshop) -> None:
    files = {"cert_file": "a.crt", "key_file": "a.key"}
    options = {"use_ssl": True, "server_name": "*", "certificates": [{"domain_name": "*", **files}]}
    assert (
        workshop.load({"http_server_options": options, "apis": [API]}).settings.http_server_options.server_name == "*"
    )
