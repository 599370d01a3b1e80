"""The options that say which gateway a command speaks with, as whom, and whom it believes.

They stand before a command, for all that follows (``gateway --server URL tls enable``), or behind it. Who names an
administrator logs in for this one command, and out when it is over; ``gateway login`` keeps a session instead.
"""

from __future__ import annotations

import getpass
import inspect
import os
import sys
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gateway.cli.failures import AdminError
from gateway.cli.variables import (
    CLIENT_CERT_VARIABLE,
    CLIENT_KEY_VARIABLE,
    PASSWORD_VARIABLE,
    SECRET_VARIABLE,
    TRUST_VARIABLE,
    URL_VARIABLE,
    USER_VARIABLE,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli.address import Address
    from gateway.cli.admin_client import AdminClient


_Client = TypeVar("_Client", bound="AdminClient")
_PANEL = "Which gateway, and as whom"


def _option(*names: str, metavar: str | None = None, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_PANEL)


@dataclass(frozen=True, slots=True)
class Access:
    """The options as they were given."""

    server: str | None = None
    user: str | None = None
    password: str | None = None
    password_file: Path | None = None
    secret_file: Path | None = None
    trust: Path | None = None
    trust_admin_cert: bool = False
    client_cert: Path | None = None
    client_key: Path | None = None

    def over(self, general: Access) -> Access:
        """What is given here, else what is given there."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name)}
        return replace(general, **given)


_before_the_command: ContextVar[Access | None] = ContextVar("the options before the command", default=None)


def options(  # noqa: PLR0913 - typer's options are parameters
    server: Annotated[
        str | None,
        _option("--server", "-s", metavar="URL", text=f"The control port. Default: {URL_VARIABLE}, or the"
                " configuration's."),
    ] = None,
    user: Annotated[
        str | None,
        _option("--user", "--username", "-u", metavar="NAME", text="Log in as this administrator, for this command. "
                f"Default: {USER_VARIABLE}, the session of `gateway login`, or the secret."),
    ] = None,
    password: Annotated[
        str | None,
        _option("--password", "-p", metavar="TEXT", text="The administrator's password. Others on this host may see"
                f" it: better {PASSWORD_VARIABLE}, --password-file, or being asked."),
    ] = None,
    password_file: Annotated[
        Path | None,
        _option("--password-file", metavar="FILE", text="File whose first line is the password; - is standard input."),
    ] = None,
    secret_file: Annotated[
        Path | None,
        _option("--secret-file", metavar="FILE", text="File with the admin secret. "
                f"Default: {SECRET_VARIABLE}, the configuration's, or the generated one."),
    ] = None,
    trust: Annotated[
        Path | None,
        _option("--trust", metavar="FILE", text="PEM file with the control port's certificate or its CA's. "
                f"Default: {TRUST_VARIABLE}, what a gateway of this host shows, or the system's."),
    ] = None,
    *,
    trust_admin_cert: Annotated[
        bool,
        _option("--trust-admin-cert", "--trust-admin-controller-cert", text="Trust the certificate that the control"
                " port shows now, and print its fingerprint; `gateway login` keeps it."),
    ] = False,
    client_cert: Annotated[
        Path | None,
        _option("--client-cert", metavar="FILE", text="PEM file of the client certificate to show, perhaps with its"
                f" key. Default: {CLIENT_CERT_VARIABLE}."),
    ] = None,
    client_key: Annotated[
        Path | None,
        _option("--client-key", metavar="FILE", text=f"PEM file of its key. Default: {CLIENT_KEY_VARIABLE}."),
    ] = None,
) -> Access:  # fmt: skip
    """Collect the options."""
    return Access(server, user, password, password_file, secret_file, trust, trust_admin_cert, client_cert, client_key)


def taken(arguments: dict[str, Any]) -> Access:
    """Take the options of this module out of a command's arguments, over those that stand before the command."""
    given = {name: arguments.pop(name) for name in inspect.signature(options).parameters if name in arguments}
    return options(**given).over(_before_the_command.get() or Access())


def is_named(wanted: Access) -> bool:
    """Return whether an option or a variable says where the gateway is, instead of a configuration file."""
    return bool(wanted.server or os.environ.get(URL_VARIABLE))


def begin(**arguments: Any) -> None:
    """Remember the options that stand before the command."""
    _before_the_command.set(options(**arguments))


def find(access: Access, *, config: Path | None, found: Path | None) -> Address:
    """Return the address that is meant; see `address.locate`. Raises AdminError."""
    from gateway.cli.address import locate

    certificate, key = _named(access.client_cert, CLIENT_CERT_VARIABLE), _named(access.client_key, CLIENT_KEY_VARIABLE)
    if key and not certificate:
        raise AdminError("--client-key is of a certificate: name that with --client-cert", exit_code=2)
    address = locate(
        os.environ,
        server=access.server,
        secret_file=access.secret_file,
        config=config,
        found=found,
        trust_file=access.trust,
        user=access.user,
        shown=(certificate, key) if certificate else None,
    )
    if (access.password is not None or access.password_file) and not address.user:
        raise AdminError("the password is an administrator's: name that with --user", exit_code=2)
    if not access.trust_admin_cert:
        return address
    seen = address.certificate()
    if address.pinned and address.pinned != seen:
        raise AdminError(address.changed(seen))
    return address.trusting(seen)


@contextmanager
def reach(kind: type[_Client], access: Access, *, config: Path | None, found: Path | None = None) -> Iterator[_Client]:
    """Speak with the gateway, as whoever is meant. Raises AdminError."""
    address = find(access, config=config, found=found)
    tell(address, fresh=access.trust_admin_cert)
    with kind(address) as client:
        if not address.user:
            yield client
            return
        client.log_in(address.user, secret_word(access, f"password of {address.user}"))
        try:
            yield client
        finally:
            with suppress(AdminError):
                client.call("DELETE", "/tyk/session")


def tell(address: Address, *, fresh: bool) -> None:
    """Say on stderr what a careful person would want to know before anything is sent."""
    from gateway.cli.address import is_exposed

    if fresh:
        typer.echo(f"trusting {address.url} with the certificate SHA-256 {address.fingerprint}", err=True)
    if is_exposed(address.url):
        what = "password" if address.user else "secret"
        typer.echo(f"warning: the {what} goes to {address.url} in clear text; use https", err=True)


def secret_word(access: Access, what: str) -> str:
    """Return the password: given, in a file, in the environment, or asked for. Raises AdminError."""
    return given_word(access.password, access.password_file, os.environ.get(PASSWORD_VARIABLE)) or asked_word(what)


def given_word(word: str | None, file: Path | None, otherwise: str | None = None) -> str | None:
    """Return a password that was given in one way or the other. Raises AdminError."""
    if word is not None or file is None:
        return word or otherwise
    from gateway.cli.address import first_line

    return first_line(file) or None


def asked_word(what: str, *, twice: bool = False) -> str:
    """Ask a person at a terminal. Raises AdminError when there is none."""
    if not sys.stdin.isatty():
        raise AdminError(
            f"the {what} is missing; name a file that holds it, or run this at a terminal to be asked", exit_code=2
        )
    word = getpass.getpass(f"{what}: ")
    if not word or (twice and getpass.getpass("once more: ") != word):
        raise AdminError("they are not the same" if word else "an empty one is none", exit_code=2)
    return word


def _named(file: Path | None, variable: str) -> Path | None:
    return file or (Path(os.environ[variable]) if os.environ.get(variable) else None)
