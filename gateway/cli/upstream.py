"""``gateway upstream``: a service behind the gateway in one command, as Tableau's ``maestro-tabpy-ssl`` has them.

Each is an API definition in the main file, whose id begins with ``upstream-``: an HTTP upstream with credentials and an
authority of its own (TabPy), or a raw TCP one, with or without TLS (Rserve).
"""

from __future__ import annotations

import json as json_module
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli import ca
from gateway.cli.connected import JsonOption  # noqa: TC001 - typer reads it
from gateway.cli.help import Command, Commands
from gateway.cli.layout import table
from gateway.cli.rewriting import Wanted, rewriting
from gateway.cli.target import Target, shown_of
from gateway.config.connection_types import KINDS

group = Commands("Services behind the gateway, such as TabPy and Rserve.")

TypeOption = Annotated[
    str,
    typer.Option(
        "--connection-type", metavar="TYPE", help=f"{', '.join(KINDS)}; also as Tableau has it: maestro-tabpy-secure."
    ),
]
HostOption = Annotated[
    str,
    typer.Option("--host", "--tabpy-host", "--rserve-host", metavar="HOST", help="Where it runs."),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        "--tabpy-port",
        "--rserve-port",
        min=1,
        max=65535,
        metavar="PORT",
        help="Its port. Default: 9004 of TabPy, 6311 of Rserve (with TLS 4912), 80 and 443.",
    ),
]
UsernameOption = Annotated[
    str | None,
    typer.Option(
        "--username", "--tabpy-username", "--rserve-username", metavar="NAME", help="The name of basic credentials."
    ),
]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        "--password",
        "--tabpy-password",
        "--rserve-password",
        metavar="TEXT",
        help="Their password, kept in a file that only the gateway reads; - asks for it.",
    ),
]
ConnectTimeoutOption = Annotated[
    int | None,
    typer.Option(
        "--connect-timeout-ms",
        "--tabpy-connect-timeout-ms",
        "--rserve-connect-timeout-ms",
        min=1,
        metavar="MS",
        help="Longest time for a connection, TLS included.",
    ),
]
CertFileOption = Annotated[
    Path | None,
    typer.Option(
        "--cert-file",
        "-cf",
        metavar="FILE",
        help="Its authority's certificate or its own, PEM or DER: nothing else is trusted. Default: the system's.",
    ),
]
ServerNameOption = Annotated[
    str, typer.Option("--server-name", metavar="NAME", help="The name in its certificate, if that is not the host.")
]
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="What it is called here. Default: by its type, or its host.")
]
ListenPathOption = Annotated[
    str,
    typer.Option(
        "--listen-path", metavar="PATH", help="HTTP: where clients find it. Default: /NAME/; / with --domain."
    ),
]
DomainOption = Annotated[
    str, typer.Option("--domain", metavar="HOST", help="HTTP: the host by which clients ask for it. Default: any.")
]
ListenPortOption = Annotated[
    int | None,
    typer.Option("--listen-port", min=1, max=65535, metavar="PORT", help="TCP: where clients find it. Default: PORT."),
]


class _AsInTableau(Command):
    """Takes ``-cfFILE`` in one word, as Tableau's page writes it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        split = [[one[:3], one[3:]] if re.match("-cf.", one) else [one] for one in args]
        return super().parse_args(ctx, [part for parts in split for part in parts])


@group.command(cls=_AsInTableau)
@rewriting
def enable(  # noqa: PLR0913, PLR0917 - typer's options are parameters
    connection_type: TypeOption,
    host: HostOption,
    port: PortOption = None,
    username: UsernameOption = None,
    upstream_password: PasswordOption = None,  # `password` is the administrator's
    connect_timeout_ms: ConnectTimeoutOption = None,
    cert_file: CertFileOption = None,
    server_name: ServerNameOption = "",
    name: NameOption = "",
    listen_path: ListenPathOption = "",
    domain: DomainOption = "",
    listen_port: ListenPortOption = None,
) -> Wanted:
    """Put a service behind the gateway, or change the one of that name. TLS and credentials are the gateway's part."""
    kind = KINDS.get(connection_type.lower().removeprefix("maestro-"))
    name = name or (kind.name if kind else "") or re.sub(r"[\[\]:]+", "-", host).strip("-")
    given = {
        "connection_type": connection_type,
        "host": host,
        "port": port,
        "username": username,
        "password": _asked(upstream_password),
        "connect_timeout_ms": connect_timeout_ms,
        "authority": ca.checked(cert_file) if cert_file else None,
        "server_name": server_name,
        "listen_path": listen_path,
        "domain": domain,
        "listen_port": listen_port,
    }
    return Wanted({"upstreams": {name: {key: value for key, value in given.items() if value not in (None, "")}}})


@group.command()
@rewriting
def disable(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `gateway upstream list` has it.")],
) -> Wanted:
    """Take a service away from behind the gateway, and forget its credentials. Requests under way finish."""
    return Wanted({"upstreams": {name: None}})


@group.command("list")
@shown_of
def list_(target: Target, *, json: JsonOption = False) -> None:
    """List the services that were enabled, in the running gateway if there is one: of credentials the name alone."""
    answer = target.part("upstreams")
    if json:
        typer.echo(json_module.dumps(answer, indent=2))
        return
    heads = ("name", "type", "target", "clients", "username", "certificate", "connect timeout")
    rows = [tuple("" if value is None else str(value) for value in one.values()) for one in answer]
    typer.echo("\n".join(table([heads, *rows])) if rows else "no upstreams; see: gateway upstream enable --help")
    typer.echo(f"of: {target.whose}", err=True)


def _asked(password: str | None) -> str | None:
    if password != "-":  # noqa: S105 - a word of the command line
        return password
    return str(typer.prompt("Password", hide_input=True, err=True))
