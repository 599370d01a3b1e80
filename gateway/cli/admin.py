"""``gateway admin``: who may use the admin API, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.access import asked_word, given_word
from gateway.cli.connected import Gateway, connected
from gateway.cli.failures import AdminError
from gateway.cli.help import Commands
from gateway.cli.layout import moment, table
from gateway.cli.variables import PASSWORD_VARIABLE

NEW_VARIABLE = "GATEWAY_ADMIN_NEW_PASSWORD"
_SHORTEST = 8  # the admin API's own rule, told without a request

group = Commands("Administrators: who may use the admin API, by name and role.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and . _ @ -")]
RoleOption = Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer: only reads; operator: everything.")]
NewOption = Annotated[
    str | None,
    typer.Option(
        "--new-password", metavar="TEXT",
        help=f"The new password. Others on this host may see it: better {NEW_VARIABLE}, a file, or being asked.",
    ),
]  # fmt: skip
NewFileOption = Annotated[
    Path | None,
    typer.Option(
        "--new-password-file", metavar="FILE", help="File whose first line is the new password; - is standard input."
    ),
]


@group.command()
@connected
def add(
    gateway: Gateway,
    name: NameArgument,
    role: RoleOption = "viewer",
    new_password: NewOption = None,
    new_password_file: NewFileOption = None,
) -> None:
    """Add an administrator, who can log in from now on."""
    if role not in {"viewer", "operator"}:
        raise AdminError(f"{role!r} is no role; there are viewer and operator", exit_code=2)
    body = {"name": name, "role": role, "password": _new(new_password, new_password_file, name)}
    answer = gateway.call("POST", "/tyk/admins", json=body)
    gateway.show(answer, lambda one: f"added {one['name']} ({one['role']})")


@group.command("list")
@connected
def list_(gateway: Gateway) -> None:
    """List the administrators with their roles."""
    gateway.show(gateway.call("GET", "/tyk/admins")["administrators"], _overview)


@group.command()
@connected
def delete(gateway: Gateway, name: NameArgument) -> None:
    """Delete an administrator; all sessions of that name end at once."""
    gateway.show(gateway.call("DELETE", _of(name)), lambda _: f"deleted {name}, and ended all sessions")


@group.command()
@connected
def passwd(
    gateway: Gateway,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Default: your own.")] = None,
    new_password: NewOption = None,
    new_password_file: NewFileOption = None,
) -> None:
    """Change a password; all sessions that began with the old one end at once."""
    asker = gateway.call("GET", "/tyk/session")
    if name is None and asker["ends"] is None:
        raise AdminError("whose? Name an administrator: the secret has no password", exit_code=2)
    name = name or str(asker["user"])
    body = {}
    if asker["ends"] is not None and asker["user"] == name:
        body["current"] = gateway.password or os.environ.get(PASSWORD_VARIABLE) or asked_word(f"password of {name}")
    body["password"] = _new(new_password, new_password_file, name)
    answer = gateway.call("PUT", f"{_of(name)}/password", json=body)
    gateway.show(answer, lambda _: f"changed the password of {name}; who was logged in with the old one is no more")


def _new(word: str | None, file: Path | None, name: str) -> str:
    given = given_word(word, file, os.environ.get(NEW_VARIABLE))
    new = given or asked_word(f"new password of {name}", twice=True)
    if len(new) < _SHORTEST:
        raise AdminError(f"the new password has {len(new)} characters; give at least {_SHORTEST}", exit_code=2)
    return new


def _of(name: str) -> str:
    return f"/tyk/admins/{quote(name, safe='')}"


def _overview(answer: Any) -> str:
    rows = [(one["name"], one["role"], f"{moment(one['created']):%Y-%m-%d}") for one in answer]
    return "\n".join(table([("name", "role", "since"), *rows])) if rows else "none: only the secret opens the admin API"
