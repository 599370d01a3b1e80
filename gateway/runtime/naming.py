"""Who in a configuration names a domain or a certificate: looked up by name, however many there are."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gateway.config.client_trust import references
from gateway.config.material import wanted
from gateway.routing.domains import domain_of
from gateway.tls.names import candidates

if TYPE_CHECKING:
    from gateway.config.load import Configuration


class Naming:
    """An index of one configuration."""

    def __init__(self, configuration: Configuration) -> None:
        self._apis: defaultdict[str, list[str]] = defaultdict(list)
        self._parts: defaultdict[str, list[str]] = defaultdict(list)
        self._users: defaultdict[str, list[str]] = defaultdict(list)
        settings = configuration.settings
        for reference in settings.http_server_options.ssl_certificates:
            self._users[reference].append("http_server_options.ssl_certificates")
        if (control := settings.gateway.control_tls) and control.certificate:
            self._users[control.certificate].append("gateway.control_tls")
        for item in wanted(settings, configuration.apis):
            self._users[item.reference].append(item.place)
        for place, reference in references(settings, configuration.apis):
            self._users[reference].append(place)
        for api in (*configuration.apis, *configuration.closed):
            for reference in api.certificates:
                self._users[reference].append(f"API {api.api_id}")
            name, *wildcard = candidates(domain_of(api, settings))
            self._apis[name].append(api.api_id)
            for parent in wildcard:
                self._parts[parent].append(api.api_id)

    def apis(self, name: str) -> tuple[str, ...]:
        """Return the ids of the APIs whose domain is, covers or (for ``*.parent``) is covered by ``name``."""
        covering = [api for key in candidates(name) for api in self._apis.get(key, ())]
        return tuple(dict.fromkeys([*covering, *self._parts.get(name, ())]))

    def users(self, certificate_id: str) -> tuple[str, ...]:
        """Return the places that refer to a certificate of the store."""
        return tuple(self._users.get(certificate_id, ()))
