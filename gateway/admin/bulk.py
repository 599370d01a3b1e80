"""``/tyk/domains/certificates``: many certificates at once, each judged as one that is put alone.

A request is one transaction and one generation, so that 100,000 certificates are a few hundred changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from gateway.admin.declarations import Body, Call, Model, Refusal, Reply, complaint, shown
from gateway.admin.domains import DRY_RUN, FORCE, named
from gateway.admin.operations import BulkOutcome, BulkUpload
from gateway.admin.uploads import CertificateUpload

if TYPE_CHECKING:
    from gateway.admin.declarations import Asked

MOST_CERTIFICATES = 200
MOST_DOMAINS = 1000
MOST_BYTES = 8 << 20

_Domain = Annotated[str, Field(max_length=253)]


class OneOfMany(CertificateUpload):
    """A certificate in parts, as for one domain, with the domains that it shall serve."""

    domains: tuple[_Domain, ...] = Field(min_length=1, max_length=MOST_DOMAINS, description="host names or `*.parent`")


class ManyCertificates(Model):
    """Certificates in the order in which they are put; of two for one domain and key type the last one counts."""

    certificates: tuple[OneOfMany, ...] = Field(min_length=1, max_length=MOST_CERTIFICATES)


class Outcome(Model):
    """What became of a certificate for a domain: ``refusal`` says why it was not put, and is null when it was.

    ``previous_fingerprint`` is what was served before; it is ``fingerprint`` where that was served already.
    """

    domain: str
    refusal: str | None
    fingerprint: str | None
    previous_fingerprint: str | None
    warnings: tuple[str, ...]


class ManySwapped(Model):
    """An outcome for each domain of each certificate, in the order of the request.

    ``warnings`` name workers that have not confirmed. ``generation`` is null after a dry run.
    """

    status: Literal["ok"]
    generation: int | None
    outcomes: tuple[Outcome, ...]
    warnings: tuple[str, ...]
    dry_run: bool


async def _put(asked: Asked) -> Reply:
    try:
        wanted = ManyCertificates.model_validate_json(await asked.body()).certificates
    except ValidationError as error:
        raise Refusal(400, f"the JSON is not a list of uploads: {complaint(error)}") from None  # it quotes the body
    if sum(len(one.domains) for one in wanted) > MOST_DOMAINS:
        raise Refusal(400, f"the certificates are for more than {MOST_DOMAINS} domains; send fewer at once")
    names = [[named(domain) for domain in one.domains] for one in wanted]
    uploads = [BulkUpload(one.upload(), tuple(filter(None, good))) for one, good in zip(wanted, names, strict=True)]
    result = await asked.operations.put_certificates(
        [upload for upload in uploads if upload.domains],
        dry_run=asked.flag("dry_run"), actor=asked.actor, force=asked.flag("force"),
    )  # fmt: skip
    outcomes, found = [], iter(result.outcomes)
    for one, good in zip(wanted, names, strict=True):
        for domain, name in zip(one.domains, good, strict=True):
            odd = BulkOutcome(domain, f"{shown(domain)} is not a host name or *.parent")
            outcomes.append(_outcome(next(found) if name else odd))
    answer = ManySwapped(
        status="ok", generation=result.generation, outcomes=tuple(outcomes), warnings=result.shortfalls,
        dry_run=asked.flag("dry_run"),
    )  # fmt: skip
    return Reply(answer)


def _outcome(outcome: BulkOutcome) -> Outcome:
    return Outcome(
        domain=outcome.domain, refusal=outcome.refusal or None, fingerprint=outcome.fingerprint,
        previous_fingerprint=outcome.previous_fingerprint, warnings=outcome.warnings,
    )  # fmt: skip


CALLS = (
    Call(
        "POST", "/tyk/domains/certificates", "Serve many certificates from now on", _put, ManySwapped, (DRY_RUN, FORCE),
        Body(
            f"At most {MOST_CERTIFICATES} certificates for at most {MOST_DOMAINS} domains together.",
            {"application/json": ManyCertificates}, MOST_BYTES,
        ),
        description=(
            "Each is checked like one that is put for a single domain. Those that pass are written in one transaction"
            " and served with one generation; those that do not are told among the outcomes, and change nothing."
        ),
    ),
)  # fmt: skip
