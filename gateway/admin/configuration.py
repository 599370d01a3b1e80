"""``/tyk/configuration``: the settings in service, their file, and changes of that file; ``/tyk/served``: the
answer that a client gets from each worker.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import ValidationError

from gateway.admin.adjustments import Adjustment
from gateway.admin.declarations import Body, Call, Fault, Model, Parameter, Refusal, Reply, complaint
from gateway.admin.domains import DRY_RUN, DomainCertificate
from gateway.errors import ConfigurationError, EditError
from gateway.tls.names import canonical

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked
    from gateway.admin.operations import Actor
    from gateway.config.problems import Problem

_DIGEST = Parameter(
    "If-Match", "header", "the `digest` in quotes that the file must have now",
    {"type": "string", "pattern": '^"?[0-9a-f]{64}"?$'},
)  # fmt: skip
_NAME = Parameter(
    "domain", "query", "the name that the client asks for; none: a client that names nobody",
    {"type": "string", "maxLength": 253},
)  # fmt: skip


class Override(Model):
    """A variable, or a flag of `gateway serve`, that wins over a key of the file; ``value`` unless it may be secret."""

    key: str
    variable: str
    flag: bool
    value: str | None


class Negotiation(Model):
    """The TLS settings negotiated with clients, unless a host has rules of its own."""

    enabled: bool
    minimum: str
    maximum: str
    suites: tuple[str, ...]
    ciphers: tuple[str, ...]
    order: Literal["server", "client"]
    groups: tuple[str, ...]
    resumption: str


class NamedFiles(Model):
    """An entry of `certificates`: of files the names are shown, and not where they are."""

    domain: str
    cert_file: str
    key_file: str
    chain_file: str


class Settings(Model):
    """The settings of TLS towards clients."""

    enabled: bool
    protocols: str
    ciphers: tuple[str, ...]
    certificates: tuple[NamedFiles, ...]
    references: tuple[str, ...]


class AuthorityCertificate(Model):
    """A certificate of an authority; one that is none (``is_ca``) is trusted for itself alone."""

    subject: str
    issuer: str
    not_after: datetime
    fingerprint: str
    is_ca: bool


class Authority(Model):
    """An authority trusted in addition to the system's, or the reason why it cannot be."""

    name: str
    file: str
    certificates: tuple[AuthorityCertificate, ...]
    problem: str


class Service(Model):
    """A service that `gateway upstream` put behind the gateway."""

    name: str
    type: str
    target: str
    clients: str | int
    username: str | None
    certificate: str | None
    connect_timeout_ms: int | None


class Running(Model):
    """The running gateway. ``identity`` is the same for who sees the same file on the same machine.

    ``digest`` is the SHA-256 of the file as it is now; both are "" when it is not there. ``hosts`` are the domains with
    rules of TLS of their own; ``shortfalls`` says which workers do not serve ``generation``. ``refused`` are the ids of
    the API definitions that are not served as they are written.
    """

    pid: int
    file: str
    identity: str
    digest: str
    generation: int
    shortfalls: tuple[str, ...]
    overrides: tuple[Override, ...]
    tls: Negotiation
    settings: Settings
    hosts: tuple[str, ...]
    authorities: tuple[Authority, ...]
    upstreams: tuple[Service, ...]
    refused: tuple[str, ...] = ()


class Served(Model):
    """The answer that a client gets when it asks for ``domain``, from every worker that replied.

    ``site`` is the name that has the certificates: the domain, its wildcard, or "" for the default; null where nothing
    answers. ``fingerprints`` are what the workers said, ``certificates`` what is known of them. ``shortfalls`` are the
    workers that did not answer, or that answer otherwise.
    """

    domain: str
    generation: int
    workers: int
    tls: bool
    site: str | None
    minimum: str
    maximum: str
    suites: tuple[str, ...]
    ciphers: tuple[str, ...]
    fingerprints: tuple[str, ...]
    certificates: tuple[DomainCertificate, ...]
    shortfalls: tuple[str, ...]


