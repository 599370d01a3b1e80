"""An API with several targets: real upstreams that fail, hang, close and move, behind a real front."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.balanced import HOST, balanced, bodies, named, named_upstreams, serve_new, unused_url
from support.front import configuration, front, until
from support.upstream import Connection, answering, ok, silent, upstream

from gateway.routing import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from support.front import Response

# policies


async def test_targets_take_turns_by_their_weights(tmp_path: Path) -> None:
    async with named_upstreams(3) as ups:
        config = configuration(balanced([up.url for up in ups], balancing={"weights": (3, 2, 1)}))
        async with front(tmp_path, config) as gate:
            assert Counter(await bodies(gate, 60)) == {b"0": 30, b"1": 20, b"2": 10}


async def test_a_target_that_is_listed_twice_has_twice_the_weight(tmp_path: Path) -> None:
    async with named_upstreams(2) as ups:
        async with front(tmp_path, configuration(balanced([ups[0].url, ups[0].url, ups[1].url]))) as gate:
            assert Counter(await bodies(gate, 30)) == {b"0": 20, b"1": 10}


async def test_the_least_busy_target_gets_the_next_request(tmp_path: Path) -> None:
    async with upstream(silent) as busy, upstream(named(b"free")) as free:
        config = configuration(balanced([busy.url, free.url], balancing={"policy": "least_requests"}))
        async with front(tmp_path, config) as gate:
            waiting = await gate.connect()
            waiting.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: busy.connections == 1)
            assert await bodies(gate, 20) == [b"free"] * 20
            waiting.close()


@pytest.mark.parametrize(
    ("hash_on", "field"), [("header:X-Tenant", b"X-Tenant: %d"), ("cookie:tenant", b"Cookie: a=b; tenant=%d; c=d")]
)
async def test_the_same_key_goes_to_the_same_target(tmp_path: Path, hash_on: str, field: bytes) -> None:
    async with named_upstreams(3) as ups:
        urls = [up.url for up in ups]
        config = configuration(balanced(urls, balancing={"policy": "hash", "hash_on": hash_on}))
        async with front(tmp_path, config) as gate:
            found = [set(await bodies(gate, 3, field % tenant)) for tenant in range(20)]
            assert all(len(targets) == 1 for targets in found)
            assert set.union(*found) == {b"0", b"1", b"2"}


async def test_one_client_address_goes_to_one_target_and_trusted_proxies_speak_for_others(tmp_path: Path) -> None:
    async with named_upstreams(3) as ups:
        config = configuration(
            balanced([up.url for up in ups], balancing={"policy": "hash"}), gateway={"trusted_proxies": ("127.0.0.1",)}
        )
        async with front(tmp_path, config) as gate:
            assert len(set(await bodies(gate, 6))) == 1
            others = [await bodies(gate, 2, b"X-Forwarded-For: 198.51.100.%d" % number) for number in range(20)]
            assert all(one == two for one, two in others)
            assert {one for one, _ in others} == {b"0", b"1", b"2"}


def cookie_of(response: Response) -> bytes:
    (line,) = response.field(b"Set-Cookie")
    assert line.endswith(b"; Path=/; Secure; HttpOnly; SameSite=Lax")
    return line.split(b";")[0]


async def test_a_cookie_keeps_a_client_at_its_target_until_that_fails(tmp_path: Path) -> None:
    async with named_upstreams(2) as ups, upstream(named(b"mortal")) as mortal:
        urls = [mortal.url, *(up.url for up in ups)]
        async with front(tmp_path, configuration(balanced(urls, balancing={"policy": "sticky"}))) as gate:
            first = await gate.get()
            assert first.body == b"mortal"
            cookie = cookie_of(first)
            for _ in range(5):
                again = await gate.get("/", b"Cookie: x=y; " + cookie)
                assert (again.body, again.field(b"Set-Cookie")) == (b"mortal", [])
            forged = await gate.get("/", b"Cookie: " + cookie[:-1] + b"!")
            assert forged.body != b"mortal"
            assert cookie_of(forged) != cookie
            mortal.close()
            moved = await gate.get("/", b"Cookie: " + cookie)
            assert moved.body in (b"0", b"1")
            assert (await gate.get("/", b"Cookie: " + cookie_of(moved))).body == moved.body


async def test_a_cookie_of_an_earlier_key_leads_nowhere_and_a_new_one_does(tmp_path: Path) -> None:
    async with named_upstreams(3) as ups:
        config = configuration(balanced([up.url for up in ups], balancing={"policy": "sticky"}))
        async with front(tmp_path, config) as gate:
            early = cookie_of(await gate.get())
            gate.server.upstreams.sign_cookies_with(b"another key")
            moved = await gate.get("/", b"Cookie: " + early)
            late = cookie_of(moved)
            assert late != early
            for _ in range(5):
                again = await gate.get("/", b"Cookie: " + late)
                assert (again.body, again.field(b"Set-Cookie")) == (moved.body, [])


# failing targets


async def test_a_target_that_refuses_is_retried_elsewhere_and_then_left_out(tmp_path: Path) -> None:
    async with named_upstreams(1) as ups:
        config = configuration(balanced([unused_url(), ups[0].url], health={"failures": 3}))
        async with front(tmp_path, config) as gate:
            assert await bodies(gate, 40) == [b"0"] * 40
            await gate.logged("event=upstream.ejected")
            states = tuple(gate.server.upstreams.states(["balanced"]))
            assert [(state.failures, state.retries) for state in states] == [(3, 3), (0, 0)]
            assert states[0].ejected > 0 == states[1].ejected


async def test_a_target_that_works_again_is_let_in_when_its_time_is_over(tmp_path: Path) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    async with named_upstreams(1) as ups:
        rules = {"failures": 1, "ejection_time": 0.1, "max_ejection_time": 0.1}
        config = configuration(balanced([f"http://127.0.0.1:{port}/", ups[0].url], health=rules))
        async with front(tmp_path, config) as gate:
            assert await bodies(gate, 2) == [b"0", b"0"]
            await gate.logged("event=upstream.ejected")
            gate.server.apply(snapshot.build(config, 2), frozenset())  # the ejection ends under another snapshot
            async with await asyncio.start_server(serve_new, "127.0.0.1", port):
                balancer = gate.server.snapshot.apis["balanced"].balancer
                assert balancer is not None
                await until(lambda: balancer._weights == (100, 100))
                assert set(await bodies(gate, 4)) == {b"0", b"new"}


async def test_an_upstream_that_dies_under_load_costs_no_request_that_is_safe_to_repeat(tmp_path: Path) -> None:
    async with named_upstreams(2) as ups, upstream(named(b"mortal")) as mortal:
        async with front(tmp_path, configuration(balanced([mortal.url, *(up.url for up in ups)]))) as gate:
            found: Counter[bytes] = Counter()

            async def ask() -> None:
                client = await gate.connect()
                for _ in range(40):
                    response = await client.ask(b"GET / HTTP/1.1", HOST)
                    found[response.body if response.status == 200 else b"failed"] += 1
                    if found.total() == 200:
                        mortal.close()
                client.close()

            await asyncio.gather(*(ask() for _ in range(10)))
    assert found.total() == 400
    assert found[b"failed"] == 0
    assert found[b"mortal"] < 100


async def test_a_request_with_a_body_is_sent_elsewhere_when_nothing_of_it_was_sent(tmp_path: Path) -> None:
    async with upstream() as up:
        async with front(tmp_path, configuration(balanced([unused_url(), up.url]))) as gate:
            client = await gate.connect()
            for _ in range(4):
                response = await client.ask(b"POST / HTTP/1.1", HOST, b"Content-Length: 3", body=b"abc")
                assert response.body == b"POST / HTTP/1.1|abc"
            client.close()


async def closing(connection: Connection) -> None:
    await connection.request()


@pytest.mark.parametrize(("method", "status"), [(b"GET", 200), (b"PUT", 200), (b"POST", 502), (b"PATCH", 502)])
async def test_what_was_sent_is_repeated_only_where_that_is_safe(tmp_path: Path, method: bytes, status: int) -> None:
    async with upstream(closing) as bad, upstream(answering) as good:
        async with front(tmp_path, configuration(balanced([bad.url, good.url]))) as gate:
            client = await gate.connect()
            assert (await client.ask(method + b" / HTTP/1.1", HOST)).status == status
            client.close()
    assert len(bad.requests) == 1
    assert len(good.requests) == (status == 200)


async def test_a_request_with_a_body_is_not_repeated_once_it_was_sent(tmp_path: Path) -> None:
    async with upstream(closing) as bad, upstream(answering) as good:
        async with front(tmp_path, configuration(balanced([bad.url, good.url]))) as gate:
            client = await gate.connect()
            assert (await client.ask(b"PUT / HTTP/1.1", HOST, b"Content-Length: 3", body=b"abc")).status == 502
            client.close()
    assert not good.requests


async def cut(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


async def test_a_response_that_began_is_never_asked_for_again(tmp_path: Path) -> None:
    async with upstream(cut) as bad, upstream(answering) as good:
        async with front(tmp_path, configuration(balanced([bad.url, good.url]))) as gate:
            client = await gate.connect()
            client.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await client.ended()).endswith(b"half")
    assert not good.requests


async def test_retries_stop_when_the_budget_is_spent(tmp_path: Path) -> None:
    urls = [unused_url() for _ in range(3)]
    options = {"balancing": {"retry_share": 0.0, "retry_floor": 1}, "health": {"failures": 0}}
    async with front(tmp_path, configuration(balanced(urls, **options))) as gate:
        for _ in range(30):
            assert (await gate.get()).status == 502
        assert 10 <= sum(state.retries for state in gate.server.upstreams.states(["balanced"])) <= 12


async def test_a_silent_target_is_given_up_by_its_own_timeout_and_left_out(tmp_path: Path) -> None:
    async with upstream(silent) as slow, named_upstreams(1) as ups:
        config = configuration(
            balanced([slow.url, ups[0].url], timeouts={"response": 0.1}, health={"failures": 1, "ejection_time": 60})
        )
        async with front(tmp_path, config) as gate:
            assert (await gate.get()).status == 504
            assert await bodies(gate, 10) == [b"0"] * 10


async def test_half_closed_connections_are_not_reused(tmp_path: Path) -> None:
    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.send(ok(b"once"))
        connection.writer.write_eof()
        await connection.reader.read()

    async with upstream(once) as up:
        async with front(tmp_path, configuration(balanced([up.url, up.url + "b"]))) as gate:
            for _ in range(10):
                assert (await gate.get()).body == b"once"
    assert up.connections == 10


async def test_a_reload_keeps_connections_and_what_is_known_of_targets(tmp_path: Path) -> None:
    async with named_upstreams(2) as ups:
        bad = unused_url()
        rules = {"health": {"failures": 1, "ejection_time": 60}}
        async with front(tmp_path, configuration(balanced([bad, ups[0].url], **rules))) as gate:
            await bodies(gate, 4)
            following = configuration(balanced([ups[0].url, bad, ups[1].url], **rules))
            gate.server.apply(snapshot.build(following, 2), frozenset())
            assert set(await bodies(gate, 20)) == {b"0", b"1"}
            _, out, _ = gate.server.upstreams.states(["balanced"])
            assert out.ejected > 0
            assert out.failures == 1
    assert ups[0].connections == 1


async def test_all_hosts_down_is_a_503_with_retry_after(tmp_path: Path) -> None:
    async with named_upstreams(2) as ups:
        definition = balanced([up.url for up in ups], proxy={"check_host_against_uptime_tests": True})
        async with front(tmp_path, configuration(definition)) as gate:
            down = frozenset(f"balanced 127.0.0.1 {up.port}" for up in ups)
            gate.server.upstreams.probed(down)
            refused = await gate.get()
            assert (refused.status, refused.field(b"Retry-After")) == (503, [b"5"])
            assert b"all hosts are down" in refused.body
            gate.server.upstreams.probed(frozenset({f"balanced 127.0.0.1 {ups[0].port}"}))
            assert await bodies(gate, 4) == [b"1"] * 4
            gate.server.apply(snapshot.build(configuration(definition), 2), frozenset())
            assert await bodies(gate, 4) == [b"1"] * 4
            definition["proxy"]["check_host_against_uptime_tests"] = False
            gate.server.apply(snapshot.build(configuration(definition), 3), frozenset())
            assert set(await bodies(gate, 4)) == {b"0", b"1"}
