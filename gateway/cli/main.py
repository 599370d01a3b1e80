"""The ``gateway`` command: its options and the list of its subcommands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway import __version__
from gateway.cli import access, admin, ca, cert, cert_import, cert_new, domain, kms, secrets, tls, tls_scan, upstream
from gateway.cli.check import check
from gateway.cli.connected import with_options_of
from gateway.cli.demo.command import demo
from gateway.cli.doctor.command import doctor
from gateway.cli.login import login, logout
from gateway.cli.reload import reload
from gateway.cli.serve import serve
from gateway.cli.status import status

# Plain tracebacks: the pretty ones print local variables, and those may be private keys.
app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
_START = "Start here"
_RUNNING = "A gateway that runs"
_TLS = "Certificates and TLS"
_BEHIND = "What is behind it"
_KEYS = "Administrators and keys"

app.command(rich_help_panel=_START)(serve)
app.command("check", rich_help_panel=_START)(check)
app.command(rich_help_panel=_START)(demo)
app.command(rich_help_panel=_RUNNING)(status)
app.command("doctor", rich_help_panel=_RUNNING)(doctor)
app.command(rich_help_panel=_RUNNING)(reload)
app.command(rich_help_panel=_RUNNING)(login)
app.command(rich_help_panel=_RUNNING)(logout)
cert.group.command("import")(cert_import.import_)
cert.group.command("self-signed")(cert_new.self_signed)
cert.group.command()(cert_new.csr)
tls.group.command()(tls_scan.scan)
app.add_typer(cert.group, name="cert", rich_help_panel=_TLS)
app.add_typer(domain.group, name="domain", rich_help_panel=_TLS)
app.add_typer(tls.group, name="tls", rich_help_panel=_TLS)
app.add_typer(upstream.group, name="upstream", rich_help_panel=_BEHIND)
app.add_typer(ca.group, name="ca", rich_help_panel=_BEHIND)
app.add_typer(admin.group, name="admin", rich_help_panel=_KEYS)
app.add_typer(secrets.group, name="secrets", rich_help_panel=_KEYS)
app.add_typer(kms.group, name="kms", rich_help_panel=_KEYS)


def show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag
    """Print the version and leave."""
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
]


def _gateway(_: None) -> None:
    """An HTTPS gateway: many domains on one port, their certificates swapped at runtime."""


def _before_a_command(*, version: Version = False, **arguments: Any) -> None:  # noqa: ARG001
    access.begin(**arguments)


app.callback()(with_options_of(_before_a_command, _gateway, access.options))
