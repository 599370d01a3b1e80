"""The ``gateway`` command: its options, and the table of its subcommands, each imported when it is asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer

from gateway import __version__
from gateway.cli import access
from gateway.cli.help import Commands, Group, write_section
from gateway.cli.options import with_options_of


class Entry(NamedTuple):
    """A subcommand: the heading it stands under, where the function or group is, and the first words of its help."""

    heading: str
    name: str
    place: str
    summary: str

    more: tuple[tuple[str, str], ...] = ()
    """The commands of the group that have modules of their own: name and place."""


_START = "Start here"
_RUNNING = "A gateway that runs"
_TLS = "Certificates and TLS"
_BEHIND = "What is behind it"
_KEYS = "Administrators and keys"

TABLE = (
    Entry(_START, "serve", "serve:serve", "Serve what the configuration describes: SIGHUP reads it again, SIGTERM or"
          " Ctrl-C drains and stops."),
    Entry(_START, "check", "check:check", "Tell every problem of a configuration or, if it can be served, what it will"
          " serve."),
    Entry(_START, "demo", "demo.command:demo", "Start the gateway with two small upstream apps and throw-away"
          " certificates, and say what to try."),
    Entry(_RUNNING, "status", "status:status", "Show whether the gateway is ready, its workers and generation, and the"
          " certificates that end soon."),
    Entry(_RUNNING, "doctor", "doctor.command:doctor", "Find out what is wrong with TLS here: files, configuration,"
          " the running gateway, a handshake for each domain."),
    Entry(_RUNNING, "reload", "reload:reload", "Read configuration and certificates again; return when every worker"
          " serves them."),
    Entry(_RUNNING, "login", "login:login", "Log in as an administrator; the commands that follow use the session"
          " until it ends or `gateway logout`."),
    Entry(_RUNNING, "logout", "login:logout", "End the session at the gateway, and forget it here."),
    Entry(_TLS, "cert", "cert:group", "Certificates: make, swap, roll back, verify, import; and the store.",
          (("import", "cert_import:import_"), ("self-signed", "cert_new:self_signed"), ("csr", "cert_new:csr"))),
    Entry(_TLS, "domain", "domain:group", "Domains: what is served for each name."),
    Entry(_TLS, "tls", "tls:group", "TLS towards clients: on, off, certificates, versions, ciphers.",
          (("scan", "tls_scan:scan"),)),
    Entry(_BEHIND, "upstream", "upstream:group", "Services behind the gateway, such as TabPy and Rserve."),
    Entry(_BEHIND, "ca", "ca:group", "Authorities that upstreams and other peers may come from, beside the system's."),
    Entry(_KEYS, "admin", "admin:group", "Administrators: who may use the admin API, by name and role."),
    Entry(_KEYS, "secrets", "secrets:group", "Make new keys and secrets."),
    Entry(_KEYS, "kms", "kms:group", "Choose and show the keys that private keys and passwords are sealed with."),
)  # fmt: skip


@cache
def load(entry: Entry) -> Any:
    """Import the command of an entry, and make what typer runs."""
    found, around = _found(entry.place), Commands()
    if not isinstance(found, typer.Typer):
        around.command(entry.name)(found)
        return typer.main.get_command(around)
    for name, place in entry.more:
        found.command(name)(_found(place))
    around.add_typer(found, name=entry.name)
    return typer.main.get_group(around).commands[entry.name]


def _found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"gateway.cli.{module}"), name)


class _Table(Group):
    """The commands of the table, whose help is written from it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = {entry.name: entry for entry in TABLE}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        entry = self.commands.get(cmd_name)
        return load(entry) if entry else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        for heading in dict.fromkeys(entry.heading for entry in TABLE):
            write_section(formatter, heading, ((one.name, one.summary) for one in TABLE if one.heading == heading))


app = Commands(
    "An HTTPS gateway: many domains on one port, their certificates swapped at runtime.",
    kind=_Table,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag
    """Print the version and leave."""
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
]


def _before_a_command(*, version: Version = False, **arguments: Any) -> None:  # noqa: ARG001
    access.begin(**arguments)


app.callback()(with_options_of(_before_a_command, access.options, given=0))
