"""``gateway status``: is it ready, how are its parts, which certificates end soon."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway.cli.connected import Gateway, connected
from gateway.cli.layout import SOON_DAYS, expiry, facts, moment, table

DaysOption = Annotated[
    int, typer.Option("--expiring", metavar="DAYS", min=0, help="List the certificates that end within this time.")
]


@connected
def status(gateway: Gateway, expiring: DaysOption = SOON_DAYS) -> None:
    """Show whether the gateway is ready, its workers and generation, and the certificates that end soon.

    Exit status: 0 ready, 1 not ready or not there, 2 wrong usage.
    """
    ready = gateway.call("GET", "/ready", accept=(503,))
    hello = gateway.call("GET", "/hello")
    last = gateway.call("GET", "/tyk/generations", params={"limit": 1})
    answer = {
        "ready": ready.get("status") != "error",
        "reason": ready.get("message") or "",
        "hello": hello,
        "last_change": next(iter(last["generations"]), None),
        "expiring": gateway.call("GET", "/tyk/expiring", params={"days": expiring})["certificates"],
    }
    gateway.show(answer, report)
    if not answer["ready"]:
        raise typer.Exit(1)


def report(answer: Any) -> str:
    """Write everything for a person."""
    hello, last = answer["hello"], answer["last_change"]
    parts = [
        facts(
            ("ready", "yes" if answer["ready"] else f"no: {answer['reason']}"),
            ("version", hello.get("version")),
            ("last change", change(last) if last else ""),
        ),
        "\n".join(
            table((name, str(part.get("status")), part.get("output") or "") for name, part in hello["details"].items())
        ),
    ]
    now = datetime.now(UTC)
    if rows := answer["expiring"]:
        lines = (
            (one["name"], expiry(moment(one["not_after"]), now), one["role"], ", ".join(one["places"])) for one in rows
        )
        parts.append("\n".join(table([("ending soon", "expires", "role", "used for"), *lines])))
    return "\n\n".join(part for part in parts if part)


def change(last: Any) -> str:
    """Write an entry of the audit log."""
    subject = f" {last['subject']}" if last["subject"] else ""
    return f"{last['what']}{subject}: {last['result']}, {moment(last['time']):%Y-%m-%d %H:%M:%S} UTC"
