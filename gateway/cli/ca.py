"""``gateway ca``: authorities that are trusted beside the system's: Tableau's ``tsm security custom-cert``."""

from __future__ import annotations

import json as json_module
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.connected import JsonOption  # noqa: TC001 - typer reads it
from gateway.cli.failures import AdminError
from gateway.cli.help import Command, Commands
from gateway.cli.layout import expiry, moment, table
from gateway.cli.rewriting import Wanted, rewriting
from gateway.cli.target import Target, shown_of
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

group = Commands("Authorities that upstreams and other peers may come from, beside the system's.")

NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="What it is called here.")]
CertFileOption = Annotated[
    Path, typer.Option("--cert-file", "-cf", metavar="FILE", help="The certificate, or several: PEM, or one in DER.")
]


class _AsInTableau(Command):
    """A command that takes ``-c FILE`` for the certificate, as on Tableau's page, if nothing else names one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = any(one.partition("=")[0] in {"--cert-file", "-cf"} for one in args)
        return super().parse_args(ctx, args if named else ["--cert-file" if one == "-c" else one for one in args])


@group.command(cls=_AsInTableau)
@rewriting
def add(cert_file: CertFileOption, name: NameOption = "custom") -> Wanted:
    """Trust an authority from now on, for upstreams, checks of hosts and every other outgoing connection.

    The file is named in the configuration and must stay; a gateway elsewhere keeps what is in it. One of the same name
    has to be deleted first.
    """
    return Wanted({"authorities": {name: checked(cert_file)}})


@group.command()
@rewriting
def delete(name: NameOption = "custom") -> Wanted:
    """No longer trust an authority. Its file stays."""
    return Wanted({"authorities": {name: None}})


@group.command("list")
@shown_of
def list_(target: Target, *, json: JsonOption = False) -> None:
    """List the authorities with what is in their files: the running gateway's, if there is one."""
    answer = target.part("authorities")
    if json:
        typer.echo(json_module.dumps(answer, indent=2))
        return
    rows = []
    for one in answer:
        said = [f"{each['subject']}, {_end(each['not_after'])}{_kind(each)}" for each in one["certificates"]]
        rows += [(one["name"], one["file"], text) for text in said or [one["problem"]]]
    typer.echo("\n".join(table(rows)) if rows else "no authorities of your own; the system's are trusted")
    typer.echo(f"of: {target.whose}", err=True)


def checked(path: Path) -> str:
    """Return the path of a file of authorities as a reference. Raises AdminError when it is none."""
    try:
        read(path)
    except (OSError, CertificateError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AdminError(f"{path}: {reason}") from error
    return str(path.absolute())


def as_pem(path: Path) -> str:
    """Return the certificates of a file of authorities. Raises OSError and CertificateError."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return "".join(one.public_bytes(Encoding.PEM).decode() for one in read(path))


def read(path: Path) -> Sequence[x509.Certificate]:
    """Read a file of authorities. Raises OSError and CertificateError."""
    from gateway.certs.blocks import MAX_BYTES
    from gateway.store.upstream_sources import authorities

    with path.open("rb") as file:
        return authorities(file.read(MAX_BYTES + 1))


def _kind(certificate: dict[str, Any]) -> str:
    return "" if certificate["is_ca"] else ", trusted for itself alone"


def _end(not_after: str) -> str:
    return expiry(moment(not_after), datetime.now(UTC))
