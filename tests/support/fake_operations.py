"""A gateway that exists in memory only: ``Operations`` for the tests of the admin API."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

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
from gateway.certs.pem import check_names, parse_pair
from gateway.certs.revocation import read_crl
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
from gateway.runtime import in_force

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.admin.adjustments import Adjustment
    from gateway.admin.operations import Actor, BulkUpload, Upload
    from gateway.certs.keyring import CloudKey

MOMENT = datetime(2026, 11, 22, 2, 15, 48, tzinfo=UTC)


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
    reloads: list[bool] = field(default_factory=list)
    passphrases: list[str | None] = field(default_factory=list)
    keys: FakeKeys = field(default_factory=FakeKeys)
    main_file: FakeMainFile = field(default_factory=FakeMainFile)

    async def add_certificate(self, org_id: str, pem: bytes, passphrase: str | None, actor: Actor) -> str:
        self.passphrases.append(passphrase)
        der = pem if self.any_pem else _leaf(pem, passphrase)
        made = org_id + hashlib.sha256(der).hexdigest()
        if made in self.stored and not self.any_pem:
            raise ConflictError(f"Certificate with {made} id already exists")
        kind = Kind.PUBLIC_KEY if self.any_pem else Kind.PAIR
        self.stored[made] = StoredCertificate(made, org_id, kind, der)
        self._record(actor, "certificate added", made)
        return made

    async def list_certificates(self, org_id: str | None) -> Sequence[StoredCertificate]:
        return [one for one in self.stored.values() if org_id in (None, one.org_id)]

    async def certificates(self, ids: Sequence[str]) -> Sequence[StoredCertificate | None]:
        return [self.stored.get(one) for one in ids]

    async def delete_certificate(self, certificate_id: str, *, force: bool, actor: Actor) -> None:
        if certificate_id in self.in_use and not force:
            raise ConflictError(f"{certificate_id} is in use by http_server_options.ssl_certificates")
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
        new = self._parsed(domain, upload)
        if not self.any_pem and not force and not new.not_before <= datetime.now(UTC) < new.not_after:
            raise CertificateError("the certificate is not valid now; or force it")
        if not self.any_pem:
            expectation.check([old.fingerprint] if old else [])
        if not dry_run:
            self.served[domain] = replace(new, previous_fingerprint=old.fingerprint if old else None)
            self._record(actor, "certificate put", domain)
        warnings = (f"no API names {domain} yet",)
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
        old = self._served(domain)
        if not self.any_pem:
            expectation.check([old.fingerprint])
        if old.source != "admin":
            raise ConflictError(f"the certificate of {domain} comes from the configuration")
        del self.served[domain]
        return self._result(domain, old, None)

    async def rollback(self, domain: str, expectation: Expectation, actor: Actor, *, force: bool = False) -> SwapResult:
        old = self._served(domain)
        if not self.any_pem:
            expectation.check([old.fingerprint])
        if old.previous_fingerprint is None:
            raise ConflictError(f"there is nothing to go back to for {domain}")
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
        if not self.any_pem:
            read_crl(data)
        state = self.lists[name] = CrlState(name, "admin", "CN=CA", MOMENT, None, 1)
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
        if not isinstance(definition.get("proxy"), dict):
            problem = Problem(Severity.ERROR, "proxy", "", "is missing", "say where the API is")
            raise ConfigurationError([problem])
        made = str(definition.get("api_id") or f"{len(self.definitions):032x}")
        self.definitions[made] = {**definition, "api_id": made}
        return made

    async def update_api(self, api_id: str, definition: Mapping[str, object], actor: Actor) -> None:
        if api_id not in self.definitions:
            raise NotFoundError(f"there is no API {api_id}")
        await self.create_api(definition, actor)

    async def delete_api(self, api_id: str, actor: Actor) -> None:
        if self.definitions.pop(api_id, None) is None:
            raise NotFoundError(f"there is no API {api_id}")

    def _parsed(self, domain: str, upload: Upload) -> ServedPair:
        if self.any_pem:
            fingerprint = hashlib.sha256(upload.certificate).hexdigest()
            return ServedPair(fingerprint, "ec", (domain,), MOMENT, MOMENT, "admin")
        passphrase = upload.passphrase.encode() if upload.passphrase else None
        pair, _ = parse_pair(
            upload.certificate, upload.private_key, chain_pem=upload.chain or b"", passphrase=passphrase
        )
        if problems := check_names(pair.names, domain):
            raise CertificateError(problems[0].message)
        return ServedPair(pair.fingerprint, pair.key_type, pair.names, pair.not_before, pair.not_after, "admin")

    def _served(self, domain: str) -> ServedPair:
        if domain not in self.served:
            raise NotFoundError(f"there is no certificate for {domain}")
        return self.served[domain]

    def _result(self, domain: str, old: ServedPair | None, new: ServedPair | None) -> SwapResult:
        names, not_after = (new.names, new.not_after) if new else ((), None)
        fingerprint, previous = new.fingerprint if new else None, old.fingerprint if old else None
        return SwapResult(domain, fingerprint, previous, names, not_after, 7)

    def _record(self, actor: Actor, what: str, subject: str) -> None:
        number = len(self.log) + 1
        self.log.append(GenerationEntry(number, MOMENT, actor.who, what, subject, "ok", actor.address))


def _leaf(pem: bytes, passphrase: str | None) -> bytes:
    pair, _ = parse_pair(pem, passphrase=passphrase.encode() if passphrase else None)
    return pair.leaf.public_bytes(Encoding.DER)
