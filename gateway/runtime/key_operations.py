"""The keys of the store, as control can change them: another customer master key, and everything sealed anew.

A root master key goes to the memory that all processes share before the keyring says that it is the one, so that
whoever reads the keyring can use it. What is slow, the cloud, is asked before anything changes.

Everything is sealed anew in steps, each of which leaves a state that can be read and gone on from: new keys in the
keyring, rows a few at a time between other changes, the admin secret, the gateway's own certificate. That it is under
way is in the keyring; whoever asks again goes on where it was interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeVar

from gateway.admin.key_operations import KeyStatus, MasterKey, Regenerated, Regeneration
from gateway.certs import keyring
from gateway.certs.held import held
from gateway.certs.seal import Sealer
from gateway.errors import ConflictError, GatewayError, StoreError
from gateway.runtime.reloads import APPLY_SECONDS
from gateway.store import cloud_key
from gateway.store.audit import Deed
from gateway.store.resealing import Place
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.admin.operations import Actor
    from gateway.certs.keyring import CloudKey, Keyring
    from gateway.observe.events import EventLog
    from gateway.runtime.reloads import Reloads
    from gateway.runtime.roster import Roster

ROWS_AT_ONCE = 100
"""A transaction of these takes some milliseconds; a swap may have to wait for one."""

_Result = TypeVar("_Result")


class LiveKeys:
    """The implementation of ``admin.key_operations.KeyOperations``. One change at a time."""

    def __init__(self, data_dir: Path, reloads: Reloads, roster: Roster, events: EventLog) -> None:
        self._data_dir = data_dir
        self._reloads = reloads
        self._roster = roster
        self._events = events
        self._changing = asyncio.Lock()
        self._running: asyncio.Task[Regenerated] | None = None
        self._done = self._total = 0
        self._tidy(keyring.load(data_dir))

    async def status(self) -> KeyStatus:
        """Tell which keys there are. Raises StoreError."""
        return _status(await self._find())

    async def set_mode(self, cloud: CloudKey | None, actor: Actor) -> KeyStatus:
        """Have another customer master key: of the cloud, or with None a root key of this host."""
        deed = Deed(actor.who, actor.address, "set key mode", cloud.arn if cloud else "local")
        async with self._told(deed), self._changing:
            ring = await self._find()
            if ring.cloud == cloud:
                await self._write(lambda store: store.note(deed, "ok: nothing had changed"))
                return _status(ring)
            if cloud and (why := cloud_key.refusal(cloud)):
                raise ConflictError(why)
            ring = await asyncio.to_thread(self._rewrap, ring, cloud, fresh_root=True)
            with contextlib.suppress(StoreError):  # it is done, and in the event log at least
                await self._write(lambda store: store.note(deed, "ok"))
        self._events.info(
            "keys.mode", f"the customer master key is {cloud.arn if cloud else 'root.key'}", who=actor.who,
            address=actor.address, root_master_key=ring.root_master_key.id,
        )  # fmt: skip
        return _status(ring)

    async def regenerate(self, actor: Actor) -> Regenerated:
        """Make new keys and secrets, and seal everything anew; join what is under way."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._regenerate(actor), name="regenerates secrets")
        return await asyncio.shield(self._running)

    async def regeneration(self) -> Regeneration:
        """Tell how far it is."""
        running = self._running is not None and not self._running.done()
        ring = await self._find()
        waits: Literal["interrupted", "idle"] = "interrupted" if ring.regenerating else "idle"
        return Regeneration("running" if running else waits, self._done, self._total, ring.regenerating)

    async def _regenerate(self, actor: Actor) -> Regenerated:
        deed = Deed(actor.who, actor.address, "regenerate secrets", "all keys")
        self._done = self._total = 0
        async with self._told(deed), self._changing:
            resumed = (await self._find()).regenerating is not None
            if not resumed:
                await self._new_keys()
            self._events.info("secrets.regenerating", "everything is sealed anew", who=actor.who, resumed=resumed)
            sealed, unreadable = await self._reseal()
            return await self._finish(deed, Regenerated(resumed, sealed, unreadable))

    async def _new_keys(self) -> None:
        ring = await self._find()
        # A new root master key first: the cloud may refuse, and then nothing has changed.
        ring = await asyncio.to_thread(self._rewrap, ring, ring.cloud)

        def renew() -> None:
            keyring.replace(self._data_dir, ring.renewed(self._root_master_key(), datetime.now(UTC)))

        async with self._reloads.changing:  # whoever writes after this has the new key
            await asyncio.to_thread(renew)

    async def _reseal(self) -> tuple[int, int]:
        self._total = await self._write(Store.sealed_rows)
        place: Place | None = Place()
        sealed = unreadable = 0
        while place is not None:
            behind = place
            async with self._reloads.changing:
                step = await self._write(lambda store, behind=behind: store.reseal(behind, ROWS_AT_ONCE))  # type: ignore[misc]
            place, sealed, unreadable = step.place, sealed + step.sealed, unreadable + step.unreadable
            self._done = min(self._done + step.seen, self._total)
        return sealed, unreadable

    async def _finish(self, deed: Deed, result: Regenerated) -> Regenerated:
        async with self._reloads.changing:
            generation, changed = await self._write(lambda store: store.regenerated(datetime.now(UTC), deed))
            await self._roster.apply(generation, changed, APPLY_SECONDS)
            secret_file = await asyncio.to_thread(self._reloads.renew_secret)
        ring = await self._find()
        done = ring.model_copy(update={"regenerating": None})
        await asyncio.to_thread(keyring.replace, self._data_dir, done)
        self._events.info(
            "secrets.regenerated", "new keys and secrets are in use", who=deed.who, generation=generation,
            sealed=result.sealed, unreadable=result.unreadable,
        )  # fmt: skip
        return Regenerated(
            result.resumed, result.sealed, result.unreadable, str(secret_file or ""),
            tuple(sorted(changed - {""})), _status(done),
        )  # fmt: skip

    def _rewrap(self, ring: Keyring, cloud: CloudKey | None, *, fresh_root: bool = False) -> Keyring:
        """Replace the root master key, under a customer master key of the cloud or of this host. May take its time."""
        old = self._root_master_key()
        if cloud:
            seconds = self._reloads.current.settings.gateway.limits.key_service_timeout
            fresh, key = keyring.new_root_master_key(
                ring.store, seal=lambda plain: cloud_key.seal(cloud, ring.store, plain, seconds)
            )
        else:
            make = keyring.new_root_key if fresh_root else keyring.root_key
            fresh, key = keyring.new_root_master_key(ring.store, make(self._data_dir))
        held().put(bytes.fromhex(fresh.id), key, keep=ring.root_id)
        ring = ring.under(old, fresh, key, cloud)
        keyring.replace(self._data_dir, ring)
        self._tidy(ring)
        return ring

    def _tidy(self, ring: Keyring | None) -> None:
        """Leave no key of local mode behind in AWS mode, also when control died just before."""
        if ring is None or ring.cloud is None:
            return
        try:
            keyring.forget_root_key(self._data_dir)
        except OSError as error:
            self._events.error("keys.root_key", f"root.key is not needed any more; remove it: {error.strerror}")

    def _root_master_key(self) -> bytes:
        return Sealer.open(self._data_dir).root_master_key

    async def _find(self) -> Keyring:
        def find() -> Keyring:
            try:
                return keyring.find(self._data_dir)
            except OSError as error:
                raise StoreError(f"the keys in {self._data_dir} cannot be read: {error.strerror}") from error

        return await asyncio.to_thread(find)

    async def _write(self, change: Callable[[Store], _Result]) -> _Result:
        def write() -> _Result:
            with contextlib.closing(Store.open(self._data_dir, writable=True)) as store:
                return change(store)

        return await asyncio.to_thread(write)

    @contextlib.asynccontextmanager
    async def _told(self, deed: Deed) -> AsyncIterator[None]:
        """Have a refusal in the event log and in the audit log."""
        try:
            yield
        except GatewayError as error:
            self._events.warning("change.refused", f"{deed.action} was refused: {error}", who=deed.who)
            with contextlib.suppress(StoreError):
                reason = str(error)
                await self._write(lambda store: store.note(deed, f"refused: {reason}"))
            raise


def _status(ring: Keyring) -> KeyStatus:
    return KeyStatus(
        ring.mode,
        ring.cloud.arn if ring.cloud else "",
        ring.cloud.region if ring.cloud else "",
        ring.store,
        ring.root_master_key.id,
        ring.root_master_key.created,
        tuple(MasterKey(key.id, key.created, key.encrypt_since, key.decrypt_only_since) for key in ring.master_keys),
        ring.regenerating,
    )
