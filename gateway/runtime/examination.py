"""What a careful person checks before a certificate serves a domain: the same for one and for many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.certs.choice import Validity
from gateway.certs.dates import check_dates
from gateway.certs.pem import CertificatePair, check_names, parse_pair
from gateway.errors import CertificateError
from gateway.tls import trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gateway.admin.operations import Upload
    from gateway.runtime.reloads import Current
    from gateway.tls.policy import TlsPolicy


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about a certificate for ``domain``: a pair to serve with warnings, or why it is refused."""

    domain: str
    pair: CertificatePair | None = None
    warnings: tuple[str, ...] = ()
    refusal: str = ""


def examine(
    upload: Upload, domains: Sequence[str], current: Current, now: datetime, *, force: bool = False
) -> tuple[Verdict, ...]:
    """Judge a certificate for each of ``domains``, under the policy that each has.

    With ``force`` one passes that is not valid now.
    """
    try:
        pair, said = _read(upload, now, force=force)
    except CertificateError as error:
        return tuple(Verdict(domain, refusal=str(error)) for domain in domains)
    tried: dict[TlsPolicy, str] = {}
    return tuple(_judge(domain, pair, said, current, tried) for domain in domains)


def _read(upload: Upload, now: datetime, *, force: bool) -> tuple[CertificatePair, list[str]]:
    passphrase = upload.passphrase.encode() if upload.passphrase else None
    pair, warnings = parse_pair(
        upload.certificate, upload.private_key, chain_pem=upload.chain or b"", passphrase=passphrase
    )
    dates = check_dates(pair.chain, now)
    if not force and not Validity.of(pair.leaf).holds(now.timestamp()):
        cure = "put it then" if now < pair.not_before else "renew it, or check the clock"
        raise CertificateError(f"{dates[0].message}; {cure}, or force it")
    return pair, [*warnings, *(problem.message for problem in dates)]


def _judge(
    domain: str, pair: CertificatePair, said: Sequence[str], current: Current, tried: dict[TlsPolicy, str]
) -> Verdict:
    for problem in check_names(pair.names, domain):
        return Verdict(domain, refusal=f"{problem.message}; {problem.cure}")
    policy = current.hosts.of_host(domain).tls
    if policy not in tried:  # of several names with one policy, one handshake shows it for all
        tried[policy] = _fault(domain, pair, policy)
    if tried[policy]:
        return Verdict(domain, refusal=tried[policy])
    warnings = [*said]
    if not current.settings.http_server_options.use_ssl:
        warnings.append("use_ssl is false, so no certificate is served at all")
    if not current.naming.apis(domain):
        warnings.append(f"no API definition names {domain} yet")
    return Verdict(domain, pair, tuple(warnings))


def _fault(domain: str, pair: CertificatePair, policy: TlsPolicy) -> str:
    try:
        trial.attempt(domain, pair, policy)
    except CertificateError as error:
        return str(error)
    return ""
