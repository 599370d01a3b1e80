"""``gateway cert self-signed`` and ``gateway cert csr``: what takes a file and three openssl commands, in one line.

A certificate is written 0644 and a key 0600, whole or not at all; what is there already is not replaced unasked.
"""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import files
from gateway.cli.cert import read
from gateway.cli.connected import JsonOption, failure, unconnected
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean, expiry, facts, listed
from gateway.cli.options import with_options_of
from gateway.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.certs.pem import PrivateKey
    from gateway.certs.self_signed import NewKey, Wish

_FIELDS = {"C": "country", "ST": "state", "L": "locality", "O": "organization", "OU": "unit", "CN": "common_name"}
_KINDS = ("ec", "rsa2048", "rsa4096")

DnsOption = Annotated[
    list[str] | None, typer.Option("--dns", metavar="NAME", help="A host name or *.parent; may be repeated.")
]
IpOption = Annotated[list[str] | None, typer.Option("--ip", metavar="ADDRESS", help="An IP address; may be repeated.")]
KeyOption = Annotated[str, typer.Option("--key", metavar="KIND", help=f"The key to make: {', '.join(_KINDS)}.")]
PassphraseOption = Annotated[str | None, typer.Option("--passphrase", help="Encrypt the key with it.")]
PassphraseFileOption = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Encrypt the key with this file's first line.")
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where the files go, called after the first name.")
]
KeyFileOption = Annotated[Path | None, typer.Option("--key-file", metavar="FILE", help="The key's file, not in --out.")]
ClientOption = Annotated[bool, typer.Option("--client", help="Also for the client's side of mutual TLS.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
CountryOption = Annotated[str | None, typer.Option("--country", "--C", metavar="C", help="Two letters.")]
StateOption = Annotated[str | None, typer.Option("--state", "--ST", metavar="ST", help="State or province.")]
LocalityOption = Annotated[str | None, typer.Option("--locality", "--L", metavar="L", help="City.")]
OrganizationOption = Annotated[str | None, typer.Option("--organization", "--O", metavar="O", help="Organisation.")]
UnitOption = Annotated[str | None, typer.Option("--unit", "--OU", metavar="OU", help="Part of the organisation.")]
CommonNameOption = Annotated[
    str | None, typer.Option("--common-name", "--CN", metavar="CN", help="Default: the first name.")
]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made, and where it goes. ``place`` is the path of a file without its suffix."""

    wish: Wish
    kind: NewKey
    passphrase: bytes
    place: Path
    key_file: Path
    passphrase_file: Path | None
    force: bool
    json: bool


def _made(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that is given an `Order`. Exit status: 0 made, 1 refused, 2 wrong usage."""

    def run(  # noqa: PLR0913, PLR0917 - typer's options are parameters
        dns: DnsOption = None,
        ip: IpOption = None,
        key: KeyOption = "ec",
        passphrase: PassphraseOption = None,
        passphrase_file: PassphraseFileOption = None,
        out: OutOption = Path(),
        key_file: KeyFileOption = None,
        country: CountryOption = None,
        state: StateOption = None,
        locality: LocalityOption = None,
        organization: OrganizationOption = None,
        unit: UnitOption = None,
        common_name: CommonNameOption = None,
        *,
        client: ClientOption = False,
        force: ForceOption = False,
        json: JsonOption = False,
        **arguments: Any,
    ) -> None:
        from gateway.certs.self_signed import Wish

        given = locals()
        try:
            names = _names(dns or [], ip or [])
            subject = tuple((short, given[field]) for short, field in _FIELDS.items() if given[field])
            place = out / names[0].replace("*", "wildcard").replace(":", "-")
            order = Order(
                Wish(names, subject, client),  # type: ignore[arg-type]
                _kind(key),
                _passphrase(passphrase, passphrase_file),
                place,
                key_file or Path(f"{place}.key"),
                passphrase_file,
                force,
                json,
            )
            try:
                command(order, **arguments)
            except ValueError as error:  # X.520 bounds each field of a subject
                raise AdminError(f"the subject cannot be written: {error}", exit_code=2) from error
        except AdminError as error:
            raise failure(error) from error

    return unconnected(with_options_of(run, command))


@_made
def self_signed(
    order: Order,
    cert_file: Annotated[
        Path | None, typer.Option("--cert-file", metavar="FILE", help="The certificate's file, not in --out.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=36500, help="For how long it is valid.")] = 365,
) -> None:
    """Make a key and a certificate that nobody vouches for: for tests, and where clients are given it to trust."""
    from gateway.certs import self_signed as certs

    path = cert_file or Path(f"{order.place}.crt")
    pair = certs.self_signed(days=days, key=order.kind, wish=order.wish)
    _write(order, path, pair.chain_pem, pair.key)
    passphrase = f" --passphrase-file {_shown(order.passphrase_file or 'FILE')}" if order.passphrase else ""
    _tell(
        order,
        {
            "certificate": str(path),
            "key": str(order.key_file),
            "names": list(pair.names),
            "fingerprint": pair.fingerprint,
            "not_after": pair.not_after.isoformat(),
            "next": [
                f"gateway tls add-cert {_shown(order.key_file)} {_shown(path)}{passphrase}",
                f"curl --cacert {_shown(path)} https://{_in_url(pair.names[0])}:PORT/",
            ],
        },
        ("expires", expiry(pair.not_after, pair.not_before)),
    )


@_made
def csr(
    order: Order,
    csr_file: Annotated[
        Path | None, typer.Option("--csr-file", metavar="FILE", help="The request's file, not in --out.")
    ] = None,
) -> None:
    """Make a key, and the request that a certificate authority turns into a certificate for it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from gateway.certs.self_signed import signing_request

    path = csr_file or Path(f"{order.place}.csr")
    request, key = signing_request(order.wish, order.kind)
    _write(order, path, request.public_bytes(Encoding.PEM), key)
    passphrase = f" --passphrase-file {_shown(order.passphrase_file or 'FILE')}" if order.passphrase else ""
    _tell(
        order,
        {
            "request": str(path),
            "key": str(order.key_file),
            "names": list(order.wish.names),
            "subject": request.subject.rfc4514_string(),
            "next": [
                f"give {_shown(path)}, and never the key, to your certificate authority",
                f"gateway tls add-cert {_shown(order.key_file)} THE-CERTIFICATE-THEY-SEND{passphrase}",
            ],
        },
    )


def _names(dns: list[str], addresses: list[str]) -> tuple[str, ...]:
    """The names as certificates spell them. Raises AdminError."""
    from ipaddress import ip_address

    from gateway.tls.names import canonical

    try:
        names = [canonical(name) for name in dns] + [str(ip_address(address)) for address in addresses]
    except ValueError as error:
        raise AdminError(str(error), exit_code=2) from error
    if not names:
        raise AdminError("say what it is for: --dns NAME, --ip ADDRESS, each as often as needed", exit_code=2)
    return tuple(dict.fromkeys(names))


def _kind(text: str) -> NewKey:
    if text not in _KINDS:
        raise AdminError(f"{text!r} is no kind of key; use {', '.join(_KINDS)}", exit_code=2)
    return text  # type: ignore[return-value]


def _passphrase(text: str | None, file: Path | None) -> bytes:
    """The passphrase of either option, or b"". Raises AdminError."""
    if text is None and file is None:
        return b""
    secret = text.encode() if text is not None else files.first_line(read(file or Path()))
    if not secret:
        raise AdminError("the passphrase is empty", exit_code=2)
    return secret


def _write(order: Order, path: Path, public: bytes, key: PrivateKey) -> None:
    """Write both files or none, the key first: a certificate without its key is of no use. Raises AdminError."""
    from cryptography.hazmat.primitives import serialization

    encryption = (
        serialization.BestAvailableEncryption(order.passphrase) if order.passphrase else serialization.NoEncryption()
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    if path == order.key_file:
        raise AdminError(f"{path} cannot hold both; name two files", exit_code=2)
    contents = {order.key_file: (private, 0o600), path: (public, 0o644)}
    there = [str(path) for path in contents if os.path.lexists(path)]
    if there and not order.force:
        raise AdminError(f"there is {' and '.join(there)} already, and nothing was written; --force replaces it")
    try:
        with ExitStack() as written:
            drafts = [
                written.enter_context(files.draft(place, content, mode=mode, secret=place == order.key_file))
                for place, (content, mode) in contents.items()
            ]
            _place(drafts, force=order.force)
    except FileError as error:
        raise AdminError(f"{error}, or name another with --out" if "directory" in str(error) else str(error)) from error


def _place(drafts: Sequence[files.Draft], *, force: bool) -> None:
    """Put both in their places, and neither where somebody else was quicker. Raises FileError."""
    with ExitStack() as taken_back:
        for draft in drafts:
            if force:
                draft.replace()
            elif draft.create():
                taken_back.callback(files.remove, draft.target)
            else:
                raise FileError(f"there is {draft.target} already, and nothing was written; --force replaces it")
        taken_back.pop_all()


def _tell(order: Order, answer: dict[str, Any], *more: tuple[str, object]) -> None:
    if order.json:
        import json

        typer.echo(json.dumps(answer, indent=2))
        return
    shown = [(name, listed(value, 10) if name == "names" else value) for name, value in answer.items()]
    typer.echo(facts(*((name, value) for name, value in shown if name not in ("next", "not_after")), *more))
    typer.echo("\nnext:\n" + "\n".join(f"  {clean(line)}" for line in answer["next"]))


def _shown(path: Path | str) -> str:
    return shlex.quote(str(path))


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name.replace("*.", "www.")
