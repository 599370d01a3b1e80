"""Which domain an API answers for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.tls.names import canonical

if TYPE_CHECKING:
    from gateway.config.definitions import ApiDefinition
    from gateway.config.settings import Settings


def domain_of(api: ApiDefinition, settings: Settings) -> str:
    """The domain that an API names, "" for none, as certificates see it: a pattern for one label is a wildcard."""
    return _canonical(re.sub(r"^\{[^{}]*\}\.", "*.", _written(api, settings)))


def host_of(api: ApiDefinition, settings: Settings) -> str:
    """The domain that an API names, "" for none. ``{any}.example.com`` is a wildcard by another name."""
    return _canonical(re.sub(r"^\{\w+\}\.", "*.", _written(api, settings)))


def _written(api: ApiDefinition, settings: Settings) -> str:
    custom = settings.enable_custom_domains and not api.domain_disabled
    return (custom and api.domain) or settings.hostname


def service_domain(api: ApiDefinition, settings: Settings) -> str:
    """The server name that leads to a service, "" for any; the ``hostname`` of the APIs is none of its, as in Tyk."""
    named = api.protocol == "tls" and settings.enable_custom_domains and not api.domain_disabled
    return _canonical(re.sub(r"^\{[^{}]*\}\.", "*.", api.domain)) if named and api.domain else ""


def _canonical(domain: str) -> str:
    try:
        return canonical(domain)
    except ValueError:
        return domain
