"""``/tyk/domains``: which certificate each domain serves, and swapping it while it serves.

A swap can be guarded: ``If-Match`` with the fingerprint that the caller believes to be served makes sure that nobody
else swapped in between, ``If-None-Match: *`` that a first certificate replaces none (RFC 9110 section 13.1).
"""

from __future__ import annotations

import re
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations of its models
from typing import TYPE_CHECKING, Literal

from gateway.admin import uploads
from gateway.admin.declarations import Call, Model, Parameter, Refusal, Reply, shown
from gateway.admin.operations import Expectation, tag
from gateway.tls.names import canonical

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked
    from gateway.admin.operations import DomainState, ServedPair, SwapResult

# Fingerprints are taken without quotes as well, and as openssl prints them.
_TAG = r'(?:(?:W/)?"[!#-~]*"|[0-9A-Fa-f:+]+)'
_TAGS = rf"^(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)$"

_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = Parameter(
    "domain", "path", "a host name, or `*.parent` for all names one label below it; an IDN in its xn-- form",
    # No last label is a number (RFC 3696 section 2), so an address is not a domain; clients name none in TLS either.
    {"type": "string", "pattern": rf"^(\*\.)?({_LABEL}\.)*(?![0-9]+\.?$){_LABEL}\.?$", "maxLength": 253},
)  # fmt: skip
DRY_RUN = Parameter(
    "dry_run",
    "query",
    "check everything, tell what would happen, change nothing",
    {"type": "boolean", "default": False},
)
FORCE = Parameter(
    "force",
    "query",
    "serve it although it is not valid now: expired, or not valid yet",
    {"type": "boolean", "default": False},
)
_AFTER = Parameter("after", "query", "list the names behind this one: `next` of the page before")
_MATCH = Parameter(
    "match", "query",
    "a name, in which one `*` may stand for any characters, dots too, such as `*.example.com`; an IDN in its xn-- form",
    {"type": "string", "pattern": r"^[A-Za-z0-9_.:-]*(\*[A-Za-z0-9_.:-]*)?$", "maxLength": 253, "default": "*"},
)  # fmt: skip
_LIMIT = Parameter(
    "limit", "query", "how many to list at most", {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000}
)
_IF_MATCH = Parameter(
    "If-Match", "header",
    "the fingerprint in quotes that must be served now for this exact name, or `*` for any",
    {"type": "string", "pattern": _TAGS},
)  # fmt: skip
_IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", "`*`: this exact name must have no certificate yet",
    {"type": "string", "enum": ["*"]},
)  # fmt: skip


class DomainCertificate(Model):
    """A certificate that is served for a domain. ``previous_fingerprint`` is what a rollback would bring back."""

    fingerprint: str
    key_type: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    source: str
    previous_fingerprint: str | None


class Domain(Model):
    """What is served for a domain: one certificate, or one of each key type.

    ``apis`` are the API definitions that name the domain; none do while its certificate is ahead of its API.
    """

    domain: str
    certificates: tuple[DomainCertificate, ...]
    apis: tuple[str, ...]


class DomainList(Model):
    """A page of domains in the order of their names; ``next`` is null on the last one."""

    domains: tuple[Domain, ...]
    next: str | None


class Swapped(Model):
    """What a domain serves now, on every worker. ``generation`` is null after a dry run."""

    status: Literal["ok"]
    domain: str
    fingerprint: str | None
    previous_fingerprint: str | None
    names: tuple[str, ...]
    not_after: datetime | None
    generation: int | None
    warnings: tuple[str, ...]
    dry_run: bool


async def _list(asked: Asked) -> Reply:
    limit = asked.number("limit")
    states = await asked.operations.domains(asked.text("after"), limit, asked.text("match").lower() or "*")
    more = states[-1].domain if len(states) == limit else None
    return Reply(DomainList(domains=tuple(map(_domain, states)), next=more))


async def _get(asked: Asked) -> Reply:
    name = _name(asked)
    state = await asked.operations.domain(name)
    if state is None:
        raise Refusal(404, f"no certificate is kept for exactly {name}; the list of domains has those that are")
    return Reply(_domain(state), {"ETag": f'"{tag([pair.fingerprint for pair in state.pairs])}"'})


async def _put(asked: Asked) -> Reply:
    name, expectation = _name(asked), _expectation(asked)
    upload = await uploads.read(asked)
    result = await asked.operations.put_certificate(
        name, upload, expectation, dry_run=asked.flag("dry_run"), actor=asked.actor, force=asked.flag("force")
    )
    return _swapped(result)


