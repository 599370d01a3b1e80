"""Services: what is served on the ports of ``tcp`` and ``tls`` definitions, and which of them a connection is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.errors import UnknownServiceError
from gateway.routing.domains import service_domain
from gateway.routing.policies import HostPolicies
from gateway.tls.names import candidates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.load import Configuration
    from gateway.config.settings import Limits
    from gateway.routing.clients import ClientLists
    from gateway.routing.snapshot import Api
    from gateway.tls.client_certificates import ClientCertificate

POSTGRESQL = b"postgresql"
"""The name of PostgreSQL's protocol in TLS (ALPN), with which its clients begin without asking for TLS first."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service, for ``domain`` ("" for any).

    ``limits`` are the patience with its connections; with ``passthrough`` its target speaks TLS.
    """

    api_id: str
    domain: str
    passthrough: bool
    api: Api
    limits: Limits

    def admits(self, address: str) -> bool:
        """Tell whether a client with this address may use it."""
        admission = self.api.admission
        return admission is None or admission.admits(address)

    def certificate_refusal(self, certificate: ClientCertificate | None) -> str:
        """Return why a client with this certificate, or none, must not use it; "" if it may."""
        admission = self.api.admission
        return admission.certificate_refusal(certificate, encrypted=True) if admission is not None else ""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """What is served on one port: a service for each domain (canonical, ``*.parent``, or "" for any).

    It is None where the service of a domain is out of service.

    ``hosts`` and ``protocols`` are the rules of TLS (see `Snapshot`), where it ends here. ``introduced`` says that
    connections begin with a PROXY header, ``negotiate`` in which protocol clients then ask for TLS, "" for none, and
    ``allow_plain`` that they need not.
    """

    port: int
    protocol: Literal["tcp", "tls"]
    hosts: HostPolicies
    protocols: tuple[bytes, ...]
    introduced: bool
    negotiate: Literal["", "postgresql"]
    allow_plain: bool
    services: dict[str, Service | None]

    def find(self, server_name: str) -> Service:
        """Return the service for a canonical name, "" where the client says none. Raises UnknownServiceError.

        The words are Tyk's, and so is that a client without a name is served only where there is no choice.
        """
        services = self.services
        if not server_name and len(services) > 1:
            raise UnknownServiceError(
                "Multiple services on different domains running on the same port, but no SNI (domain) information from"
                " client"
            )
        keys = (*candidates(server_name), "") if server_name else services
        for key in keys:
            if key in services:
                if (found := services[key]) is None:
                    raise UnknownServiceError("the service is out of service")
                return found
        raise UnknownServiceError(f"Can't detect service based on provided SNI information: {server_name}")


def service_ports(
    configuration: Configuration, apis: Mapping[str, Api], limits: Limits, clients: ClientLists
) -> dict[int, ServicePort]:
    """Index the services of a configuration by port. ``apis`` and ``clients`` are made of the same."""
    settings = configuration.settings
    found: dict[int, ServicePort] = {}
    services_alone = tuple(definition for definition in configuration.apis if definition.is_service)
    configuration = configuration.model_copy(update={"apis": services_alone})
    for port in dict.fromkeys(definition.listen_port for definition in services_alone):
        sharing = configuration.of_port(port)
        first = sharing.apis[0]
        services: dict[str, Service | None] = {
            service_domain(closed, settings): None for closed in sharing.closed if closed.protocol == first.protocol
        }
        for definition in sharing.apis:
            api = apis[definition.api_id]
            domain, passthrough = service_domain(definition, settings), definition.gateway.passthrough
            services[domain] = Service(definition.api_id, domain, passthrough, api, api.client_limits or limits)
        negotiate = first.gateway.negotiate
        found[port] = ServicePort(
            port=port,
            protocol="tls" if first.protocol == "tls" else "tcp",
            hosts=HostPolicies.of(sharing, clients),
            protocols=(POSTGRESQL,) if negotiate else (),
            introduced=first.enable_proxy_protocol,
            negotiate=negotiate,
            allow_plain=first.gateway.allow_plain,
            services=services,
        )
    return found
