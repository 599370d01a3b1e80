"""The checks of control, against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from support.front import AUTHORITY, api, configuration, until
from support.trusted import Place, found
from support.upstream import Connection, ok, silent, upstream

from gateway.observe.events import EventLog
from gateway.runtime.probes import Probes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.config.load import Configuration
    from gateway.runtime.messages import Probed


class Published:
    """Stands in for the roster: remembers what workers would be told."""

    def __init__(self) -> None:
        self.messages: list[Probed] = []

    def publish(self, message: Probed) -> None:
        self.messages.append(message)


class Probing:
    """Running probes, what they told, and what they logged."""

    def __init__(self, log: Path, config: Configuration) -> None:
        self.configuration = config
        self.roster = Published()
        self._log = log
        self._fd = os.open(log, os.O_CREAT | os.O_WRONLY)
        self.probes = Probes(lambda: self.configuration, self.roster, EventLog(self._fd))  # type: ignore[arg-type]

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def __aenter__(self) -> Probing:
        self._task = asyncio.create_task(self.probes.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        os.close(self._fd)


def checked(*entries: dict[str, Any], samples: int = 1, **more: Any) -> Configuration:
    tests = {"config": {"failure_trigger_sample_size": samples, "time_wait": 1}}
    return configuration(api(api_id="one", uptime_tests={"check_list": entries}, **more), uptime_tests=tests)


def answering(status: bytes) -> Any:
    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)

    return answer


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content"])
async def test_a_host_that_answers_2xx_is_up(log: Path, status: bytes) -> None:
    async with upstream(answering(status)) as up:
        async with Probing(log, checked({"url": up.url + "health"})) as probing:
            await until(lambda: up.requests != [])
            await until(lambda: probing.probes._told is not None)
    assert up.requests[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert [message.down for message in probing.roster.messages] == [()]


@pytest.mark.parametrize(
    ("status", "said"),
    [(b"500 Oh", "it answers 500"), (b"302 Found\r\nLocation: /", "it answers 302"), (b"20 Oops", "is down:")],
)
async def test_any_other_answer_turns_it_down(log: Path, status: bytes, said: str) -> None:
    async with upstream(answering(status)) as up:
        async with Probing(log, checked({"url": up.url})) as probing:
            await until(lambda: probing.roster.messages != [])
    assert probing.roster.messages[0].down == (f"one 127.0.0.1 {up.port}",)
    assert said in probing.log


async def test_silence_turns_it_down_after_its_timeout(log: Path) -> None:
    async with upstream(silent) as up:
        async with Probing(log, checked({"url": up.url, "timeout": 0.1})) as probing:
            await until(lambda: probing.roster.messages != [])
    assert "no answer within 0.1 s" in probing.log


async def test_the_request_is_made_as_the_check_says(log: Path) -> None:
    async with upstream(answering(b"200 OK")) as up:
        entry = {"url": up.url, "method": "POST", "headers": {"Host": "app.test", "X-A": "b"}, "body": "ping"}
        async with Probing(log, checked(entry)):
            await until(lambda: up.requests != [])
    head = up.requests[0].lower()
    assert head.startswith(b"post / http/1.1\r\n")
    assert all(line in head for line in (b"\r\nhost: app.test\r\n", b"\r\nx-a: b\r\n", b"\r\ncontent-length: 4\r\n"))


async def test_a_tcp_check_only_connects_and_hosts_come_back(log: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Probing(log, checked({"url": f"tcp://127.0.0.1:{port}"})) as probing:
        await until(lambda: probing.probes._told is not None)
        server.close()
        await until(lambda: probing.probes.down == {f"one 127.0.0.1 {port}"})
        again = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        async with again:
            await until(lambda: probing.probes.down == frozenset())
    assert [message.down for message in probing.roster.messages] == [(), (f"one 127.0.0.1 {port}",), ()]
    assert f"127.0.0.1 port {port} is up again" in probing.log


@contextlib.asynccontextmanager
async def tls_upstream(directory: Path) -> AsyncIterator[int]:
    pair = AUTHORITY.leaf("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = directory / "upstream.pem"
    path.touch(mode=0o600)
    path.write_bytes(pair.chain_pem + pair.key_pem)
    context.load_cert_chain(path)
    async with upstream(_once, context) as up:
        yield up.port


async def _once(connection: Connection) -> None:
    await connection.request()
    await connection.send(ok())


@pytest.mark.parametrize("insecure", [False, True])
async def test_tls_is_the_apis_own(log: Path, insecure: bool) -> None:
    """The test's authority is not one of the system's, so only who does not look accepts it."""
    async with tls_upstream(log.parent) as port:
        proxy = {"transport": {"ssl_insecure_skip_verify": insecure}}
        async with Probing(log, checked({"url": f"https://127.0.0.1:{port}/"}, proxy=proxy)) as probing:
            await until(lambda: probing.probes._told is not None)
            assert bool(probing.probes.down) is not insecure
    assert ("certificate verify failed" in probing.log) is not insecure


@pytest.mark.parametrize("fault", ["", "no certificate", "other name", "other key", "missing"])
async def test_a_host_is_met_as_requests_meet_it(log: Path, tmp_path: Path, fault: str) -> None:
    """Authority, name, pin and certificate are the API's; who is not meant is asked nothing."""
    place = Place(tmp_path)
    leaf = place.leaf("db.internal")
    own = {"ca_file": place.ca, "server_name": "db.internal"}
    if fault != "no certificate":
        own["certificate"] = place.bundle("client.pem", place.leaf("the.client"))
    pin = place.write("pin.pem", (place.leaf("x") if fault == "other key" else leaf).cert_chain_pems[0].bytes())
    if fault == "other name":
        own["server_name"] = "other.internal"
    if fault == "missing":
        own["ca_file"] = "/nowhere/ca.pem"
    async with upstream(_once, place.server(leaf, clients=place.authority)) as up:
        entry = {"url": f"https://127.0.0.1:{up.port}/"}
        config = checked(entry, gateway={"upstream_tls": own}, pinned_public_keys={"*": (pin,)})
        async with Probing(log, found(config)) as probing:
            await until(lambda: probing.probes._told is not None)
            assert bool(probing.probes.down) is bool(fault)
        assert bool(up.requests) is not bool(fault)


