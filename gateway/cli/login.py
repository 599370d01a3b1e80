"""``gateway login`` and ``gateway logout``: a session at a gateway, kept for the commands that follow."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli import access
from gateway.cli.access import Access, find, secret_word, taken, tell
from gateway.cli.configuration_file import ConfigOption, nearby
from gateway.cli.connected import Gateway, JsonOption, failure
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean, moment
from gateway.cli.options import with_options_of
from gateway.cli.variables import USER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable


def _accessing(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that is given the access that is meant, and its own options."""

    def run(**arguments: Any) -> None:
        try:
            command(taken(arguments), **arguments)
        except AdminError as error:
            raise failure(error, as_json=arguments["json"]) from error

    return with_options_of(run, command, access.options)


@_accessing
def login(wanted: Access, config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """Log in as an administrator; the commands that follow use the session until it ends or `gateway logout`.

    It is kept in your configuration directory, for you alone.
    """
    from ssl import DER_cert_to_PEM_cert

    from gateway.cli import sessions

    user = wanted.user or os.environ.get(USER_VARIABLE) or _asked_name()
    address = find(replace(wanted, user=user), config=config, found=nearby())
    tell(address, fresh=wanted.trust_admin_cert)
    with Gateway(address) as gateway:
        gateway.json = json
        begun = gateway.log_in(user, secret_word(wanted, f"password of {user}"))
        certificate = DER_cert_to_PEM_cert(address.pinned) if address.pinned else ""
        sessions.keep(os.environ, address.url, sessions.Kept(user, begun["token"], begun["ends"], certificate))
        shown = {"server": address.url, "user": begun["user"], "role": begun["role"], "ends": begun["ends"]}
        gateway.show(shown, _welcome)


@_accessing
def logout(wanted: Access, config: ConfigOption = None, *, json: JsonOption = False) -> None:
    """End the session at the gateway, and forget it here."""
    from gateway.cli import sessions

    # As somebody, so that neither a secret nor a session that is over stands in the way.
    address = find(replace(wanted, user="nobody"), config=config, found=nearby())
    kept = sessions.find(os.environ, address.url)
    if kept is None:
        raise AdminError(f"nobody is logged in at {address.url}")
    sessions.keep(os.environ, address.url, None)
    try:
        with Gateway(replace(address, user="", token=kept.token, secret_source=f"the session of {kept.user}")) as there:
            there.call("DELETE", "/tyk/session", accept=(401,))
    except AdminError as error:
        typer.echo(f"warning: the gateway could not be told, and ends it by itself: {clean(error)}", err=True)
    answer = {"server": address.url, "user": kept.user}
    typer.echo(_json(answer) if json else f"logged out {kept.user} at {address.url}")


def _welcome(answer: Any) -> str:
    until = f"{moment(answer['ends']):%Y-%m-%d %H:%M} UTC"
    return f"logged in at {answer['server']} as {answer['user']} ({answer['role']}) until {until} at the latest"


def _asked_name() -> str:
    if not sys.stdin.isatty():
        raise AdminError("who logs in? Name an administrator with --user", exit_code=2)
    return str(typer.prompt("user", err=True))


def _json(answer: object) -> str:
    import json

    return json.dumps(answer, indent=2)
