"""``gateway secrets``: new keys and secrets instead of those that there are."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.connected import Gateway, connected
from gateway.cli.failures import AdminError
from gateway.cli.help import Commands
from gateway.cli.layout import clean

if TYPE_CHECKING:
    from typing import NoReturn

group = Commands("Make new keys and secrets.")

_LOOK_SECONDS = 0.2
_POLL_SECONDS = 5.0
_AGAIN = "run `gateway secrets regenerate` again: it goes on where it was; everything can be read meanwhile"

TimeoutOption = Annotated[
    float,
    typer.Option("--request-timeout", metavar="SECONDS", min=1, help="How long to wait for it to be done."),
]


@group.callback()
def secrets() -> None:
    """Make new keys and secrets."""


@group.command()
@connected
def regenerate(gateway: Gateway, request_timeout: TimeoutOption = 1800) -> None:
    """Make a new admin secret, new internal certificates and new keys, and seal everything anew; traffic goes on.

    What is interrupted is gone on with when it is run again. An admin secret that is configured stays, and so do
    certificates that are. Exit status: 0 done, 1 refused or not done yet, 2 wrong usage.
    """
    asked = _Request(gateway, request_timeout)
    thread = threading.Thread(target=asked.run, name="asks", daemon=True)
    thread.start()
    with typer.progressbar(length=1, label="sealing anew", file=sys.stderr) as bar:
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
            if thread.is_alive():
                asked.look(bar)
    if asked.error:
        _fail(asked.error)
    gateway.show(asked.answer, regenerated)


@dataclass(slots=True)
class _Request:
    """The request, which lasts until everything is done, and looks at how far it is."""

    gateway: Gateway
    seconds: float
    answer: Any = None
    error: AdminError | None = field(default=None)

    def run(self) -> None:
        try:
            self.answer = self.gateway.call("POST", "/tyk/secrets/regenerate", timeout=self.seconds)
        except AdminError as error:
            self.error = error

    def look(self, bar: Any) -> None:
        try:
            now = self.gateway.call("GET", "/tyk/secrets/regenerate", timeout=_POLL_SECONDS)
        except AdminError:  # the secret is another one by now, or the gateway is gone, which the request tells
            return
        bar.length = max(now["total"], 1)
        bar.update(min(now["done"], bar.length) - bar.pos)


def _fail(error: AdminError) -> NoReturn:
    if error.body is None:  # nobody has answered: it may have begun
        raise AdminError(f"{error}; {_AGAIN}", exit_code=error.exit_code) from error
    raise error


def regenerated(answer: Any) -> str:
    """Write what was made, and where the secret is."""
    keys = answer["keys"]
    key = next(key["id"] for key in keys["master_keys"] if key["state"] != "decrypt-only")
    secret, unreadable = answer["secret_file"], answer["unreadable"]
    lines = [
        "gone on with what was interrupted" if answer["resumed"] else "",
        f"master key {key} under root master key {keys['root_master_key']}; {answer['sealed']} texts sealed anew",
        f"{unreadable} texts cannot be opened with any key, and are as they were" if unreadable else "",
        f"new certificate for {', '.join(map(clean, answer['certificates']))}" if answer["certificates"] else "",
        f"new admin secret in {clean(secret)}"
        if secret
        else "the admin secret is configured, and the operator's to change: `secret` or TYK_GW_SECRET",
    ]
    return "\n".join(line for line in lines if line)
