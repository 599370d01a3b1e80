"""``gateway cert import``: many certificates at once, each for every name that it contains.

It sends the running gateway a hundred at a time: each certificate goes through the same checks as one that is swapped,
stands in the audit log, and serves a moment later. What is served already stays as it is, so an import that was
interrupted is run again. A second way into the store, for a gateway that is stopped, would have to be as careful and is
not needed.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.cert import ForceOption, PassphraseOption, flags, read
from gateway.cli.connected import Gateway, connected
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean
from gateway.config.networks import is_address
from gateway.files import first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gateway.certs.pem import CertificatePair
    from gateway.cli.bundles import Bundle

PathsArgument = Annotated[
    list[Path], typer.Argument(metavar="PATH...", help="Directories, and archives: .tar, .tar.gz and the like, .zip.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]

_SHOWN_WARNINGS = 10
# Within what a request may have: 200 certificates, 1,000 names, 8 MiB.
_AT_ONCE = 100
_MOST_NAMES = 1000
_BYTES_AT_ONCE = 2 << 20


@dataclass(slots=True)
class Summary:
    """What became of an import, in certificates; ``domains`` is how many names serve another one than before.

    ``refused`` and ``warnings`` are places with reasons. ``total`` is more than the rest when it was interrupted.
    """

    total: int = 0
    imported: int = 0
    unchanged: int = 0
    domains: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)


@connected
def import_(
    gateway: Gateway,
    paths: PathsArgument,
    passphrase_file: PassphraseOption = None,
    *,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Serve all certificates of directories or archives, each for the names that it contains.

    A certificate is a *.pem file with its key, or name.crt and name.key, or what certbot keeps in a directory.
    Exit status: 0 all are served; 1 some were refused, or the gateway could not be reached; 2 nothing to import.
    """
    gateway.call("GET", "/tyk/domains", params={"limit": 1})  # a wrong secret is told once, not for each certificate
    passphrase = first_line(read(passphrase_file)) if passphrase_file else None
    job = _Import(gateway, passphrase, flags(dry_run=dry_run, force=force))
    trouble: AdminError | None = None
    try:
        job.run(paths)
    except AdminError as error:
        trouble = error
    if job.summary.total:
        gateway.show(asdict(job.summary), lambda _: told(job.summary, dry_run=dry_run))
    if trouble:
        raise trouble
    if job.summary.refused:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A certificate on its way: where it was found, for which names, and how it is sent."""

    place: str
    key_type: str
    not_after: datetime
    names: tuple[str, ...]
    body: dict[str, Any]


class _Import:
    def __init__(self, gateway: Gateway, passphrase: bytes | None, parameters: dict[str, str]) -> None:
        self.summary = Summary()
        self._gateway = gateway
        self._passphrase = passphrase
        self._parameters = parameters
        self._taken: dict[tuple[str, str], tuple[datetime, str]] = {}
        self._pending: list[_Wanted] = []
        self._pending_bytes = 0
        self._pending_names: set[tuple[str, str]] = set()

    def run(self, paths: Iterable[Path]) -> None:
        """Import everything. Raises AdminError when it cannot go on."""
        from gateway.cli.bundles import UNREADABLE, Collection

        path, collections = Path(), {}
        try:
            for path in paths:
                collections[path] = Collection(path)
                if not len(collections[path]):
                    raise AdminError(f"there is no certificate in {path}", exit_code=2)
            self.summary.total = sum(map(len, collections.values()))
            with typer.progressbar(length=self.summary.total, label="importing", file=sys.stderr) as bar:
                for path, collection in collections.items():  # noqa: B007 - told when it cannot be read
                    for bundle in collection.bundles():
                        bar.update(self._take(bundle))
                bar.update(self._send())
        except UNREADABLE as error:
            raise AdminError(f"{path} cannot be read: {error}", exit_code=2) from error

    def _take(self, bundle: Bundle) -> int:
        """Send it, or keep it to be sent with others; return of how many certificates it is known what became."""
        from gateway.certs.pem import parse_pair
        from gateway.errors import CertificateError

        try:
            pair, _ = parse_pair(bundle.pem, passphrase=self._passphrase)
        except CertificateError as error:
            self.summary.refused.append((bundle.place, str(error)))
            return 1
        names = [name for name in pair.names if not is_address(name)]
        if not names or len(names) > _MOST_NAMES:
            reason = f"it has over {_MOST_NAMES} names; swap it for each" if names else "the certificate names no host"
            self.summary.refused.append((bundle.place, reason))
            return 1
        done = 0
        if len(self._pending_names) + len(names) > _MOST_NAMES or not self._pending_names.isdisjoint(
            (name, pair.key_type) for name in names
        ):
            done = self._send()  # which of two serves a name is decided when it is known what became of the first
        wanted = [name for name in names if not self._lasts_less(bundle.place, name, pair)]
        if not wanted:
            return done + 1
        body: dict[str, Any] = {"certificate": bundle.pem.decode("utf-8", "replace"), "domains": wanted}
        if self._passphrase:
            body["passphrase"] = self._passphrase.decode("utf-8", "replace")
        self._pending.append(_Wanted(bundle.place, pair.key_type, pair.not_after, tuple(wanted), body))
        self._pending_bytes += len(bundle.pem)
        self._pending_names.update((name, pair.key_type) for name in wanted)
        full = len(self._pending) >= _AT_ONCE or self._pending_bytes >= _BYTES_AT_ONCE
        return done + (self._send() if full else 0)

    def _lasts_less(self, place: str, name: str, pair: CertificatePair) -> bool:
        end, before = self._taken.get((name, pair.key_type), (pair.not_after, ""))
        if before and end >= pair.not_after:
            self.summary.warnings.append((place, f"not used for {name}: {before} lasts as long or longer"))
            return True
        return False

    def _send(self) -> int:
        """Send what is pending; return how many certificates that were."""
        pending, self._pending = self._pending, []
        self._pending_bytes = 0
        self._pending_names.clear()
        if not pending:
            return 0
        try:
            answer = self._gateway.call(
                "POST", "/tyk/domains/certificates", params=self._parameters,
                json={"certificates": [wanted.body for wanted in pending]},
            )  # fmt: skip
        except AdminError as error:
            if error.body is None:  # nobody answered
                raise
            self.summary.refused += [(wanted.place, str(error)) for wanted in pending]
            return len(pending)
        outcomes = iter(answer["outcomes"])
        for wanted in pending:
            self._note(wanted, [next(outcomes) for _ in wanted.names])
        self.summary.warnings += [("workers", warning) for warning in answer["warnings"]]
        return len(pending)

    def _note(self, wanted: _Wanted, outcomes: Sequence[Any]) -> None:
        served = changed = 0
        for name, outcome in zip(wanted.names, outcomes, strict=True):
            if outcome["refusal"]:
                self.summary.refused.append((wanted.place, f"{name}: {outcome['refusal']}"))
                continue
            self.summary.warnings += [(wanted.place, warning) for warning in outcome["warnings"]]
            self._taken[name, wanted.key_type] = (wanted.not_after, wanted.place)
            served += 1
            changed += outcome["fingerprint"] != outcome["previous_fingerprint"]
        self.summary.domains += changed
        self.summary.imported += bool(changed)
        self.summary.unchanged += bool(served and not changed)


def told(summary: Summary, *, dry_run: bool) -> str:
    """Write the summary for people: all that was refused, and the first warnings."""
    verb = "would be imported" if dry_run else "imported"
    done = summary.imported + summary.unchanged
    rest = f"{summary.unchanged} are served already, {summary.total - done} are not used"
    lines = [f"{summary.imported} of {summary.total} certificates {verb}, for {summary.domains} domains; {rest}"]
    for title, entries, shown in (
        ("refused", summary.refused, len(summary.refused)),
        ("warnings", summary.warnings, _SHOWN_WARNINGS),
    ):
        if entries:
            lines += ["", f"{title}: {len(entries)}", *(f"  {clean(f'{at}: {why}')}" for at, why in entries[:shown])]
            lines += [f"  and {len(entries) - shown} more, with --json"] if len(entries) > shown else []
    return "\n".join(lines)
