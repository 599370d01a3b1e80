"""Listening sockets and the lock on the data directory, on real sockets."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from support.roles import free_ports

from gateway.config.settings import GatewaySection, HttpRedirect, Settings
from gateway.errors import ConfigurationError, StoreError
from gateway.runtime import listeners


def settings(data_dir: Path, address: str = "127.0.0.1", *, redirect: bool = False) -> Settings:
    main, control, plain = free_ports(3)
    gateway = GatewaySection(data_dir=data_dir, http_redirect=HttpRedirect(port=plain) if redirect else None)
    return Settings(listen_address=address, listen_port=main, control_api_port=control, gateway=gateway)


def test_every_configured_socket_listens(tmp_path: Path) -> None:
    wanted = settings(tmp_path, redirect=True)
    opened = listeners.open_all(wanted)
    try:
        assert wanted.gateway.http_redirect is not None
        for port in (wanted.listen_port, wanted.control_api_port, wanted.gateway.http_redirect.port):
            socket.create_connection(("127.0.0.1", port)).close()
        with socket.socket(socket.AF_UNIX) as dial:
            dial.connect(opened.workers.getsockname())
        mode = Path(opened.workers.getsockname()).stat().st_mode
        assert (stat.S_ISSOCK(mode), mode & 0o777) == (True, 0o600)
    finally:
        opened.close()


def test_an_empty_address_listens_on_both_families(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")
    wanted = settings(tmp_path, "")
    opened = listeners.open_all(wanted)
    try:
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, wanted.listen_port)).close()
    finally:
        opened.close()


def test_a_socket_file_that_a_killed_gateway_left_is_replaced(tmp_path: Path) -> None:
    listeners.open_all(settings(tmp_path)).close()
    assert list(tmp_path.glob("workers-*.sock"))
    listeners.open_all(settings(tmp_path)).close()


def test_everything_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    wanted = settings(deep)
    with (
        socket.create_server(("127.0.0.1", wanted.listen_port)),
        socket.create_server(("127.0.0.1", wanted.control_api_port)),
        pytest.raises(ConfigurationError) as caught,
    ):
        listeners.open_all(wanted)
    first, second, third = caught.value.problems
    assert str(first) == (
        f"error: listen_port: cannot listen on 127.0.0.1 port {wanted.listen_port}: Address already in use "
        "(stop what listens there, or choose another port)"
    )
    assert second.path == "control_api_port"
    assert (third.path, "path too long" in third.message) == ("gateway.data_dir", True)


@pytest.mark.parametrize("address", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_host_is_told(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        listeners.open_all(settings(tmp_path, address))
    (problem,) = caught.value.problems
    assert f"cannot listen on {address} port" in problem.message


def test_a_data_directory_belongs_to_one_gateway_until_it_ends(tmp_path: Path) -> None:
    fd = listeners.lock(tmp_path / "data")
    with pytest.raises(StoreError, match="in use by another gateway; stop it, or give this one its own"):
        listeners.lock(tmp_path / "data")
    os.close(fd)
    os.close(listeners.lock(tmp_path / "data"))


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/gateway\.lock: .*must be a writable directory"):
        listeners.lock(tmp_path / "file")
