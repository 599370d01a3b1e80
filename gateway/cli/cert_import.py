"""``gateway cert import``: many certificates at once, each for every name that it contains.

It asks the running gateway for one swap after the other: each certificate goes through the same checks, stands in the
audit log, and serves a moment later. What is served already stays as it is, so an import that was interrupted is run
again. A second way into the store, for a gateway that is stopped, would have to be as careful and is not needed.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.admin_client import AdminError
from gateway.cli.cert import PassphraseOption  # noqa: TC001 - typer reads annotations
from gateway.cli.connected import Gateway, connected
from gateway.cli.domain import certificate_of
from gateway.cli.layout import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gateway.cli.bundles import Bundle

PathsArgument = Annotated[
    list[Path], typer.Argument(metavar="PATH...", help="Directories, and archives: .tar, .tar.gz and the like, .zip.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]

_SHOWN_WARNINGS = 10


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
    gateway: Gateway, paths: PathsArgument, passphrase_file: PassphraseOption = None, *, dry_run: DryRunOption = False
) -> None:
    """Serve all certificates of directories or archives, each for the names that it contains.

    A certificate is a *.pem file with its key, or name.crt and name.key, or what certbot keeps in a directory.
    Exit status: 0 all are served; 1 some were refused, or the gateway could not be reached; 2 nothing to import.
    """
    gateway.call("GET", "/tyk/domains", params={"limit": 1})  # a wrong secret is told once, not for each certificate
    job = _Import(gateway, _first_line(passphrase_file) if passphrase_file else None, dry_run=dry_run)
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


class _Import:
    def __init__(self, gateway: Gateway, passphrase: bytes | None, *, dry_run: bool) -> None:
        self.summary = Summary()
        self._gateway = gateway
        self._passphrase = passphrase
        self._parameters = {"dry_run": "true"} if dry_run else {}
        self._taken: dict[tuple[str, str], tuple[datetime, str]] = {}

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
                        self._take(bundle)
                        bar.update(1)
        except UNREADABLE as error:
            raise AdminError(f"{path} cannot be read: {error}", exit_code=2) from error

    def _take(self, bundle: Bundle) -> None:
        from gateway.certs.pem import parse_pair
        from gateway.errors import CertificateError

        try:
            pair, _ = parse_pair(bundle.pem, passphrase=self._passphrase)
        except CertificateError as error:
            self.summary.refused.append((bundle.place, str(error)))
            return
        names = [name for name in pair.names if not _is_address(name)]
        if not names:
            self.summary.refused.append((bundle.place, "the certificate names no host"))
        body = {"certificate": bundle.pem.decode("utf-8", "replace")}
        if self._passphrase:
            body["passphrase"] = self._passphrase.decode("utf-8", "replace")
        served = changed = 0
        for name in names:
            end, place = self._taken.get((name, pair.key_type), (pair.not_after, ""))
            if place and end >= pair.not_after:
                self.summary.warnings.append((bundle.place, f"not used for {name}: {place} lasts as long or longer"))
                continue
            if answer := self._put(bundle.place, name, body):
                self._taken[name, pair.key_type] = (pair.not_after, bundle.place)
                served += 1
                changed += answer["fingerprint"] != answer["previous_fingerprint"]
        self.summary.domains += changed
        self.summary.imported += bool(changed)
        self.summary.unchanged += bool(served and not changed)

    def _put(self, place: str, name: str, body: dict[str, str]) -> Any:
        try:
            answer = self._gateway.call("PUT", certificate_of(name), params=self._parameters, json=body)
        except AdminError as error:
            if error.body is None:  # nobody answered
                raise
            self.summary.refused.append((place, f"{name}: {error}"))
            return None
        self.summary.warnings += [(place, warning) for warning in answer.get("warnings") or ()]
        return answer


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


def _first_line(path: Path) -> bytes:
    try:
        return path.read_bytes().partition(b"\n")[0].removesuffix(b"\r")
    except OSError as error:
        raise AdminError(f"{path} cannot be read: {error.strerror}", exit_code=2) from error


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