async def test_a_control_that_has_just_begun_says_nothing_before_it_knows(log: Path) -> None:
    """What the one before it said holds until then: else a host that is down would get requests for a while."""
    async with upstream(answering(b"500 Oh")) as up:
        async with Probing(log, checked({"url": up.url}, samples=2)) as probing:
            await until(lambda: up.connections == 1)
            assert probing.roster.messages == []
            await until(lambda: probing.roster.messages != [])
    assert probing.roster.messages[0].down == (f"one 127.0.0.1 {up.port}",)


async def test_where_nothing_is_checked_nothing_is_down(log: Path) -> None:
    async with Probing(log, configuration(api(api_id="one"))) as probing:
        await until(lambda: probing.roster.messages != [])
    assert probing.roster.messages[0].down == ()


async def test_a_reload_begins_a_new_round_and_forgets_what_is_checked_no_more(log: Path) -> None:
    async with upstream(answering(b"500 Oh")) as up:
        async with Probing(log, checked({"url": up.url})) as probing:
            await until(lambda: bool(probing.roster.messages) and bool(probing.roster.messages[-1].down))
            probing.configuration = configuration(api(api_id="one"), uptime_tests={"config": {"time_wait": 3600}})
            probing.probes.follow()
            await until(lambda: probing.roster.messages[-1].down == ())


async def test_no_more_checks_run_at_once_than_allowed(log: Path) -> None:
    now, most = 0, 0

    async def counting(connection: Connection) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await connection.request()
        await asyncio.sleep(0.01)
        now -= 1
        await connection.send(ok())

    async with upstream(counting) as up:
        config = configuration(
            api(api_id="one", uptime_tests={"check_list": tuple({"url": f"{up.url}{n}"} for n in range(30))}),
            uptime_tests={"config": {"checker_pool_size": 3}},
        )
        async with Probing(log, config):
            await until(lambda: len(up.requests) == 30)
    assert most == 3
