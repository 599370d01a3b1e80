"""What the admin API may ask for, done: the implementation of ``admin.operations.Operations`` within control.

Changes happen one at a time, under one lock, each in this order: checked, written in one transaction, ordered from
every worker, confirmed. Whatever goes wrong before the transaction leaves everything as it was; what goes wrong
after it is a warning, since a worker that did not confirm catches up by itself. Files and database are read and
written in threads, so the control port answers meanwhile. Everything that was tried is in the audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from gateway.admin.operations import (
    BulkOutcome,
    BulkResult,
    CrlState,
    DomainState,
    ExpiringCertificate,
    GenerationEntry,
    Kind,
    ReloadResult,
    ServedPair,
    StoredCertificate,
    SwapResult,
)
from gateway.certs import describe
from gateway.certs.choice import best
from gateway.config.client_trust import references
from gateway.errors import CertificateError, ConflictError, GatewayError, StoreError
from gateway.runtime import definition_files, revocations, upstream_report
from gateway.runtime.examination import Verdict, examine
from gateway.runtime.key_operations import LiveKeys
from gateway.runtime.main_file_operations import LiveMainFile
from gateway.runtime.reloads import APPLY_SECONDS, listed
from gateway.store import uploads
from gateway.store.audit import Deed
from gateway.store.sqlite import Store
from gateway.tls.names import candidates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from gateway.admin.configuration import MainFileOperations
    from gateway.admin.key_operations import KeyOperations
    from gateway.admin.operations import Actor, BulkUpload, Expectation, Upload, UpstreamReport
    from gateway.certs.pem import CertificatePair
    from gateway.observe.events import EventLog
    from gateway.runtime.expiry import ExpiryWatch
    from gateway.runtime.reloads import Current, Reloads
    from gateway.runtime.role import Inherited
    from gateway.runtime.roster import Roster
    from gateway.store.certificates import Stored
    from gateway.store.domains import Swap
    from gateway.store.sites import Served

_Result = TypeVar("_Result")


class LiveOperations:
    """The gateway, as control can change it. ``changed`` is set whenever something else is served than before."""

    def __init__(
        self,
        inherited: Inherited,
        reloads: Reloads,
        roster: Roster,
        down: Callable[[], Collection[str]],
        ask_for_reload: Callable[[Actor], None],
        expiry: ExpiryWatch,
        events: EventLog,
    ) -> None:
        self._data_dir = data_dir = inherited.data_dir
        self._reloads = reloads
        self._changing = reloads.changing
        self._roster = roster
        self._down = down
        self._ask_for_reload = ask_for_reload
        self._expiry = expiry
        self._events = events
        self.changed = asyncio.Event()
        self.keys: KeyOperations = LiveKeys(data_dir, reloads, roster, events)
        self.main_file: MainFileOperations = LiveMainFile(
            inherited, reloads, roster, self.domain, self._told, self.changed.set
        )

    @property
    def _current(self) -> Current:
        return self._reloads.current

    # Tyk's certificate store

    async def add_certificate(self, org_id: str, pem: bytes, passphrase: str | None, actor: Actor) -> str:
        """Keep a pair, a certificate or a public key, and return its id."""
        action = "add certificate"
        async with self._told(action, org_id or "the store", actor):
            stored, pair = await asyncio.to_thread(uploads.examine, org_id, pem, passphrase, datetime.now(UTC))
            deed = self._deed(actor, action, stored.id)
            try:
                async with self._changing:
                    await self._write(lambda store: store.add_certificate(stored, pair, deed))
            except ConflictError as error:
                raise CertificateError(str(error)) from error
        self._events.info("certificate.added", "added to the certificate store", id=stored.id, kind=stored.kind)
        if self._current.naming.users(stored.id):  # it was waited for
            self._ask_for_reload(actor)
        return stored.id

    async def list_certificates(self, org_id: str | None) -> Sequence[StoredCertificate]:
        """All certificates of an organisation, or of all of them, in the order in which they came."""
        return [_stored(entry) for entry in await self._read(lambda store: store.certificates(org_id))]

    async def certificates(self, ids: Sequence[str]) -> Sequence[StoredCertificate | None]:
        """The certificates of those ids, in that order, None for what there is not."""
        found = await self._read(lambda store: [store.certificate(one) for one in ids])
        return [_stored(entry) if entry else None for entry in found]

    async def delete_certificate(self, certificate_id: str, *, force: bool, actor: Actor) -> None:
        """Remove a certificate that nothing uses, or with ``force`` any; nothing happens when there is none."""
        action = "delete certificate"
        async with self._told(action, certificate_id, actor), self._changing:
            if (users := self._current.naming.users(certificate_id)) and not force:
                raise ConflictError(f"{certificate_id} is used by {listed(users)}; to remove it anyway, force it")
            deed = self._deed(actor, action, certificate_id)
            await self._write(lambda store: store.remove_certificate(certificate_id, deed))
        if users:  # whoever was recognised by it no longer is
            self._ask_for_reload(actor)
        self._events.info("certificate.deleted", "removed from the certificate store", id=certificate_id)
        settings, apis = self._current.settings, self._current.configuration.apis
        if any(reference == certificate_id for _, reference in references(settings, apis)):
            await self.reload(actor, block=True)  # whoever was let in by it is so no longer

    # Domains

    async def domains(self, after: str, limit: int, match: str = "*") -> Sequence[DomainState]:
        """Return every name with a certificate that matches, sorted, beginning behind ``after``."""
        found = await self._read(
            lambda store: [(name, store.served(name)) for name in store.names(after, limit, match)]
        )
        return [self._state(name, served) for name, served in found if served]

    async def domain(self, name: str) -> DomainState | None:
        """What is served for exactly that name."""
        served = await self._read(lambda store: store.served(name))
        return self._state(name, served) if served else None

    async def put_certificate(
        self, domain: str, upload: Upload, expectation: Expectation, *, dry_run: bool, actor: Actor, force: bool = False
    ) -> SwapResult:
        """Check the pair as a careful person would, and serve it for ``domain`` on every worker before returning."""
        async with self._told("put certificate", domain, actor):
            pair, warnings = await asyncio.to_thread(self._examine, domain, upload, force=force)
            if dry_run:
                served = await self._read(lambda store: store.served(domain))
                expectation.check([entry.fingerprint for entry in served])
                old = _same_kind(served, pair)
                return SwapResult(
                    domain, pair.fingerprint, old, pair.names, pair.not_after, None, warnings, dry_run=True
                )
            deed = self._deed(actor, "put certificate", domain)
            async with self._changing:
                swap = await self._write(lambda store: store.put(domain, pair, expectation.check, deed))
                warnings += await self._serve(domain, swap, deed)
            if force and (instead := await self._read(lambda store: _in_place_of(pair.fingerprint, domain, store))):
                warnings += (_instead(instead),)
                pair = instead
        return SwapResult(domain, pair.fingerprint, swap.old, pair.names, pair.not_after, swap.generation, warnings)

    async def put_certificates(
        self, uploads: Sequence[BulkUpload], *, dry_run: bool, actor: Actor, force: bool = False
    ) -> BulkResult:
        """Check each pair as one that is put alone, and serve all that pass with one generation."""
        current, now = self._current, datetime.now(UTC)
        verdicts = await asyncio.to_thread(
            lambda: [
                verdict for one in uploads for verdict in examine(one.upload, one.domains, current, now, force=force)
            ]
        )
        good = [(verdict.domain, verdict.pair) for verdict in verdicts if verdict.pair]
        if dry_run:
            old = await self._read(lambda store: [_same_kind(store.served(name), pair) for name, pair in good])
            return _bulk_result(verdicts, old, None, ())
        deeds = [self._deed(actor, "put certificate", verdict.domain) for verdict in verdicts]
        refusals = [(deed, verdict.refusal) for deed, verdict in zip(deeds, verdicts, strict=True) if not verdict.pair]
        accepted = [deed for deed, verdict in zip(deeds, verdicts, strict=True) if verdict.pair]
        async with self._told("put certificates", f"{len(good)} of {len(verdicts)} domains", actor), self._changing:
            swaps = await self._write(lambda store: store.put_all(good, accepted, refusals))
            number = max((swap.generation for swap in swaps), default=self._roster.generation)
            changed = frozenset[str]().union(*(swap.changed for swap in swaps))
            shortfalls = await self._apply(number, changed) if changed else ()
        self._events.info(
            "certificates.put", "many at once", who=actor.who, address=actor.address, generation=number,
            accepted=len(good), refused=len(refusals), domains=listed(changed - {""}),
        )  # fmt: skip
        return _bulk_result(verdicts, [swap.old for swap in swaps], number, shortfalls)

    async def delete_domain(self, domain: str, expectation: Expectation, actor: Actor) -> SwapResult:
        """Stop serving what was put; the configuration's own certificate for the name, if any, serves again."""
        deed = self._deed(actor, "delete domain", domain)
        result = await self._change(domain, lambda store: store.remove(domain, expectation.check, deed), deed, actor)
        if not await self._read(lambda store: store.names("", 1)):
            self._ask_for_reload(actor)  # which makes a self-signed one
        return result

    async def rollback(self, domain: str, expectation: Expectation, actor: Actor, *, force: bool = False) -> SwapResult:
        """Serve the pair before the last change of ``domain``; once more brings the later one back."""
        deed = self._deed(actor, "roll back", domain)
        result = await self._change(
            domain, lambda store: store.roll_back(domain, expectation.check, deed, force=force), deed, actor
        )
        if force and (instead := await self._read(lambda store: _in_place_of(result.fingerprint, domain, store))):
            warnings = (*result.warnings, _instead(instead))
            return replace(
                result, fingerprint=instead.fingerprint, names=instead.names, not_after=instead.not_after,
                warnings=warnings,
            )  # fmt: skip
        return result

    async def _change(self, domain: str, change: Callable[[Store], Swap], deed: Deed, actor: Actor) -> SwapResult:
        def write(store: Store) -> tuple[Swap, Sequence[Served]]:
            return change(store), store.served(domain)

        async with self._told(deed.action, domain, actor), self._changing:
            swap, served = await self._write(write)
            warnings = await self._serve(domain, swap, deed)
        leaf = next((entry.leaf for entry in served if entry.fingerprint == swap.new), None)
        names, not_after = (describe.names(leaf), leaf.not_valid_after_utc) if leaf else ((), None)
        return SwapResult(domain, swap.new, swap.old, names, not_after, swap.generation, warnings)

    async def _serve(self, domain: str, swap: Swap, deed: Deed) -> tuple[str, ...]:
        """Have the workers serve what is in the store; return what they fall short of, as warnings."""
        if not swap.changed:
            return ()
        began = time.monotonic()
        shortfalls = await self._apply(swap.generation, swap.changed)
        self._events.info(
            "certificate.swapped", deed.action, domain=domain, who=deed.who, address=deed.address,
            old=swap.old, new=swap.new, generation=swap.generation,
            duration_ms=round((time.monotonic() - began) * 1000),
        )  # fmt: skip
        return shortfalls

    async def _apply(self, generation: int, changed: frozenset[str]) -> tuple[str, ...]:
        self.changed.set()
        return tuple(await self._roster.apply(generation, changed, APPLY_SECONDS))

    def _examine(self, domain: str, upload: Upload, *, force: bool) -> tuple[CertificatePair, tuple[str, ...]]:
        (verdict,) = examine(upload, [domain], self._current, datetime.now(UTC), force=force)
        if verdict.pair is None:
            raise CertificateError(verdict.refusal)
        return verdict.pair, verdict.warnings

    def _state(self, name: str, served: Sequence[Served]) -> DomainState:
        return DomainState(name, tuple(map(_pair, served)), self._current.naming.apis(name))

    # Revocation lists

    async def crls(self) -> Sequence[CrlState]:
        """All revocation lists, those that were put first."""
        put = await self._read(lambda store: store.crls())
        return await asyncio.to_thread(revocations.states, self._current.configuration, put, datetime.now(UTC))

    async def crl(self, name: str) -> CrlState | None:
        """One of `crls`."""
        return next((state for state in await self.crls() if state.name == name), None)

    async def put_crl(self, name: str, data: bytes, actor: Actor) -> CrlState:
        """Have every worker judge by a revocation list before returning."""
        deed = self._deed(actor, "put revocation list", name)
        async with self._told(deed.action, name, actor), self._changing:
            before = (await self._read(lambda store: store.crls())).get(name)
            configuration, now = self._current.configuration, datetime.now(UTC)
            pem, state = await asyncio.to_thread(revocations.examine, configuration, name, data, before, now)
            short = await self._set_crl(name, pem, deed)
        return replace(state, warnings=state.warnings + short)

    async def delete_crl(self, name: str, actor: Actor) -> None:
        """Remove one that was put."""
        deed = self._deed(actor, "delete revocation list", name)
        async with self._told(deed.action, name, actor), self._changing:
            await self._set_crl(name, None, deed)

    async def _set_crl(self, name: str, pem: str | None, deed: Deed) -> tuple[str, ...]:
        generation = await self._write(lambda store: store.set_crl(name, pem, deed))
        short = await self._apply(generation.number, frozenset())
        self._events.info("crl.changed", deed.action, name=name, who=deed.who, generation=generation.number)
        return short

    # Reload, and what was changed

    async def reload(self, actor: Actor, *, block: bool) -> ReloadResult:
        """Read all files again; ``block`` waits until every worker serves them. Failures are in the result."""
        if not block:
            self._ask_for_reload(actor)
            return ReloadResult(ok=True, generation=self._roster.generation)
        deed = self._deed(actor, "reload", str(self._reloads.main_file))
        result = await self._reloads.run(deed)
        self.changed.set()
        if not result.ok:
            await self._note(deed, f"refused: {result.message}")
        return result

    async def generations(self, limit: int) -> Sequence[GenerationEntry]:
        """The last entries of the audit log, the newest first."""
        return [
            GenerationEntry(
                entry.generation,
                entry.time,
                entry.deed.who,
                entry.deed.action,
                entry.deed.subject,
                entry.result,
                entry.deed.address,
                entry.old,
                entry.new,
            )
            for entry in await self._read(lambda store: store.audit(limit))
        ]

    async def expiring(self, days: int, limit: int) -> Sequence[ExpiringCertificate]:
        """At most ``limit`` certificates that end within so many days, the first to end first."""
        found = await asyncio.to_thread(self._expiry.ending, datetime.now(UTC) + timedelta(days=days), limit)
        return [ExpiringCertificate(one.fingerprint, one.name, one.expires, one.role, one.places) for one in found]

    async def upstreams(self, after: str, limit: int) -> UpstreamReport:
        """How the targets of at most ``limit`` APIs are, whose ids come behind ``after``."""
        return await upstream_report.report(self._current.configuration, after, limit, self._down(), self._roster)

    # API definitions

    async def apis(self) -> Sequence[Mapping[str, object]]:
        """The definitions that are served, each as its file has it now."""
        return list((await self._classics()).values())

    async def api(self, api_id: str) -> Mapping[str, object] | None:
        """One of `apis`."""
        return (await self._classics()).get(api_id)

    async def documents(self) -> Sequence[Mapping[str, object]]:
        """Return the OpenAPI documents of those APIs that are written as such."""
        found = await self._written(definition_files.document_of)
        return [found[one] for one in sorted(found.keys() & self._served())]

    async def document(self, api_id: str) -> Mapping[str, object] | None:
        """One of `documents`."""
        found = await self._written(definition_files.document_of)
        return found.get(api_id) if api_id in self._served() else None

    async def _classics(self) -> Mapping[str, Mapping[str, object]]:
        found = await self._written(definition_files.classic_of)
        # What has no file any more is served until the next reload.
        served = self._current.configuration.apis
        return {api.api_id: found.get(api.api_id) or api.model_dump(mode="json") for api in served}

    async def _written(self, form: definition_files.Form) -> Mapping[str, Mapping[str, object]]:
        configuration = self._current.configuration
        main_file, directory = configuration.files[0], configuration.settings.app_path
        return await asyncio.to_thread(definition_files.written, directory, main_file, form)

    async def create_api(self, definition: Mapping[str, object], actor: Actor) -> str:
        """Write a definition to ``app_path``, over one of the same id, and return its id."""
        return await self._define(
            "create API", str(definition.get("api_id") or ""), actor,
            lambda: definition_files.create(
                self._current.settings.app_path, definition, self._served(), self._current.configuration
            ),
        )  # fmt: skip

    async def update_api(self, api_id: str, definition: Mapping[str, object], actor: Actor) -> None:
        """Write a definition over the one that there is, in its own file."""
        await self._define(
            "update API", api_id, actor,
            lambda: definition_files.update(
                self._current.settings.app_path, api_id, definition, self._served(), self._current.configuration
            ),
        )  # fmt: skip

    async def delete_api(self, api_id: str, actor: Actor) -> None:
        """Remove the file of a definition."""
        await self._define(
            "delete API", api_id, actor,
            lambda: definition_files.delete(self._current.settings.app_path, api_id, self._served()),
        )  # fmt: skip

    async def _define(self, action: str, subject: str, actor: Actor, change: Callable[[], _Result]) -> _Result:
        async with self._told(action, subject or "a new API", actor), self._changing:
            result = await asyncio.to_thread(change)
            await self._note(self._deed(actor, action, subject or str(result)), "ok")
        return result

    def _served(self) -> AbstractSet[str]:
        return {api.api_id for api in self._current.configuration.apis}

    # Everything else

    def _deed(self, actor: Actor, action: str, subject: str) -> Deed:
        return Deed(actor.who, actor.address, action, subject)

    @contextlib.asynccontextmanager
    async def _told(self, action: str, subject: str, actor: Actor) -> AsyncIterator[None]:
        """Have a refusal in the event log and in the audit log."""
        try:
            yield
        except GatewayError as error:
            self._events.warning(
                "change.refused", f"{action} was refused: {error}", subject=subject, who=actor.who,
                address=actor.address,
            )  # fmt: skip
            await self._note(self._deed(actor, action, subject), f"refused: {error}")
            raise

    async def _note(self, deed: Deed, result: str) -> None:
        with contextlib.suppress(StoreError):  # it is in the event log at least
            await self._write(lambda store: store.note(deed, result))

    async def _read(self, ask: Callable[[Store], _Result]) -> _Result:
        return await asyncio.to_thread(_with_store, self._data_dir, ask, writable=False)

    async def _write(self, change: Callable[[Store], _Result]) -> _Result:
        return await asyncio.to_thread(_with_store, self._data_dir, change, writable=True)


