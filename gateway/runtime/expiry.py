"""Watches the ends of all certificates that the gateway knows, and tells of them in time, with Tyk's events.

Tyk looks at clients' and upstreams' certificates when they are used, and at its own when it starts to listen. Here
all are found by date, in the store and in what was read for the configuration, whether anybody comes or not. What
was told is remembered in the store, so that a restart tells nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.certs import loading
from gateway.certs.trusted import read_trusted
from gateway.config.client_trust import references
from gateway.config.kinds import is_inline_pem
from gateway.config.material import Purpose, wanted
from gateway.errors import CertificateError
from gateway.store.expiry import Ending, ExpiryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from gateway.config.expiry import ExpiryMonitor
    from gateway.config.load import Configuration
    from gateway.observe.events import EventLog

SOON, EXPIRED = "CertificateExpiringSoon", "CertificateExpired"

_TOLD_AT_ONCE = 500
"""So many lines at most are written at one look; the rest waits for the next, which then comes soon."""
_BETWEEN_LOOKS = 60.0
"""However much changes."""
_COUNTED = 1000
_NAMED = 3
_UPSTREAM, _AUTHORITY, _CLIENT = "upstream", "authority", "client"


class ExpiryWatch:
    """``summary`` says which certificates end soon, "" for none. ``generation`` says when something has changed."""

    def __init__(
        self,
        data_dir: Path,
        configuration: Callable[[], Configuration],
        generation: Callable[[], int],
        events: EventLog,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._data_dir = data_dir
        self._configuration = configuration
        self._generation = generation
        self._events = events
        self._clock = clock
        self._of: Configuration | None = None
        self._configured: tuple[Ending, ...] = ()
        self.summary = ""

    async def run(self) -> None:
        """Look now, whenever something has changed, and after the time that is configured."""
        seen, looked, more = -1, 0.0, True
        while True:
            now, generation = time.monotonic(), self._generation()
            if more or generation != seen or now - looked >= self._settings.between_looks:
                seen, looked = generation, now
                try:
                    more = await asyncio.to_thread(self.look)
                except Exception as error:  # noqa: BLE001 - no certificate, however odd, may take control down
                    said = f"the ends of certificates are not watched for a while: {error}"
                    self._events.error("expiry.unknown", said)
            await asyncio.sleep(_BETWEEN_LOOKS)

    def look(self) -> bool:
        """Tell what is due; return whether there is more. Raises StoreError."""
        now, settings = self._clock(), self._settings
        before = now + timedelta(seconds=settings.threshold)
        with contextlib.closing(ExpiryStore.open(self._data_dir, writable=True)) as store:
            store.prepare(now - timedelta(seconds=settings.between_events))
            configured = (one for one in self._known() if one.expires < before and not store.was_told(one, now))
            due = _once((*store.untold(before, now, _TOLD_AT_ONCE), *configured))[:_TOLD_AT_ONCE]
            for one in due:
                self._tell(one, now)
            if due:
                store.told(due, now)
        self.summary = _summary(self.ending(before, _COUNTED), settings, now)
        return len(due) == _TOLD_AT_ONCE

    def ending(self, before: datetime, limit: int) -> Sequence[Ending]:
        """Return at most ``limit`` certificates that end before then, the first to end first. Raises StoreError."""
        with contextlib.closing(ExpiryStore.open(self._data_dir, writable=False)) as store:
            stored = store.ending(before, limit)
        return _once((*stored, *(one for one in self._known() if one.expires < before)))[:limit]

    @property
    def _settings(self) -> ExpiryMonitor:
        return self._configuration().settings.security.certificate_expiry_monitor

    def _known(self) -> tuple[Ending, ...]:
        """The certificates that were read for the configuration of now and are in no table."""
        configuration = self._configuration()
        if configuration is not self._of:
            self._configured = tuple(_once(_configured(configuration)))
            self._of = configuration
        return self._configured

    def _tell(self, ending: Ending, now: datetime) -> None:
        over = ending.expires <= now
        days, hours = _days_and_hours(abs(ending.expires - now))
        self._events.warning(
            EXPIRED if over else SOON,
            f"Certificate {ending.name} is {'expired since' if over else 'expiring in'} {_in_words(days, hours)}",
            cert_id=ending.fingerprint,
            cert_name=ending.name,
            **{"expired_at" if over else "expires_at": f"{ending.expires:%Y-%m-%dT%H:%M:%SZ}"},
            **{"days_since_expiry" if over else "days_remaining": days},
            cert_role=ending.role,
            api_id=ending.api_id or None,
            places=", ".join(ending.places),
        )


def _once(endings: Iterable[Ending]) -> list[Ending]:
    """Each certificate once, the first to end first; of two uses of it the one that comes last is told."""
    return sorted({one.fingerprint: one for one in endings}.values(), key=lambda one: one.expires)


def _configured(configuration: Configuration) -> Iterator[Ending]:
    for item in wanted(configuration.settings, configuration.apis):
        pem = configuration.material.get(item.purpose, item.reference)
        if pem is None or item.purpose not in (Purpose.IDENTITY, Purpose.AUTHORITIES):
            continue
        api_id = _api_id(item.place)
        found = loading.certificates(pem.encode())
        if item.purpose is Purpose.IDENTITY:
            yield Ending.of(found[0], _UPSTREAM, (item.place,), api_id)
        else:
            for one in found:
                yield Ending.of(one, _AUTHORITY, (item.place,), api_id)
    for place, reference in references(configuration.settings, configuration.apis):
        pem = reference if is_inline_pem(reference) else configuration.client_trust.found.get(reference)
        with contextlib.suppress(CertificateError):  # what cannot be read was told when it was
            trusted = read_trusted(pem.encode() if pem else b"")
            for one in dict.fromkeys([*([trusted.pin] if trusted.pin else ()), *trusted.authorities]):
                yield Ending.of(one, _CLIENT, (place,), _api_id(place))


def _api_id(place: str) -> str:
    return place.removeprefix("apis[").partition("]")[0] if place.startswith("apis[") else ""


def _summary(ending: Sequence[Ending], settings: ExpiryMonitor, now: datetime) -> str:
    soon = [one for one in ending if one.expires > now]
    if not soon:
        return ""
    named = ", ".join(dict.fromkeys(one.name or one.fingerprint for one in soon[:_NAMED]))
    count = f"{len(soon)} or more" if len(ending) == _COUNTED else str(len(soon))
    more = " and others" if len(soon) > _NAMED else ""
    return f"ending within {settings.threshold // 86400} days: {count} ({named}{more})"


def _days_and_hours(span: timedelta) -> tuple[int, int]:
    return span.days, span.seconds // 3600


def _in_words(days: int, hours: int) -> str:
    """As Tyk writes it."""
    if not days:
        return f"{hours} hours"
    return f"{days} days and {hours} hours" if hours else f"{days} days"
