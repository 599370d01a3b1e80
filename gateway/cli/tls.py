"""``gateway tls``: encryption towards clients, switched and set in the configuration file, as operators know it.

The words are those of ThoughtSpot's ``tscli ssl`` and of Tableau's ``tsm security external-ssl``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.admin_client import AdminError
from gateway.cli.configuration_file import ConfigOption  # noqa: TC001 - typer reads it
from gateway.cli.connected import JsonOption  # noqa: TC001 - typer reads it
from gateway.cli.layout import facts
from gateway.cli.rewriting import ConfigurationFile, refused, rewriting, shown
from gateway.config import document
from gateway.config.edit import Change, Verb, append, put
from gateway.errors import CertificateError
from gateway.tls.ciphers import select
from gateway.tls.versions import TlsVersion

group = typer.Typer(no_args_is_help=True, help="TLS towards clients: on, off, certificates, versions, ciphers.")

_OPTIONS = "http_server_options"
_PROTOCOLS = {f"tlsv1{minor}": version for minor, version in zip(("", ".1", ".2", ".3"), TlsVersion, strict=True)}
_DEAD = ("sslv2", "sslv3")

CertFileOption = Annotated[
    Path | None, typer.Option("--cert-file", metavar="FILE", help="PEM file of the certificate; its chain may follow.")
]
KeyFileOption = Annotated[Path | None, typer.Option("--key-file", metavar="FILE", help="PEM file of the private key.")]
ChainFileOption = Annotated[
    Path | None, typer.Option("--chain-file", metavar="FILE", help="PEM file of the intermediates.")
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help="File whose first line opens an encrypted key; it must stay."
    ),
]
PassphraseOption = Annotated[
    str | None,
    typer.Option("--passphrase", help="Opens an encrypted key, which the gateway then keeps sealed in its own store."),
]
DomainOption = Annotated[
    str | None, typer.Option("--domain", metavar="NAME", help="The domain it is for; default: the names in it.")
]


@group.command("add-cert")
@rewriting
def add_cert(  # noqa: PLR0913, PLR0917 - typer's options are parameters
    file: ConfigurationFile,
    key: Annotated[Path | None, typer.Argument(metavar="KEY", help="PEM file of the private key.")] = None,
    cert: Annotated[Path | None, typer.Argument(metavar="CERT", help="PEM file of the certificate.")] = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
    chain_file: ChainFileOption = None,
    passphrase: PassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
    domain: DomainOption = None,
) -> list[Change]:
    """Serve a certificate: add it to the configuration, or renew what the same file names there.

    Also with a key that a passphrase opens; the gateway keeps what it opened sealed.
    """
    cert_file, key_file = cert_file or cert, key_file or key
    if cert_file is None or key_file is None:
        raise AdminError("name both files: gateway tls add-cert KEY CERT", exit_code=2)
    return _certificate(file, (cert_file, key_file, chain_file, passphrase_file), domain, passphrase)


@group.command()
@rewriting
def enable(
    file: ConfigurationFile,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
    chain_file: ChainFileOption = None,
    passphrase: PassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
    protocols: Annotated[
        str | None,
        typer.Option(metavar="LIST", help='Versions as Apache writes them: "all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1".'),
    ] = None,
) -> list[Change]:
    """Serve HTTPS from now on, without a restart. Certificates that are configured already serve again."""
    changes = [put(f"{_OPTIONS}.use_ssl", value=True)]
    if (cert_file is None) != (key_file is None):
        raise AdminError("name both --cert-file and --key-file, or neither", exit_code=2)
    if cert_file and key_file:
        changes += _certificate(file, (cert_file, key_file, chain_file, passphrase_file), None, passphrase)
    if protocols is not None:
        lowest, highest = versions(protocols)
        changes += [_version(file, "min_version", lowest), _version(file, "max_version", highest)]
    return changes


@group.command()
@rewriting
def disable(file: ConfigurationFile) -> list[Change]:  # noqa: ARG001 - every such command is given it
    """Serve plain HTTP from now on, without a restart. Certificates stay configured, for `gateway tls enable`."""
    return [put(f"{_OPTIONS}.use_ssl", value=False)]


@group.command("set-min-version")
@rewriting
def set_min_version(
    file: ConfigurationFile,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")],
) -> list[Change]:
    """Refuse clients that offer nothing newer than this version of TLS."""
    try:
        lowest = TlsVersion.parse(version)
    except ValueError as error:
        raise AdminError(str(error), exit_code=2) from error
    changes = [_version(file, "min_version", lowest)]
    if lowest > file.settings.http_server_options.max_version:
        changes.append(_version(file, "max_version", lowest))
    return changes


@group.command("set-ciphers")
@rewriting
def set_ciphers(
    file: ConfigurationFile,  # noqa: ARG001 - every such command is given it
    ciphers: Annotated[
        list[str], typer.Argument(metavar="CIPHERS", help="OpenSSL cipher strings, OpenSSL names or IANA names.")
    ],
) -> list[Change]:
    """Allow these cipher suites and no others. One that is not known is an error here."""
    chosen = select(ciphers)
    if chosen.warnings:
        said = "; ".join(warning.removesuffix("; it is left out") for warning in chosen.warnings)
        raise AdminError(f"{said}; nothing has changed. `gateway tls status` shows names that are known", exit_code=2)
    return [put(f"{_OPTIONS}.ssl_ciphers", list(ciphers))]


@group.command()
def status(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """Show what is negotiated with clients: versions, suites, groups, resumption."""
    from gateway.routing.policies import towards_clients
    from gateway.tls.policy import GROUPS

    settings = shown(config).settings
    policy = towards_clients(settings)[0]
    answer: dict[str, Any] = {
        "enabled": settings.http_server_options.use_ssl,
        "minimum": policy.minimum.label,
        "maximum": policy.maximum.label,
        "suites": [*(policy.suites if policy.maximum >= TlsVersion.TLS1_3 else ())],
        "ciphers": [*(policy.ciphers if policy.minimum < TlsVersion.TLS1_3 else ())],
        "order": "server" if policy.server_preference else "client",
        "groups": list(GROUPS),
        "resumption": "tickets, on every worker and across certificate swaps; never on another host",
    }
    if json:
        _echo(answer)
        return
    typer.echo(f"Minimum TLS version supported: {policy.minimum.label}")
    typer.echo(
        facts(
            ("TLS", "enabled" if answer["enabled"] else "disabled: plain HTTP is served"),
            ("versions", f"{policy.minimum.label} to {policy.maximum.label}"),
            ("suites", " ".join((*answer["suites"], *answer["ciphers"]))),
            ("order", f"the {answer['order']}'s"),
            ("groups", " ".join(GROUPS)),
            ("resumption", answer["resumption"]),
        )
    )


@group.command("list")
def list_(config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """List the settings of TLS towards clients. Of files the names are shown and not where they are."""
    options = shown(config).settings.http_server_options
    answer: dict[str, Any] = {
        "enabled": options.use_ssl,
        "protocols": f"{TlsVersion(options.min_version).label} to {TlsVersion(options.max_version).label}",
        "ciphers": list(options.ssl_ciphers),
        "certificates": [
            {
                "domain": one.domain_name,
                "cert_file": one.cert_file.name,
                "key_file": one.key_file.name,
                "chain_file": one.chain_file.name if one.chain_file else "",
            }
            for one in options.certificates
        ],
        "references": [_shown(name) for name in options.ssl_certificates],
    }
    if json:
        _echo(answer)
        return
    lines = [
        ("enabled", "yes" if options.use_ssl else "no"),
        ("protocols", answer["protocols"]),
        ("ciphers", " ".join(options.ssl_ciphers) or "the default ones"),
        *(("certificate", " ".join(filter(None, one.values()))) for one in answer["certificates"]),
        *(("certificate", name) for name in answer["references"]),
    ]
    typer.echo(facts(*lines))


def versions(protocols: str) -> tuple[TlsVersion, TlsVersion]:
    """The lowest and the highest version of a list as Apache's SSLProtocol has it, from left to right.

    Raises AdminError for words that it does not know, for an empty rest and for one with a gap, which no
    server of today can offer.
    """
    allowed: set[TlsVersion] = set()
    words = re.split(r"[,\s]+", protocols.strip().strip(",").lower())
    for word in words:
        name = word.lstrip("+-")
        if name in _DEAD:
            if not word.startswith("-"):
                raise AdminError(f"{word} is dead and not served (RFC 6176, RFC 7568); leave it out", exit_code=2)
        elif name != "all" and name not in _PROTOCOLS:
            raise AdminError(f"{word!r} is not a protocol; use all, TLSv1, TLSv1.1, TLSv1.2, TLSv1.3", exit_code=2)
        else:
            named = set(TlsVersion) if name == "all" else {_PROTOCOLS[name]}
            allowed = allowed - named if word.startswith("-") else allowed | named
    if not allowed:
        raise AdminError("these protocols leave none; `gateway tls disable` serves plain HTTP", exit_code=2)
    lowest, highest = min(allowed), max(allowed)
    if len(allowed) != highest - lowest + 1:
        raise AdminError("these protocols have a gap; allow all from a lowest to a highest", exit_code=2)
    return lowest, highest


def _version(file: ConfigurationFile, key: str, version: TlsVersion) -> Change:
    """Set a version as it is usually written: by its number in tyk.conf's JSON, else as people say it."""
    return put(f"{_OPTIONS}.{key}", int(version) if document.is_json(file.path, file.text) else float(version.label))