class Adjusted(Model):
    """The main file as it is now, or would be: what differs, what should be looked at, and what serves it.

    ``generation`` is null after a dry run, and where nothing had to change. ``backup`` is the file as it was.
    """

    status: Literal["ok"]
    file: str
    difference: str
    problems: tuple[Fault, ...]
    notes: tuple[str, ...]
    backup: str | None
    generation: int | None
    dry_run: bool


def fault(problem: Problem) -> Fault:
    """Write a problem as the API has it."""
    return Fault(
        severity=problem.severity.value,
        path=problem.path,
        source=problem.source,
        message=problem.message,
        cure=problem.cure,
    )


class MainFileOperations(Protocol):
    """The main file, and what came of it."""

    async def running(self) -> Running:
        """Tell what is served, and from which file."""

    async def served(self, name: str) -> Served:
        """Ask every worker what a client of that canonical name ("" for none) meets."""

    async def adjust(self, adjustment: Adjustment, digest: str, *, dry_run: bool, actor: Actor) -> Adjusted:
        """Change the main file, which has that ``digest`` unless it is "", and serve it before returning.

        Raises PreconditionError, NotFoundError, ConflictError, EditError, ConfigurationError and StoreError.
        """


async def _show(asked: Asked) -> Reply:
    running = await asked.operations.main_file.running()
    return Reply(running, {"ETag": f'"{running.digest}"'})


async def _serve(asked: Asked) -> Reply:
    try:
        name = canonical(asked.text("domain")) if asked.text("domain") else ""
    except ValueError as error:
        raise Refusal(404, f"no client can ask for that name: {error}") from error
    return Reply(await asked.operations.main_file.served(name))


async def _adjust(asked: Asked) -> Reply:
    try:
        adjustment = Adjustment.model_validate_json(await asked.body(), strict=True)
    except ValidationError as error:
        in_form = all(one["type"] == "value_error" for one in error.errors(include_input=False))
        said = complaint(error).replace("Value error, ", "") if in_form else complaint(error)
        # None of it quotes the body, which may hold a password.
        raise Refusal(409 if in_form else 400, f"the JSON is not as described: {said}") from None
    if places := list(adjustment.paths()):
        raise Refusal(409, f"{places[0]}: send the PEM itself; files of the gateway's host cannot be named from afar")
    digest = asked.text("If-Match").strip('"')
    try:
        adjusted = await asked.operations.main_file.adjust(
            adjustment, digest, dry_run=asked.flag("dry_run"), actor=asked.actor
        )
    except EditError as error:
        raise Refusal(409, str(error)) from error
    except ConfigurationError as error:
        problems = [fault(problem).model_dump() for problem in error.problems]
        message = "the change is refused and nothing has changed"
        raise Refusal(409, message, more={"problems": problems}) from error
    return Reply(adjusted)


_BODY = Body("What is to be otherwise.", {"application/json": Adjustment})
_PATH = "/tyk/configuration"

CALLS = (
    Call(
        "GET", _PATH, "Show what the gateway serves, and from which file", _show, Running,
        headers={"ETag": "the digest of the file, for If-Match"},
    ),
    Call(
        "POST", _PATH, "Change settings in the main file, and serve them", _adjust, Adjusted, (DRY_RUN, _DIGEST), _BODY,
        {
            404: "What was to be taken away is not there.",
            409: "It cannot be served, it cannot be written into the file, or a variable or flag wins over it.",
            412: "The file is not the one that If-Match says.",
        },
        description="Comments and order of the file are kept, the file as it was stays beside it, and whatever is"
        " refused has changed nothing.",
    ),
    Call(
        "GET", "/tyk/served", "Ask every worker what a client meets", _serve, Served, (_NAME,),
        refusals={404: "No client can ask for that name."},
    ),
)  # fmt: skip
