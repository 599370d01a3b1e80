"""A TabPy-like server behind a gateway that runs: put there, followed and taken away as a person types it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import trustme
from support.roles import PATIENCE, Gateway, Upstream, free_ports, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WANTED = "Basic " + base64.b64encode(b"tableau:s3cret").decode()


class TabPy(ThreadingHTTPServer):
    """Evaluates for who gives the right name and password over TLS."""

    daemon_threads = True

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.plain = self.socket
        self.show(authority)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def show(self, authority: trustme.CA) -> None:
        """Show a certificate of that authority from now on."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.context)

    def finish_request(self, request: object, client_address: object) -> None:
        with self.context.wrap_socket(request, server_side=True) as tls:  # type: ignore[arg-type]
            super().finish_request(tls, client_address)  # type: ignore[arg-type]

    def handle_error(self, *_: object) -> None:
        """Say nothing: that the gateway hangs up is what the test is about."""


class Rserve(socketserver.ThreadingTCPServer):
    """Greets first, then echoes lines, over TLS."""

    daemon_threads = True

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), _Greeting)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.context)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Say nothing: that the gateway hangs up is what the test is about."""


class _Greeting(socketserver.BaseRequestHandler):
    server: Rserve

    def handle(self) -> None:
        with self.server.context.wrap_socket(self.request, server_side=True) as tls:
            tls.sendall(b"Rsrv0103QAP1")
            while data := tls.recv(100):
                tls.sendall(data)


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.headers.get_all("Authorization") == [_WANTED]
        body = json.dumps([2 * one for one in given["data"]["_arg1"]] if known else "unauthorized").encode()
        self.send_response(200 if known and self.path == "/evaluate" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Node(Gateway):
    """A gateway, and the commands of who operates it."""

    def run(self, *words: str, status: int = 0) -> str:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("TYK_GW_", "GATEWAY_"))}
        done = subprocess.run(
            [*self.program, *words, "--config", "gateway.yaml"], cwd=self.directory, env=environ,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def evaluate(self) -> tuple[int, object]:
        context = ssl.create_default_context(cadata=self.authority.pair.chain_pem.decode())
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=context)
        body = json.dumps({"data": {"_arg1": [1, 2, 3]}, "script": "return [2 * x for x in _arg1]"})
        connection.request("POST", "/tabpy/evaluate", body, {"Authorization": "Basic c3RvbGVuOnRoaW5n"})
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Upstream("first") as other:
        gateway = Node(tmp_path, Authority.create("Test CA"), other)
        gateway.certify("localhost")
        gateway.settings["http_server_options"]["ssl_certificates"] = ["localhost.pem"]
        gateway.configure()
        try:
            gateway.started()
            yield gateway
        finally:
            gateway.end()
            other.shutdown()


def test_tabpy_behind_the_gateway_from_its_first_request_to_its_last(node: Node) -> None:
    first, second = trustme.CA(), trustme.CA()
    ca = node.directory / "tabpy-ca.pem"
    first.cert_pem.write_to_path(str(ca))
    with TabPy(first) as tabpy:
        enable = (
            "upstream", "enable", "--connection-type", "maestro-tabpy-secure", "--tabpy-host", "localhost",
            "--tabpy-port", str(tabpy.server_port), "--tabpy-username", "tableau", "--tabpy-password", "s3cret",
            "--tabpy-connect-timeout-ms", "900000", "-cf", "tabpy-ca.pem",
        )  # fmt: skip
        said = node.run(*enable)
        assert "serves it" in said
        assert "s3cret" not in said + (node.directory / "gateway.yaml").read_text()
        assert node.evaluate() == (200, [2, 4, 6])

        # Another authority: nothing is sent until its file is there, and no restart is needed then.
        tabpy.show(second)
        assert node.evaluate()[0] == 502
        second.cert_pem.write_to_path(str(ca))
        until(lambda: node.evaluate() == (200, [2, 4, 6]))

        # A file that goes is told, and what was in it is used on.
        ca.unlink()
        until(lambda: "tabpy-ca.pem" in node.health()["details"]["certificates"].get("output", ""))
        assert node.evaluate() == (200, [2, 4, 6])
        second.cert_pem.write_to_path(str(ca))
        until(lambda: node.health()["details"]["certificates"]["status"] == "pass")

        # Trusted for all instead of for this one alone.
        node.run(*enable[:-2])
        assert node.evaluate()[0] == 502
        node.run("ca", "add", "--cert-file", "tabpy-ca.pem")
        assert node.evaluate() == (200, [2, 4, 6])
        node.run("ca", "delete")
        assert node.evaluate()[0] == 502

        node.run("upstream", "disable", "tabpy")
        assert node.run("upstream", "list").startswith("no upstreams")
        tabpy.shutdown()
    log = node.directory / "data"
    assert not list((log / "secrets").iterdir())
    assert not any(b"s3cret" in file.read_bytes() for file in log.iterdir() if file.is_file())


def test_rserve_gets_a_port_of_its_own_while_the_gateway_runs(node: Node) -> None:
    authority, (port,) = trustme.CA(), free_ports(1)
    authority.cert_pem.write_to_path(str(node.directory / "rserve-ca.pem"))
    with Rserve(authority) as rserve:
        node.run(
            "upstream", "enable", "--connection-type", "maestro-rserve-secure", "--rserve-host", "localhost",
            "--rserve-port", str(rserve.server_address[1]), "--rserve-connect-timeout-ms", "900000",
            "--cert-file", "rserve-ca.pem", "--listen-port", str(port),
        )  # fmt: skip
        until(lambda: _answers(port))
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client, client.makefile("rwb") as file:
            assert file.read(12) == b"Rsrv0103QAP1"
            file.write(b"login and a script")
            file.flush()
            assert file.read(18) == b"login and a script"
        node.run("upstream", "disable", "rserve")
        until(lambda: not _answers(port))
        rserve.shutdown()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionError:
        return False
    return True
