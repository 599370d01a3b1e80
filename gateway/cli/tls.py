"""``gateway tls``: encryption towards clients, switched and set in the configuration file, as operators know it.

The words are those of ThoughtSpot's ``tscli ssl`` and of Tableau's ``tsm security external-ssl``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.connected import JsonOption  # noqa: TC001 - typer reads it
from gateway.cli.failures import AdminError
from gateway.cli.help import Commands
from gateway.cli.layout import facts, listed
from gateway.cli.rewriting import Wanted, rewriting
from gateway.cli.target import Target, shown_of
from gateway.tls.versions import TlsVersion

group = Commands("TLS towards clients: on, off, certificates, versions, ciphers.")

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
    key: Annotated[Path | None, typer.Argument(metavar="KEY", help="PEM file of the private key.")] = None,
    cert: Annotated[Path | None, typer.Argument(metavar="CERT", help="PEM file of the certificate.")] = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
    chain_file: ChainFileOption = None,
    passphrase: PassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
    domain: DomainOption = None,
) -> Wanted:
    """Serve a certificate for its names, in the place of whatever they had; the two files may stand in any order.

    What stands before it and cannot be replaced is named, and nothing has changed. Also with a key that a passphrase
    opens; the gateway keeps what it opened sealed.
    """
    cert_file, key_file = cert_file or cert, key_file or key
    if cert_file is None or key_file is None:
        raise AdminError("name both files: gateway tls add-cert KEY CERT", exit_code=2)
    return _wanted({}, (cert_file, key_file, chain_file, passphrase_file), passphrase, domain)


@group.command()
@rewriting
def enable(
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
    chain_file: ChainFileOption = None,
    passphrase: PassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
    protocols: Annotated[
        str | None,
        typer.Option(metavar="LIST", help='Versions as Apache writes them: "all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1".'),
    ] = None,
) -> Wanted:
    """Serve HTTPS from now on, without a restart. Certificates that are configured already serve again."""
    if (cert_file is None) != (key_file is None):
        raise AdminError("name both --cert-file and --key-file, or neither", exit_code=2)
    settings: dict[str, Any] = {"use_ssl": True}
    if protocols is not None:
        lowest, highest = versions(protocols)
        settings |= {"min_version": lowest.label, "max_version": highest.label}
    if cert_file is None or key_file is None:
        return Wanted(settings)
    return _wanted(settings, (cert_file, key_file, chain_file, passphrase_file), passphrase, None)


@group.command()
@rewriting
def disable() -> Wanted:
    """Serve plain HTTP from now on, without a restart. Certificates stay configured, for `gateway tls enable`."""
    return Wanted({"use_ssl": False})


@group.command("set-min-version")
@rewriting
def set_min_version(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")],
) -> Wanted:
    """Refuse clients that offer nothing newer than this version of TLS."""
    return Wanted({"min_version": version})


@group.command("set-ciphers")
@rewriting
def set_ciphers(
    ciphers: Annotated[
        list[str], typer.Argument(metavar="CIPHERS", help="OpenSSL cipher strings, OpenSSL names or IANA names.")
    ],
) -> Wanted:
    """Allow these cipher suites and no others. One that is not known is an error here."""
    return Wanted({"ssl_ciphers": ciphers})


@group.command()
@shown_of
def status(target: Target, *, json: JsonOption = False) -> None:
    """Show what is negotiated with clients, by the running gateway if there is one: versions, suites, groups."""
    answer = target.part("tls")
    if json:
        _echo({**answer, "of": target.whose})
        return
    typer.echo(f"Minimum TLS version supported: {answer['minimum']}")
    typer.echo(
        facts(
            ("TLS", "enabled" if answer["enabled"] else "disabled: plain HTTP is served"),
            ("versions", f"{answer['minimum']} to {answer['maximum']}"),
            ("suites", " ".join((*answer["suites"], *answer["ciphers"]))),
            ("order", f"the {answer['order']}'s"),
            ("groups", " ".join(answer["groups"])),
            ("resumption", answer["resumption"]),
            ("hosts", f"with rules of their own: {listed(target.hosts, 10)}" if target.hosts else ""),
            *target.facts(),
        )
    )


@group.command("list")
@shown_of
def list_(target: Target, *, json: JsonOption = False) -> None:
    """List the settings of TLS towards clients. Of files the names are shown and not where they are."""
    answer = target.part("settings")
    if json:
        _echo({**answer, "of": target.whose})
        return
    lines = [
        ("enabled", "yes" if answer["enabled"] else "no"),
        ("protocols", answer["protocols"]),
        ("ciphers", " ".join(answer["ciphers"]) or "the default ones"),
        *(("certificate", " ".join(filter(None, one.values()))) for one in answer["certificates"]),
        *(("certificate", " ".join((name, *target.names_of(name)))) for name in answer["references"]),
        *target.facts(),
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


def _wanted(
    settings: dict[str, Any],
    files: tuple[Path, Path, Path | None, Path | None],
    passphrase: str | None,
    domain: str | None,
) -> Wanted:
    """Return a request for a certificate by its files (certificate, key, chain, passphrase) and for settings."""
    from gateway.cli.new_certificate import NewCertificate

    cert, key, chain, passphrase_file = files
    return Wanted(settings, NewCertificate(cert, key, chain, passphrase_file, passphrase, domain or ""))


def _echo(answer: object) -> None:
    import json

    typer.echo(json.dumps(answer, indent=2))
