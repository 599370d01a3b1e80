"""The sockets of services on their way: from control to the supervisor, and to workers that ask."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import GatewayError
from gateway.observe.events import EventLog
from gateway.runtime.roster import Roster
from gateway.runtime.service_ports import Deposit, WorkerPorts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sockets() -> Iterator[dict[int, socket.socket]]:
    found = {number: socket.create_server(("127.0.0.1", 0)) for number in range(1, 129)}
    yield found
    for sock in found.values():
        sock.close()


def where(sock: socket.socket) -> Any:
    return sock.getsockname()


def close(sockets: dict[int, socket.socket]) -> None:
    for sock in sockets.values():
        sock.close()


def test_what_is_left_is_kept_after_the_end_of_who_left_it(sockets: dict[int, socket.socket]) -> None:
    deposit, kept = Deposit(), dict[int, socket.socket]()
    address = where(sockets[1])
    deposit.leave(1, sockets[1])
    deposit.leave(2, sockets[2])
    deposit.give_up(2)
    sockets.pop(1).close()
    deposit.collect(kept)
    deposit.collect(kept)
    assert [where(sock) for sock in kept.values()] == [address]
    assert not os.get_inheritable(kept[1].fileno())
    with socket.create_connection(address):
        deposit.leave(1, sockets[3])  # in its place
        deposit.collect(kept)
    assert where(kept[1]) == where(sockets[3])
    close(kept)
    deposit.close()


async def test_a_worker_gets_what_it_lacks_and_nothing_else(sockets: dict[int, socket.socket], tmp_path: Path) -> None:
    path = tmp_path / "workers.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
        server = await Roster(1, lambda: 1, EventLog(2), sockets).listen(listening)
        mine: dict[int, socket.socket] = {}
        ports = WorkerPorts(mine, path)
        await ports.fetch({1, 128})
        assert {port: where(sock) for port, sock in mine.items()} == {port: where(sockets[port]) for port in (1, 128)}
        await ports.fetch({1, 2, 129})
        assert mine.keys() == {1, 2, 128}, "one that control could not open is left out"
        server.close()
    with pytest.raises(GatewayError, match="control does not hand over the sockets of services"):
        await ports.fetch({3})
    await ports.fetch({1})
    close(mine)
    await asyncio.sleep(0)
