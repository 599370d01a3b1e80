"""What the admin API asks of the gateway: the values, and the ``Operations`` that the runtime implements.

The API knows HTTP and nothing of stores and workers; ``Operations`` knows the gateway and nothing of HTTP. What
goes wrong is an error of `gateway.errors`, which the API turns into a status:

    CertificateError     403 at Tyk's calls, 422 at ours: what was uploaded is refused, and the message says why
    ConfigurationError   400: an API definition is refused; ``problems`` says why
    NotFoundError        404: there is no such thing
    PreconditionError    412: the certificate is not the one that the caller expected
    ConflictError        409: it is in use, it exists already, or it is kept where this API does not write
    KeyServiceError      502: the cloud does not let its key be used; nothing has changed
    StoreError           500: nothing has changed
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from gateway.errors import PreconditionError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from gateway.admin.configuration import MainFileOperations
    from gateway.admin.key_operations import KeyOperations
    from gateway.config.problems import Problem
    from gateway.config.standing import Refused


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: ``who`` as it shall stand in the audit log, and the address that the request came from."""

    who: str
    address: str


class Kind(StrEnum):
    """What a certificate id of the store stands for."""

    PAIR = "pair"
    CERTIFICATE = "certificate"  # without a key: a CA, or a client that is to be recognised
    PUBLIC_KEY = "public_key"


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate of Tyk's store. ``der`` is its leaf, or the SubjectPublicKeyInfo of a bare public key."""

    id: str
    org_id: str
    kind: Kind
    der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServedPair:
    """A certificate with its key, as it is served for a domain. ``key_type`` is rsa, ec or ed25519.

    ``source`` says where it comes from in words: "admin" for this API's, else the file, id or place in the
    configuration. ``previous_fingerprint`` is what a rollback would bring back; only "admin" pairs have one.
    """

    fingerprint: str
    key_type: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    source: str
    previous_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class DomainState:
    """What is served for one exact name or ``*.parent``: at least one pair, at most one of each key type.

    ``apis`` are the ids of the API definitions that name the domain. None do as long as a certificate is ahead of
    its API.
    """

    domain: str
    pairs: tuple[ServedPair, ...]
    apis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """PEM texts as they were handed in; ``certificate`` may be a bundle that holds the key and the chain too."""

    certificate: bytes = field(repr=False)
    private_key: bytes | None = field(default=None, repr=False)
    chain: bytes | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a caller believes to be served: If-Match and If-None-Match of RFC 9110 section 13.1.

    ``tags`` None is no If-Match, ``anything`` is ``If-Match: *``, ``nothing`` is ``If-None-Match: *``.
    """

    tags: frozenset[str] | None = None
    anything: bool = False
    nothing: bool = False

    def check(self, fingerprints: Collection[str]) -> None:
        """Raise PreconditionError unless it holds for what is served for exactly this domain just now.

        To be called within the transaction of the change.
        """
        if self.nothing and fingerprints:
            raise PreconditionError(f"the domain has a certificate already: {', '.join(sorted(fingerprints))}")
        if self.anything and not fingerprints:
            raise PreconditionError("the domain has no certificate yet, and If-Match demands one")
        if self.tags is not None and not self.tags & {*fingerprints, tag(fingerprints)}:
            served = f"it is now {', '.join(sorted(fingerprints))}" if fingerprints else "it has none"
            raise PreconditionError(f"the domain's certificate is not the one named in If-Match; {served}")


def tag(fingerprints: Collection[str]) -> str:
    """The entity tag, without quotes, of what is served for a domain: its fingerprint, or its two."""
    return "+".join(sorted(fingerprints))


@dataclass(frozen=True, slots=True)
class SwapResult:
    """What a domain serves after a change, or would after a dry run, which has no ``generation``.

    ``previous_fingerprint`` is the pair of the same key type that was served for this exact name before. After a
    removal ``fingerprint`` and ``not_after`` are those of what is served in its place, None when nothing is.
    """

    domain: str
    fingerprint: str | None
    previous_fingerprint: str | None
    names: tuple[str, ...]
    not_after: datetime | None
    generation: int | None
    warnings: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class BulkUpload:
    """A certificate of many that are put at once, and the canonical domains that it is for."""

    upload: Upload
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What became of one of many for one domain: a ``refusal``, or the fingerprints of now and before."""

    domain: str
    refusal: str
    fingerprint: str | None = None
    previous_fingerprint: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of many: ``outcomes`` in the order of the uploads and of the domains of each.

    ``generation`` serves them all; None after a dry run. ``shortfalls`` are workers that did not confirm in time.
    """

    generation: int | None
    outcomes: tuple[BulkOutcome, ...]
    shortfalls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What became of a reload. Not ``ok``: everything stays as it was, and ``message`` says why in one line.

    ``generation`` is the one that serves now, or when nobody waited the one that served at the call. Workers that
    did not confirm are among ``problems`` as warnings, and the errors of the definitions that are ``refused``, which
    harm nothing else.
    """

    ok: bool
    generation: int
    message: str = ""
    problems: tuple[Problem, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationEntry:
    """A line of the audit log. ``who`` acted from ``address``, ``what`` is the verb, ``subject`` a domain, id or file.

    ``number`` is the generation that came of it, None when none did. ``result`` is ok, or says why it was refused.
    ``old`` and ``new`` are the fingerprints before and after, if it was about a certificate.
    """

    number: int | None
    time: datetime
    who: str
    what: str
    subject: str
    result: str
    address: str = ""
    old: str | None = None
    new: str | None = None


@dataclass(frozen=True, slots=True)
class CrlState:
    """A revocation list; ``source`` is "admin" for one that was put, else its file, which is its name as well.

    ``warnings`` say why it may not do what it is there for.
    """

    name: str
    source: str
    issuer: str
    this_update: datetime
    next_update: datetime | None
    revoked: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A target as all workers together see it; ``ejections`` are the workers that leave it out, at most until then."""

    url: str
    weight: int
    down: bool
    ejections: int
    ejected_until: datetime | None
    in_flight: int
    idle: int
    waiting: int
    failures: int
    retries: int


@dataclass(frozen=True, slots=True)
class ApiReport:
    """Where an API leads, and how its targets are."""

    api_id: str
    name: str
    policy: str
    targets: tuple[TargetReport, ...]


@dataclass(frozen=True, slots=True)
class UpstreamReport:
    """Some APIs in the order of their ids; ``workers`` is how many answered, ``more`` says that others follow."""

    workers: int
    apis: tuple[ApiReport, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class ExpiringCertificate:
    """A certificate with its end in sight. ``role`` is server, client, upstream, authority or store.

    ``places`` are where it is used: names, an id of the store, keys of the configuration.
    """

    fingerprint: str
    name: str
    expires: datetime
    role: str
    places: tuple[str, ...]


class Operations(Protocol):
    """The gateway, as the admin API sees it. Every change returns when it is durable, or raises and changed nothing."""

    keys: KeyOperations
    main_file: MainFileOperations

    async def add_certificate(self, org_id: str, pem: bytes, passphrase: str | None, actor: Actor) -> str:
        """Keep a pair, a certificate or a public key, and return its id.

        Raises CertificateError, with Tyk's words where Tyk refuses too (also for an id that exists), and StoreError.
        """

    async def list_certificates(self, org_id: str | None) -> Sequence[StoredCertificate]:
        """All certificates of an organisation, or of all of them, in the order in which they came."""

    async def certificates(self, ids: Sequence[str]) -> Sequence[StoredCertificate | None]:
        """The certificates of those ids, in that order, None for what there is not."""

    async def delete_certificate(self, certificate_id: str, *, force: bool, actor: Actor) -> None:
        """Remove a certificate; nothing happens when there is none.

        Raises ConflictError, which says what uses it, unless ``force``; and StoreError.
        """

    async def domains(self, after: str, limit: int, match: str = "*") -> Sequence[DomainState]:
        """Return every name with a certificate, whatever its source, sorted, beginning behind ``after``.

        ``match`` is a name, in which one ``*`` stands for any characters, dots too.
        """

    async def domain(self, name: str) -> DomainState | None:
        """What is served for exactly that name (canonical, or ``*.parent``)."""

    async def put_certificate(
        self, domain: str, upload: Upload, expectation: Expectation, *, dry_run: bool, actor: Actor, force: bool = False
    ) -> SwapResult:
        """Check the pair as a careful person would, and serve it for ``domain`` on every worker before returning.

        One that is not valid now is refused unless it is forced; while there is a valid one for the name, that serves,
        and is in the result. Among the warnings are workers that did not confirm in time, and that no API names the
        domain.
        Raises CertificateError, PreconditionError and StoreError.
        """

    async def put_certificates(
        self, uploads: Sequence[BulkUpload], *, dry_run: bool, actor: Actor, force: bool = False
    ) -> BulkResult:
        """Check each as `put_certificate` does, and serve all that pass with one generation before returning.

        What is refused is in the result, and stands in nobody's way. Raises StoreError, and then nothing has changed.
        """

    async def delete_domain(self, domain: str, expectation: Expectation, actor: Actor) -> SwapResult:
        """Stop serving what was put; the configuration's own certificate for the name, if any, serves again.

        Raises NotFoundError, PreconditionError, ConflictError when it comes from the configuration, and StoreError.
        """

    async def rollback(self, domain: str, expectation: Expectation, actor: Actor, *, force: bool = False) -> SwapResult:
        """Serve the pair before the last change of ``domain``; once more brings the later one back.

        Raises NotFoundError, PreconditionError, ConflictError when there is nothing to go back to, CertificateError
        when nothing that is valid now would serve and it is not forced, StoreError.
        """

    async def reload(self, actor: Actor, *, block: bool) -> ReloadResult:
        """Read all files again; ``block`` waits until every worker serves them. Failures are in the result."""

    async def expiring(self, days: int, limit: int) -> Sequence[ExpiringCertificate]:
        """At most ``limit`` certificates that end within so many days, the first to end first."""

    async def upstreams(self, after: str, limit: int) -> UpstreamReport:
        """How the targets of at most ``limit`` APIs are, whose ids come behind ``after``."""

    async def crls(self) -> Sequence[CrlState]:
        """Return all revocation lists, those that were put first."""

    async def crl(self, name: str) -> CrlState | None:
        """Return one of `crls`."""

    async def put_crl(self, name: str, data: bytes, actor: Actor) -> CrlState:
        """Have every worker judge by a revocation list (PEM or DER) before returning.

        Raises CertificateError, ConflictError when it is older than the one that it replaces, and StoreError.
        """

    async def delete_crl(self, name: str, actor: Actor) -> None:
        """Remove one that was put. Raises NotFoundError and StoreError."""

    async def generations(self, limit: int) -> Sequence[GenerationEntry]:
        """The last entries of the audit log, the newest first."""

    async def apis(self) -> Sequence[Mapping[str, object]]:
        """The definitions that are served, in Tyk's classic format, as their files have them: private keys, too."""

    async def api(self, api_id: str) -> Mapping[str, object] | None:
        """One of `apis`."""

    async def documents(self) -> Sequence[Mapping[str, object]]:
        """Return the OpenAPI documents of those `apis` that are written as such."""

    async def document(self, api_id: str) -> Mapping[str, object] | None:
        """One of `documents`."""

    async def create_api(self, definition: Mapping[str, object], actor: Actor) -> str:
        """Write a definition, of either format, to ``app_path``, over one of the same id; return its id, or a new one.

        What `concealment.concealed` made of the present one means what it stands for. As in Tyk a reload has to
        follow. Raises ConfigurationError, StoreError, and ConflictError when there is no
        ``app_path`` or the main file defines that id.
        """

    async def update_api(self, api_id: str, definition: Mapping[str, object], actor: Actor) -> None:
        """Write a definition over the one that there is, in its own file. Raises as `create_api`, and NotFoundError."""

    async def delete_api(self, api_id: str, actor: Actor) -> None:
        """Remove the file of a definition. Raises NotFoundError, ConflictError and StoreError."""
