"""``gateway demo``: something to try, a minute after the clone.

The upstream apps run in a child process; the gateway is this process itself, as with ``gateway serve``. The
child is in a process group of its own, so that Ctrl-C drains the gateway before the upstreams go.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.files import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LOOPBACK = "127.0.0.1"
UPSTREAM_PORTS = (9001, 9002)
"""Where the sample configurations in config/ look for the upstream apps."""

Directory = Annotated[Path, typer.Option("--dir", help="Where certificates, configuration and state go.")]
Port = Annotated[int, typer.Option(help="HTTPS port on 127.0.0.1; 0: any free one.", min=0, max=65535)]
UpstreamsOnly = Annotated[
    bool, typer.Option("--upstreams-only", help="Certificates and upstream apps, without a gateway.")
]


def demo(
    directory: Directory = Path("certs/demo"), port: Port = 8443, *, upstreams_only: UpstreamsOnly = False
) -> None:
    """Start the gateway with two small upstream apps and throw-away certificates, and say what to try."""
    from gateway.cli.demo import certificates

    try:
        certificates.prepare(directory, datetime.now(UTC))
    except OSError as error:
        typer.echo(f"Cannot write {error.filename}: {error.strerror}; choose another place with --dir", err=True)
        raise typer.Exit(1) from error
    if upstreams_only:
        run_upstreams()
    else:
        run_all(directory, port)


def run_upstreams() -> None:
    """Run the upstream apps where the sample configurations look for them, until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        cure = "end what listens there; the sample configurations count on this port"
        sockets = [stack.enter_context(listen(port, cure)) for port in UPSTREAM_PORTS]
        child = stack.enter_context(upstreams(sockets))
        typer.echo(
            f"Upstream apps on ports {UPSTREAM_PORTS[0]} and {UPSTREAM_PORTS[1]}. In another terminal:\n\n"
            "  gateway serve --config config/gateway.yaml\n\nCtrl-C stops them."
        )
        child.wait()


def run_all(directory: Path, port: int) -> None:
    """Run the upstream apps and the gateway until the gateway ends; exit with its status."""
    from gateway.runtime import supervisor

    alpha, beta = (listen_near(usual) for usual in UPSTREAM_PORTS)
    # Found free here and closed, opened again by the gateway in a moment: enough for a demo.
    cure = f"end what listens there, or choose another port: gateway demo --port {port % 60000 + 1000}"
    with listen(port, cure) as https, listen_near(8080) as http, listen_near(9696) as control:
        sockets = {"https": https, "http": http, "control": control, "alpha": alpha, "beta": beta}
        ports = {name: sock.getsockname()[1] for name, sock in sockets.items()}
    file = directory / "gateway.yaml"
    write(file, configuration(ports).encode(), mode=0o644)
    with upstreams([alpha, beta]):
        alpha.close()
        beta.close()
        typer.echo(introduction(directory, ports))
        status = supervisor.run(file, environ={})  # the demo is what its file says, whatever is exported
    raise typer.Exit(status)


def listen(port: int, cure: str) -> socket.socket:
    """Listen on this loopback port, or say why not and what to do, and exit 1."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        typer.echo(f"Cannot listen on {LOOPBACK}:{port}: {error.strerror}; {cure}", err=True)
        raise typer.Exit(1) from error


def listen_near(port: int) -> socket.socket:
    """Listen on this loopback port, or on one of the kernel's choice when it cannot be had."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError:
        return socket.create_server((LOOPBACK, 0))


@contextlib.contextmanager
def upstreams(sockets: Sequence[socket.socket]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the upstream apps on listening sockets, as long as the context lasts."""
    descriptors = [sock.fileno() for sock in sockets]
    command = [sys.executable, "-m", "gateway.cli.demo.upstreams", *map(str, (os.getpid(), *descriptors))]
    child = subprocess.Popen(command, pass_fds=descriptors, process_group=0)  # noqa: S603 - our own module
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def configuration(ports: Mapping[str, int]) -> str:
    """Return the text of the configuration file for these ports."""
    template = files("gateway.cli.demo").joinpath("gateway.yaml").read_text(encoding="utf-8")
    return Template(template).substitute(ports)


def introduction(directory: Path, ports: Mapping[str, int]) -> str:
    """Say what runs, and give three commands that work when pasted.

    ``--connect-to`` is there because not every resolver knows that ``*.localhost`` is this machine (RFC 6761
    section 6.3); it changes neither the server name nor the Host field.
    """
    curl = f"curl --cacert {shlex.quote(str(directory / 'ca.pem'))} --connect-to ::{LOOPBACK}:"
    return f"""
Two domains, two certificates, one port. In another terminal:

  {curl} https://alpha.localhost:{ports["https"]}/hello
  {curl} https://shop.beta.localhost:{ports["https"]}/hello
  {curl} -iL http://alpha.localhost:{ports["http"]}/over-plain-http

The upstream apps also answer /stream (five lines, one every half second) and /large (ten million bytes).
All of this is configured in {directory / "gateway.yaml"}. Ctrl-C stops everything.
"""
