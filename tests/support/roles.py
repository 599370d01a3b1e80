"""A gateway as real processes, with its event log, an upstream, and clients for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from pathlib import Path

    from gateway.certs.self_signed import Authority

PATIENCE = 60.0
"""Seconds until a test gives up on something that takes far less."""


def until(ask: Callable[[], bool]) -> None:
    """Ask again and again until the answer is true."""
    deadline = time.monotonic() + PATIENCE
    while not ask():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Upstream(ThreadingHTTPServer):
    """Answers with its name; on ``/slow`` only when the test lets it, on ``/large`` with so many bytes."""

    daemon_threads = True

    def __init__(self, name: str, large: int = 0) -> None:
        self.large = b"x" * large
        self.name, self.entered, self.go_on = name, threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Say nothing: that the gateway hangs up is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.entered.set()
            self.server.go_on.wait(PATIENCE)
        body = self.server.large if self.path == "/large" else self.server.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


class Gateway:
    """A gateway with two workers in a directory, its configuration, its event log, and clients for it."""

    def __init__(self, directory: Path, authority: Authority, upstream: Upstream) -> None:
        self.directory, self.authority = directory, authority
        self.program = [sys.executable, "-m", "gateway"]
        self.flags: list[str] = []
        self.environ: dict[str, str] = {}
        self.port, self.control_port = free_ports(2)
        self.log: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.trust = ssl.create_default_context(cadata=authority.pair.chain_pem.decode())
        self.certify("a.test")
        self.settings: dict[str, Any] = {
            "listen_address": "127.0.0.1",
            "listen_port": self.port,
            "control_api_port": self.control_port,
            "http_server_options": {"use_ssl": True, "ssl_certificates": ["a.test.pem"]},
            "gateway": {"workers": 2, "access_log": "off"},
            "apis": [self.api("a.test", upstream)],
        }
        self.configure()

    def api(self, domain: str, upstream: Upstream) -> dict[str, Any]:
        proxy = {"listen_path": "/", "target_url": upstream.url}
        return {"api_id": domain, "domain": domain, "use_keyless": True, "proxy": proxy}

    def certify(self, name: str) -> str:
        """Issue a certificate for ``name``; return its serial number as clients see it."""
        pair = self.authority.leaf(name)
        path = self.directory / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.chain_pem + pair.key_pem)
        return f"{pair.leaf.serial_number:X}"

    def configure(self) -> None:
        (self.directory / "gateway.yaml").write_text(yaml.safe_dump(self.settings))

    def start(self) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("TYK_GW_")}
        self.process = subprocess.Popen(
            [*self.program, "serve", "--config", str(self.directory / "gateway.yaml"), *self.flags],
            stderr=subprocess.PIPE,
            text=True,
            env=environ | self.environ,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.log.append(line)
                self._lines.put(line)
        self._lines.put(None)

    def hear(self, event: str, **fields: str) -> str:
        """Wait for the next line of that event with these fields."""
        deadline = time.monotonic() + PATIENCE
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"the gateway ended without {event}"
            if f"event={event} " in line and all(f" {key}={value}" in line for key, value in fields.items()):
                return line

    def rest(self) -> str:
        """Wait for the end of the event log, when nobody can write to it any more; return what was left of it."""
        lines = []
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            lines.append(line)
        return "".join(lines)

    def started(self) -> None:
        self.start()
        until(self.ready)
        assert self.health()["details"]["workers"]["status"] == "pass"

    def children(self, pid: int | None = None) -> list[int]:
        pid = pid or self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123
            return [int(child) for child in file.read().split()]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def connect(self, name: str = "a.test") -> Connection:
        return Connection(self.port, name, self.trust)

    def get(self, name: str = "a.test", path: str = "/") -> str:
        with contextlib.closing(self.connect(name)) as connection:
            return connection.get(path)

    def ask_control(self, path: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=PATIENCE)
        if "control_tls" in self.settings["gateway"]:  # who answers is for the tests of that to say
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.control_port, timeout=PATIENCE, context=context)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask_control("/ready")[0] == 200 and self.health()["details"]["workers"]["status"] == "pass"
        return False

    def health(self) -> dict[str, Any]:
        status, body = self.ask_control("/hello")
        assert status == 200
        return body

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)


class Connection:
    """One TLS connection that lasts for as many requests as the test makes."""

    def __init__(self, port: int, name: str, trust: ssl.SSLContext) -> None:
        self._name = name
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.tls = trust.wrap_socket(sock, server_hostname=name)
        self._http = http.client.HTTPConnection("127.0.0.1", port)
        self._http.sock = self.tls

    @property
    def serial(self) -> str:
        return str((self.tls.getpeercert() or {})["serialNumber"]).lstrip("0")

    def get(self, path: str = "/") -> str:
        self.send(path)
        return self.receive()

    def send(self, path: str) -> None:
        self._http.request("GET", path, headers={"Host": self._name})

    def receive(self) -> str:
        status, text = self.answer()
        assert status == 200
        return text

    def answer(self) -> tuple[int, str]:
        response = self._http.getresponse()
        return response.status, response.read().decode()

    def close(self) -> None:
        self.tls.close()
