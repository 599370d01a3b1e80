"""A gateway that exists in memory only: ``Operations`` for the tests of the admin API."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gateway.admin.configuration import Adjusted, MainFileOperations, Running, Served
from gateway.admin.key_operations import KeyOperations, KeyStatus, MasterKey, Regenerated, Regeneration
from gateway.admin.operations import (
    ApiReport,
    BulkOutcome,
    BulkResult,
    CrlState,
    DomainState,
    Expectation,
    ExpiringCertificate,
    GenerationEntry,
    Kind,
    Operations,
    ReloadResult,
    ServedPair,
    StoredCertificate,
    SwapResult,
    TargetReport,
    UpstreamReport,
)
from gateway.config.load import Configuration
from gateway.config.oas import EXTENSION
from gateway.config.problems import Problem, Severity
from gateway.config.settings import Settings as Configured
from gateway.errors import (
    CertificateError,
    ConfigurationError,
    ConflictError,
    KeyServiceError,
    NotFoundError,
    PreconditionError,
)
from gateway.routing import snapshot
from gateway.runtime import definition_files, in_force, revocations
from gateway.runtime.examination import examine
from gateway.store import uploads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.admin.adjustments import Adjustment
    from gateway.admin.operations import Actor, BulkUpload, Upload
    from gateway.certs.keyring import CloudKey

MOMENT = datetime(2026, 11, 22, 2, 15, 48, tzinfo=UTC)
SETTINGS = Configured.model_validate({"http_server_options": {"use_ssl": True}})
CONFIGURATION = Configuration(settings=SETTINGS, apis=(), warnings=(), files=())
CURRENT: Any = SimpleNamespace(
    settings=SETTINGS, hosts=snapshot.build(CONFIGURATION, 1).hosts, naming=SimpleNamespace(apis=lambda _: ())
)
"""What a pair is judged by: no API names anything."""


@dataclass
class FakeKeys(KeyOperations):
    """A customer master key that can be any, and a regeneration that is done at once."""

    cloud: CloudKey | None = None
    unreachable: bool = False

    async def status(self) -> KeyStatus:
        arn, region = (self.cloud.arn, self.cloud.region) if self.cloud else ("", "")
        masters = (MasterKey("00" * 8, MOMENT, MOMENT, MOMENT), MasterKey("11" * 8, MOMENT, MOMENT, None))
        return KeyStatus("aws" if arn else "local", arn, region, "ab" * 16, "cd" * 16, MOMENT, masters, None)

    async def set_mode(self, cloud: CloudKey | None, actor: Actor) -> KeyStatus:
        if self.unreachable:
            raise KeyServiceError("AWS KMS cannot be reached")
        if cloud and not cloud.arn:
            raise ConflictError("that can be no key")
        self.cloud = cloud if cloud and cloud.region else None
        return await self.status()

    async def regenerate(self, actor: Actor) -> Regenerated:
        return Regenerated(False, 3, 0, "/data/admin.secret", (), await self.status())

    async def regeneration(self) -> Regeneration:
        return Regeneration("idle", 3, 3, None)


@dataclass
class FakeMainFile(MainFileOperations):
    """A main file that can be changed in every way, and whose settings stay."""

    adjustments: list[Adjustment] = field(default_factory=list)

    async def running(self) -> Running:
        settings = Configured()
        return Running(
            pid=1, file="/etc/gateway/gateway.yaml", identity="ab" * 32, digest="cd" * 32, generation=7, shortfalls=(),
            overrides=(), tls=in_force.negotiated(settings), settings=in_force.listed(settings), hosts=(),
            authorities=(), upstreams=(),
        )  # fmt: skip

    async def served(self, name: str) -> Served:
        return Served(
            domain=name, generation=7, workers=2, tls=True, site="", minimum="1.2", maximum="1.3", suites=(),
            ciphers=(), fingerprints=(), certificates=(), shortfalls=(),
        )  # fmt: skip

    async def adjust(self, adjustment: Adjustment, digest: str, *, dry_run: bool, actor: Actor) -> Adjusted:
        if digest not in {"", "cd" * 32}:
            raise PreconditionError("it is another file")
        self.adjustments.append(adjustment)
        return Adjusted(
            status="ok", file="/etc/gateway/gateway.yaml", difference="", problems=(), notes=(), backup=None,
            generation=None if dry_run else 8, dry_run=dry_run,
        )  # fmt: skip


@dataclass
class FakeOperations(Operations):
    """Keeps everything in dictionaries. ``any_pem`` takes whatever is handed in and overlooks what was expected."""

    any_pem: bool = False
    stored: dict[str, StoredCertificate] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    served: dict[str, ServedPair] = field(default_factory=dict)
    definitions: dict[str, dict[str, object]] = field(default_factory=dict)
    written: dict[str, dict[str, object]] = field(default_factory=dict)
    log: list[GenerationEntry] = field(default_factory=list)
    reload_result: ReloadResult = field(default_factory=lambda: ReloadResult(ok=True, generation=7))
    lists: dict[str, CrlState] = field(default_factory=dict)
    pems: dict[str, str] = field(default_factory=dict)
    reloads: list[bool] = field(default_factory=list)
    passphrases: list[str | None] = field(default_factory=list)
    keys: FakeKeys = field(default_factory=FakeKeys)
    main_file: FakeMainFile = field(default_factory=FakeMainFile)

    async def add_certificate(self, org_id: str, pem: bytes, passphrase: str | None, actor: Actor) -> str:
        self.passphrases.append(passphrase)
        if self.any_pem:
            made = org_id + hashlib.sha256(pem).hexdigest()
            kind, der = Kind.PUBLIC_KEY, pem
        else:
            one, _ = uploads.examine(org_id, pem, passphrase, datetime.now(UTC))
            made, kind, der = one.id, Kind(one.kind), one.der
            if made in self.stored:
                raise CertificateError(f"Certificate with {made} id already exists")
        self.stored[made] = StoredCertificate(made, org_id, kind, der)
        self._record(actor, "certificate added", made)
        return made

    async def list_certificates(self, org_id: str | None) -> Sequence[StoredCertificate]:
        return [one for one in self.stored.values() if org_id in (None, one.org_id)]

    async def certificates(self, ids: Sequence[str]) -> Sequence[StoredCertificate | None]:
        return [self.stored.get(one) for one in ids]

    async def delete_certificate(self, certificate_id: str, *, force: bool, actor: Actor) -> None:
        if certificate_id in self.in_use and not force:
            raise ConflictError(f"{certificate_id} is used by API two; to remove it anyway, force it")
        self.stored.pop(certificate_id, None)

    async def domains(self, after: str, limit: int, match: str = "*") -> Sequence[DomainState]:
        found = [name for name in sorted(self.served) if name > after and fnmatchcase(name, match)]
        return [DomainState(name, (self.served[name],), ()) for name in found[:limit]]

    async def domain(self, name: str) -> DomainState | None:
        return DomainState(name, (self.served[name],), ()) if name in self.served else None

    async def put_certificate(
        self, domain: str, upload: Upload, expectation: Expectation, *, dry_run: bool, actor: Actor, force: bool = False
    ) -> SwapResult:
        old = self.served.get(domain)
        new, warnings = self._parsed(domain, upload, force=force)
        if not self.any_pem:
            expectation.check([old.fingerprint] if old else [])
        if not dry_run:
            self.served[domain] = replace(new, previous_fingerprint=old.fingerprint if old else None)
            self._record(actor, "certificate put", domain)
        result = self._result(domain, old, new)
        return replace(result, warnings=warnings, dry_run=dry_run, generation=None if dry_run else result.generation)

    async def put_certificates(
        self, uploads: Sequence[BulkUpload], *, dry_run: bool, actor: Actor, force: bool = False
    ) -> BulkResult:
        outcomes = []
        for one in uploads:
            for domain in one.domains:
                try:
                    result = await self.put_certificate(
                        domain, one.upload, Expectation(), dry_run=dry_run, actor=actor, force=force
                    )
                except CertificateError as error:
                    outcomes.append(BulkOutcome(domain, str(error)))
                else:
                    new, old = result.fingerprint, result.previous_fingerprint
                    outcomes.append(BulkOutcome(domain, "", new, old, result.warnings))
        return BulkResult(None if dry_run else 7, tuple(outcomes))

    async def delete_domain(self, domain: str, expectation: Expectation, actor: Actor) -> SwapResult:
        old = self._served(domain, expectation)
        if old.source != "admin":
            raise ConflictError(f"the certificate of {domain} comes from the configuration ({old.source})")
        del self.served[domain]
        return self._result(domain, old, None)

    async def rollback(self, domain: str, expectation: Expectation, actor: Actor, *, force: bool = False) -> SwapResult:
        old = self._served(domain, expectation)
        if old.source != "admin":
            raise ConflictError(f"{domain} has the certificate of the configuration, and none was put before it")
        if old.previous_fingerprint is None:
            raise ConflictError(f"{domain} had no certificate before this one; to stop serving it, delete it")
        new = replace(old, fingerprint=old.previous_fingerprint, previous_fingerprint=old.fingerprint)
        self.served[domain] = new
        return self._result(domain, old, new)

    async def reload(self, actor: Actor, *, block: bool) -> ReloadResult:
        self.reloads.append(block)
        return self.reload_result

    async def expiring(self, days: int, limit: int) -> Sequence[ExpiringCertificate]:
        return [ExpiringCertificate("ab" * 32, "a.test", MOMENT, "server", ("a.test",))][:limit]

    async def upstreams(self, after: str, limit: int) -> UpstreamReport:
        target = TargetReport("http://10.0.0.1:8080", 1, False, 1, MOMENT, 2, 3, 4, 5, 6)
        apis = [ApiReport(f"api{number}", "", "round_robin", (target,)) for number in range(3)]
        found = [api for api in apis if api.api_id > after]
        return UpstreamReport(2, tuple(found[:limit]), len(found) > limit)

    async def crls(self) -> Sequence[CrlState]:
        return list(self.lists.values())

    async def crl(self, name: str) -> CrlState | None:
        return self.lists.get(name)

    async def put_crl(self, name: str, data: bytes, actor: Actor) -> CrlState:
        state = CrlState(name, "admin", "CN=CA", MOMENT, None, 1)
        if not self.any_pem:
            before = self.pems.get(name)
            self.pems[name], state = revocations.examine(CONFIGURATION, name, data, before, datetime.now(UTC))
        self.lists[name] = state
        return state

    async def delete_crl(self, name: str, actor: Actor) -> None:
        if self.lists.pop(name, None) is None:
            raise NotFoundError(f"there is no revocation list {name}")

    async def generations(self, limit: int) -> Sequence[GenerationEntry]:
        return self.log[::-1][:limit]

    async def apis(self) -> Sequence[Mapping[str, object]]:
        return list(self.definitions.values())

    async def api(self, api_id: str) -> Mapping[str, object] | None:
        return self.definitions.get(api_id)

    async def documents(self) -> Sequence[Mapping[str, object]]:
        return list(self.written.values())

    async def document(self, api_id: str) -> Mapping[str, object] | None:
        return self.written.get(api_id)

    async def create_api(self, definition: Mapping[str, object], actor: Actor) -> str:
        extension = definition.get(EXTENSION)
        if isinstance(extension, dict):
            made = str(extension.get("info", {}).get("id") or f"{len(self.written):032x}")
            self.definitions[made] = {"api_id": made, "is_oas": True}
            self.written[made] = dict(definition)
            return made
        if self.any_pem:
            if not isinstance(definition.get("proxy"), dict):
                raise ConfigurationError([Problem(Severity.ERROR, "proxy", "", "is missing", "say where the API is")])
        else:
            definition, _ = definition_files._identified(definition, Path("/"))
            definition_files._checked(definition, Path("/"))
        made = str(definition.get("api_id") or f"{len(self.definitions):032x}")
        self.definitions[made] = {**definition, "api_id": made}
        return made

    async def update_api(self, api_id: str, definition: Mapping[str, object], actor: Actor) -> None:
        if api_id not in self.definitions:
            raise NotFoundError("API not found")
        await self.create_api(definition, actor)

    async def delete_api(self, api_id: str, actor: Actor) -> None:
        if self.definitions.pop(api_id, None) is None:
            raise NotFoundError("API not found")

    def _parsed(self, domain: str, upload: Upload, *, force: bool) -> tuple[ServedPair, tuple[str, ...]]:
        if self.any_pem:
            fingerprint = hashlib.sha256(upload.certificate).hexdigest()
            return ServedPair(fingerprint, "ec", (domain,), MOMENT, MOMENT, "admin"), ()
        (verdict,) = examine(upload, [domain], CURRENT, datetime.now(UTC), force=force)
        if (pair := verdict.pair) is None:
            raise CertificateError(verdict.refusal)
        served = ServedPair(pair.fingerprint, pair.key_type, pair.names, pair.not_before, pair.not_after, "admin")
        return served, verdict.warnings

    def _served(self, domain: str, expectation: Expectation) -> ServedPair:
        old = self.served.get(domain)
        if not self.any_pem:
            expectation.check([old.fingerprint] if old else [])
        if old is None:
            raise NotFoundError(
                f"there is no certificate for {domain}; the list of domains has the names that have one"
            )
        return old

    def _result(self, domain: str, old: ServedPair | None, new: ServedPair | None) -> SwapResult:
        names, not_after = (new.names, new.not_after) if new else ((), None)
        fingerprint, previous = new.fingerprint if new else None, old.fingerprint if old else None
        return SwapResult(domain, fingerprint, previous, names, not_after, 7)

    def _record(self, actor: Actor, what: str, subject: str) -> None:
        number = len(self.log) + 1
        self.log.append(GenerationEntry(number, MOMENT, actor.who, what, subject, "ok", actor.address))