def _certificate(
    file: ConfigurationFile,
    files: tuple[Path, Path, Path | None, Path | None],
    domain: str | None,
    passphrase: str | None,
) -> list[Change]:
    """Add an entry for these files (certificate, key, chain, passphrase), or replace the one for the same certificate.

    With a passphrase the pair goes into the store instead, and its id into the file: neither the passphrase nor the
    opened key is ever written in clear.
    """
    cert, key, chain, passphrase_file = files
    if passphrase is not None:
        if domain:
            raise AdminError("--domain needs the files: use --passphrase-file, or leave it out", exit_code=2)
        return _stored(file, cert, key, chain, passphrase)
    _check(files, domain)
    parts = {
        "domain_name": domain,
        "cert_file": cert,
        "key_file": key,
        "chain_file": chain,
        "passphrase_file": passphrase_file,
    }
    entry = {name: file.named(part) if isinstance(part, Path) else part for name, part in parts.items() if part}
    for place, present in enumerate(file.settings.http_server_options.certificates):
        if (file.path.parent / present.cert_file).absolute() == cert.absolute():
            return [Change(Verb.SET, (_OPTIONS, "certificates", place), entry)]
    return [append(f"{_OPTIONS}.certificates", entry)]


def _stored(file: ConfigurationFile, cert: Path, key: Path, chain: Path | None, passphrase: str) -> list[Change]:
    from gateway.certs.pem import parse_pair
    from gateway.cli.cert import upload

    body = upload(cert, key, chain, None) | {"passphrase": passphrase}
    parts = {name: text.encode() for name, text in body.items()}
    try:
        pair, _ = parse_pair(
            parts["certificate"],
            parts["private_key"],
            chain_pem=parts.get("chain", b""),
            passphrase=parts["passphrase"],
        )
    except CertificateError as error:
        raise AdminError(str(error)) from error
    file.uploads[pair.fingerprint] = body
    known = pair.fingerprint in file.settings.http_server_options.ssl_certificates
    return [] if known else [append(f"{_OPTIONS}.ssl_certificates", pair.fingerprint)]


def _check(files: tuple[Path, Path, Path | None, Path | None], domain: str | None) -> None:
    """Refuse what cannot be served before it is in the configuration. Raises AdminError."""
    from gateway.cli.verify import Files, verify
    from gateway.config.problems import Severity

    verdict = verify(Files(*files), domain, datetime.now(UTC))
    if not verdict.good:
        errors = [one for one in verdict.problems if one.severity is Severity.ERROR]
        raise refused("this certificate cannot be served, and nothing has changed", errors)


def _shown(reference: str) -> str:
    """A reference without where its file is; of inline PEM nothing is shown."""
    from gateway.config.kinds import source_of

    return Path(source_of(reference)).name


def _echo(answer: object) -> None:
    import json

    typer.echo(json.dumps(answer, indent=2))