def _with_store(data_dir: Path, use: Callable[[Store], _Result], *, writable: bool) -> _Result:
    with contextlib.closing(Store.open(data_dir, writable=writable)) as store:
        return use(store)


def _same_kind(served: Sequence[Served], pair: CertificatePair) -> str | None:
    return next((entry.fingerprint for entry in served if entry.key_type == pair.key_type), None)


def _in_place_of(fingerprint: str | None, domain: str, store: Store) -> CertificatePair | None:
    """Return the pair that serves a domain in place of the one that was put for it; None if that one serves."""
    chosen = best(map(store.choose, candidates(domain))).chosen
    return None if any(one.fingerprint == fingerprint for one in chosen) else chosen[0]


def _instead(pair: CertificatePair) -> str:
    return f"it is not valid now, so {pair.fingerprint} serves in its place"


def _bulk_result(
    verdicts: Sequence[Verdict], old: Sequence[str | None], generation: int | None, shortfalls: tuple[str, ...]
) -> BulkResult:
    """``old`` are the fingerprints before, of those that were not refused."""
    before = iter(old)
    outcomes = [
        BulkOutcome(verdict.domain, "", verdict.pair.fingerprint, next(before), verdict.warnings)
        if verdict.pair
        else BulkOutcome(verdict.domain, verdict.refusal)
        for verdict in verdicts
    ]
    return BulkResult(generation, tuple(outcomes), shortfalls)


def _stored(entry: Stored) -> StoredCertificate:
    return StoredCertificate(entry.id, entry.org_id, Kind(entry.kind), entry.der)


def _pair(served: Served) -> ServedPair:
    leaf = served.leaf
    return ServedPair(
        served.fingerprint, served.key_type, describe.names(leaf), leaf.not_valid_before_utc, leaf.not_valid_after_utc,
        served.source, served.previous,
    )  # fmt: skip
