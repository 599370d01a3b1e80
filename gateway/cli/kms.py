"""``gateway kms``: what seals the keys that the gateway keeps, with the words of Tableau's ``tsm security kms``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.connected import Gateway, connected
from gateway.cli.help import Commands
from gateway.cli.layout import clean, facts, moment

group = Commands("Choose and show the keys that private keys and passwords are sealed with.")
modes = Commands("Choose the customer master key; traffic and workers do not notice.")
group.add_typer(modes, name="set-mode")

ArnOption = Annotated[
    str, typer.Option("--key-arn", metavar="ARN", help="The key, as the pages of AWS KMS show it.", show_default=False)
]
RegionOption = Annotated[
    str, typer.Option("--aws-region", metavar="REGION", help="The region that it is in.", show_default=False)
]


@modes.command()
@connected
def aws(gateway: Gateway, key_arn: ArnOption, aws_region: RegionOption) -> None:
    """Have a key of AWS KMS seal the root master key. The gateway needs boto3 and credentials that may use the key.

    Exit status: 0 done, 1 refused and everything is as it was, 2 wrong usage.
    """
    wanted = {"mode": "aws", "key_arn": key_arn, "region": aws_region}
    gateway.show(gateway.call("PUT", "/tyk/kms/mode", json=wanted), chosen)


@modes.command()
@connected
def local(gateway: Gateway) -> None:
    """Have a root key file of this host seal the root master key, which is the default.

    Exit status: 0 done, 1 refused and everything is as it was, 2 wrong usage.
    """
    gateway.show(gateway.call("PUT", "/tyk/kms/mode", json={"mode": "local"}), chosen)


@group.command()
@connected
def status(gateway: Gateway) -> None:
    """Show the customer master key, the root master key in use, and every master key with its state and times."""
    gateway.show(gateway.call("GET", "/tyk/kms"), report)


def chosen(answer: Any) -> str:
    """Write what was chosen."""
    return f"KMS mode: {answer['mode']}; root master key {answer['root_master_key']}"


def report(answer: Any) -> str:
    """Write every key for a person, with the words of Tableau's."""
    arn = answer["key_arn"]
    parts = [
        facts(
            ("KMS mode", answer["mode"]),
            ("Customer master key", clean(arn) if arn else "root.key in the data directory"),
            ("Region", clean(answer["region"])),
            ("Root master key", f"{answer['root_master_key']}, created at {_time(answer['root_master_key_created'])}"),
            ("Regenerating", _interrupted(answer["regenerating"])),
        )
    ]
    parts += [
        "\n".join(
            (
                f"Master key {key['id']}",
                f"  State: {key['state']}",
                f"  Created at: {_time(key['created'])}",
                f"  First transition to encrypt and decrypt: {_time(key['encrypt_and_decrypt_since'])}",
                f"  Transition to decrypt-only: {_time(key['decrypt_only_since'])}",
            )
        )
        for key in answer["master_keys"]
    ]
    return "\n\n".join(parts)


def _interrupted(since: str | None) -> str:
    return f"begun at {_time(since)}; `gateway secrets regenerate` goes on" if since else ""


def _time(text: str | None) -> str:
    return f"{moment(text):%Y-%m-%dT%H:%M:%SZ}" if text else "-"