async def _delete(asked: Asked) -> Reply:
    return _swapped(await asked.operations.delete_domain(_name(asked), _expectation(asked), asked.actor))


async def _roll_back(asked: Asked) -> Reply:
    force = asked.flag("force")
    return _swapped(await asked.operations.rollback(_name(asked), _expectation(asked), asked.actor, force=force))


_CERTIFICATE = "/tyk/domains/{domain}/certificate"
_MOVED = "The domain serves another certificate than If-Match says, or has one against If-None-Match."

CALLS = (
    Call(
        "GET", "/tyk/domains", "List the domains that have a certificate", _list, DomainList, (_AFTER, _MATCH, _LIMIT),
    ),
    Call(
        "GET", _CERTIFICATE, "Show what a domain serves", _get, Domain, (_DOMAIN,),
        refusals={404: "No certificate is kept for exactly this name."},
        headers={"ETag": "the fingerprint, for If-Match; of two certificates both, with a plus between"},
    ),
    Call(
        "PUT", _CERTIFICATE, "Serve a certificate for a domain from now on", _put, Swapped,
        (_DOMAIN, DRY_RUN, FORCE, _IF_MATCH, _IF_NONE_MATCH), uploads.BODY,
        {412: _MOVED, 422: "The certificate is refused, and the message says why; nothing has changed."},
        description=(
            "It replaces the one of the same key type; RSA and ECDSA are served side by side. The answer comes when"
            " every worker shows it to new connections. Open connections keep what they have. One that is not valid now"
            " is refused unless it is forced; even then a valid one of the name serves on, and the answer says so."
        ),
    ),
    Call(
        "DELETE", _CERTIFICATE, "Serve what the configuration says again", _delete, Swapped, (_DOMAIN, _IF_MATCH),
        refusals={404: "Nothing was put for this name.", 409: "Its certificate is the configuration's.", 412: _MOVED},
    ),
    Call(
        "POST", _CERTIFICATE + "/rollback", "Serve the certificate before this one again", _roll_back, Swapped,
        (_DOMAIN, FORCE, _IF_MATCH),
        refusals={
            404: "Nothing was put for this name.", 409: "There is none before it.", 412: _MOVED,
            422: "It is not valid now, and `force` was not given; nothing has changed.",
        },
        description="Once more brings the later one back.",
    ),
)  # fmt: skip


def _name(asked: Asked) -> str:
    try:
        return canonical(asked.text("domain"))
    except ValueError as error:
        raise Refusal(400, f"{shown(asked.text('domain'))} is not a host name or *.parent") from error


def named(domain: str) -> str:
    """Return the canonical name of what a path could name as ``domain``, "" of what it could not."""
    try:
        return canonical(domain) if re.fullmatch(str(_DOMAIN.schema["pattern"]), domain) else ""
    except ValueError:
        return ""


def _expectation(asked: Asked) -> Expectation:
    match, nothing = asked.text("If-Match"), bool(asked.values.get("If-None-Match"))
    if not match or match == "*":
        return Expectation(anything=match == "*", nothing=nothing)
    # A weak tag never matches (RFC 9110 section 13.1.1).
    strong = [found for found in re.findall(_TAG, match) if not found.startswith("W/")]
    return Expectation(frozenset(one.strip('"').replace(":", "").lower() for one in strong), nothing=nothing)


def _domain(state: DomainState) -> Domain:
    return Domain(domain=state.domain, certificates=tuple(map(certificate, state.pairs)), apis=state.apis)


def certificate(pair: ServedPair) -> DomainCertificate:
    """Write a pair as the API has it."""
    return DomainCertificate(
        fingerprint=pair.fingerprint,
        key_type=pair.key_type,
        names=pair.names,
        not_before=pair.not_before,
        not_after=pair.not_after,
        source=pair.source,
        previous_fingerprint=pair.previous_fingerprint,
    )


def _swapped(result: SwapResult) -> Reply:
    return Reply(
        Swapped(
            status="ok",
            domain=result.domain,
            fingerprint=result.fingerprint,
            previous_fingerprint=result.previous_fingerprint,
            names=result.names,
            not_after=result.not_after,
            generation=result.generation,
            warnings=result.warnings,
            dry_run=result.dry_run,
        )
    )
