"""``gateway tls scan`` against servers on sockets: a front of the gateway, as nmap sees it too, and bad servers."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.front import api, configuration, front
from typer.testing import CliRunner

from gateway.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

THOUGHTSPOT = "EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH"


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out
    return out.decode()


async def scan(*arguments: str) -> str:
    return await output(sys.executable, "-m", "gateway", "tls", "scan", *arguments)


@pytest.mark.skipif(shutil.which("nmap") is None, reason="nmap is asked for its opinion")
@pytest.mark.parametrize(
    "options",
    [
        {"ssl_ciphers": [THOUGHTSPOT]},
        {"ssl_ciphers": ["AES128-SHA", "ECDHE+AES"], "min_version": "1.0", "prefer_server_ciphers": False},
    ],
)
async def test_nmap_sees_the_same(tmp_path: Path, options: dict[str, object]) -> None:
    async with front(tmp_path, configuration(api(), options=options)) as gate:
        ours = json.loads(await scan(f"localhost:{gate.port}", "--json"))
        theirs = await output("nmap", "-p", str(gate.port), "--script", "ssl-enum-ciphers", "localhost")
    versions = dict(re.findall(r"\|   (\S+): \n((?:\|     .*\n)+)", theirs.replace("|_", "| ")))
    assert set(versions) == set(ours["versions"])
    for name, text in versions.items():
        version = ours["versions"][name]
        found = re.findall(r"TLS_(\S+) .*- ([A-F])", text.replace("AKE_WITH_", ""))
        assert sorted(found) == sorted((one["name"].removeprefix("TLS_"), one["grade"]) for one in version["ciphers"])
        assert f"cipher preference: {version['preference']}" in text
        if version["preference"] == "server":
            assert [one for one, _ in found] == [one["name"].removeprefix("TLS_") for one in version["ciphers"]]
    assert f"least strength: {ours['least_strength']}" in theirs


async def test_what_is_printed_has_the_shape_of_nmaps(tmp_path: Path) -> None:
    options = {"ssl_ciphers": ["ECDHE-ECDSA-AES128-GCM-SHA256"], "max_version": "1.2"}
    async with front(tmp_path, configuration(api(), options=options)) as gate:
        assert await scan(f"127.0.0.1:{gate.port}", "--sni", "localhost") == (
            f"scan report for 127.0.0.1 as localhost\nPORT STATE\n{gate.port}/tcp open\n"
            "| tls:\n"
            "|   TLSv1.2:\n"
            "|     ciphers:\n"
            "|       TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 (x25519) - A\n"
            "|     groups:\n"
            "|       x25519\n"
            "|       secp256r1\n"
            "|     compressors:\n"
            "|       NULL\n"
            "|     cipher preference: indeterminate\n"
            "|_  least strength: A\n"
        )


@contextmanager
def bad_server(says: bytes | None) -> Iterator[int]:
    """A server that answers each connection with these bytes and hangs up; None: it says nothing and stays."""
    stay: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if says is None:
                stay.append(client)
            else:
                with client:
                    client.recv(65536)
                    client.sendall(says)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    for client in stay:
        client.close()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
        (b"", "refuses every version of TLS"),
        (b"\x15\x03\x03\0\x02\x02\x70", "(alert unrecognized_name: it serves other names, see --sni)"),
        (None, "did not answer within 0.1 s, 3 times"),
    ],
)
def test_a_server_without_tls_is_told_in_a_sentence(says: bytes | None, told: str) -> None:
    with bad_server(says) as port:
        result = CliRunner().invoke(app, ["tls", "scan", f"127.0.0.1:{port}", "--timeout", "0.1"])
    assert result.exit_code == 1
    assert told in result.output


def test_nobody_there_and_no_such_target() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = CliRunner().invoke(app, ["tls", "scan", f"127.0.0.1:{port}"])
    assert (result.exit_code, "cannot be reached: Connection refused" in result.output) == (1, True)
    for target in ("", "a:b:c", "a.test:99999"):
        result = CliRunner().invoke(app, ["tls", "scan", target])
        assert (result.exit_code, "names no server" in result.output) == (2, True)
    result = CliRunner().invoke(app, ["tls", "scan", "127.0.0.1", "--sni", "a b"])
    assert (result.exit_code, "is not a host name" in result.output) == (2, True)
