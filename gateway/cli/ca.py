"""``gateway ca``: authorities that are trusted beside the system's: Tableau's ``tsm security custom-cert``."""

from __future__ import annotations

import json as json_module
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.admin_client import AdminError
from gateway.cli.configuration_file import ConfigOption  # noqa: TC001 - typer reads it
from gateway.cli.connected import JsonOption  # noqa: TC001 - typer reads it
from gateway.cli.layout import clean, expiry, table
from gateway.cli.rewriting import ConfigurationFile, rewriting, shown
from gateway.config.edit import Change, Verb
from gateway.errors import CertificateError

if TYPE_CHECKING:
    from cryptography import x509

group = typer.Typer(
    no_args_is_help=True, help="Authorities that upstreams and other peers may come from, beside the system's."
)

_KEY = ("gateway", "ca_certificates")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="What it is called here.")]
CertFileOption = Annotated[
    Path, typer.Option("--cert-file", "-cf", metavar="FILE", help="The certificate, or several: PEM, or one in DER.")
]


@group.command()
@rewriting
def add(file: ConfigurationFile, cert_file: CertFileOption, name: NameOption = "custom") -> list[Change]:
    """Trust an authority from now on, for upstreams, checks of hosts and every other outgoing connection.

    The file is named in the configuration and must stay. One of the same name has to be deleted first.
    """
    if not _NAME.fullmatch(name):
        raise AdminError("a name is of letters, digits, dots, - and _", exit_code=2)
    if name in file.settings.gateway.ca_certificates:
        raise AdminError(f"there is an authority {name!r} already; first: gateway ca delete --name {name}")
    try:
        read(cert_file)
    except (OSError, CertificateError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AdminError(f"{cert_file}: {reason}") from error
    return [Change(Verb.SET, (*_KEY, name), file.named(cert_file))]


@group.command()
@rewriting
def delete(file: ConfigurationFile, name: NameOption = "custom") -> list[Change]:
    """No longer trust an authority. Its file stays."""
    if name not in file.settings.gateway.ca_certificates:
        raise AdminError(f"there is no authority {name!r}; see: gateway ca list")
    return [Change(Verb.REMOVE, (*_KEY, name))]


@group.command("list")
def list_(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """List the authorities with what is in their files."""
    named = shown(config).settings.gateway.ca_certificates
    answer = [_shown(name, reference) for name, reference in named.items()]
    if json:
        typer.echo(json_module.dumps(answer, indent=2))
        return
    rows = []
    for one in answer:
        said = [f"{each['subject']}, {_end(each['not_after'])}{_kind(each)}" for each in one["certificates"]]
        rows += [(one["name"], one["file"], text) for text in said or [one["problem"]]]
    typer.echo("\n".join(table(rows)) if rows else "no authorities of your own; the system's are trusted")


def read(path: Path) -> tuple[x509.Certificate, ...]:
    """Read a file of authorities. Raises OSError and CertificateError."""
    from gateway.certs.blocks import MAX_BYTES
    from gateway.store.upstream_sources import authorities

    with path.open("rb") as file:
        return authorities(file.read(MAX_BYTES + 1))


def _shown(name: str, reference: str) -> dict[str, Any]:
    from gateway.certs.describe import describe
    from gateway.config.kinds import is_inline_pem, source_of
    from gateway.store.upstream_sources import authorities

    inline = is_inline_pem(reference)
    shown: dict[str, Any] = {
        "name": name, "file": source_of(reference), "certificates": [], "problem": ""
    }  # fmt: skip
    try:
        found = authorities(reference.encode()) if inline else read(Path(reference))
        for certificate in found:
            said = describe(certificate, datetime.now(UTC))
            shown["certificates"].append(
                {
                    "subject": said.subject,
                    "issuer": said.issuer,
                    "not_after": said.not_after.isoformat(),
                    "fingerprint": said.fingerprint,
                    "is_ca": said.is_ca,
                }
            )
    except (OSError, CertificateError, ValueError) as error:
        shown["problem"] = clean(error.strerror if isinstance(error, OSError) else error)
    return shown


def _kind(certificate: dict[str, Any]) -> str:
    return "" if certificate["is_ca"] else ", trusted for itself alone"


def _end(not_after: str) -> str:
    return expiry(datetime.fromisoformat(not_after), datetime.now(UTC))
