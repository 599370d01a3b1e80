"""Which clients each API and each host lets in by their certificates."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gateway.certs.revocation import readable
from gateway.certs.trusted import Trusted, read_trusted
from gateway.config.client_trust import asking, references
from gateway.config.kinds import is_inline_pem
from gateway.errors import CertificateError
from gateway.routing.domains import host_of, service_domain
from gateway.tls.client_authentication import ClientAuthentication
from gateway.tls.client_certificates import AllowList, Revocations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration


class ClientLists:
    """The lists of a configuration, each made once however many APIs share it."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._trusted: dict[str, Trusted | None] = {}
        self._lists: dict[tuple[str, ...], AllowList] = {}

    def of_api(self, api: ApiDefinition) -> AllowList | None:
        """Whom an API lets in; None for everybody. What a list names and could not be found lets in nobody."""
        if not api.use_mutual_tls_auth:
            return None
        return self._list((*self._configuration.settings.security.certificates.apis, *api.client_certificates))

    def of_control(self) -> ClientAuthentication | None:
        """What is asked of the clients of the control port; None for nothing."""
        settings = self._configuration.settings
        if not settings.security.control_api_use_mutual_tls:
            return None
        return ClientAuthentication(
            self._list(settings.security.certificates.control_api),
            required=True,
            announced=not settings.http_server_options.skip_client_ca_announcement,
        )

    def by_domain(self, apis: Sequence[ApiDefinition]) -> dict[str, ClientAuthentication | None]:
        """What is asked of the clients of a port, by the domain of its APIs; nothing at all where no API asks.

        As in Tyk, a domain all of whose APIs let in certain clients only insists on it in the handshake, to which the
        clients of any of them come; one that has other APIs, too, leaves the decision to each request.
        """
        if not asking(apis):
            return {}
        settings = self._configuration.settings
        wanted: dict[str, list[ApiDefinition]] = {}
        open_to_all = set()
        for api in apis:
            if api.active and not api.internal:
                domain = service_domain(api, settings) if api.is_service else host_of(api, settings)
                own = wanted.setdefault(domain, [])
                if api.use_mutual_tls_auth:
                    own.append(api)
                else:
                    open_to_all.add(domain)
        everyone = settings.security.certificates.apis
        return {
            domain: ClientAuthentication(
                self._list(
                    tuple(dict.fromkeys([*everyone, *(one for api in mutual for one in api.client_certificates)]))
                ),
                required=domain not in open_to_all,
                announced=not settings.http_server_options.skip_client_ca_announcement,
            )
            if mutual
            else None
            for domain, mutual in wanted.items()
        }

    def _list(self, references: tuple[str, ...]) -> AllowList:
        found = self._lists.get(references)
        if found is None:
            listed = [one for one in map(self._find, references) if one is not None]
            found = self._lists[references] = AllowList(listed, self._revocations)
        return found

    @cached_property
    def _revocations(self) -> Revocations:
        kept = self._configuration.client_trust.crls
        crls = tuple(readable(kept).values())
        strict = self._configuration.settings.gateway.expired_client_crls == "refuse"
        missing = bool(self._configuration.client_trust.missing) or len(crls) < len(kept)
        return Revocations(crls, strict, self.authorities if crls else (), missing)

    @cached_property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """All that are listed anywhere."""
        named = dict.fromkeys(one for _, one in references(self._configuration.settings, self._configuration.apis))
        found = [one for one in map(self._find, named) if one is not None]
        return tuple(dict.fromkeys(authority for one in found for authority in one.authorities))

    def _find(self, reference: str) -> Trusted | None:
        if reference not in self._trusted:
            pem = reference if is_inline_pem(reference) else self._configuration.client_trust.found.get(reference)
            try:
                self._trusted[reference] = read_trusted(pem.encode()) if pem else None
            except CertificateError:  # inline, and told when it was read
                self._trusted[reference] = None
        return self._trusted[reference]
