"""What is done to a front, from the other core: wrk and h2load send requests, our own connections the rest.

Every load is bounded in count and in time. The clients offer TLS 1.3 and X25519 alone, and wrk AES-128-GCM:
every front does the same cryptography, whatever it would prefer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BULK_BYTES = 10_000_000
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
OPENSSL_CONF = """\
openssl_conf = openssl
[openssl]
ssl_conf = ssl
[ssl]
system_default = client
[client]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""
LUA = """\
function done(summary, latency)
  local e, micros = summary.errors, summary.duration
  print(string.format('{"requests":%%d,"bytes":%%d,"seconds":%%f,"errors":%%d,"p50":%%f,"p99":%%f}',
    summary.requests, summary.bytes, micros / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
if %s then
  wrk.method, wrk.body = "POST", string.rep("x", %d)
end
"""


@dataclass(frozen=True, slots=True)
class Served:
    """What wrk counted: complete responses, bytes received, seconds, and latencies in ms."""

    requests: int
    bytes: int
    seconds: float
    errors: int
    p50: float
    p99: float


def parse_wrk(output: str) -> Served:
    """Read the line of JSON that our script makes wrk print; ValueError quotes wrk when there is none."""
    for line in output.splitlines():
        if line.startswith("{"):
            return Served(**json.loads(line))
    raise ValueError(f"wrk did not report:\n{output}")


def wrk(port: int, path: str, directory: Path, seconds: int, connections: int) -> Served:
    """Ask for `path` over HTTP/1.1 keep-alive for some seconds; /upload is sent BULK_BYTES each time."""
    script, client = directory / "wrk.lua", directory / "openssl.cnf"
    script.write_text(LUA % (str(path == "/upload").lower(), BULK_BYTES))
    client.write_text(OPENSSL_CONF)
    command = f"wrk -t1 -c{connections} -d{seconds}s --timeout=10s -s{script} https://localhost:{port}{path}"
    environment = os.environ | {"OPENSSL_CONF": str(client)}
    done = subprocess.run(
        command.split(), env=environment, capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    return parse_wrk(done.stdout + done.stderr)


def parse_h2load(output: str) -> Served:
    """Read h2load's summary; ValueError quotes it when it is not there. It tells no percentiles: both are the mean."""
    found = re.search(r"finished in ([0-9.]+)(us|ms|s), ", output)
    counts = re.search(r"requests: \d+ total, .*, (\d+) done, (\d+) succeeded", output)
    received = re.search(r"traffic: .*\((\d+)\) data", output)
    mean = re.search(r"time for request: +\S+ +\S+ +([0-9.]+)(us|ms|s) ", output)
    if found is None or counts is None or received is None or mean is None:
        raise ValueError(f"h2load did not report:\n{output}")
    done, succeeded = int(counts[1]), int(counts[2])
    latency = float(mean[1]) * _SECONDS[mean[2]] * 1e3
    seconds = float(found[1]) * _SECONDS[found[2]]
    return Served(succeeded, int(received[1]), seconds, done - succeeded, latency, latency)


def h2load(port: int, path: str, count: int, connections: int, streams: int) -> Served:
    """Ask for `path` over HTTP/2, some requests at a time on each of some connections."""
    command = f"h2load -n{count} -c{connections} -m{streams} -T30 -N30 https://localhost:{port}{path}"
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=90, check=False)
    return parse_h2load(done.stdout + done.stderr)


def client_context() -> ssl.SSLContext:
    """Make a client that verifies nothing: its own work is not what is measured."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ecdh_curve("X25519")
    return context


def handshake(
    context: ssl.SSLContext, port: int, name: str, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession, bool]:
    """Connect, shake hands, wait for the tickets, and close; give the session and whether it was resumed.

    The tickets say that the front is through with its own part, which in TLS 1.3 ends after the client's.
    """
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name, session=session) as tls,
    ):
        select.select([tls], [], [], 10)
        tls.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.recv(1)
        told = tls.session, tls.session_reused  # gone once it is unwrapped
        with contextlib.suppress(OSError):
            tls.unwrap()  # sends close_notify; the front's answer to it is not waited for
        return told


def handshakes(port: int, name: str, count: int, seconds: float, *, resume: bool) -> tuple[int, float]:
    """Do up to `count` handshakes, four at a time, within some seconds; give how many were done in what time.

    RuntimeError when a session was not resumed though it should have been, or the reverse.
    """
    context = client_context()
    session = handshake(context, port, name, None)[0] if resume else None
    start = time.monotonic()

    def one(_: int) -> int:
        if time.monotonic() > start + seconds:
            return 0
        if handshake(context, port, name, session)[1] != resume:
            raise RuntimeError(f"a session on port {port} was {'not ' if resume else ''}resumed")
        return 1

    with ThreadPoolExecutor(4) as threads:
        done = sum(threads.map(one, range(count)))
    return done, time.monotonic() - start


@contextlib.contextmanager
def idle_connections(port: int, count: int) -> Iterator[None]:
    """Hold connections open that have each had one answer."""
    context = client_context()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = HTTPSConnection("localhost", port, timeout=10, context=context)
            stack.callback(connection.close)
            connection.request("GET", "/small")
            response = connection.getresponse()
            if response.status != 200 or not response.read():
                raise RuntimeError(f"port {port} answered {response.status}")
        yield
