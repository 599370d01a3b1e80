"""Clients that wear a gateway out over HTTP/2, through real TLS: closed, logged and counted; others notice nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hpack
import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from tests.support.front import api, configuration, front
from tests.support.h2_client import PREFACE, H2Client, RawClient, request
from tests.support.upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

CALM = 11
GET = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in request()], huffman=False)


def head(stream: int, *, ended: bool = True) -> HeadersFrame:
    return HeadersFrame(stream, GET, flags=["END_HEADERS", *(["END_STREAM"] if ended else [])])


FLOODS: dict[str, list[Frame]] = {
    "rapid reset": [frame for n in range(1, 1201, 2) for frame in (head(n), RstStreamFrame(n, 8))],
    "made you reset": [frame for n in range(1, 1201, 2) for frame in (head(n), DataFrame(n, b"x"))],
    "pings": [PingFrame(0, b"12345678")] * 3000,
    "settings": [SettingsFrame(0, {4: 65535})] * 3000,
    "empty frames": [head(1, ended=False), *[DataFrame(1)] * 3000],
    "continuations": [HeadersFrame(1, GET[:5]), *[ContinuationFrame(1, b"")] * 3000],
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_is_closed_logged_and_counted(kind: str, tmp_path: Path) -> None:
    async with upstream() as behind, front(tmp_path, configuration(api(behind.url))) as gateway:
        sibling = await H2Client.connect(gateway)
        attacker = await RawClient.connect(gateway, PREFACE + SettingsFrame(0).serialize())
        attacker.send(*FLOODS[kind])
        assert await attacker.goaway() in (CALM, None)  # None: it did not listen, and was cut
        await gateway.logged("HTTP/2 flood by 127.0.0.1: .*")
        assert gateway.server.counters()["http2_floods"] == 1
        assert gateway.log.count("HTTP/2 flood") == 1
        assert (await sibling.get()).status == 200
        sibling.close()
