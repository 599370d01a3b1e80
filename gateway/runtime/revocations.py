"""The revocation lists that count: what is said of them, and what is looked at before one is put."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.admin.operations import CrlState
from gateway.certs.revocation import kept_crl, read_crl
from gateway.errors import CertificateError, ConflictError
from gateway.routing.clients import ClientLists
from gateway.store.client_sources import check_crl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gateway.certs.revocation import RevocationList
    from gateway.config.load import Configuration


def states(configuration: Configuration, put: Mapping[str, str], now: datetime) -> list[CrlState]:
    """Tell of those that were ``put`` (PEM by name), and of those that are files."""
    files = {name: pem for name, pem in configuration.client_trust.crls.items() if name not in put}
    lists = ClientLists(configuration)
    return [
        _state(name, source, kept_crl(pem), lists, now)
        for source, crls in (("admin", put), ("", files))
        for name, pem in crls.items()
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
    if before and (known := kept_crl(before)).issuer == crl.issuer and known.this_update > crl.this_update:
        raise ConflictError(f"{name} is of {known.this_update:%Y-%m-%d %H:%M} UTC, and this list is older")
    return crl.pem.decode(), _state(name, "admin", crl, ClientLists(configuration), now)


def over(configuration: Configuration, put: Mapping[str, str], now: datetime) -> list[str]:
    """Name the lists that are past their ``nextUpdate``."""
    return [name for name, pem in {**configuration.client_trust.crls, **put}.items() if kept_crl(pem).is_over(now)]


def _state(name: str, source: str, crl: RevocationList, lists: ClientLists, now: datetime) -> CrlState:
    try:
        warnings = check_crl(crl, lists.authorities, now)
    except CertificateError as error:  # the CA of that name is another one by now
        warnings = (str(error),)
    issuer = crl.issuer.rfc4514_string()
    return CrlState(name, source or name, issuer, crl.this_update, crl.next_update, len(crl.serials), warnings)
