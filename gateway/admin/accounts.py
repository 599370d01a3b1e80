"""``/tyk/login``, ``/tyk/session`` and ``/tyk/admins``: administrators by name, and their sessions."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field, ValidationError

from gateway.admin.declarations import Body, Call, Message, Model, Parameter, Refusal, Reply, complaint
from gateway.admin.identity import SECRET, Role
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.admin.authentication import Attempts
    from gateway.admin.declarations import Asked
    from gateway.admin.identity import Accounts, Administrator, Identity

RESERVED = frozenset({"secret", "gateway", "supervisor"})
"""What the audit log calls who has no account."""

_NAME = r"^[a-z0-9][a-z0-9._@-]{0,63}$"
_WRONG = "the name or the password is wrong"
_Model = TypeVar("_Model", bound=Model)
_Name = Annotated[str, Field(pattern=_NAME, description="small letters, digits and . _ @ -")]
_Password = Annotated[str, Field(min_length=8, max_length=1024, description="never shown again")]
_OWNER = Parameter("name", "path", "the name of an administrator", {"type": "string", "pattern": _NAME})


class Credentials(Model):
    """What an administrator logs in with."""

    user: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1024)


class NewAdministrator(Model):
    """An administrator to be added."""

    name: _Name
    password: _Password
    role: Role = Field(Role.VIEWER, description="a viewer only reads, an operator does everything")


class NewPassword(Model):
    """A new password. Who changes their own also tells ``current``, the one of now."""

    password: _Password
    current: str | None = Field(None, min_length=1, max_length=1024)


class Self(Model):
    """Who asks; ``ends`` is when the session does at the latest, null for the secret, which is no session."""

    user: str
    role: Role
    ends: datetime | None


class Begun(Self):
    """A session: ``token`` goes into ``Authorization: Bearer`` of what follows."""

    token: str


class Account(Model):
    """An administrator."""

    name: str
    role: Role
    created: datetime


class AccountList(Model):
    """All administrators by name."""

    administrators: tuple[Account, ...]


class _Handlers:
    """The handlers, with what they share."""

    def __init__(self, accounts: Accounts, attempts: Attempts) -> None:
        self._accounts = accounts
        self._attempts = attempts

    async def log_in(self, asked: Asked) -> Reply:
        given = await _json(asked, Credentials)
        found = await self._checked(given.user, given.password, asked)
        return Reply(Begun(user=found.name, role=found.role, ends=found.ends, token=found.token))

    async def _checked(self, name: str, password: str, asked: Asked) -> Identity:
        # Counted before it is known, so that many at once are no way around the count.
        self._attempts.begin(asked.actor.address, name)
        try:
            found = await self._accounts.log_in(name, password, asked.actor.address)
        except GatewayError:  # it was not looked at
            self._attempts.succeeded(asked.actor.address, name)
            raise
        if found is None:
            await self._attempts.failed(asked.actor.address, "a wrong name or password was sent to the control port")
            raise Refusal(401, _WRONG)
        self._attempts.succeeded(asked.actor.address, name)
        return found

    async def show_self(self, asked: Asked) -> Reply:
        return Reply(Self(user=asked.identity.name, role=asked.identity.role, ends=asked.identity.ends))

    async def log_out(self, asked: Asked) -> Reply:
        if asked.identity.token:
            await self._accounts.log_out(asked.identity, asked.actor.address)
        return Reply(Message(status="ok", message=""))

    async def show_all(self, _: Asked) -> Reply:
        return Reply(AccountList(administrators=tuple(map(_account, await self._accounts.administrators()))))

    async def add(self, asked: Asked) -> Reply:
        new = await _json(asked, NewAdministrator)
        if new.name in RESERVED:
            raise Refusal(409, f"{new.name} is what the audit log calls somebody else; take another name")
        return Reply(_account(await self._accounts.add(new.name, new.role, new.password, asked.actor)))

    async def remove(self, asked: Asked) -> Reply:
        await self._accounts.remove(asked.text("name"), asked.actor)
        return Reply(Message(status="ok", message="deleted"))

    async def change_password(self, asked: Asked) -> Reply:
        new, name, asker = await _json(asked, NewPassword), asked.text("name"), asked.identity
        own = asker is not SECRET and asker.name == name
        if not own and not asker.role.may(Role.OPERATOR):
            raise Refusal(403, "a viewer may change no password but the own")
        if own:
            if new.current is None:
                raise Refusal(400, "current: tell the password that you have now")
            await self._checked(name, new.current, asked)  # the session that this begins ends with all others
        await self._accounts.set_password(name, new.password, asked.actor)
        return Reply(Message(status="ok", message="changed; all sessions with the old password have ended"))


def calls(accounts: Accounts, attempts: Attempts) -> tuple[Call, ...]:
    """Return the calls about ``accounts``; wrong passwords count with ``attempts``."""
    handle = _Handlers(accounts, attempts)
    missing = {404: "There is no administrator of that name."}
    login = {
        401: "The name or the password is wrong.",
        429: "Too many wrong secrets or passwords came from this address, or for this name.",
        503: "Too many log in at this moment; try again soon.",
    }
    busy, taken = {503: login[503]}, {409: "There is one of that name, or too many."}
    return (
        Call(
            "POST", "/tyk/login", "Log in: begin a session", handle.log_in, Begun,
            body=_body("Name and password.", Credentials), refusals=login, open=True,
        ),
        Call("GET", "/tyk/session", "Tell who asks", handle.show_self, Self),
        Call("DELETE", "/tyk/session", "Log out: end the session", handle.log_out, Message, least=Role.VIEWER),
        Call("GET", "/tyk/admins", "List the administrators", handle.show_all, AccountList),
        Call(
            "POST", "/tyk/admins", "Add an administrator", handle.add, Account,
            body=_body("The administrator.", NewAdministrator), refusals=taken | busy,
        ),
        Call(
            "DELETE", "/tyk/admins/{name}", "Delete an administrator, and end all sessions", handle.remove, Message,
            (_OWNER,), refusals=missing,
        ),
        Call(
            "PUT", "/tyk/admins/{name}/password", "Change a password, and end all sessions", handle.change_password,
            Message, (_OWNER,), _body("The new password.", NewPassword), missing | login, least=Role.VIEWER,
            description="A viewer may change the own one, and nobody else's.",
        ),
    )  # fmt: skip


def _body(description: str, model: type[Model]) -> Body:
    return Body(description, {"application/json": model}, 16384)


async def _json(asked: Asked, model: type[_Model]) -> _Model:
    try:
        return model.model_validate_json(await asked.body())
    except ValidationError as error:
        raise Refusal(400, f"the JSON is not as described: {complaint(error)}") from None  # it quotes the body


def _account(one: Administrator) -> Account:
    return Account(name=one.name, role=one.role, created=one.created)
