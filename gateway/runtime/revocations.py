"""The revocation lists that count: what is said of them, and what is looked at before one is put."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.admin.operations import CrlState
from gateway.certs.revocation import read_crl, readable
from gateway.errors import CertificateError, ConflictError
from gateway.routing.clients import ClientLists
from gateway.store.client_sources import check_crl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gateway.certs.revocation import RevocationList
    from gateway.config.load import Configuration


def states(configuration: Configuration, put: Mapping[str, str], now: datetime) -> list[CrlState]:
    """Tell of those that were ``put`` (PEM by name), and of those that are files; `damaged` names the rest."""
    files = {name: pem for name, pem in configuration.client_trust.crls.items() if name not in put}
    lists = ClientLists(configuration)
    return [
        _state(name, source, crl, lists, now)
        for source, crls in (("admin", put), ("", files))
        for name, crl in readable(crls).items()
    ]


def examine(
    configuration: Configuration, name: str, data: bytes, before: str | None, now: datetime
) -> tuple[str, CrlState]:
    """Return a list that was handed in (PEM or DER) in PEM, and what there is to say of it.

    Raises CertificateError, and ConflictError when it is older than the one ``before``: who replays an old list must
    not bring back what was revoked since.
    """
    crl = read_crl(data)
    check_crl(crl, ClientLists(configuration).authorities, now)
    known = readable({name: before or ""}).get(name)
    if known and known.issuer == crl.issuer and known.this_update > crl.this_update:
        raise ConflictError(f"{name} is of {known.this_update:%Y-%m-%d %H:%M} UTC, and this list is older")
    return crl.pem.decode(), _state(name, "admin", crl, ClientLists(configuration), now)


def over(configuration: Configuration, put: Mapping[str, str], now: datetime) -> list[str]:
    """Name the lists that are past their ``nextUpdate``."""
    kept = readable({**configuration.client_trust.crls, **put})
    return [name for name, crl in kept.items() if crl.is_over(now)]


def damaged(put: Mapping[str, str]) -> list[str]:
    """Name the lists that were put and cannot be read: while there is one, no client's certificate is good."""
    return [name for name in put if not readable({name: put[name]})]


def _state(name: str, source: str, crl: RevocationList, lists: ClientLists, now: datetime) -> CrlState:
    try:
        warnings = check_crl(crl, lists.authorities, now)
    except CertificateError as error:  # the CA of that name is another one by now
        warnings = (str(error),)
    issuer = crl.issuer.rfc4514_string()
    return CrlState(name, source or name, issuer, crl.this_update, crl.next_update, len(crl.serials), warnings)
