"""A certificate that a command puts into service: the contents of its files, and how it replaces others."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.certs.pem import CertificatePair, parse_pair
from gateway.cli.connected import warn
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean
from gateway.config.edit import Change, Verb, append
from gateway.config.networks import is_address
from gateway.errors import CertificateError, ConflictError
from gateway.runtime.adjusting import OPTIONS
from gateway.tls.names import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.connected import Gateway
    from gateway.cli.target import Target
    from gateway.runtime.main_file import MainFile
    from gateway.runtime.renewal import Candidate


@dataclass(slots=True)
class NewCertificate:
    """The files of a certificate and what opens its key; ``domain`` is the one name that it is for, "" for all of its.

    With ``passphrase`` the pair is for the gateway's store, where it is sealed: neither the passphrase nor the opened
    key is ever written in clear.
    """

    cert: Path
    key: Path
    chain: Path | None = None
    passphrase_file: Path | None = None
    passphrase: str | None = field(default=None, repr=False)
    domain: str = ""
    pair: CertificatePair = field(init=False, repr=False)

    def read(self) -> None:
        """Read the files, whichever of the two is the key. Raises AdminError unless they can be served."""
        if _holds_key(self.cert) and not _holds_key(self.key):
            self.cert, self.key = self.key, self.cert
        if self.passphrase is None:
            self._judge()
        body = self.body()
        parts = {name: text.encode() for name, text in body.items()}
        try:
            self.pair, _ = parse_pair(
                parts["certificate"],
                parts["private_key"],
                chain_pem=parts.get("chain", b""),
                passphrase=parts.get("passphrase"),
            )
            self.domain = canonical(self.domain) if self.domain else ""
        except (CertificateError, ValueError) as error:
            raise AdminError(f"{error}; nothing has changed") from error
        if not self.pair.not_before <= datetime.now(UTC) <= self.pair.not_after:
            valid = f"{self.pair.not_before:%Y-%m-%d %H:%M} to {self.pair.not_after:%Y-%m-%d %H:%M} UTC"
            raise AdminError(
                f"this certificate is valid from {valid}, and would take the place of what is valid now; nothing has"
                " changed"
            )

    def _judge(self) -> None:
        from gateway.cli.verify import Files, verify
        from gateway.config.problems import Severity

        files = Files(self.cert, self.key, self.chain, self.passphrase_file)
        verdict = verify(files, self.domain or None, datetime.now(UTC))
        if not verdict.good:
            from dataclasses import asdict

            errors = [asdict(one) for one in verdict.problems if one.severity is Severity.ERROR]
            message = "this certificate cannot be served, and nothing has changed"
            raise AdminError(message, body={"problems": errors})

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the leaf, which is the pair's id in the store."""
        return self.pair.fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are to be served with it."""
        return (self.domain,) if self.domain else self.pair.names

    @property
    def is_stored(self) -> bool:
        """True when the certificate goes into the store instead of being read from its files."""
        return self.passphrase is not None

    def body(self) -> dict[str, str]:
        """Return the upload of it. Raises AdminError."""
        from gateway.cli.cert import upload

        body = upload(self.cert, self.key, self.chain, self.passphrase_file)
        return body | ({"passphrase": self.passphrase} if self.passphrase is not None else {})

    def upload(self, gateway: Gateway) -> bool:
        """Put it into the store, if that is where it goes; return whether it was not there. Raises AdminError."""
        if not self.is_stored:
            return False
        try:
            gateway.call("POST", "/tyk/certs", json=self.body())
        except AdminError as error:
            if "already exists" not in str(error):
                raise
            return False
        return True

    def put(self, gateway: Gateway, *, dry_run: bool) -> None:
        """Have a gateway elsewhere serve it for each of its names. Raises AdminError."""
        names = [name for name in self.names if not is_address(name)]
        if not names:
            raise AdminError("the certificate names no host; say with --domain what it is for")
        answer = gateway.call(
            "POST", "/tyk/domains/certificates", params={"dry_run": "true"} if dry_run else {},
            json={"certificates": [{**self.body(), "domains": names}]},
        )  # fmt: skip
        refused = [f"{one['domain']}: {one['refusal']}" for one in answer["outcomes"] if one["refusal"]]
        warn((*answer["warnings"], *(said for one in answer["outcomes"] for said in one["warnings"])))
        if refused:
            raise AdminError("; ".join(refused))
        if answer["generation"] is not None:
            typer.echo(f"generation {answer['generation']} serves it at {gateway.address.url}")

    def entry(self, file: MainFile, domain: str = "") -> dict[str, Any]:
        """Return an entry of `certificates` for it."""
        parts = {
            "domain_name": domain,
            "cert_file": self.cert,
            "key_file": self.key,
            "chain_file": self.chain,
            "passphrase_file": self.passphrase_file,
        }
        return {name: file.named(part) if isinstance(part, Path) else part for name, part in parts.items() if part}


def changes(file: MainFile, target: Target, new: NewCertificate, others: Sequence[Change]) -> list[Change]:
    """Return what to do to the file so that every name of the certificate gets it, whatever the name had before.

    ``others`` are changes that are made as well. Raises AdminError with what stands before it and cannot be replaced,
    and ConfigurationError when the outcome cannot be served.
    """
    if new.is_stored and target.gateway is None:
        raise AdminError("with --passphrase the certificate goes into the running gateway's store; start it first")
    place = _Place(file, target, new, others)
    if new.is_stored:
        return place.changes()  # which the store has to know before it can be tried
    while names := place.outranked():
        place.give_way(names)
    return place.changes()


class _Place:
    """The place of a certificate in the file, and the entries that make way for it."""

    def __init__(self, file: MainFile, target: Target, new: NewCertificate, others: Sequence[Change]) -> None:
        self._file, self._target, self._new, self._others = file, target, new, others
        self._options = file.settings.http_server_options
        before = file.check(file.text, target.environ)
        self._served: dict[str, set[str]] = {}
        for entry in before.collected.entries:
            self._served.setdefault(entry.source, set()).add(entry.name)
        self._own = next((at for at, path in enumerate(self._certificates()) if path == new.cert.absolute()), None)
        self._named: list[str] = [new.domain] if new.domain else []
        self._dropped: set[tuple[str, int]] = set()
        self._stripped: set[int] = set()
        if new.is_stored:
            self._take_over_entries()

    def _certificates(self) -> list[Path]:
        return [(self._file.path.parent / one.cert_file).absolute() for one in self._options.certificates]

    def _take_over_entries(self) -> None:
        """Give up the entries whose `domain_name` is one of the names: they would go before an id of the store."""
        names = set(self._new.names)
        for at, (one, path) in enumerate(zip(self._options.certificates, self._certificates(), strict=True)):
            if one.domain_name.strip("*") and canonical(one.domain_name) in names:
                self._give_up(at, str(path), names)

    def _give_up(self, at: int, source: str, names: set[str]) -> None:
        if self._served.get(source, set()) <= names:
            self._dropped.add(("certificates", at))
        else:
            self._stripped.add(at)

    def changes(self) -> list[Change]:
        """Return the changes, in an order in which no place moves before it is used."""
        new, entries = self._new, []
        found = [
            Change(Verb.REMOVE, (OPTIONS, "certificates", at, "domain_name"))
            for at in sorted(self._stripped - {place for kind, place in self._dropped if kind == "certificates"})
        ]
        own = self._own
        if new.is_stored:
            if new.fingerprint not in self._options.ssl_certificates:
                entries = [append(f"{OPTIONS}.ssl_certificates", new.fingerprint)]
        else:
            wanted = [new.entry(self._file, name) for name in self._named] or [new.entry(self._file)]
            dropped = sorted(at for kind, at in self._dropped if kind == "certificates")
            own = own if own is not None else next(iter(dropped), None)
            if own is not None:
                found.append(Change(Verb.SET, (OPTIONS, "certificates", own), wanted.pop(0)))
            entries = [append(f"{OPTIONS}.certificates", entry) for entry in wanted]
        gone = sorted(self._dropped - {("certificates", own)} if own is not None else self._dropped, reverse=True)
        return found + entries + [Change(Verb.REMOVE, (OPTIONS, kind, at)) for kind, at in gone]

    def outranked(self) -> dict[str, str]:
        """Return the names that would not get it as it is placed now, each with the source that stands before it."""
        new = self._new
        text = self._file.changed([*self._others, *self.changes()], self._target.overrides)
        candidate = self._file.check(text, self._target.environ)
        ours = {
            entry.name
            for entry in candidate.collected.entries
            if isinstance(entry.pair, CertificatePair) and entry.pair.fingerprint == new.fingerprint
        }
        sources = {entry.name: entry.source for entry in candidate.collected.entries}
        if self._target.gateway is None:
            self._refuse_swapped(candidate)
        return {name: sources.get(name, "") for name in new.names if name not in ours}

    def _refuse_swapped(self, candidate: Candidate) -> None:
        """Raise AdminError if a name has a certificate put at runtime, which only the gateway can take back."""
        from gateway.errors import StoreError
        from gateway.store.sqlite import Store

        data_dir = candidate.configuration.settings.gateway.data_dir
        with contextlib.suppress(StoreError), contextlib.closing(Store.open(data_dir, writable=False)) as store:
            for name in self._new.names:
                if store.has_put(name):
                    raise AdminError(
                        f"what was swapped in for {name} stands before it, and no gateway runs to take it back; nothing"
                        f" has changed. Start the gateway first"
                    )

    def give_way(self, outranked: dict[str, str]) -> None:
        """Have what stands before it make way. Raises AdminError for what cannot."""
        names = set(self._new.names)
        for name, source in outranked.items():
            before = self._dropped.copy(), self._stripped.copy(), list(self._named)
            at = next((at for at, path in enumerate(self._certificates()) if str(path) == source), None)
            reference = next((at for at, one in enumerate(self._options.ssl_certificates) if one == source), None)
            if at is not None and ("certificates", at) not in self._dropped:
                self._give_up(at, source, names)
            if reference is not None and self._served.get(source, set()) <= names:
                self._dropped.add(("ssl_certificates", reference))
            elif (at is not None or reference is not None) and name not in self._named:
                self._named.append(name)
            if (self._dropped, self._stripped, self._named) == before:
                where = clean(source) or "another place"
                raise ConflictError(
                    f"{name} would go on being served with the certificate of {where}, which stands before this one;"
                    " nothing has changed. Replace it there, or swap: gateway cert swap"
                )


def _holds_key(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return b"PRIVATE KEY-----" in file.read(1 << 20)
    return False
