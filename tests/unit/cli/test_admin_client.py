"""Where the gateway is, what the secret is, and what the API's refusals become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.cli.address import Address, is_exposed, locate
from gateway.cli.admin_client import AdminClient
from gateway.cli.failures import AdminError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse-battery-staple"


def find(environ: dict[str, str] | None = None, **options: Any) -> Address:
    given: dict[str, Any] = {"server": None, "secret_file": None, "config": None, "found": None} | options
    return locate(environ or {}, **given)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path / "gateway.yaml", f"control_api_port: 9000\nsecret: {SECRET}\n")


def test_the_configuration_file_tells_address_and_secret(config: Path) -> None:
    address = find(found=config)
    assert (address.url, address.secret, address.secret_source) == ("http://127.0.0.1:9000", SECRET, str(config))


def test_a_file_of_tyks_is_read_the_same_way(tmp_path: Path) -> None:
    config = written(tmp_path / "tyk.conf", f'{{"control_api_port": 9001, "secret": "{SECRET}", "storage": {{}}}}')
    assert find(found=config).url == "http://127.0.0.1:9001"


def test_a_configuration_that_could_not_be_served_still_tells_where_the_gateway_is(tmp_path: Path) -> None:
    config = written(
        tmp_path / "gateway.yaml", f"listen_port: many\ncontrol_api_port: 9000\nsecret: {SECRET}\napis: 7\n"
    )
    assert find(found=config).url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("listened_on", "url"),
    [("0.0.0.0", "http://127.0.0.1:9696"), ("'::'", "http://[::1]:9696"), ("10.1.2.3", "http://10.1.2.3:9696")],
)
def test_the_address_to_listen_on_becomes_one_to_ask(tmp_path: Path, listened_on: str, url: str) -> None:
    config = written(tmp_path / "gateway.yaml", f"secret: {SECRET}\ngateway: {{control_address: {listened_on}}}\n")
    assert find(found=config).url == url


def test_without_a_configured_secret_the_generated_one_is_read(tmp_path: Path) -> None:
    generated = written(tmp_path / "state" / "admin.secret", SECRET + "\n")
    config = written(tmp_path / "gateway.yaml", "gateway: {data_dir: state}\n")
    address = find(found=config)
    assert (address.secret, address.secret_source) == (SECRET, str(generated))


def test_the_environment_goes_before_the_file_and_options_before_both(config: Path, tmp_path: Path) -> None:
    environ = {"GATEWAY_ADMIN_URL": "http://127.0.0.1:1", "TYK_GW_SECRET": "from-environment"}
    other = written(tmp_path / "other", "from-file\n")
    found = find(environ, found=config)
    assert (found.url, found.secret) == ("http://127.0.0.1:1", "from-environment")
    found = find(environ, server="http://127.0.0.1:2/", secret_file=other, config=config)
    assert (found.url, found.secret) == ("http://127.0.0.1:2", "from-file")


def test_variables_of_the_gateway_count_as_they_do_for_the_gateway(config: Path) -> None:
    assert find({"TYK_GW_CONTROLAPIPORT": "9002"}, found=config).url == "http://127.0.0.1:9002"


def test_the_secret_of_a_file_that_lies_around_is_not_sent_to_another_server(config: Path) -> None:
    with pytest.raises(AdminError, match="TYK_GW_SECRET") as refused:
        find(server="http://192.0.2.1:9696", found=config)
    assert refused.value.exit_code == 2
    assert find(server="http://192.0.2.1:9696", config=config).secret == SECRET


@pytest.mark.parametrize("url", ["127.0.0.1:9696", "ftp://a", "http://", "http://user:word@a", "http://a:99999", "x"])
def test_what_is_no_address_is_refused_as_wrong_usage(config: Path, url: str) -> None:
    with pytest.raises(AdminError, match="not the address of a server") as refused:
        find(server=url, config=config)
    assert refused.value.exit_code == 2


def test_without_anything_it_says_what_to_give() -> None:
    with pytest.raises(AdminError, match=r"--config FILE.*--server URL") as refused:
        find()
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "said"), [(None, "does not exist"), (b"", "does not hold a secret"), (b"\xff\xfe", "not a text file")]
)
def test_a_secret_file_that_holds_none_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AdminError, match=said):
        find(server="http://127.0.0.1:1", secret_file=path)


def test_a_configuration_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="cannot be read"):
        find(config=tmp_path / "none.yaml")


def test_no_repr_shows_the_secret() -> None:
    assert SECRET not in repr(Address("http://127.0.0.1:1", SECRET, "TYK_GW_SECRET"))


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://localhost:1", False),
        ("http://10.0.0.1", True),
        ("http://gateway.example.com", True),
        ("https://gateway.example.com", False),
    ],
)
def test_a_secret_in_clear_text_on_a_network_is_noticed(url: str, exposed: bool) -> None:
    assert is_exposed(url) is exposed


def client(answer: httpx.Response | Exception) -> AdminClient:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["X-Tyk-Authorization"] == SECRET
        if isinstance(answer, Exception):
            raise answer
        return answer

    return AdminClient(Address("http://gateway", SECRET, "the file"), httpx.MockTransport(handle))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(422, json={"status": "error", "message": "the key is wrong"}), "^the key is wrong$"),
        (
            httpx.Response(403, json={"message": "Attempted administrative access with invalid or missing key!"}),
            "does not accept the secret from the file; .*--secret-file",
        ),
        (httpx.Response(502, text="<html>"), "status 502; is that the gateway's control port"),
        (httpx.Response(302, headers={"Location": "http://elsewhere"}), "status 302"),
        (httpx.Response(200, text="hello"), "does not answer like the admin API"),
        (httpx.ConnectError("Connection refused"), "cannot reach the gateway at http://gateway: Connection refused"),
        (httpx.ConnectTimeout(""), "no connection within 5 s"),
        (httpx.ReadTimeout(""), "no answer within 300 s; `gateway status` tells"),
    ],
)
def test_what_goes_wrong_becomes_a_sentence(answer: httpx.Response | Exception, said: str) -> None:
    with client(answer) as gateway, pytest.raises(AdminError, match=said) as refused:
        gateway.call("GET", "/tyk/certs")
    assert refused.value.exit_code == 1
    assert SECRET not in str(refused.value)


def test_a_status_that_is_an_answer_too_is_returned() -> None:
    with client(httpx.Response(503, json={"message": "not yet"})) as gateway:
        assert gateway.call("GET", "/ready", accept=(503,)) == {"message": "not yet"}


def test_proxies_of_the_environment_are_not_told_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:3128")
    with AdminClient(Address("http://127.0.0.1:1", SECRET, "")) as gateway, pytest.raises(AdminError, match="refused"):
        gateway.call("GET", "/hello")
