"""Judge a certificate from its files alone, as the gateway would: what it is, what is wrong, how to mend it."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from OpenSSL import crypto

from gateway.certs import describe, loading
from gateway.certs.blocks import MAX_BYTES, read_blocks
from gateway.certs.dates import check_dates
from gateway.certs.pem import CertificatePair, check_names, parse_pair
from gateway.cli.check import listing
from gateway.cli.layout import expiry, facts, listed
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.files import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one certificate; only the first is always there."""

    certificate: Path
    key: Path | None = None
    chain: Path | None = None
    passphrase: Path | None = None

    def __iter__(self) -> Iterator[Path]:
        return (path for path in (self.certificate, self.key, self.chain, self.passphrase) if path)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. ``chain`` is what would be sent, or what the files hold when that cannot be.

    ``trust`` says whether clients with this machine's authorities would accept it. ``key_matches`` is False when the
    private key does not belong to the certificate, is missing or cannot be read.
    """

    chain: tuple[describe.Description, ...]
    key_matches: bool
    trust: str
    problems: tuple[Problem, ...]

    @property
    def good(self) -> bool:
        """Whether it can be served as it is."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)


def verify(files: Files, domain: str | None, now: datetime) -> Verdict:
    """Read and judge; ``domain`` (canonical) is a name that must be covered."""
    try:
        content = {path: _read(path) for path in files}
    except OSError as error:
        cure = "check the path and who may read the file"
        return _refused(f"cannot be read: {error.strerror}", cure, str(error.filename or ""))
    passphrase = first_line(content[files.passphrase]) if files.passphrase else None
    certificate, key, chain = (content[path] if path else b"" for path in (files.certificate, files.key, files.chain))
    permissions = tuple(_check_modes(files, content))
    try:
        pair, warnings = parse_pair(certificate, key, chain_pem=chain, passphrase=passphrase)
        descriptions = tuple(describe.describe(one, now) for one in pair.chain)
    except CertificateError as error:
        verdict = _refused(str(error), "", str(files.certificate))
        readable = _readable(certificate + b"\n" + chain, now)
        return replace(verdict, chain=readable, problems=verdict.problems + permissions)
    missing = check_names(pair.names, domain) if domain else ()
    problems = [
        *(Problem(Severity.WARNING, "", "", warning) for warning in warnings),
        *check_dates(pair.chain, now),
        *(replace(one, severity=Severity.ERROR) for one in missing),  # it was asked for
    ]
    sourced = tuple(replace(problem, source=str(files.certificate)) for problem in problems)
    return Verdict(descriptions, key_matches=True, trust=_trust(pair, now), problems=sourced + permissions)


def as_text(verdict: Verdict, now: datetime) -> str:
    """The verdict for people."""
    parts = []
    if verdict.chain:
        leaf, *issuers = verdict.chain
        parts.append(
            facts(
                ("names", listed(leaf.names, 10) or "none"),
                ("valid", f"{leaf.not_before:%Y-%m-%d %H:%M} UTC to {leaf.not_after:%Y-%m-%d %H:%M} UTC"),
                ("expires", expiry(leaf.not_after, now)),
                ("key", f"{leaf.key_type}, {leaf.key_bits} bits{', the private key matches' * verdict.key_matches}"),
                ("subject", leaf.subject),
                ("issuer", leaf.issuer),
                ("chain", "the certificate alone" if not issuers else ""),
                *(("chain", f"{one.subject} (until {one.not_after:%Y-%m-%d}), by {one.issuer}") for one in issuers),
                ("trusted", verdict.trust),
                ("fingerprint", leaf.fingerprint),
            )
        )
    if verdict.problems:
        parts.append(listing(verdict.problems))
    parts.append("It can be served." if verdict.good else "It cannot be served.")
    return "\n\n".join(parts)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict for programs."""
    return {
        "ok": verdict.good,
        "key_matches": verdict.key_matches,
        "trust": verdict.trust,
        "chain": [
            {
                "subject": one.subject,
                "issuer": one.issuer,
                "names": list(one.names),
                "serial": one.serial,
                "fingerprint": one.fingerprint,
                "key_type": one.key_type,
                "key_bits": one.key_bits,
                "not_before": one.not_before.isoformat(),
                "not_after": one.not_after.isoformat(),
                "days_left": one.days_left,
            }
            for one in verdict.chain
        ],
        "problems": [
            {"severity": str(p.severity), "source": p.source, "message": p.message, "cure": p.cure}
            for p in verdict.problems
        ],
    }


def _refused(message: str, cure: str, source: str) -> Verdict:
    return Verdict((), key_matches=False, trust="", problems=(Problem(Severity.ERROR, "", source, message, cure),))


def _readable(text: bytes, now: datetime) -> tuple[describe.Description, ...]:
    """Whatever certificates can be read from a text that is refused: the facts help to see why."""
    try:
        blocks = [block.pem for block in read_blocks(text) if block.label.endswith("CERTIFICATE")]
        return tuple(describe.describe(loading.certificate(pem), now) for pem in blocks)
    except CertificateError:
        return ()


def _check_modes(files: Files, contents: dict[Path, bytes]) -> Iterator[Problem]:
    """Files with a secret in them that every user can read."""
    for path, content in contents.items():
        what = "the passphrase" if path == files.passphrase else "the private key"
        mode = path.stat().st_mode
        if mode & 0o007 and stat.S_ISREG(mode) and (path == files.passphrase or b"PRIVATE KEY-----" in content):
            yield Problem(
                Severity.WARNING, "", str(path), f"every user of this host can read {what}", f"chmod o= {path}"
            )


def _trust(pair: CertificatePair, now: datetime) -> str:
    """Whether the chain leads to an authority that this machine trusts: a note, as private ones do not."""
    paths = ssl.get_default_verify_paths()
    store = crypto.X509Store()
    store.set_time(now)
    try:
        store.load_locations(paths.cafile, paths.capath)
    except (crypto.Error, TypeError):
        return "not known: this machine has no list of authorities"
    try:
        chain = [crypto.X509.from_cryptography(certificate) for certificate in pair.chain]
        found = crypto.X509StoreContext(store, chain[0], chain[1:]).get_verified_chain()
    except (crypto.Error, crypto.X509StoreContextError) as error:
        return f"not by this machine's authorities: {error}"
    with loading.reading("this machine's authority"):
        return f"by this machine, through {found[-1].to_cryptography().subject.rfc4514_string()}"


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
