"""``gateway domain``: which names have a certificate, and what is served for one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.connected import Gateway, connected
from gateway.cli.failures import AdminError
from gateway.cli.help import Commands
from gateway.cli.layout import expiry, facts, listed, moment, table

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 1000

group = Commands("Domains: what is served for each name.")


MatchOption = Annotated[
    str, typer.Option("--match", metavar="PATTERN", help="Only these names: * stands for any characters, dots too.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="So many names at most. Default: all.")
]


@group.command("list")
@connected
def list_(gateway: Gateway, match: MatchOption = "*", limit: LimitOption = None) -> None:
    """List the names that have a certificate, with what is served for each."""
    gateway.show(list(islice(every(gateway, pattern(match), limit), limit)), overview)


@group.command()
@connected
def show(
    gateway: Gateway, domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A host name, or *.parent.")]
) -> None:
    """Show what is served for a name, where it comes from, and what a rollback would bring back."""
    from gateway.cli import in_service

    answer = gateway.call("GET", certificate_of(domain))
    served = None if gateway.json else in_service.met(gateway, answer["domain"])
    gateway.show(answer, lambda one: details(one, served))


def certificate_of(domain: str) -> str:
    """The path of a domain's certificate. Raises AdminError for what is no host name."""
    from gateway.tls.names import canonical

    try:
        return f"/tyk/domains/{quote(canonical(domain), safe='*')}/certificate"
    except ValueError as error:
        raise AdminError(str(error), exit_code=2) from error


def pattern(match: str) -> str:
    """Return a pattern as the API takes it: lower case, an IDN in its xn-- form. Raises AdminError."""
    from gateway.tls.names import canonical

    if re.fullmatch(r"[a-z0-9_.:-]*(\*[a-z0-9_.:-]*)?", match.lower()) and match:
        return match.lower()
    try:
        return canonical(match)
    except ValueError as error:
        raise AdminError(
            f"--match cannot be {match!r}: write a name, in which one * may stand for any characters, such as"
            " '*.example.com'",
            exit_code=2,
        ) from error


def every(gateway: Gateway, match: str = "*", limit: int | None = None) -> Iterator[Any]:
    """Yield every domain that matches, page by page; ask for no more than the first ``limit``."""
    after: str | None = ""
    while after is not None:
        parameters: dict[str, Any] = {"limit": min(limit or PAGE, PAGE)} | ({"after": after} if after else {})
        parameters |= {} if match == "*" else {"match": match}
        answer = gateway.call("GET", "/tyk/domains", params=parameters)
        yield from answer["domains"]
        after = answer.get("next")


def overview(domains: Any) -> str:
    """Write the table: a row for each certificate."""
    now = datetime.now(UTC)
    rows = [
        (
            "" if index else one["domain"],
            f"{pair['key_type']} {pair['fingerprint'][:12]}",
            expiry(moment(pair["not_after"]), now),
            pair["source"],
            "" if index else listed(one["apis"]) or "none yet",
        )
        for one in domains
        for index, pair in enumerate(one["certificates"])
    ]
    return "\n".join(table([("domain", "certificate", "expires", "source", "APIs"), *rows])) if rows else ""


def details(one: Any, served: Any = None) -> str:
    """Write the facts of one domain, of each certificate that is kept for it, and what the workers serve."""
    from gateway.cli import in_service

    now = datetime.now(UTC)
    return "\n\n".join(
        [
            facts(
                ("domain", one["domain"]),
                ("APIs", listed(one["apis"], 10) or "none yet"),
                ("served", in_service.shown(served) if served else ""),
            ),
            *(
                facts(
                    ("certificate", pair["fingerprint"]),
                    ("key", pair["key_type"]),
                    ("names", listed(pair["names"], 10)),
                    ("valid from", pair["not_before"]),
                    ("expires", expiry(moment(pair["not_after"]), now)),
                    ("source", pair["source"]),
                    ("before", pair.get("previous_fingerprint")),
                )
                for pair in one["certificates"]
            ),
        ]
    )
