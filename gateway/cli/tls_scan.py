"""``gateway tls scan``: ask a server, question by question, what it negotiates, and print it in nmap's shape.

One connection at a time, each with a deadline, and no more than a bound: a server is looked at and not loaded.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from gateway.cli.connected import JsonOption, failure, unconnected
from gateway.cli.failures import AdminError
from gateway.config.networks import bracketed

if TYPE_CHECKING:
    from gateway.tls.probe import Answer, Question
    from gateway.tls.scan import Version

_MOST_CONNECTIONS = 1500
_SILENCES = 3
"""So many connections without any answer in time end a scan."""

# Alerts that say why, of those that refuse a first message (RFC 8446 section 6).
_ALERTS = {
    40: "handshake_failure",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    112: "unrecognized_name: it serves other names, see --sni",
    120: "no_application_protocol",
}


@dataclass(slots=True)
class Server:
    """The server that is asked. ``alert`` is its last one, ``connections`` how many there were."""

    host: str
    port: int
    timeout: float
    connections: int = 0
    alert: int | None = None
    _silences: int = field(default=0)

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    def ask(self, question: Question) -> Answer | None:
        """Put a question on a new connection; None for a refusal. Raises AdminError when that is pointless."""
        from gateway.tls import probe

        if self.connections >= _MOST_CONNECTIONS:
            raise AdminError(f"gave up after {self.connections} connections: this is no server that means it")
        self.connections += 1
        data, ended = bytearray(), False
        deadline = time.monotonic() + self.timeout
        try:
            with socket.create_connection((self.host, self.port), self.timeout) as sock:
                sock.sendall(probe.client_hello(question, os.urandom(32)))
                while True:
                    answer = probe.read(bytes(data), ended=ended)
                    if answer is not None or ended:
                        break
                    sock.settimeout(max(deadline - time.monotonic(), 0.001))
                    ended = not _receive(sock, data)
        except TimeoutError:
            self._suffer_silence(data)
            return None
        except ConnectionResetError:
            return None
        except OSError as error:
            raise AdminError(f"{self} cannot be reached: {error.strerror or error}") from error
        except probe.AnswerError as error:
            raise AdminError(f"{self} does not speak TLS: it answered {error}") from error
        if isinstance(answer, probe.Refusal):
            self.alert = answer.alert
            return None
        return answer

    def refuse_nothing(self, found: list[Version]) -> None:
        """Raise AdminError when nothing was found, with the reason if the server gave one."""
        if not found:
            because = f" (alert {_ALERTS.get(self.alert, self.alert)})" if self.alert is not None else ""
            raise AdminError(f"{self} refuses every version of TLS{because}")

    def _suffer_silence(self, data: bytearray) -> None:
        self._silences += 1
        if self._silences >= _SILENCES:
            said = "stopped in the middle of an answer" if data else "did not answer"
            raise AdminError(f"{self} {said} within {self.timeout:g} s, {self._silences} times")


@unconnected
def scan(
    target: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="The server; the port is 443 if left out.")],
    sni: Annotated[
        str | None, typer.Option("--sni", metavar="NAME", help="The name to ask for; default: HOST.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds for each connection.")] = 5,
    *,
    json: JsonOption = False,
) -> None:
    """Show what a server really negotiates: versions, cipher suites with a grade, groups, and whose order decides.

    The shape is that of nmap's ssl-enum-ciphers. The weakest link decides the grade: of the secret bits of cipher, key
    exchange and certificate, 112 or more are an A, 80 a B, 64 a C, 56 a D, 40 an E. RC4, MD5, 64-bit blocks and SSL 3.0
    are a C at best; no encryption, no identity and export suites an F. Exit status: 0 scanned, 1 no TLS was found.
    """
    from gateway.tls.scan import VERSIONS, survey

    try:
        host, port = _target(target)
        name = _server_name(sni if sni is not None else host)
        server = Server(host, port, timeout)
        found = [one for version in VERSIONS if (one := survey(server.ask, version, name))]
        server.refuse_nothing(found)
    except AdminError as error:
        raise failure(error) from error
    if json:
        import json as codec

        answer = {
            "host": host,
            "port": port,
            "server_name": name,
            "connections": server.connections,
            "least_strength": _least(found),
            "versions": {one.name: _as_json(one) for one in found},
        }
        typer.echo(codec.dumps(answer, indent=2))
    else:
        typer.echo(report(host, port, name, found))


def report(host: str, port: int, name: str, found: list[Version]) -> str:
    """Write it as nmap does, with a list of groups in addition."""
    asked = f" as {name}" if name and name != host else ""
    lines = [f"scan report for {host}{asked}", "PORT STATE", f"{port}/tcp open", "| tls:"]
    for one in found:
        lines += [f"|   {one.name}:", "|     ciphers:"]
        lines += [
            f"|       {name}{f' ({exchange})' if exchange else ''} - {grade}" for name, exchange, grade in one.ciphers
        ]
        if one.groups:
            lines += ["|     groups:", *(f"|       {group}" for group in one.groups)]
        lines += ["|     compressors:", *(f"|       {compressor}" for compressor in one.compressors)]
        lines += [f"|     cipher preference: {one.preference}"]
        if one.warnings:
            lines += ["|     warnings:", *(f"|       {warning}" for warning in one.warnings)]
    return "\n".join([*lines, f"|_  least strength: {_least(found)}"])


def _least(found: list[Version]) -> str:
    return max(one.least_strength for one in found)


def _as_json(version: Version) -> dict[str, object]:
    answer = asdict(version)
    del answer["name"]
    return answer | {"ciphers": [cipher._asdict() for cipher in version.ciphers]}


def _receive(sock: socket.socket, data: bytearray) -> int:
    from gateway.tls.probe import LIMIT

    received = sock.recv(min(65536, max(LIMIT - len(data), 1)))
    data += received
    return len(received) if len(data) < LIMIT else 0


def _target(text: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port``, ``[address]:port``, an IPv6 address, or a URL. Raises AdminError."""
    try:
        return str(ip_address(text)), 443
    except ValueError:
        pass
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise AdminError(f"{text!r} names no server; use HOST, HOST:PORT or [ADDRESS]:PORT", exit_code=2)
    return host, 443 if port is None else port


def _server_name(name: str) -> str:
    """The name as it is asked for; "" for an address, which cannot be (RFC 6066 section 3). Raises AdminError."""
    from gateway.tls.names import canonical

    try:
        found = canonical(name) if name else ""
    except ValueError as error:
        raise AdminError(str(error), exit_code=2) from error
    try:
        ip_address(found)
    except ValueError:
        return found
    return ""
