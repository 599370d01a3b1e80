"""By what clients are recognised, as it was found: the files and ids of the store that are named, and revocation lists.

What was found is part of the configuration: whoever serves a generation reads no files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration
    from gateway.config.settings import Settings


class ClientTrust(BaseModel):
    """Public PEM by the reference that stands for it, and revocation lists in PEM by their file or their name.

    What is not ``found`` lets nobody in; nor does anything while one of ``missing``, revocation lists, is not there.
    """

    model_config = ConfigDict(frozen=True)

    found: dict[str, str] = Field({}, repr=False)
    crls: dict[str, str] = Field({}, repr=False)
    missing: tuple[str, ...] = ()


def asking(apis: Iterable[ApiDefinition]) -> list[ApiDefinition]:
    """Those that are served and let in only clients with certificates."""
    return [api for api in apis if api.use_mutual_tls_auth and api.active and not api.internal]


def references(settings: Settings, apis: Iterable[ApiDefinition]) -> Iterator[tuple[str, str]]:
    """Every place where clients' certificates are named that somebody asks for, and what is named there."""
    asked = asking(apis)
    if asked:
        for index, reference in enumerate(settings.security.certificates.apis):
            yield f"security.certificates.apis[{index}]", reference
    for api in asked:
        for index, reference in enumerate(api.client_certificates):
            yield f"apis[{api.api_id}].client_certificates[{index}]", reference
    if settings.security.control_api_use_mutual_tls:
        for index, reference in enumerate(settings.security.certificates.control_api):
            yield f"security.certificates.control_api[{index}]", reference


def with_crls(configuration: Configuration, crls: Mapping[str, str]) -> Configuration:
    """Return a configuration with those revocation lists beside the ones that are files, which are absolute paths."""
    trust = configuration.client_trust
    files = {name: pem for name, pem in trust.crls.items() if name.startswith("/")}
    return configuration.model_copy(update={"client_trust": trust.model_copy(update={"crls": {**files, **crls}})})
