"""The real psql through a service, to a real PostgreSQL without certificate. Skipped where they are not installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.front import AUTHORITY, configuration, front, until
from support.roles import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PORT = 5432
SITES = {"localhost": (AUTHORITY.leaf("localhost"),), "": (AUTHORITY.leaf("any.test"),)}


def _installed(program: str) -> str:
    places = (str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(program, path=os.pathsep.join((*places, os.environ.get("PATH", "")))) or ""


PSQL, INITDB, POSTGRES = map(_installed, ("psql", "initdb", "postgres"))
pytestmark = pytest.mark.skipif(not (PSQL and INITDB and POSTGRES), reason="PostgreSQL is not installed")


def _somebody() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


async def _run(*command: str, **how: Any) -> tuple[int | None, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, **how)
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture
async def database() -> AsyncIterator[int]:
    """Run a PostgreSQL without TLS that lets everybody in; return its port."""
    with tempfile.TemporaryDirectory() as directory:
        if not os.getuid():
            os.chown(directory, pwd.getpwnam("nobody").pw_uid, -1)
        data = f"{directory}/data"
        status, said = await _run(INITDB, "-D", data, "-U", "me", "-A", "trust", "-N", "--no-locale", **_somebody())
        assert status == 0, said
        (port,) = free_ports(1)
        options = (
            f"port={port} listen_addresses=127.0.0.1 unix_socket_directories={directory} ssl=off fsync=off".split()
        )
        server = await asyncio.create_subprocess_exec(
            POSTGRES, "-D", data, *(word for option in options for word in ("-c", option)),
            stderr=asyncio.subprocess.DEVNULL, **_somebody(),
        )  # fmt: skip
        try:
            await until(lambda: Path(f"{directory}/.s.PGSQL.{port}").exists())
            yield port
        finally:
            server.terminate()
            await server.wait()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(AUTHORITY.pair.chain_pem)
    return path


async def psql(words: str, query: str) -> tuple[int | None, str]:
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    return await _run(PSQL, "-X", "-w", "-A", "-t", "-c", query, f"{words} user=me dbname=postgres", env=environ)


async def test_psql_verifies_the_gateways_certificate_before_a_database_that_has_none(
    tmp_path: Path, database: int, authority: Path
) -> None:
    service = {
        "api_id": "db", "protocol": "tls", "listen_port": PORT, "gateway": {"negotiate": "postgresql"},
        "proxy": {"target_url": f"tcp://127.0.0.1:{database}"},
    }  # fmt: skip
    async with front(tmp_path, configuration(service), SITES) as gate:
        where = f"hostaddr=127.0.0.1 port={gate.service_ports[PORT]}"
        verified = f"{where} sslmode=verify-full sslrootcert={authority}"
        assert await psql(f"host=localhost {verified}", "SELECT 6 * 7; SELECT repeat('x', 100000)") == (
            0, f"42\n{'x' * 100000}\n"
        )  # fmt: skip
        status, said = await psql(f"host=elsewhere.test {verified}", "SELECT 1")
        assert status == 2
        assert 'server certificate for "any.test" does not match host name "elsewhere.test"' in said
        status, said = await psql(f"host=localhost {where} sslmode=disable", "SELECT 1")
        assert status == 2
        assert "connection requires encryption: connect with sslmode=require" in said
        direct = f"host=localhost {verified} sslnegotiation=direct"
        status, said = await psql(direct, "SELECT 1")
        assert (status, said) == (0, "1\n") or 'invalid connection option "sslnegotiation"' in said  # before 17
