"""``gateway cert``: certificates in the gateway's store, swaps for a domain, and a look at files before either."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.connected import Gateway, JsonOption, connected, failure, unconnected, warn
from gateway.cli.domain import certificate_of
from gateway.cli.failures import AdminError
from gateway.cli.help import Commands
from gateway.cli.layout import expiry, facts, listed, moment, table
from gateway.errors import CertificateError
from gateway.files import first_line

group = Commands("Certificates: make, swap, roll back, verify, import; and the store.")

CertificateArgument = Annotated[
    Path, typer.Argument(metavar="CERT", help="PEM file: the certificate, or a bundle with chain and key; - is stdin.")
]
KeyArgument = Annotated[
    Path | None, typer.Argument(metavar="KEY", help="PEM file of the private key, if it is not in CERT.")
]
ChainOption = Annotated[
    Path | None, typer.Option("--chain", metavar="FILE", help="PEM file of the intermediates, if not in CERT.")
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File whose first line opens an encrypted key."),
]
OrganisationOption = Annotated[str, typer.Option("--org-id", metavar="ORG", help="Tyk's organisation.")]
DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN", help="A host name, or *.parent.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The id, as `gateway cert list` shows it.")]
IfMatchOption = Annotated[
    str | None,
    typer.Option("--if-match", metavar="FINGERPRINT", help="Only if this is the certificate that is served now."),
]


ForceOption = Annotated[bool, typer.Option("--force", help="Even if it is not valid now: expired, or not valid yet.")]


@group.command()
@connected
def add(
    gateway: Gateway,
    certificate: CertificateArgument,
    key: KeyArgument = None,
    chain: ChainOption = None,
    passphrase_file: PassphraseOption = None,
    org_id: OrganisationOption = "",
) -> None:
    """Keep a certificate in the store and print its id, to be named in the configuration or in an API definition."""
    body = upload(certificate, key, chain, passphrase_file)
    answer = gateway.call("POST", "/tyk/certs", params={"org_id": org_id}, json=body)
    gateway.show(answer, lambda added: str(added["id"]))


@group.command("list")
@connected
def list_(gateway: Gateway, org_id: OrganisationOption = "") -> None:
    """List the certificates in the store. `gateway domain list` shows what is served for each domain."""
    parameters = {"mode": "detailed"} | ({"org_id": org_id} if org_id else {})
    gateway.show(gateway.call("GET", "/tyk/certs", params=parameters)["certs"] or [], stored)


@group.command()
@connected
def show(gateway: Gateway, identifier: IdArgument) -> None:
    """Show a certificate of the store. Its key is never shown."""
    if not is_id(identifier):
        raise AdminError(
            f"{identifier!r} is not the id of a certificate: `gateway cert list` shows those, and `gateway domain show`"
            " what is served for a name",
            exit_code=2,
        )
    gateway.show(gateway.call("GET", f"/tyk/certs/{identifier}"), one_stored)


@group.command()
@connected
def delete(
    gateway: Gateway,
    identifier: Annotated[
        str, typer.Argument(metavar="ID|DOMAIN", help="A certificate of the store, or the one swapped in for a domain.")
    ],
    *,
    force: Annotated[bool, typer.Option("--force", help="Even if something in use refers to it.")] = False,
    if_match: IfMatchOption = None,
) -> None:
    """Delete a certificate of the store, or take back what was swapped in for a domain.

    The configuration's own certificate then serves the domain again, if there is one.
    """
    if is_id(identifier):
        parameters = {"force": "true"} if force else {}
        gateway.show(gateway.call("DELETE", f"/tyk/certs/{identifier}", params=parameters), lambda _: "")
    else:
        answer = gateway.call("DELETE", certificate_of(identifier), headers=matching(if_match))
        tell(gateway, answer)


@group.command()
@connected
def swap(  # noqa: PLR0913 - what a person may say on the command line
    gateway: Gateway,
    domain: DomainArgument,
    certificate: CertificateArgument,
    key: KeyArgument = None,
    chain: ChainOption = None,
    passphrase_file: PassphraseOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    force: ForceOption = False,
    if_match: IfMatchOption = None,
) -> None:
    """Serve another certificate for a domain, on every worker, before this returns. The previous one is kept."""
    body = upload(certificate, key, chain, passphrase_file)
    answer = gateway.call(
        "PUT",
        certificate_of(domain),
        params=flags(dry_run=dry_run, force=force),
        json=body,
        headers=matching(if_match),
    )
    tell(gateway, answer)


@group.command()
@connected
def rollback(
    gateway: Gateway, domain: DomainArgument, *, force: ForceOption = False, if_match: IfMatchOption = None
) -> None:
    """Serve the certificate before the last swap of a domain again; once more brings the later one back."""
    path = f"{certificate_of(domain)}/rollback"
    tell(gateway, gateway.call("POST", path, params=flags(force=force), headers=matching(if_match)))


@group.command()
@unconnected
def verify(
    certificate: Annotated[Path, typer.Argument(metavar="CERT", help="PEM file: the certificate, or a bundle.")],
    key: KeyArgument = None,
    chain: ChainOption = None,
    passphrase_file: PassphraseOption = None,
    domain: Annotated[str | None, typer.Option("--domain", help="A name that it has to cover.")] = None,
    *,
    json: JsonOption = False,
) -> None:
    """Tell whether a certificate can be served, and how to mend what is wrong. No gateway is needed.

    Exit status: 0 it can be served, perhaps with warnings; 1 it cannot; 2 wrong usage.
    """
    from gateway.cli import verify as files
    from gateway.tls.names import canonical

    try:
        name = canonical(domain) if domain else None
    except ValueError as error:
        raise failure(AdminError(str(error), exit_code=2)) from error
    now = datetime.now(UTC)
    verdict = files.verify(files.Files(certificate, key, chain, passphrase_file), name, now)
    if json:
        import json as codec

        typer.echo(codec.dumps(files.as_json(verdict), indent=2, ensure_ascii=False))
    else:
        typer.echo(files.as_text(verdict, now))
    raise typer.Exit(0 if verdict.good else 1)


def flags(**given: bool) -> dict[str, str]:
    """Return the query parameters of those flags that were given."""
    return {name: "true" for name, value in given.items() if value}


def read(path: Path) -> bytes:
    """Read a file that is named on the command line, - being stdin. Raises AdminError.

    Of one that is too large to be a certificate no more is read than shows it.
    """
    from gateway.certs.blocks import MAX_BYTES

    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AdminError(f"{path} cannot be read: {error.strerror}") from error


def upload(certificate: Path, key: Path | None, chain: Path | None, passphrase: Path | None) -> dict[str, str]:
    """Read the files into the body of an upload. Raises AdminError.

    Only PEM blocks leave this machine: neither what stands between them nor a file that was named by mistake.
    """
    from gateway.certs.blocks import read_blocks

    body = {}
    for name, path in (("certificate", certificate), ("private_key", key), ("chain", chain)):
        if path is None:
            continue
        try:
            body[name] = b"".join(block.pem for block in read_blocks(read(path))).decode()
        except CertificateError as error:
            raise AdminError(f"{path}: {error}") from error
        if not body[name]:
            raise AdminError(f"{path} is empty")
    if passphrase:
        try:
            body["passphrase"] = first_line(read(passphrase)).decode()
        except UnicodeDecodeError as error:
            raise AdminError(f"{passphrase} is not a text file with a passphrase") from error
    return body


def is_id(value: str) -> bool:
    """Whether it can only be an id: 64 hex digits at its end are too long for a label of a name (RFC 1035 2.3.4)."""
    return re.fullmatch(r"[A-Za-z0-9_-]*[0-9a-f]{64}", value) is not None


def matching(fingerprint: str | None) -> dict[str, str]:
    """The precondition as a header (RFC 9110 section 13.1.1). Raises AdminError."""
    if fingerprint is None:
        return {}
    if not fingerprint.isascii() or not fingerprint.isprintable():
        raise AdminError("--if-match takes a fingerprint in hex", exit_code=2)
    return {"If-Match": fingerprint}


def tell(gateway: Gateway, answer: Any) -> None:
    """Tell what became of a swap, and what the workers serve now. Raises AdminError when that is something else."""
    from gateway.cli import in_service

    dry = bool(answer.get("dry_run"))
    served = None if dry else in_service.asked(gateway, answer["domain"])
    gateway.show(answer, lambda answer: swapped(answer, served))
    if not gateway.json:
        warn(answer.get("warnings") or ())
    if served:
        in_service.demand(served, answer.get("fingerprint"))


def swapped(answer: Any, served: Any = None) -> str:
    """Write the result of a swap, or what it would be."""
    from gateway.cli import in_service

    end = answer.get("not_after")
    return facts(
        ("domain", answer["domain"]),
        ("certificate", answer.get("fingerprint") or "none"),
        ("before", answer.get("previous_fingerprint") or "none"),
        ("names", listed(answer.get("names") or (), 10)),
        ("expires", expiry(moment(end), datetime.now(UTC)) if end else ""),
        ("generation", "not changed (dry run)" if answer.get("dry_run") else answer.get("generation")),
        ("served", in_service.shown(served) if served else ""),
    )


def stored(certificates: Any) -> str:
    """Write the table of the store's certificates."""
    now = datetime.now(UTC)
    rows = [
        (
            one["id"],
            listed(one.get("dns_names") or ()) or one.get("subject_cn") or "",
            "yes" if one.get("has_private") else "no",
            end_of(one, now),
        )
        for one in certificates
    ]
    if not rows:
        return "no certificates in the store; see: gateway cert add --help"
    return "\n".join(table([("id", "names", "key", "expires"), *rows]))


def one_stored(answer: Any) -> str:
    """Write the facts of one certificate of the store."""
    return facts(
        ("id", answer["id"]),
        ("names", listed(answer.get("dns_names") or (), 20)),
        ("subject", (answer.get("subject") or {}).get("CommonName")),
        ("issuer", (answer.get("issuer") or {}).get("CommonName")),
        ("expires", end_of(answer, datetime.now(UTC))),
        ("private key", "yes" if answer.get("has_private") else "no"),
        ("fingerprint", answer.get("fingerprint")),
    )


def end_of(certificate: Any, now: datetime) -> str:
    """Write when a certificate of the store ends; a public key, whose year is 1 as in Go, never does."""
    end = moment(certificate["not_after"])
    return expiry(end, now) if end.year > 1 else ""
