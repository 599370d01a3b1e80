"""The configuration in service, its file, and changes of that file: ``admin.configuration.MainFileOperations``.

A change is made as `gateway tls` makes it on this host: it is shown, checked in the file's place, saved with a backup,
and served by every worker. A change that cannot be served is taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from gateway.admin.configuration import Adjusted, Running, Served, fault
from gateway.admin.domains import certificate
from gateway.errors import ConfigurationError, ConflictError, PreconditionError, StoreError
from gateway.runtime import in_force
from gateway.runtime.adjusting import Edits, edits
from gateway.runtime.file_identity import identity
from gateway.runtime.main_file import MainFile, overriding
from gateway.store.audit import Deed
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from gateway.admin.adjustments import Adjustment
    from gateway.admin.operations import Actor, DomainState, ServedPair
    from gateway.config.problems import Problem
    from gateway.runtime.messages import Met
    from gateway.runtime.reloads import Reloads
    from gateway.runtime.role import Inherited
    from gateway.runtime.roster import Roster

_PATIENCE_SECONDS = 2.0
_ACTION = "change settings"


class _Prepared(NamedTuple):
    """A change that may be made: the file as it is, its new text, and what comes with it."""

    file: MainFile
    text: str
    found: Edits
    problems: tuple[Problem, ...]


class LiveMainFile:
    """The implementation. One change at a time.

    ``domain`` looks up what is kept for a name; ``told`` has a refusal in the logs; ``changed`` is called when
    something else may be served than before.
    """

    def __init__(
        self,
        inherited: Inherited,
        reloads: Reloads,
        roster: Roster,
        domain: Callable[[str], Awaitable[DomainState | None]],
        told: Callable[[str, str, Actor], AbstractAsyncContextManager[None]],
        changed: Callable[[], None],
    ) -> None:
        self._inherited = inherited
        self._reloads = reloads
        self._roster = roster
        self._domain = domain
        self._told = told
        self._changed = changed
        self._one = asyncio.Lock()

    async def running(self) -> Running:
        """Tell what is served, and from which file."""
        path, environ = self._inherited.config_path, self._inherited.environ
        current = self._reloads.current
        digest = seen = ""  # where there is no file, it is nobody's
        with contextlib.suppress(OSError):
            digest, seen = await asyncio.to_thread(lambda: (sha256(path.read_bytes()).hexdigest(), identity(path)))
        return Running(
            pid=self._inherited.supervisor,
            file=str(path.absolute()),
            identity=seen,
            digest=digest,
            generation=self._roster.generation,
            shortfalls=self._roster.shortfalls(),
            overrides=tuple(in_force.overrides(environ, os.environ)),
            tls=in_force.negotiated(current.settings),
            settings=in_force.listed(current.settings),
            hosts=tuple(sorted(current.hosts.differing)),
            authorities=in_force.authorities(current.configuration),
            upstreams=in_force.services(current.configuration),
            refused=tuple(one.api_id for one in self._reloads.refused),
        )

    async def served(self, name: str) -> Served:
        """Ask every worker what a client of that name meets."""
        answers = await self._roster.meet(name, _PATIENCE_SECONDS)
        if not answers:
            raise StoreError("no worker has answered; see /ready")
        first = next(iter(answers.values()))
        short = [*self._roster.shortfalls(), *_dissent(answers, first)]
        silent = self._roster.present() - len(answers)
        short += [f"workers that did not answer: {silent}"] if silent > 0 else []
        kept = await self._kept(first.front.site)
        front = first.front
        return Served(
            domain=name,
            generation=first.generation,
            workers=len(answers),
            tls=front.tls,
            site=front.site,
            minimum=front.minimum,
            maximum=front.maximum,
            suites=front.suites,
            ciphers=front.ciphers,
            fingerprints=front.fingerprints,
            certificates=tuple(certificate(one) for one in kept if one.fingerprint in front.fingerprints),
            shortfalls=tuple(short),
        )

    async def _kept(self, site: str | None) -> tuple[ServedPair, ...]:
        if site is None:
            return ()
        name = site or await asyncio.to_thread(self._default_name)
        state = await self._domain(name)
        return state.pairs if state else ()

    def _default_name(self) -> str:
        with contextlib.closing(Store.open(self._inherited.data_dir, writable=False)) as store:
            return store.default_name() or ""

    async def adjust(self, adjustment: Adjustment, digest: str, *, dry_run: bool, actor: Actor) -> Adjusted:
        """Change the main file, and have every worker serve it before returning."""
        deed = Deed(actor.who, actor.address, _ACTION, str(self._inherited.config_path))
        async with self._told(deed.action, deed.subject, actor), self._one:
            prepared = await asyncio.to_thread(self._prepare, adjustment, digest)
            file, text = prepared.file, prepared.text
            if dry_run or (text == file.text and not prepared.found.secrets):
                return _adjusted(prepared, None, None, dry_run=dry_run)
            known = {one.api_id for one in self._reloads.refused}
            backup = await asyncio.to_thread(_save, prepared)
            result = await self._reloads.run(deed)
            self._changed()
            if new := [one for one in result.refused if one.api_id not in known]:
                await asyncio.to_thread(_take_back, prepared)
                await self._reloads.run(deed)
                raise ConflictError("; ".join(f"{one.api_id}: {one.reason}" for one in new))
            if not result.ok:
                await asyncio.to_thread(_take_back, prepared)
                raise ConfigurationError(result.problems) if result.problems else ConflictError(result.message)
            for secret in prepared.found.secrets:
                await asyncio.to_thread(secret.succeed)
            return _adjusted(prepared, backup, result.generation, dry_run=False)

    def _prepare(self, adjustment: Adjustment, digest: str) -> _Prepared:
        inherited = self._inherited
        file = MainFile.read(inherited.config_path, inherited.environ)
        if digest and digest != file.digest:
            raise PreconditionError(f"{file.path} is not the file that was looked at: its digest is {file.digest} now")
        found = edits(adjustment, file)
        text = file.changed(found.changes, overriding(inherited.environ))
        candidate = file.check(text, inherited.environ, inherited.data_dir)
        coming = {str(secret.path) for secret in found.secrets}
        return _Prepared(file, text, found, tuple(file.remarks(candidate, coming)))


def _save(prepared: _Prepared) -> str:
    try:
        for secret in prepared.found.secrets:
            secret.write()
        return str(prepared.file.save(prepared.text))
    except BaseException:
        for secret in prepared.found.secrets:
            secret.forget()
        raise


def _take_back(prepared: _Prepared) -> None:
    prepared.file.restore(prepared.text)
    for secret in prepared.found.secrets:
        secret.forget()


def _adjusted(prepared: _Prepared, backup: str | None, generation: int | None, *, dry_run: bool) -> Adjusted:
    file, text, found, problems = prepared
    return Adjusted(
        status="ok",
        file=str(file.path.absolute()),
        difference=file.difference(text),
        problems=tuple(map(fault, problems)),
        notes=tuple(found.notes),
        backup=backup,
        generation=generation,
        dry_run=dry_run,
    )


def _dissent(answers: dict[int, Met], first: Met) -> list[str]:
    return [
        f"worker {number} answers otherwise: {', '.join(one.front.fingerprints) or one.front.trouble or 'nothing'}"
        for number, one in answers.items()
        if one.front != first.front
    ]
