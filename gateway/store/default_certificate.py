"""The certificate of a gateway that nobody gave one: self-signed for this host, so that HTTPS answers from the start.

Clients have no reason to trust it, and a warning says so until another certificate is configured or put, which ends it.
It is kept in the store like what a configuration names, so it stays the same over restarts, and it is made anew before
its end. With ``gateway.tls.strict_sni`` there is none: a name that nobody serves is refused (Tyk's behaviour).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.certs import describe
from gateway.certs.self_signed import self_signed
from gateway.config.problems import Problem, Severity
from gateway.errors import CertificateError
from gateway.store import materials, sites
from gateway.store.sites import SELF_SIGNED, SiteEntry
from gateway.tls.names import canonical

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.certs.pem import CertificatePair
    from gateway.config.settings import Settings
    from gateway.store.database import Database
    from gateway.store.file_sources import Collected
    from gateway.store.sqlite import Store

_DAYS = 365
RENEWED = timedelta(days=35)
"""How long before its end it is made anew: before anybody is told that it ends soon."""

_PATH = "http_server_options.use_ssl"
_CURE = "name one in ssl_certificates or certificates"
_ALWAYS = ("localhost", "127.0.0.1", "::1")


def stand_in(collected: Collected, settings: Settings, host: str, now: datetime, store: Store | None) -> Collected:
    """Add the certificate where TLS would have none, as of ``now`` (aware), with a warning.

    ``host`` is this host's name. Raises StoreError.
    """
    found = collected.entries or collected.postponed or collected.unresolved or (store and store.has_put())
    if found or not settings.http_server_options.use_ssl:
        return collected
    if settings.gateway.tls.strict_sni:
        message = "there is no certificate, so every TLS handshake will be refused"
        return replace(collected, problems=(*collected.problems, Problem(Severity.WARNING, _PATH, "", message, _CURE)))
    names = _names(host)
    kept = _kept(store, names, now) if store else None
    pair = kept or self_signed(*names, days=_DAYS, now=now)
    message = (
        f"no certificate is configured, so a self-signed one for {', '.join(names)} serves, which clients do not trust"
    )
    cure = f"{_CURE}, or put one: gateway cert swap"
    return replace(
        collected,
        entries=tuple(SiteEntry(name, pair, SELF_SIGNED) for name in names),
        default=names[0],
        made=None if kept else pair,
        problems=(*collected.problems, Problem(Severity.WARNING, _PATH, "", message, cure)),
    )


def renew(database: Database, now: datetime) -> frozenset[str]:
    """Replace the certificate, if it serves, as of ``now`` (aware); return its names.

    To be called within a transaction.
    """
    served = {entry.pair.material for entry in sites.configured_from(database, SELF_SIGNED)}
    for material in served:
        names = describe.names(materials.chain(database, material)[0])
        fresh = materials.keep(database, self_signed(*names, days=_DAYS, now=now))
        database.execute("UPDATE names SET material = ? WHERE source = ?", (fresh, SELF_SIGNED))
        materials.sweep(database, served)
        return frozenset({*names, ""})
    return frozenset()


def _names(host: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys((canonical(host), *_ALWAYS)))
    except ValueError:  # a host may be called anything
        return _ALWAYS


def _kept(store: Store, names: tuple[str, ...], now: datetime) -> CertificatePair | None:
    """The one that serves already, if it is still for these names and good for a while."""
    for entry in store.configured_from(SELF_SIGNED):
        try:
            pair = store.pair(entry.pair.material)
        except CertificateError:  # it is made anew
            continue
        if pair.names == names and pair.not_before <= now < pair.not_after - RENEWED:
            return pair
    return None
