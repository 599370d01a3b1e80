"""An API with several targets: real upstreams that fail, hang, close and move, behind a real front."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.front import api, configuration, front, until
from support.upstream import Connection, Upstream, answering, ok, silent, upstream

from gateway.routing import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from support.front import Front, Response

HOST = b"Host: localhost"


def named(name: bytes) -> Callable[[Connection], Any]:
    async def answer(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(ok(name))

    return answer


@contextlib.asynccontextmanager
async def named_upstreams(count: int) -> AsyncIterator[list[Upstream]]:
    """Run upstreams that answer with their numbers."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(upstream(named(b"%d" % number))) for number in range(count)]


def balanced(urls: list[str], **gateway: Any) -> dict[str, Any]:
    proxy = {"enable_load_balancing": True, "target_list": tuple(urls), **gateway.pop("proxy", {})}
    return api(urls[0], api_id="balanced", proxy=proxy, gateway=gateway)


def unused_url() -> str:
    """An address that refuses connections: bound, and never listened on."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    return f"http://127.0.0.1:{port}/"


async def bodies(gate: Front, count: int, *lines: bytes) -> list[bytes]:
    """Ask so many times on one connection."""
    client = await gate.connect()
    found = [(await client.ask(b"GET / HTTP/1.1", HOST, *lines)).body for _ in range(count)]
    client.close()
    return found


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


# bounds


def one_at_a_time(up: Upstream, **queue: Any) -> dict[str, Any]:
    return api(up.url, api_id="bounded", gateway={"queue": {"max_connections": 1, **queue}})


async def test_requests_wait_in_line_for_a_connection(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(one_at_a_time(up))) as gate:
        answers = await asyncio.gather(*(gate.get(f"/{number}") for number in range(20)))
        assert [answer.body for answer in answers] == [b"GET /%d HTTP/1.1|" % number for number in range(20)]
    assert up.connections == 1


async def test_a_full_line_is_a_503_with_retry_after_and_the_line_is_first_come_first_served(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def held(connection: Connection) -> None:
        while True:
            head = await connection.head()
            await go_on.wait()
            await connection.send(ok(head.split(b" ")[1]))

    async with upstream(held) as up, front(tmp_path, configuration(one_at_a_time(up, length=2))) as gate:
        clients = [await gate.connect() for _ in range(3)]
        (target,) = gate.server.snapshot.apis["bounded"].upstreams
        pool = gate.server.upstreams.pool(target)
        for number, client in enumerate(clients):
            client.writer.write(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            await until(lambda number=number: pool.waiting == number)
        refused = await gate.get()
        assert (refused.status, refused.field(b"Retry-After")) == (503, [b"5"])
        clients[1].close()
        await until(lambda: pool.waiting == 1)
        go_on.set()
        assert [(await clients[number].response()).body for number in (0, 2)] == [b"/0", b"/2"]
        assert [head.split(b" ")[1] for head in up.requests] == [b"/0", b"/2"]
        clients[0].close()
        clients[2].close()


async def test_a_wait_in_line_has_an_end(tmp_path: Path) -> None:
    async with upstream(silent) as up, front(tmp_path, configuration(one_at_a_time(up, timeout=0.2))) as gate:
        first = await gate.connect()
        first.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: up.connections == 1)
        assert (await gate.get()).status == 503
        first.close()


async def test_the_place_of_a_broken_connection_goes_to_the_next_in_line(tmp_path: Path) -> None:
    async with upstream(closing) as up, front(tmp_path, configuration(one_at_a_time(up))) as gate:
        answers = await asyncio.gather(*(gate.get() for _ in range(5)))
        assert [answer.status for answer in answers] == [502] * 5
    assert up.connections == 5


# names


class Names:
    """A resolver whose answers the test writes."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def lookup(self, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        self.asked += 1
        if not self.addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        found = []
        for address in self.addresses:
            v6 = ":" in address
            family = socket.AF_INET6 if v6 else socket.AF_INET
            found.append((family, socket.SOCK_STREAM, 6, "", (address, port, 0, 0) if v6 else (address, port)))
        return found


async def test_all_addresses_of_a_name_are_tried_of_both_families(tmp_path: Path) -> None:
    async with upstream() as up, front(tmp_path, configuration(api(f"http://app.test:{up.port}/"))) as gate:
        names = Names("::1", "127.0.0.2", "127.0.0.1")  # on the first two nobody listens
        gate.server.upstreams.resolver.lookup = names.lookup
        assert (await gate.get()).status == 200


async def test_an_upstream_is_reached_over_ipv6(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(b"six"))
        writer.close()

    server = await asyncio.start_server(serve, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, front(tmp_path, configuration(api(f"http://[::1]:{port}/"))) as gate:
        assert (await gate.get()).body == b"six"


async def test_a_name_that_moves_is_followed_and_nothing_is_lost(tmp_path: Path) -> None:
    async with upstream(named(b"old")) as old:
        new = await asyncio.start_server(serve_new, "127.0.0.2", old.port)
        config = configuration(api(f"http://app.test:{old.port}/"), limits={"upstream_dns_interval": 0.1})
        async with new, front(tmp_path, config) as gate:
            names = Names("127.0.0.1")
            gate.server.upstreams.resolver.lookup = names.lookup
            client = await gate.connect()
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).body == b"old"
            names.addresses = ("127.0.0.2",)
            (target,) = next(iter(gate.server.snapshot.apis.values())).upstreams
            pool = gate.server.upstreams.pool(target)
            await until(lambda: pool.idle == 0)  # the kept connection to the old address is closed, unasked
            assert (await client.ask(b"GET / HTTP/1.1", HOST)).body == b"new"
            client.close()


async def serve_new(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ok(b"new"))
    writer.close()


async def test_the_last_good_addresses_serve_while_the_resolver_fails(tmp_path: Path) -> None:
    async with upstream(closing_after_one) as up:
        config = configuration(api(f"http://app.test:{up.port}/"), limits={"upstream_dns_interval": 0.1})
        async with front(tmp_path, config) as gate:
            names = Names("127.0.0.1")
            gate.server.upstreams.resolver.lookup = names.lookup
            assert (await gate.get()).status == 200
            names.addresses = ()
            asked = names.asked
            while names.asked == asked:  # it is asked for when a connection is made and the interval is over
                assert (await gate.get()).status == 200
            assert (await gate.get()).status == 200


async def closing_after_one(connection: Connection) -> None:
    await connection.request()
    await connection.send(ok(b"one", b"Connection: close"))


async def test_a_name_that_does_not_exist_is_a_502(tmp_path: Path) -> None:
    async with front(tmp_path, configuration(api("http://app.test/"))) as gate:
        gate.server.upstreams.resolver.lookup = Names().lookup
        assert (await gate.get()).status == 502
        await gate.logged("cannot be resolved")
