"""Rules of one API definition that span several of its keys: whom it lets in, and what its version says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config.definitions import ApiDefinition
    from gateway.config.problems import Findings
    from gateway.config.reading import Origin


def check(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    """Check an API definition on its own."""
    _check_address_lists(definition, origin, found)
    versions = definition.version_data.versions
    if len(versions) > 1:
        chosen = next((name for name in versions if name.lower() == "default"), "none")
        found.warning(
            origin.place("version_data", "versions"),
            f"holds {len(versions)} versions, and an API has one here: {chosen} counts",
            "make an API of each version, or keep Default only",
        )


def _check_address_lists(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    off = definition.ip_access_control_disabled
    for switch, key in (("enable_ip_whitelisting", "allowed_ips"), ("enable_ip_blacklisting", "blacklisted_ips")):
        enforced = getattr(definition, switch) and not off
        listed = getattr(definition, key)
        if listed and not enforced:
            reason = "ip_access_control_disabled is true" if off else f"{switch} is false"
            found.warning(
                origin.place(key), f"is not enforced, as {reason}", "correct the switch, or remove the addresses"
            )
        elif enforced and not listed and origin.sound(key) and key == "allowed_ips":
            found.error(
                origin.place(switch),
                "is true, but allowed_ips is empty, which would let everybody in",
                "list the addresses and networks that may use the API",
            )
    if definition.enable_ip_whitelisting and not off and definition.gateway.allowed_networks:
        found.error(
            origin.place("gateway", "allowed_networks"),
            "stands beside allowed_ips, and only one list can say who may use the API",
            "keep one of the two",
        )
