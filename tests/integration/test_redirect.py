"""The port that sends everybody to HTTPS, and what keeps them there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.front import Client, api, configuration, front
from support.upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_redirect_port_says_come_back_over_https(tmp_path: Path) -> None:
    config = configuration(api(), listen_port=8443, gateway={"http_redirect": {"port": 8080, "hsts_max_age": 600}})
    async with front(tmp_path, config) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.redirect_port)
        client = Client(reader, writer)
        response = await client.ask(b"GET /x?y HTTP/1.1", b"Host: a.test:8080")
        assert (response.status, response.field(b"Location")) == (301, [b"https://a.test:8443/x?y"])
        response = await client.ask(b"POST /x HTTP/1.1", b"Host: a.test", b"Content-Length: 0")
        assert (response.status, response.field(b"Location")) == (308, [b"https://a.test:8443/x"])
        response = await client.ask(b"GET /caf\xc3\xa9 HTTP/1.1", b"Host: a.test:")
        assert response.field(b"Location") == [b"https://a.test:8443/caf%C3%A9"]
        response = await client.ask(b"GET / HTTP/1.1", b"Host: [::1]:")
        assert response.field(b"Location") == [b"https://[::1]:8443/"]
        client.close()


async def test_clients_are_sent_to_the_port_that_is_seen_outside(tmp_path: Path) -> None:
    config = configuration(api(), listen_port=8443, gateway={"http_redirect": {"port": 8080, "https_port": 443}})
    async with front(tmp_path, config) as gate:
        client = Client(*await asyncio.open_connection("127.0.0.1", gate.redirect_port))
        response = await client.ask(b"GET /x HTTP/1.1", b"Host: a.test:8080")
        assert response.field(b"Location") == [b"https://a.test/x"]
        client.close()


async def test_hsts_is_said_over_tls(tmp_path: Path) -> None:
    async with upstream() as up:
        config = configuration(api(up.url), gateway={"http_redirect": {"port": 8080, "hsts_max_age": 600}})
        async with front(tmp_path, config) as gate:
            assert (await gate.get()).field(b"Strict-Transport-Security") == [b"max-age=600"]
